//! Builds record batches from values and finds the rows that do not fit.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, new_null_array,
};
use arrow::compute::{CastOptions, can_cast_types, cast_with_options, filter};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use icecore_core::Result;

use super::infer::Shape;
use super::kept::changed_rows;
use super::value::{Cell, Column, shorten};

/// A value that does not fit: the first of its row.
#[derive(Debug)]
pub(crate) struct Mistake {
    /// The row among those that were pushed.
    pub(crate) row: usize,
    /// The column of the shape.
    pub(crate) column: usize,
    pub(crate) message: String,
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
        if self.mistakes.get(&row).is_some_and(|mistake| mistake.column <= column) {
            return;
        }
        let message = self.shape.mismatch(column, found);
        self.mistakes.insert(row, Mistake { row, column, message });
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

    fn cast(
        &mut self,
        column: usize,
        array: &ArrayRef,
        target: &arrow::datatypes::DataType,
    ) -> Result<ArrayRef> {
        if array.data_type() == target {
            return Ok(Arc::clone(array));
        }
        if array.logical_null_count() == array.len() {
            // A column that the file lacks may be of a type that text cannot become.
            return Ok(new_null_array(target, array.len()));
        }
        if !can_cast_types(array.data_type(), target) {
            for row in (0..array.len()).filter(|row| array.is_valid(*row)) {
                self.mistake(row, column, "a plain value");
            }
            return Ok(new_null_array(target, array.len()));
        }
        let options = CastOptions { safe: true, ..CastOptions::default() };
        let cast = cast_with_options(array, target, &options)?;
        let changed = changed_rows(array, &cast)?;
        if !changed.is_empty() {
            let format = FormatOptions::default();
            let shown = ArrayFormatter::try_new(array.as_ref(), &format)?;
            for row in changed {
                let found = format!("`{}`", shorten(&shown.value(row).to_string(), 60));
                self.mistake(row, column, &found);
            }
        }
        Ok(cast)
    }
}
