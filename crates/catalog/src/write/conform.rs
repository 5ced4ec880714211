//! Giving rows the columns of a table.

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array, new_null_array};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;
use iceberg::spec::Schema;
use icecore_core::{Error, Result};

use super::cast::{cast_column, check_cast};
use super::default::default_of;
use crate::schema::unknown_column;

/// Turns batches of one schema into batches of a table's.
#[derive(Debug)]
pub(crate) struct Conform {
    target: SchemaRef,
    /// For each column of the table, which column of the rows it is.
    sources: Vec<Option<usize>>,
    /// For each column of the table, what it is filled with where the rows lack it.
    defaults: Vec<Option<ArrayRef>>,
}

impl Conform {
    /// Matches the columns of rows with those of a table by name, whatever their order. A column
    /// that the rows lack has its default.
    ///
    /// # Errors
    ///
    /// `NotFound` for a column that the table lacks, `InvalidInput` for a required one that the
    /// rows lack, for one that they have twice, and for a type that the table's cannot hold.
    pub(crate) fn for_table(rows: &SchemaRef, target: &SchemaRef, of: &Schema) -> Result<Self> {
        let columns = of.as_struct().fields().iter().zip(target.fields());
        let defaults = columns.map(|(column, field)| default_of(column, field));
        Self::with_defaults(rows, target, defaults.collect::<Result<_>>()?)
    }

    /// For columns without defaults.
    pub(crate) fn try_new(rows: &SchemaRef, target: &SchemaRef) -> Result<Self> {
        Self::with_defaults(rows, target, vec![None; target.fields().len()])
    }

    fn with_defaults(
        rows: &SchemaRef,
        target: &SchemaRef,
        defaults: Vec<Option<ArrayRef>>,
    ) -> Result<Self> {
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
        for (field, default) in target.fields().iter().zip(&defaults) {
            let source = rows.column_with_name(field.name());
            match source {
                Some((_, source)) => check_cast(source.data_type(), field)?,
                None if !field.is_nullable() && default.is_none() => {
                    return Err(Error::invalid(format!(
                        "the rows lack the required column `{}`",
                        field.name()
                    )));
                }
                None => {}
            }
            sources.push(source.map(|(index, _)| index));
        }
        Ok(Self { target: target.clone(), sources, defaults })
    }

    /// # Errors
    ///
    /// `InvalidInput` for a value that a column cannot hold, and for a null in a required column.
    pub(crate) fn batch(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.sources.len());
        let targets = self.target.fields().iter().zip(&self.defaults);
        for (source, (field, default)) in self.sources.iter().zip(targets) {
            let column = match (source, default) {
                (Some(index), _) => {
                    let column = batch.columns().get(*index).ok_or_else(|| {
                        Error::internal("a batch has fewer columns than its stream says")
                    })?;
                    cast_column(column, field, field.name())?
                }
                (None, Some(default)) => {
                    take(default, &UInt32Array::from(vec![0; batch.num_rows()]), None)?
                }
                (None, None) => new_null_array(field.data_type(), batch.num_rows()),
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
