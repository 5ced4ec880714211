//! New rows in memory, by their keys.

use std::cmp::Ordering;

use arrow::array::{Array, ArrayRef, DynComparator, RecordBatch, make_comparator};
use arrow::compute::{SortOptions, concat_batches};
use arrow::datatypes::{Schema as ArrowSchema, SchemaRef};
use arrow::util::display::array_value_to_string;
use futures::TryStreamExt;
use icecore_core::{BatchStream, Error, ErrorKind, Result};

use super::hash::can_be_key;
use super::keys::{Duplicate, KeyTable};
use super::options::{DuplicateKeys, NullKeys, UpsertOptions};
use crate::predicate::comparable;
use crate::schema::unknown_column;
use crate::write::Conform;

/// New rows, each key once.
#[derive(Debug)]
pub(crate) struct Source {
    /// The columns of the table that the rows have, in the table's order and types.
    pub(super) rows: RecordBatch,
    /// The names of the columns of the key.
    pub(super) key: Vec<String>,
    pub(super) keys: KeyTable,
}

impl Source {
    /// Reads rows for a table of these columns.
    ///
    /// # Errors
    ///
    /// `NotFound` for a column that the table lacks; `InvalidInput` for a key that the rows lack,
    /// a null in it, or two rows of one; `LimitExceeded` for more than may be held.
    pub(crate) async fn read(
        table: &SchemaRef,
        rows: BatchStream,
        key: &[String],
        options: &UpsertOptions,
    ) -> Result<Self> {
        check_key(rows.schema(), table, key)?;
        let rows = collect(table, rows, options.source_bytes_max).await?;
        let mut columns = Vec::with_capacity(key.len());
        for name in key {
            let column = column(&rows, name)?;
            if !can_be_key(column.data_type()) {
                return Err(Error::unsupported(format!(
                    "column `{name}` is `{}`, which rows cannot be found by",
                    column.data_type()
                )));
            }
            if options.null_keys == NullKeys::Refuse {
                check_nulls(name, column)?;
            }
            columns.push(column.clone());
        }
        let keys = match &options.duplicate_keys {
            DuplicateKeys::Refuse => {
                KeyTable::build(&columns, |pair| Err(duplicate(pair, key, &columns)))?
            }
            DuplicateKeys::GreatestBy(name) => {
                let compare = order(column(&rows, name)?)?;
                KeyTable::build(&columns, |Duplicate { first, second }| {
                    let is_less = compare(second as usize, first as usize) == Ordering::Less;
                    Ok(if is_less { first } else { second })
                })?
            }
        };
        Ok(Self { rows, key: key.to_vec(), keys })
    }

    /// The columns of the key.
    pub(super) fn key_columns(&self) -> Result<Vec<ArrayRef>> {
        self.key.iter().map(|name| column(&self.rows, name).cloned()).collect()
    }
}

fn check_key(rows: &SchemaRef, table: &SchemaRef, key: &[String]) -> Result<()> {
    let known: Vec<&str> = table.fields().iter().map(|field| field.name().as_str()).collect();
    if key.is_empty() {
        return Err(Error::invalid("an upsert needs the columns of a key")
            .with_note(format!("columns: {}", known.join(", "))));
    }
    for name in rows.fields().iter().map(|field| field.name()).chain(key) {
        if !known.contains(&name.as_str()) {
            return Err(unknown_column(name, &known));
        }
    }
    for (place, name) in key.iter().enumerate() {
        if key.iter().take(place).any(|other| other == name) {
            return Err(Error::invalid(format!("the key has the column `{name}` twice")));
        }
        if rows.column_with_name(name).is_none() {
            return Err(Error::invalid(format!("the new rows lack the key's column `{name}`")));
        }
    }
    Ok(())
}

/// All rows, with the columns of the table that they have.
async fn collect(
    table: &SchemaRef,
    mut rows: BatchStream,
    bytes_max: usize,
) -> Result<RecordBatch> {
    let fields = table.fields().iter();
    let fields = fields.filter(|field| rows.schema().column_with_name(field.name()).is_some());
    let schema = std::sync::Arc::new(ArrowSchema::new(fields.cloned().collect::<Vec<_>>()));
    let conform = Conform::try_new(rows.schema(), &schema)?;
    let (mut batches, mut bytes) = (Vec::new(), 0);
    while let Some(batch) = rows.try_next().await? {
        let batch = conform.batch(&batch)?;
        bytes += batch.get_array_memory_size();
        if bytes > bytes_max {
            return Err(Error::new(
                ErrorKind::LimitExceeded,
                format!("the new rows take more than the {bytes_max} bytes that may be held"),
            )
            .with_help("upsert them in several parts, or raise `source_bytes_max`"));
        }
        batches.push(batch);
    }
    Ok(concat_batches(&schema, &batches)?)
}

pub(super) fn column<'a>(rows: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef> {
    rows.column_by_name(name).ok_or_else(|| {
        let known: Vec<String> =
            rows.schema().fields().iter().map(|field| field.name().clone()).collect();
        Error::invalid(format!("the new rows lack the column `{name}`"))
            .with_note(format!("columns: {}", known.join(", ")))
    })
}

fn check_nulls(name: &str, column: &ArrayRef) -> Result<()> {
    let Some(row) = (0..column.len()).find(|row| column.is_null(*row)) else { return Ok(()) };
    Err(Error::invalid(format!("new row {} has no value for the key's column `{name}`", row + 1))
        .with_help("leave such rows out, or let a null equal a null"))
}

fn duplicate(pair: Duplicate, key: &[String], columns: &[ArrayRef]) -> Error {
    let row = pair.first as usize;
    let values = key.iter().zip(columns).map(|(name, column)| {
        let value = if column.is_null(row) {
            "null".to_owned()
        } else {
            array_value_to_string(column, row).unwrap_or_default()
        };
        format!("`{name}` = `{value}`")
    });
    let values: Vec<String> = values.collect();
    Error::invalid(format!("two of the new rows have the key {}", values.join(", ")))
        .with_note(format!("they are rows {} and {}", pair.first + 1, pair.second + 1))
        .with_help("keep one of them, or name the column whose greater value counts")
}

fn order(column: &ArrayRef) -> Result<DynComparator> {
    let column = comparable(column);
    let nulls_first = SortOptions { descending: false, nulls_first: true };
    Ok(make_comparator(&column, &column, nulls_first)?)
}
