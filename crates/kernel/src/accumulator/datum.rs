//! One value.

use std::cmp::Ordering;

use arrow::datatypes::DataType;

use crate::hash::canonical::Canonical;
use crate::window::float_key;

/// A value in the form in which equal values are equal and ordered as values are.
#[derive(Debug, Clone)]
pub(super) enum Datum {
    /// Booleans, signed integers, days and microseconds.
    Word(i64),
    /// Decimals and unsigned integers.
    Wide(i128),
    /// There is one NaN.
    Float(f64),
    Bytes(Box<[u8]>),
}

/// The kinds of values, as bytes name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DatumKind {
    Word,
    Wide,
    Float,
    Bytes,
}

impl DatumKind {
    pub(super) fn of(data_type: &DataType) -> Self {
        match data_type {
            DataType::Dictionary(_, value) => Self::of(value),
            DataType::UInt64
            | DataType::Decimal32(..)
            | DataType::Decimal64(..)
            | DataType::Decimal128(..) => Self::Wide,
            DataType::Float16 | DataType::Float32 | DataType::Float64 => Self::Float,
            DataType::Utf8
            | DataType::LargeUtf8
            | DataType::Utf8View
            | DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
            | DataType::FixedSizeBinary(_) => Self::Bytes,
            _ => Self::Word,
        }
    }
}

impl Datum {
    pub(super) fn of(values: &Canonical, row: usize) -> Option<Self> {
        if row >= values.len() {
            return None;
        }
        Some(match values {
            Canonical::Boolean(array) => Self::Word(i64::from(array.value(row))),
            Canonical::Int(array) => Self::Word(array.value(row)),
            Canonical::Unsigned(array) => Self::Wide(i128::from(array.value(row))),
            Canonical::Decimal(array) => Self::Wide(array.value(row)),
            Canonical::Float(array) => Self::float(array.value(row)),
            Canonical::Bytes(array) => Self::Bytes(array.value(row).into()),
            Canonical::List(..) | Canonical::Struct(..) => return None,
        })
    }

    pub(super) fn float(value: f64) -> Self {
        Self::Float(if value.is_nan() { f64::NAN } else { value })
    }

    /// The value that it counts as where different values are counted: zero has no sign there.
    pub(super) fn identity(self) -> Self {
        match self {
            Self::Float(value) => Self::Float(value + 0.0),
            other => other,
        }
    }

    pub(super) fn whole(&self) -> i128 {
        match self {
            Self::Word(value) => i128::from(*value),
            Self::Wide(value) => *value,
            Self::Float(_) | Self::Bytes(_) => 0,
        }
    }

    pub(super) fn to_float(&self) -> f64 {
        if let Self::Float(value) = self { *value } else { 0.0 }
    }

    fn kind(&self) -> DatumKind {
        match self {
            Self::Word(_) => DatumKind::Word,
            Self::Wide(_) => DatumKind::Wide,
            Self::Float(_) => DatumKind::Float,
            Self::Bytes(_) => DatumKind::Bytes,
        }
    }
}

impl PartialEq for Datum {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Datum {}

impl PartialOrd for Datum {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Datum {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Word(left), Self::Word(right)) => left.cmp(right),
            (Self::Wide(left), Self::Wide(right)) => left.cmp(right),
            (Self::Float(left), Self::Float(right)) => float_key(*left).cmp(&float_key(*right)),
            (Self::Bytes(left), Self::Bytes(right)) => left.cmp(right),
            // Values of one input are of one kind.
            _ => (self.kind() as u8).cmp(&(other.kind() as u8)),
        }
    }
}
