//! Values of columns that rows lack.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, FixedSizeBinaryArray, Float32Array, Float64Array,
    Int32Array, Int64Array, LargeBinaryArray, StringArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field};
use iceberg::spec::{Literal, NestedField, PrimitiveLiteral};
use icecore_core::{Error, Result};

/// What a column that rows lack is filled with: one value, or none where it is null.
pub(super) fn default_of(column: &NestedField, arrow: &Field) -> Result<Option<ArrayRef>> {
    match &column.write_default {
        None => Ok(None),
        Some(Literal::Primitive(value)) => one(value, arrow).map(Some),
        Some(_) => Err(Error::unsupported(format!(
            "column `{}` has a default of more than one value",
            column.name
        ))
        .with_help("give every row a value for it")),
    }
}

fn one(value: &PrimitiveLiteral, field: &Field) -> Result<ArrayRef> {
    let array: ArrayRef = match (value, field.data_type()) {
        (PrimitiveLiteral::Boolean(value), _) => Arc::new(BooleanArray::from(vec![*value])),
        (PrimitiveLiteral::Int(value), _) => Arc::new(Int32Array::from(vec![*value])),
        (PrimitiveLiteral::Long(value), _) => Arc::new(Int64Array::from(vec![*value])),
        (PrimitiveLiteral::Float(value), _) => Arc::new(Float32Array::from(vec![value.0])),
        (PrimitiveLiteral::Double(value), _) => Arc::new(Float64Array::from(vec![value.0])),
        (PrimitiveLiteral::String(value), _) => Arc::new(StringArray::from(vec![value.as_str()])),
        (PrimitiveLiteral::Int128(value), DataType::Decimal128(precision, scale)) => Arc::new(
            Decimal128Array::from(vec![*value]).with_precision_and_scale(*precision, *scale)?,
        ),
        (PrimitiveLiteral::UInt128(value), _) => {
            Arc::new(FixedSizeBinaryArray::try_from_iter(std::iter::once(value.to_be_bytes()))?)
        }
        (PrimitiveLiteral::Binary(value), DataType::FixedSizeBinary(_)) => {
            Arc::new(FixedSizeBinaryArray::try_from_iter(std::iter::once(value))?)
        }
        (PrimitiveLiteral::Binary(value), _) => {
            Arc::new(LargeBinaryArray::from(vec![value.as_slice()]))
        }
        _ => {
            return Err(Error::unsupported(format!(
                "column `{}` has a default that icecore does not write",
                field.name()
            )));
        }
    };
    Ok(cast(&array, field.data_type())?)
}
