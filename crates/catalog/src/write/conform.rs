//! Giving rows the columns of a table.

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::SchemaRef;
use icecore_core::{Error, Result};

use super::cast::{cast_column, check_cast};
use crate::schema::unknown_column;

/// Turns batches of one schema into batches of a table's.
#[derive(Debug)]
pub(super) struct Conform {
    target: SchemaRef,
    /// For each column of the table, which column of the rows it is.
    sources: Vec<Option<usize>>,
}

impl Conform {
    /// Matches columns by name, whatever their order.
    ///
    /// # Errors
    ///
    /// `NotFound` for a column that the table lacks, `InvalidInput` for a required one that the
    /// rows lack, for one that they have twice, and for a type that the table's cannot hold.
    pub(super) fn try_new(rows: &SchemaRef, target: &SchemaRef) -> Result<Self> {
        for (index, field) in rows.fields().iter().enumerate() {
            if rows.fields().iter().take(index).any(|other| other.name() == field.name()) {
                return Err(Error::invalid(format!(
                    "the rows have two columns called `{}`",
                    field.name()
                )));
            }
            if target.column_with_name(field.name()).is_none() {
                let known: Vec<&str> =
                    target.fields().iter().map(|field| field.name().as_str()).collect();
                return Err(unknown_column(field.name(), &known));
            }
        }
        let mut sources = Vec::with_capacity(target.fields().len());
        for field in target.fields() {
            let source = rows.column_with_name(field.name());
            match source {
                Some((_, source)) => check_cast(source.data_type(), field)?,
                None if !field.is_nullable() => {
                    return Err(Error::invalid(format!(
                        "the rows lack the required column `{}`",
                        field.name()
                    )));
                }
                None => {}
            }
            sources.push(source.map(|(index, _)| index));
        }
        Ok(Self { target: target.clone(), sources })
    }

    /// # Errors
    ///
    /// `InvalidInput` for a value that a column cannot hold, and for a null in a required column.
    pub(super) fn batch(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.sources.len());
        for (source, field) in self.sources.iter().zip(self.target.fields()) {
            let column = match source {
                Some(index) => {
                    let column = batch.columns().get(*index).ok_or_else(|| {
                        Error::internal("a batch has fewer columns than its stream says")
                    })?;
                    cast_column(column, field, field.name())?
                }
                None => new_null_array(field.data_type(), batch.num_rows()),
            };
            if !field.is_nullable() && column.logical_null_count() > 0 {
                return Err(Error::invalid(format!(
                    "column `{}` is required, and a row has no value for it",
                    field.name()
                )));
            }
            columns.push(column);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(self.target.clone(), columns, &options)?)
    }
}
