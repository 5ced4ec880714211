//! Builds record batches from values and finds the rows that do not fit.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::filter;
use arrow::datatypes::DataType;
use icecore_core::Result;

use super::fitted::{Unfit, Why, fitted};
use super::infer::Shape;
use super::spelled::parsed;
use super::value::{Cell, Column};

/// A value that does not fit: the first of its row.
#[derive(Debug)]
pub(crate) struct Mistake {
    /// The row among those that were pushed.
    pub(crate) row: usize,
    /// The column of the shape.
    pub(crate) column: usize,
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) help: Option<String>,
}

/// A batch under construction.
#[derive(Debug)]
pub(crate) struct Assembly {
    shape: Arc<Shape>,
    columns: Vec<Column>,
    /// By row: the first column that does not fit, so that a row is reported once.
    mistakes: BTreeMap<usize, Mistake>,
}

impl Assembly {
    pub(crate) fn new(shape: &Arc<Shape>) -> Self {
        let columns = shape.kinds.iter().map(|kind| Column::new(*kind)).collect();
        Self { shape: Arc::clone(shape), columns, mistakes: BTreeMap::new() }
    }

    /// Adds the value of a column to a row. Rows are numbered by the caller, from zero.
    pub(crate) fn push(&mut self, row: usize, column: usize, cell: &Cell<'_>) {
        let Some(builder) = self.columns.get_mut(column) else { return };
        if !builder.push(cell) {
            let found = cell.quoted();
            self.mistake(row, column, &found);
        }
    }

    fn mistake(&mut self, row: usize, column: usize, found: &str) {
        let message = self.shape.mismatch(column, found);
        self.add(Mistake { row, column, message, help: self.shape.help(column) });
    }

    fn unfit(&mut self, column: usize, unfit: Unfit) {
        let Unfit { row, path, why } = unfit;
        let help = match why {
            Why::NoField => Some("leave it out, or add the field to the table first".to_owned()),
            Why::Finer(_) => Some(
                "round it to microseconds, or ingest into a table of format version 3, which keeps \
                 nanoseconds"
                    .to_owned(),
            ),
            _ => self.shape.help(column),
        };
        let message = self.shape.unfit(column, &path, &why);
        self.add(Mistake { row, column, message, help });
    }

    fn add(&mut self, mistake: Mistake) {
        if self.mistakes.get(&mistake.row).is_none_or(|known| known.column > mistake.column) {
            self.mistakes.insert(mistake.row, mistake);
        }
    }

    /// Takes the batch of the rows that fit, and the mistakes in those that do not.
    pub(crate) fn finish(&mut self, rows: usize) -> Result<(RecordBatch, Vec<Mistake>)> {
        let arrays: Vec<ArrayRef> = self.columns.iter_mut().map(Column::finish).collect();
        self.fit(arrays, rows)
    }

    /// Casts columns to the shape's types and leaves out the rows that do not fit.
    pub(crate) fn fit(
        &mut self,
        arrays: Vec<ArrayRef>,
        rows: usize,
    ) -> Result<(RecordBatch, Vec<Mistake>)> {
        let shape = Arc::clone(&self.shape);
        let mut fitted = Vec::with_capacity(arrays.len());
        for (column, (array, field)) in arrays.into_iter().zip(shape.schema.fields()).enumerate() {
            let cast = self.cast(column, &array, field.data_type())?;
            if !field.is_nullable() && cast.null_count() > 0 {
                for row in (0..rows).filter(|row| cast.is_null(*row)) {
                    self.mistake(row, column, "nothing");
                }
            }
            fitted.push(cast);
        }
        let mistakes: Vec<Mistake> = std::mem::take(&mut self.mistakes).into_values().collect();
        let mut kept = rows;
        if !mistakes.is_empty() {
            let mut fits = vec![true; rows];
            for mistake in &mistakes {
                if let Some(fit) = fits.get_mut(mistake.row) {
                    *fit = false;
                }
            }
            kept -= mistakes.len();
            let mask = BooleanArray::from(fits);
            for array in &mut fitted {
                *array = filter(array, &mask)?;
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(kept));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&shape.schema), fitted, &options)?;
        Ok((batch, mistakes))
    }

    fn cast(&mut self, column: usize, array: &ArrayRef, target: &DataType) -> Result<ArrayRef> {
        let mut read = Arc::clone(array);
        if let (true, Some(texts)) = (target.is_nested(), array.as_string_opt::<i32>()) {
            let (values, unfit) = parsed(texts, target, self.shape.extra)?;
            unfit.into_iter().for_each(|unfit| self.unfit(column, unfit));
            read = values;
        }
        let (cast, unfit) = fitted(&read, target)?;
        unfit.into_iter().for_each(|unfit| self.unfit(column, unfit));
        Ok(cast)
    }
}
