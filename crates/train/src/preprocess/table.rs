//! Rows on their way through the steps.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, RecordBatch, RecordBatchOptions, StringArray,
};
use arrow::datatypes::{DataType, Field, Schema};
use icecore_core::{Error, Result, SignatureColumn};

use super::Operation;
use crate::columns::{self, Values};

/// What is known of a column without its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Feature {
    pub(crate) name: String,
    pub(crate) is_text: bool,
    /// The number of the input that it comes from.
    pub(crate) input: usize,
}

impl Feature {
    pub(super) fn of_inputs(inputs: &[SignatureColumn]) -> Vec<Self> {
        let feature = |(input, column): (usize, &SignatureColumn)| Self {
            name: column.name.clone(),
            is_text: columns::is_text(column),
            input,
        };
        inputs.iter().enumerate().map(feature).collect()
    }

    /// A column of numbers that is made of this one.
    pub(super) fn number(&self, name: String) -> Self {
        Self { name, is_text: false, input: self.input }
    }
}

/// A column's rows.
#[derive(Debug, Clone)]
pub(crate) enum Column {
    /// Numbers; a missing one is NaN.
    Numbers(Values),
    /// Text; a missing one is null.
    Text(StringArray),
}

impl Column {
    /// The rows of a column that is text or is not, which one of nulls alone does not tell.
    fn new(array: &dyn Array, is_text: bool) -> Result<Self> {
        if is_text {
            let text = arrow::compute::cast(array, &DataType::Utf8)?;
            return Ok(Self::Text(text.as_string::<i32>().clone()));
        }
        columns::values(array).map(Self::Numbers)
    }

    pub(super) fn array(&self) -> ArrayRef {
        match self {
            Self::Numbers(values) => Arc::new(Float64Array::new(values.clone(), None)),
            Self::Text(text) => Arc::new(text.clone()),
        }
    }

    /// Whether each value is missing.
    pub(super) fn missing(&self) -> Vec<bool> {
        match self {
            Self::Numbers(values) => values.iter().map(|value| value.is_nan()).collect(),
            Self::Text(text) => (0..text.len()).map(|row| text.is_null(row)).collect(),
        }
    }
}

/// Columns by name.
#[derive(Debug)]
pub(super) struct Table {
    rows: usize,
    columns: Vec<(Feature, Column)>,
}

impl Table {
    /// The inputs, bound by name.
    pub(super) fn bind(rows: &RecordBatch, inputs: &[SignatureColumn]) -> Result<Self> {
        let mut bound = Vec::with_capacity(inputs.len());
        for (input, feature) in inputs.iter().zip(Feature::of_inputs(inputs)) {
            let array = columns::find(rows, input, feature.is_text)?;
            bound.push((feature, array));
        }
        let columns = bound
            .into_iter()
            .map(|(feature, array)| {
                let column = Column::new(array, feature.is_text)?;
                Ok((feature, column))
            })
            .collect::<Result<_>>()?;
        Ok(Self { rows: rows.num_rows(), columns })
    }

    pub(super) fn features(&self) -> Vec<Feature> {
        self.columns.iter().map(|(feature, _)| feature.clone()).collect()
    }

    fn place(&self, name: &str) -> Result<usize> {
        self.columns
            .iter()
            .position(|(feature, _)| feature.name == name)
            .ok_or_else(|| Error::invalid(format!("preprocessing has no column `{name}`")))
    }

    pub(super) fn column(&self, name: &str) -> Result<&Column> {
        self.place(name).map(|at| &self.columns[at].1)
    }

    /// Puts what an operation made of a column in its place.
    pub(super) fn replace(
        &mut self,
        name: &str,
        operation: &Operation,
        columns: Vec<Column>,
    ) -> Result<()> {
        let at = self.place(name)?;
        let outputs = operation.outputs(&self.columns[at].0)?;
        self.columns.splice(at..=at, outputs.into_iter().zip(columns));
        Ok(())
    }

    pub(super) fn into_batch(self) -> Result<RecordBatch> {
        let (mut fields, mut arrays) = (Vec::new(), Vec::new());
        for (feature, column) in self.columns {
            let array = column.array();
            fields.push(Field::new(feature.name, array.data_type().clone(), true));
            arrays.push(array);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)?)
    }
}
