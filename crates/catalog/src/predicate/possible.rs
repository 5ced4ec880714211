//! Whether rows that pass a filter may be among rows of which little is known.

use std::cmp::Ordering;

use iceberg::spec::{NestedField, PrimitiveType, Type};
use icecore_core::CompareOp;

use super::{Membership, Question, Value};

/// What is known of some rows.
pub(crate) trait Evidence {
    /// Whether a value of this column may answer the question with yes. Errs towards yes.
    fn allows(&self, column: &NestedField, question: &Question) -> bool;
}

/// What is known of some values.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known<'a> {
    pub(crate) nulls: Nulls,
    /// Whether a NaN may be among them. Bounds say nothing of it.
    pub(crate) may_be_nan: bool,
    /// No number is less.
    pub(crate) min: Option<Value<'a>>,
    /// No number is greater.
    pub(crate) max: Option<Value<'a>>,
}

/// How many of some values are null.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nulls {
    None,
    /// Some, all, none: nobody knows.
    Perhaps,
    All,
}

impl Nulls {
    /// What counts say.
    pub(crate) const fn counted(nulls: Option<u64>, rows: Option<u64>) -> Self {
        match (nulls, rows) {
            (Some(nulls), Some(rows)) if nulls >= rows && rows > 0 => Self::All,
            (Some(0), _) => Self::None,
            _ => Self::Perhaps,
        }
    }
}

impl<'a> Known<'a> {
    /// Values between bounds. A bound that is NaN, as some writers leave it, bounds nothing.
    pub(crate) fn between(
        min: Option<Value<'a>>,
        max: Option<Value<'a>>,
        nulls: Nulls,
        may_be_nan: bool,
    ) -> Self {
        let number = |bound: &Value<'_>| !bound.is_nan();
        let is_odd = [min, max].iter().flatten().any(Value::is_nan);
        Self {
            nulls,
            may_be_nan: may_be_nan || is_odd,
            min: min.filter(number),
            max: max.filter(number),
        }
    }

    /// One value, or null.
    pub(crate) fn exactly(value: Option<Value<'a>>) -> Self {
        match value {
            None => Self { nulls: Nulls::All, may_be_nan: false, min: None, max: None },
            Some(value) if value.is_nan() => Self {
                nulls: Nulls::None,
                may_be_nan: true,
                // No number is this great, so only what passes a NaN may pass.
                min: Some(Value::Float(f64::INFINITY)),
                max: Some(Value::Float(f64::NEG_INFINITY)),
            },
            Some(value) => {
                Self { nulls: Nulls::None, may_be_nan: false, min: Some(value), max: Some(value) }
            }
        }
    }

    /// Whether one of the values may answer the question with yes.
    pub(crate) fn allows(&self, question: &Question, of: &PrimitiveType) -> bool {
        match question {
            Question::IsNull => self.nulls != Nulls::None,
            Question::NotNull => self.nulls != Nulls::All,
            _ if self.nulls == Nulls::All => false,
            Question::Compare(op, value) => match Value::of_datum(value, of) {
                Some(value) => self.may_compare(*op, &value),
                None => true,
            },
            Question::In(values, Membership::Inside) => {
                values.iter().any(|value| match Value::of_datum(value, of) {
                    Some(value) => self.may_compare(CompareOp::Eq, &value),
                    None => true,
                })
            }
            Question::In(values, Membership::Outside) => {
                values.iter().all(|value| match Value::of_datum(value, of) {
                    Some(value) => self.may_compare(CompareOp::NotEq, &value),
                    None => true,
                })
            }
        }
    }

    fn may_compare(&self, op: CompareOp, value: &Value<'_>) -> bool {
        // How the bounds lie to the value; an unknown bound may lie anywhere.
        let min = |wanted: fn(Ordering) -> bool| {
            self.min.and_then(|min| min.compare(value)).is_none_or(wanted)
        };
        let max = |wanted: fn(Ordering) -> bool| {
            self.max.and_then(|max| max.compare(value)).is_none_or(wanted)
        };
        let number = match op {
            CompareOp::Eq => min(Ordering::is_le) && max(Ordering::is_ge),
            CompareOp::NotEq => min(Ordering::is_ne) || max(Ordering::is_ne),
            CompareOp::Lt => min(Ordering::is_lt),
            CompareOp::LtEq => min(Ordering::is_le),
            CompareOp::Gt => max(Ordering::is_gt),
            CompareOp::GtEq => max(Ordering::is_ge),
        };
        let is_nan = value.is_nan();
        let nan = match op {
            CompareOp::Eq | CompareOp::LtEq => is_nan,
            CompareOp::NotEq | CompareOp::Gt => !is_nan,
            CompareOp::Lt => false,
            CompareOp::GtEq => true,
        };
        number || (self.may_be_nan && nan)
    }
}

/// About which share of some values answers a question with yes, as if numbers were spread evenly
/// between the bounds. For deciding how to read, not what.
pub(super) fn share(question: &Question, bounds: Option<(f64, f64)>) -> f64 {
    /// Of values that are not known, one in so many is a certain one.
    const ONE_OF: f64 = 0.02;
    let many = |values: &[iceberg::spec::Datum]| (ONE_OF * values.len() as f64).min(1.0);
    match question {
        Question::IsNull => 0.1,
        Question::NotNull => 0.9,
        Question::In(values, Membership::Inside) => many(values),
        Question::In(values, Membership::Outside) => 1.0 - many(values),
        Question::Compare(op, value) => {
            let number = Value::of_datum(value, value.data_type()).and_then(|v| v.number());
            let below = match (bounds, number) {
                (Some((min, max)), Some(number)) if max > min => {
                    ((number - min) / (max - min)).clamp(0.0, 1.0)
                }
                _ => 0.5,
            };
            match op {
                CompareOp::Eq => ONE_OF,
                CompareOp::NotEq => 1.0 - ONE_OF,
                CompareOp::Lt | CompareOp::LtEq => below,
                CompareOp::Gt | CompareOp::GtEq => 1.0 - below,
            }
        }
    }
}

/// Whether values of a type may be NaN.
pub(crate) const fn has_nan(of: &PrimitiveType) -> bool {
    matches!(of, PrimitiveType::Float | PrimitiveType::Double)
}

/// The type of a column that has one value per row.
pub(crate) fn primitive(column: &NestedField) -> Option<&PrimitiveType> {
    match column.field_type.as_ref() {
        Type::Primitive(primitive) => Some(primitive),
        _ => None,
    }
}
