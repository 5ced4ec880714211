//! The queries of a diff.

use std::fmt::Write as _;

use arrow::datatypes::{DataType, SchemaRef};
use icecore_core::{Error, Result};

use super::source::CHANGE_TYPE;

/// How many more times a row is in the old state than in the new one.
const NET: &str = "__icecore_net";
/// Which of the rows of one key.
const RANK: &str = "__icecore_rank";
/// Which side a row is on.
const SIDE: &str = "__icecore_side";

/// Columns of one schema that another lacks.
pub(super) fn missing(of: &SchemaRef, from: &SchemaRef) -> Vec<String> {
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

/// Names in SQL.
fn listed(names: &[String]) -> String {
    names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ")
}

/// A column as it is compared: of maps, their entries, for rows of maps cannot be grouped.
fn comparable(name: &str, schema: &SchemaRef) -> Result<String> {
    let column = quoted(name);
    let Ok(field) = schema.field_with_name(name) else { return Ok(format!("NULL AS {column}")) };
    match field.data_type() {
        DataType::Map(entries, _) if !inner(entries.data_type()).any(holds_map) => {
            Ok(format!("MAP_ENTRIES({column}) AS {column}"))
        }
        of if holds_map(of) => Err(Error::unsupported(format!(
            "column `{name}` holds maps inside of other values, which cannot be compared"
        ))
        .with_help("`icecore table changes` lists the rows that changed in one table")),
        _ => Ok(column),
    }
}

fn holds_map(of: &DataType) -> bool {
    matches!(of, DataType::Map(..)) || inner(of).any(holds_map)
}

/// The types inside of a type.
fn inner(of: &DataType) -> Box<dyn Iterator<Item = &DataType> + '_> {
    match of {
        DataType::Struct(fields) => Box::new(fields.iter().map(|field| field.data_type())),
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::FixedSizeList(field, _)
        | DataType::Map(field, _) => Box::new(std::iter::once(field.data_type())),
        _ => Box::new(std::iter::empty()),
    }
}

fn all_comparable(names: &[String], schema: &SchemaRef) -> Result<String> {
    let columns = names.iter().map(|name| comparable(name, schema));
    Ok(columns.collect::<Result<Vec<_>>>()?.join(", "))
}

/// The rows of one table, each with `sign`.
fn side(all: &[String], table: &str, schema: &SchemaRef, sign: i8) -> Result<String> {
    let columns = all_comparable(all, schema)?;
    Ok(format!("SELECT {columns}, CAST({sign} AS BIGINT) AS {SIDE} FROM \"{table}\""))
}

/// The columns of a diff, and the queries over them.
#[derive(Debug)]
pub(super) struct Columns {
    key: Vec<String>,
    all: Vec<String>,
    /// The rows of both sides, each with a sign.
    sides: String,
}

impl Columns {
    /// Of the table `changes`, whose rows are inserts and deletes.
    ///
    /// # Errors
    ///
    /// `Unsupported` for a column whose values cannot be compared.
    pub(super) fn of_changes(all: Vec<String>, schema: &SchemaRef, key: &[String]) -> Result<Self> {
        let list = all_comparable(&all, schema)?;
        let sides = format!(
            "SELECT {list}, CAST(CASE WHEN \"{CHANGE_TYPE}\" = 'delete' THEN 1 ELSE -1 END AS BIGINT) \
             AS {SIDE} FROM \"changes\""
        );
        Ok(Self { key: key.to_vec(), all, sides })
    }

    /// Of the tables `old` and `new`. Columns are those of the old one, then those that only the
    /// new one has.
    pub(super) fn of_tables(schemas: &[SchemaRef], key: &[String]) -> Result<Self> {
        let [old, new] = schemas else {
            return Err(Error::internal("a diff has two sides"));
        };
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
        let (before, after) = (side(&all, "old", old, 1)?, side(&all, "new", new, -1)?);
        Ok(Self { key: key.to_vec(), all, sides: format!("{before} UNION ALL {after}") })
    }

    fn list(&self) -> String {
        listed(&self.all)
    }

    fn keys(&self) -> String {
        listed(&self.key)
    }

    fn others(&self) -> Vec<&String> {
        self.all.iter().filter(|name| !self.key.contains(name)).collect()
    }

    /// Counts what was added, removed and changed.
    pub(super) fn counts(&self) -> String {
        if self.key.is_empty() { self.row_counts() } else { self.key_counts() }
    }

    /// The rows that differ, in order.
    pub(super) fn rows(&self) -> String {
        if self.key.is_empty() { self.row_diff() } else { self.key_diff() }
    }

    /// Every row that is not the same number of times on both sides.
    fn leftover(&self) -> String {
        let (sides, list) = (&self.sides, self.list());
        format!(
            "SELECT {list}, SUM({SIDE}) AS {NET} FROM ({sides}) \
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
