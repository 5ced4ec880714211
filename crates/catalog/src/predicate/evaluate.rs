//! Filters on record batches.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Datum as ArrowDatum, RecordBatch, Scalar,
};
use arrow::compute::kernels::cmp;
use arrow::compute::{and_kleene, is_not_null, is_null, or_kleene};
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use arrow::row::{RowConverter, SortField};
use icecore_core::{CompareOp, Error, Result};

use super::literal::array_of;
use super::{Asked, Filter, Membership, Question, Tree};

impl Filter {
    /// Which rows pass; null counts as no.
    ///
    /// # Errors
    ///
    /// `Internal` for a batch without one of the columns.
    pub(crate) fn evaluate(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        self.tree.evaluate(batch)
    }
}

impl Tree<Asked> {
    fn evaluate(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        match self {
            Self::Always(answer) => Ok(BooleanArray::from(vec![*answer; batch.num_rows()])),
            Self::Leaf(Asked { column, question }) => {
                question.evaluate(values_of(batch, &column.name)?)
            }
            Self::And(parts) => joined(parts, batch, true, and_kleene),
            Self::Or(parts) => joined(parts, batch, false, or_kleene),
        }
    }
}

fn joined(
    parts: &[Tree<Asked>],
    batch: &RecordBatch,
    of_none: bool,
    join: fn(&BooleanArray, &BooleanArray) -> Result<BooleanArray, arrow::error::ArrowError>,
) -> Result<BooleanArray> {
    let Some((first, rest)) = parts.split_first() else {
        return Ok(BooleanArray::from(vec![of_none; batch.num_rows()]));
    };
    let mut answer = first.evaluate(batch)?;
    for part in rest {
        answer = join(&answer, &part.evaluate(batch)?)?;
    }
    Ok(answer)
}

impl Question {
    fn evaluate(&self, values: &ArrayRef) -> Result<BooleanArray> {
        match self {
            Self::IsNull => Ok(is_null(values)?),
            Self::NotNull => Ok(is_not_null(values)?),
            Self::Compare(op, value) => {
                let value = Scalar::new(comparable(&array_of(std::slice::from_ref(value))?));
                Ok(kernel(*op)(&comparable(values), &value)?)
            }
            Self::In(wanted_values, wanted) => {
                is_in(&comparable(values), &comparable(&array_of(wanted_values)?), *wanted)
            }
        }
    }
}

type Kernel = fn(
    &dyn ArrowDatum,
    &dyn ArrowDatum,
) -> std::result::Result<BooleanArray, arrow::error::ArrowError>;

fn kernel(op: CompareOp) -> Kernel {
    match op {
        CompareOp::Eq => cmp::eq,
        CompareOp::NotEq => cmp::neq,
        CompareOp::Lt => cmp::lt,
        CompareOp::LtEq => cmp::lt_eq,
        CompareOp::Gt => cmp::gt,
        CompareOp::GtEq => cmp::gt_eq,
    }
}

fn values_of<'a>(batch: &'a RecordBatch, column: &str) -> Result<&'a ArrayRef> {
    batch
        .column_by_name(column)
        .ok_or_else(|| Error::internal(format!("rows to filter lack the column `{column}`")))
}

/// Gives floats one zero and one NaN, the greatest, because Arrow compares them by their bits.
pub(crate) fn comparable(values: &ArrayRef) -> ArrayRef {
    match values.data_type() {
        DataType::Float32 => {
            Arc::new(values.as_primitive::<Float32Type>().unary::<_, Float32Type>(|value| {
                if value.is_nan() { f32::NAN } else { value + 0.0 }
            }))
        }
        DataType::Float64 => {
            Arc::new(values.as_primitive::<Float64Type>().unary::<_, Float64Type>(|value| {
                if value.is_nan() { f64::NAN } else { value + 0.0 }
            }))
        }
        _ => values.clone(),
    }
}

fn is_in(column: &ArrayRef, values: &ArrayRef, wanted: Membership) -> Result<BooleanArray> {
    let rows = RowConverter::new(vec![SortField::new(column.data_type().clone())])?;
    let values = rows.convert_columns(std::slice::from_ref(values))?;
    let values: HashSet<&[u8]> = values.iter().map(|row| row.data()).collect();
    let inside = rows.convert_columns(std::slice::from_ref(column))?;
    let inside = inside
        .iter()
        .map(|row| values.contains(row.data()) == (wanted == Membership::Inside))
        .collect();
    Ok(BooleanArray::new(inside, column.logical_nulls()))
}
