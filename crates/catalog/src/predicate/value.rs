//! Values of columns and partitions, to be compared.

use std::cmp::Ordering;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type, TimeUnit,
    TimestampMicrosecondType, TimestampNanosecondType,
};
use iceberg::spec::{Datum, Literal, PrimitiveLiteral, PrimitiveType};

/// A value in a form in which those of a column compare, whatever width they are stored in.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Value<'a> {
    /// Truth values, whole numbers, decimals of one scale, dates, moments of one unit.
    Int(i128),
    Float(f64),
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    /// A stored value as one of a column of this type, which it may have been stored before; `None`
    /// where it does not compare with those of the column.
    pub(crate) fn of_datum(stored: &'a Datum, column: &PrimitiveType) -> Option<Self> {
        if widens(stored.data_type(), column) { Self::of(stored.literal(), column) } else { None }
    }

    /// A value of a partition, as one of this type.
    pub(crate) fn of_literal(stored: &'a Literal, of: &PrimitiveType) -> Option<Self> {
        match stored {
            Literal::Primitive(stored) => Self::of(stored, of),
            _ => None,
        }
    }

    /// A value of an array; `None` for null, or for one that filters do not compare.
    pub(crate) fn of_array(values: &'a ArrayRef, index: usize) -> Option<Self> {
        if index >= values.len() || values.is_null(index) {
            return None;
        }
        Some(match values.data_type() {
            DataType::Boolean => Self::Int(values.as_boolean().value(index).into()),
            DataType::Int32 => Self::Int(values.as_primitive::<Int32Type>().value(index).into()),
            DataType::Int64 => Self::Int(values.as_primitive::<Int64Type>().value(index).into()),
            DataType::Date32 => Self::Int(values.as_primitive::<Date32Type>().value(index).into()),
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                Self::Int(values.as_primitive::<TimestampMicrosecondType>().value(index).into())
            }
            DataType::Timestamp(TimeUnit::Nanosecond, _) => {
                Self::Int(values.as_primitive::<TimestampNanosecondType>().value(index).into())
            }
            DataType::Decimal128(..) => {
                Self::Int(values.as_primitive::<Decimal128Type>().value(index))
            }
            DataType::Float32 => {
                Self::Float(values.as_primitive::<Float32Type>().value(index).into())
            }
            DataType::Float64 => Self::Float(values.as_primitive::<Float64Type>().value(index)),
            DataType::Utf8 => Self::Bytes(values.as_string::<i32>().value(index).as_bytes()),
            _ => return None,
        })
    }

    fn of(stored: &'a PrimitiveLiteral, of: &PrimitiveType) -> Option<Self> {
        use PrimitiveLiteral as L;
        use PrimitiveType as P;
        Some(match (of, stored) {
            (P::Boolean, L::Boolean(value)) => Self::Int((*value).into()),
            (P::Int | P::Long | P::Date, L::Int(value)) => Self::Int((*value).into()),
            (
                P::Long
                | P::Time
                | P::Timestamp
                | P::Timestamptz
                | P::TimestampNs
                | P::TimestamptzNs,
                L::Long(value),
            ) => Self::Int((*value).into()),
            (P::Decimal { .. }, L::Int128(value)) => Self::Int(*value),
            (P::Float | P::Double, L::Float(value)) => Self::Float(value.0.into()),
            (P::Double, L::Double(value)) => Self::Float(value.0),
            (P::String, L::String(text)) => Self::Bytes(text.as_bytes()),
            (P::Binary | P::Fixed(_), L::Binary(bytes)) => Self::Bytes(bytes),
            _ => return None,
        })
    }

    /// About where it lies on a line; `None` for text.
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    pub(crate) const fn number(&self) -> Option<f64> {
        match self {
            Self::Int(value) => Some(*value as f64),
            Self::Float(value) => Some(*value),
            Self::Bytes(_) => None,
        }
    }

    pub(crate) const fn is_nan(&self) -> bool {
        matches!(self, Self::Float(value) if value.is_nan())
    }

    /// How two values of a column compare.
    pub(crate) fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(left), Self::Int(right)) => Some(left.cmp(right)),
            (Self::Bytes(left), Self::Bytes(right)) => Some(left.cmp(right)),
            (Self::Float(left), Self::Float(right)) => {
                Some(match (left.is_nan(), right.is_nan()) {
                    (true, true) => Ordering::Equal,
                    (true, false) => Ordering::Greater,
                    (false, true) => Ordering::Less,
                    (false, false) => left.partial_cmp(right)?,
                })
            }
            _ => None,
        }
    }
}

/// Whether values of a type are, each as it is, values of another.
fn widens(from: &PrimitiveType, to: &PrimitiveType) -> bool {
    use PrimitiveType as P;
    match (from, to) {
        (P::Int, P::Long) | (P::Float, P::Double) => true,
        (P::Decimal { scale: from, .. }, P::Decimal { scale: to, .. }) => from == to,
        (from, to) => from == to,
    }
}
