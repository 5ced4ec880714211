//! What is different between two states of a table, or between two tables.

use std::collections::HashSet;
use std::fmt;
use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, SchemaRef};
use datafusion::prelude::SessionContext;
use datafusion::sql::TableReference;
use icecore_catalog::FilePlan;
use icecore_core::{BatchStream, Error, PinnedTable, Result};
use object_store::path::Path;

use crate::Engine;
use crate::error::OrOurs as _;
use crate::provider::PinnedProvider;

/// How many more times a row is in the old state than in the new one.
const NET: &str = "__icecore_net";
/// Which of the rows of one key.
const RANK: &str = "__icecore_rank";
/// Which side a row is on.
const SIDE: &str = "__icecore_side";

/// The differences between two states, each a multiset of rows. Values are equal when they are not
/// distinct: null equals null.
pub struct TableDiff {
    /// Rows that only the new state has, without changed ones.
    pub added: u64,
    /// Rows that only the old state has, without changed ones.
    pub removed: u64,
    /// Rows whose key both states have, with other values. Zero without a key.
    pub changed: u64,
    /// Columns that only the new state has. Their values in the old one count as null.
    pub columns_added: Vec<String>,
    /// Columns that only the old state has. Their values in the new one count as null.
    pub columns_removed: Vec<String>,
    /// Files that both states have, which were not read.
    pub shared_files: usize,
    engine: Engine,
    session: SessionContext,
    rows_sql: String,
}

impl fmt::Debug for TableDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableDiff")
            .field("added", &self.added)
            .field("removed", &self.removed)
            .field("changed", &self.changed)
            .finish_non_exhaustive()
    }
}

impl TableDiff {
    /// Whether there is no difference.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.added == 0 && self.removed == 0 && self.changed == 0
    }

    /// The rows that differ, at most `limit` of them, in order.
    ///
    /// Without a key the columns are `_change` (`added`, `removed`), `_copies` (how many times) and
    /// the tables' own. With a key they are `_change` (also `changed`), `_columns` (the names of
    /// those that differ), the key, and for every other column its value before and after, as
    /// `before.NAME` and `after.NAME`; rows of the same key are paired in their order.
    ///
    /// # Errors
    ///
    /// As [`Engine::sql`].
    pub async fn rows(&self, limit: Option<usize>) -> Result<BatchStream> {
        let mut sql = self.rows_sql.clone();
        if let Some(limit) = limit {
            let _ = write!(sql, " LIMIT {limit}");
        }
        self.engine.stream(self.session.sql(&sql).await.or_ours()?).await
    }
}

impl Engine {
    /// Compares two states row by row, or key by key. Files that both have are not read.
    ///
    /// # Errors
    ///
    /// `NotFound` for a pin that is gone or a key that is no column of both; `InvalidInput` where
    /// a column has types that cannot be compared.
    pub async fn diff(
        &self,
        old: &PinnedTable,
        new: &PinnedTable,
        key: &[String],
    ) -> Result<TableDiff> {
        let plans = (
            self.catalog().plan_files(old, None).await?,
            self.catalog().plan_files(new, None).await?,
        );
        let shared = shared_files(&plans.0, &plans.1);
        let session = self.session(&[]).await?;
        let mut schemas = Vec::new();
        for (name, pin, plan) in [("old", old, &plans.0), ("new", new, &plans.1)] {
            let mut provider = PinnedProvider::open(self.catalog().clone(), pin.clone()).await?;
            if !shared.is_empty() {
                let files = plan.files.iter().map(|file| file.path.clone());
                provider =
                    provider.with_only(files.filter(|path| !shared.contains(path)).collect());
            }
            schemas.push(datafusion::catalog::TableProvider::schema(&provider));
            let reference = TableReference::bare(name);
            session.register_table(reference, Arc::new(provider)).or_ours()?;
        }
        let [old_schema, new_schema] = schemas.as_slice() else {
            return Err(Error::internal("a diff has two sides"));
        };
        let columns = Columns::of(old_schema, new_schema, key)?;
        let counts_sql = if key.is_empty() { columns.row_counts() } else { columns.key_counts() };
        let counts = self.stream(session.sql(&counts_sql).await.or_ours()?).await?.concat().await?;
        let rows_sql = if key.is_empty() { columns.row_diff() } else { columns.key_diff() };
        Ok(TableDiff {
            added: count(&counts, 0),
            removed: count(&counts, 1),
            changed: count(&counts, 2),
            columns_added: missing(new_schema, old_schema),
            columns_removed: missing(old_schema, new_schema),
            shared_files: shared.len(),
            engine: self.clone(),
            session,
            rows_sql,
        })
    }
}

/// Files that both states have. Where a file's rows are not the table's, no file is the same.
fn shared_files(old: &FilePlan, new: &FilePlan) -> HashSet<Path> {
    if !old.native || !new.native {
        return HashSet::new();
    }
    let paths: HashSet<&Path> = old.files.iter().map(|file| &file.path).collect();
    let shared = new.files.iter().map(|file| &file.path).filter(|path| paths.contains(path));
    shared.cloned().collect()
}

fn count(counts: &RecordBatch, column: usize) -> u64 {
    let values = counts.columns().get(column).and_then(|column| {
        column.as_primitive_opt::<Int64Type>().map(|values| values.iter().flatten().sum::<i64>())
    });
    u64::try_from(values.unwrap_or(0)).unwrap_or(0)
}

fn missing(of: &SchemaRef, from: &SchemaRef) -> Vec<String> {
    let names = of.fields().iter().map(|field| field.name());
    names.filter(|name| from.field_with_name(name).is_err()).cloned().collect()
}

/// A name in SQL.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Text in SQL.
fn text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

/// The columns of a diff, and the queries over them.
struct Columns<'a> {
    old: &'a SchemaRef,
    new: &'a SchemaRef,
    key: &'a [String],
    /// Those of the old state, then those that only the new one has.
    all: Vec<String>,
}

impl<'a> Columns<'a> {
    fn of(old: &'a SchemaRef, new: &'a SchemaRef, key: &'a [String]) -> Result<Self> {
        for name in key {
            for schema in [old, new] {
                if schema.field_with_name(name).is_err() {
                    let names: Vec<&str> =
                        schema.fields().iter().map(|field| field.name().as_str()).collect();
                    return Err(Error::not_found(format!("there is no column `{name}`"))
                        .with_note(format!("columns: {}", names.join(", ")))
                        .with_candidates(name, names.iter().copied()));
                }
            }
        }
        let mut all: Vec<String> = old.fields().iter().map(|field| field.name().clone()).collect();
        all.extend(missing(new, old));
        Ok(Self { old, new, key, all })
    }

    fn list(&self) -> String {
        self.all.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ")
    }

    fn keys(&self) -> String {
        self.key.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ")
    }

    fn others(&self) -> Vec<&String> {
        self.all.iter().filter(|name| !self.key.contains(name)).collect()
    }

    /// The rows of one side, each with `sign`.
    fn side(&self, table: &str, schema: &SchemaRef, sign: i8) -> String {
        let columns = self.all.iter().map(|name| match schema.field_with_name(name) {
            Ok(_) => quoted(name),
            Err(_) => format!("NULL AS {}", quoted(name)),
        });
        let columns = columns.collect::<Vec<_>>().join(", ");
        format!("SELECT {columns}, CAST({sign} AS BIGINT) AS {SIDE} FROM \"{table}\"")
    }

    /// Every row that is not the same number of times on both sides.
    fn leftover(&self) -> String {
        let (old, new) = (self.side("old", self.old, 1), self.side("new", self.new, -1));
        let list = self.list();
        format!(
            "SELECT {list}, SUM({SIDE}) AS {NET} FROM ({old} UNION ALL {new}) \
             GROUP BY {list} HAVING SUM({SIDE}) <> 0"
        )
    }

    fn row_counts(&self) -> String {
        let leftover = self.leftover();
        format!(
            "SELECT SUM(GREATEST(-{NET}, 0)), SUM(GREATEST({NET}, 0)), CAST(0 AS BIGINT) \
             FROM ({leftover})"
        )
    }

    fn key_counts(&self) -> String {
        let (leftover, keys) = (self.leftover(), self.keys());
        format!(
            "SELECT SUM(GREATEST(n - o, 0)), SUM(GREATEST(o - n, 0)), SUM(LEAST(o, n)) FROM \
             (SELECT SUM(GREATEST({NET}, 0)) AS o, SUM(GREATEST(-{NET}, 0)) AS n \
             FROM ({leftover}) GROUP BY {keys})"
        )
    }

    fn row_diff(&self) -> String {
        let (leftover, list) = (self.leftover(), self.list());
        format!(
            "SELECT CASE WHEN {NET} < 0 THEN 'added' ELSE 'removed' END AS \"_change\", \
             ABS({NET}) AS \"_copies\", {list} FROM ({leftover}) ORDER BY {list}, {NET}"
        )
    }

    /// The rows of one key are numbered on each side, and those of one number are a pair.
    fn key_diff(&self) -> String {
        let (leftover, list, keys) = (self.leftover(), self.list(), self.keys());
        let ranked = format!(
            "SELECT {list}, {NET} > 0 AS {SIDE}, ROW_NUMBER() OVER \
             (PARTITION BY {keys}, {NET} > 0 ORDER BY {list}) AS {RANK} FROM \
             (SELECT {list}, {NET}, UNNEST(RANGE(0, ABS({NET}))) FROM ({leftover}))"
        );
        let (mut pairs, mut shown, mut changed) = (String::new(), String::new(), String::new());
        for name in self.others() {
            let (column, before, after) =
                (quoted(name), quoted(&format!("before.{name}")), quoted(&format!("after.{name}")));
            let _ = write!(
                pairs,
                ", FIRST_VALUE({column}) FILTER (WHERE {SIDE}) AS {before}, \
                 FIRST_VALUE({column}) FILTER (WHERE NOT {SIDE}) AS {after}"
            );
            let _ = write!(shown, ", {before}, {after}");
            let _ = write!(
                changed,
                ", CASE WHEN {before} IS DISTINCT FROM {after} THEN {} END",
                text(name)
            );
        }
        format!(
            "SELECT CASE WHEN o = 0 THEN 'added' WHEN n = 0 THEN 'removed' ELSE 'changed' END \
             AS \"_change\", CASE WHEN o > 0 AND n > 0 THEN CONCAT_WS(', '{changed}) END \
             AS \"_columns\", {keys}{shown} FROM \
             (SELECT {keys}, {RANK}, COUNT(*) FILTER (WHERE {SIDE}) AS o, \
             COUNT(*) FILTER (WHERE NOT {SIDE}) AS n{pairs} \
             FROM ({ranked}) GROUP BY {keys}, {RANK}) ORDER BY {keys}, {RANK}"
        )
    }
}
