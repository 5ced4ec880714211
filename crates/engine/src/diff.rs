//! What is different between two states of a table, or between two tables.
//!
//! Of two states of one table, the catalog reads only what changed between them; the queries here
//! count and pair those rows. Two tables have no files in common, so all of their rows are
//! compared.

mod columns;
mod source;

use std::fmt;
use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::prelude::SessionContext;
use datafusion::sql::TableReference;
use icecore_catalog::ChangeOptions;
use icecore_core::{BatchStream, PinnedTable, Result, SnapshotCatalog as _};

use crate::Engine;
use crate::error::OrOurs as _;
use crate::provider::PinnedProvider;
use columns::Columns;

/// The differences between two states, each a multiset of rows. Values are equal when they are not
/// distinct: null equals null.
pub struct TableDiff {
    /// Rows that only the new state has, without changed ones.
    pub added: u64,
    /// Rows that only the old state has, without changed ones.
    pub removed: u64,
    /// Rows whose key both states have, with other values. Zero without a key.
    pub changed: u64,
    /// Columns that only the new state has. Their values in the old one count as null, or as their
    /// default.
    pub columns_added: Vec<String>,
    /// Columns that only the old state has. Of one table their values do not count; of two tables
    /// their values in the new one count as null.
    pub columns_removed: Vec<String>,
    /// Columns that are called otherwise in the new state: their old and their new names.
    pub columns_renamed: Vec<(String, String)>,
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
    /// Compares two states row by row, or key by key. Of one table, files that both have with the
    /// same deletes applied to them are not read, so that the cost is that of what changed.
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
        let session = self.session(&[]).await?;
        let is_one_table = old.table == new.table;
        let (columns, shared_files) = if is_one_table {
            self.changed_rows(&session, old, new, key).await?
        } else {
            (self.both_tables(&session, old, new, key).await?, 0)
        };
        let counts_sql = columns.counts();
        let counts = self.stream(session.sql(&counts_sql).await.or_ours()?).await?.concat().await?;
        let names = self.column_names(old, new).await?;
        Ok(TableDiff {
            added: count(&counts, 0),
            removed: count(&counts, 1),
            changed: count(&counts, 2),
            columns_added: names.added,
            columns_removed: names.removed,
            columns_renamed: names.renamed,
            shared_files,
            engine: self.clone(),
            session,
            rows_sql: columns.rows(),
        })
    }

    /// Registers the rows that changed between two states of a table.
    async fn changed_rows(
        &self,
        session: &SessionContext,
        old: &PinnedTable,
        new: &PinnedTable,
        key: &[String],
    ) -> Result<(Columns, usize)> {
        let options = || ChangeOptions::default().with_key(key.to_vec());
        // Names the columns that there are if the key is none of them.
        let changes = self.catalog().changes(old, new, options()).await?;
        let rows =
            source::changed_rows(self.catalog(), old, new, changes.rows.schema()).or_ours()?;
        let names = source::columns(changes.rows.schema());
        session.register_table(TableReference::bare("changes"), rows).or_ours()?;
        let columns = Columns::of_changes(names, changes.rows.schema(), key)?;
        Ok((columns, changes.files_skipped))
    }

    /// Registers two tables that have nothing in common.
    async fn both_tables(
        &self,
        session: &SessionContext,
        old: &PinnedTable,
        new: &PinnedTable,
        key: &[String],
    ) -> Result<Columns> {
        let mut schemas = Vec::new();
        for (name, pin) in [("old", old), ("new", new)] {
            let provider = PinnedProvider::open(self.catalog().clone(), pin.clone()).await?;
            schemas.push(provider.schema());
            session.register_table(TableReference::bare(name), Arc::new(provider)).or_ours()?;
        }
        Columns::of_tables(&schemas, key)
    }

    async fn column_names(&self, old: &PinnedTable, new: &PinnedTable) -> Result<Names> {
        let (from, to) = (self.catalog().schema(old).await?, self.catalog().schema(new).await?);
        if old.table != new.table {
            return Ok(Names {
                added: columns::missing(&to, &from),
                removed: columns::missing(&from, &to),
                renamed: Vec::new(),
            });
        }
        let ids = |schema: &SchemaRef| -> Vec<(Option<String>, String)> {
            let fields = schema.fields().iter();
            fields
                .map(|field| {
                    (field.metadata().get("PARQUET:field_id").cloned(), field.name().clone())
                })
                .collect()
        };
        let (from, to) = (ids(&from), ids(&to));
        let mut names = Names::default();
        for (id, name) in &to {
            match from.iter().find(|(old_id, _)| old_id == id) {
                None => names.added.push(name.clone()),
                Some((_, old)) if old != name => names.renamed.push((old.clone(), name.clone())),
                Some(_) => {}
            }
        }
        let is_gone = |id: &Option<String>| to.iter().all(|(new_id, _)| new_id != id);
        names.removed =
            from.into_iter().filter(|(id, _)| is_gone(id)).map(|(_, name)| name).collect();
        Ok(names)
    }
}

/// How the columns of two states differ.
#[derive(Debug, Default)]
struct Names {
    added: Vec<String>,
    removed: Vec<String>,
    renamed: Vec<(String, String)>,
}

fn count(counts: &RecordBatch, column: usize) -> u64 {
    let values = counts.columns().get(column).and_then(|column| {
        column.as_primitive_opt::<Int64Type>().map(|values| values.iter().flatten().sum::<i64>())
    });
    u64::try_from(values.unwrap_or(0)).unwrap_or(0)
}
