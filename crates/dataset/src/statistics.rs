//! What the columns of a training set hold.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type};
use icecore_core::{Date, Result, Timestamp};
use icecore_kernel::{ExactSum, hash_values};
use serde::{Deserialize, Serialize};

/// What one column holds.
///
/// Text has no least and greatest value here: a lockfile is kept beside code, and names of people
/// do not belong there. NaN counts in none of the numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ColumnStatistics {
    /// Its name.
    pub name: String,
    /// Its Arrow type.
    pub data_type: String,
    /// How many values are null.
    pub nulls: u64,
    /// The least value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<Value>,
    /// The greatest value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Value>,
    /// The mean of numbers, correctly rounded, whatever the order of rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean: Option<f64>,
    /// A sum over the values' hashes, in hex: tells which column differs between two builds.
    pub fingerprint: String,
}

/// A least or greatest value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// A whole number; of booleans 0 and 1.
    Int(i64),
    /// A number.
    Float(f64),
    /// A moment or a date, as RFC 3339.
    Text(String),
}

/// Gathers what a column holds.
#[derive(Debug, Clone)]
pub(crate) struct ColumnObserver {
    name: String,
    data_type: DataType,
    nulls: u64,
    fingerprint: u64,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Int { range: Option<(i64, i64)>, sum: i128, count: u64 },
    Float { range: Option<(f64, f64)>, sum: Box<ExactSum>, count: u64 },
    Moment { range: Option<(i64, i64)> },
    Date { range: Option<(i64, i64)> },
    Other,
}

impl ColumnObserver {
    pub(crate) fn new(field: &Field) -> Self {
        let data_type = field.data_type().clone();
        let kind = match &data_type {
            t if t.is_integer() || *t == DataType::Boolean => {
                Kind::Int { range: None, sum: 0, count: 0 }
            }
            t if t.is_numeric() => Kind::Float { range: None, sum: Box::default(), count: 0 },
            DataType::Timestamp(..) => Kind::Moment { range: None },
            DataType::Date32 => Kind::Date { range: None },
            _ => Kind::Other,
        };
        Self { name: field.name().clone(), data_type, nulls: 0, fingerprint: 0, kind }
    }

    pub(crate) fn add(&mut self, column: &ArrayRef) -> Result<()> {
        self.nulls += column.logical_null_count() as u64;
        for hash in hash_values(column)?.iter().flatten() {
            self.fingerprint = self.fingerprint.wrapping_add(hash);
        }
        match &mut self.kind {
            Kind::Int { range, sum, count } => {
                let values = cast(column, &DataType::Int64)?;
                for value in values.as_primitive::<Int64Type>().iter().flatten() {
                    widen(range, value);
                    *sum += i128::from(value);
                    *count += 1;
                }
            }
            Kind::Float { range, sum, count } => {
                let values = cast(column, &DataType::Float64)?;
                let values = values.as_primitive::<Float64Type>().iter().flatten();
                for value in values.filter(|value| !value.is_nan()) {
                    widen(range, value);
                    sum.add(value);
                    *count += 1;
                }
            }
            Kind::Moment { range } => {
                let values = icecore_pit::moment_micros(column)?;
                values.iter().flatten().for_each(|value| widen(range, value));
            }
            Kind::Date { range } => {
                let days = cast(&cast(column, &DataType::Int32)?, &DataType::Int64)?;
                let days = days.as_primitive::<Int64Type>();
                days.iter().flatten().for_each(|value| widen(range, value));
            }
            Kind::Other => {}
        }
        Ok(())
    }

    pub(crate) fn finish(&self) -> ColumnStatistics {
        let (range, mean) = match &self.kind {
            Kind::Int { range, sum, count } => {
                let range = range.map(|(min, max)| (Value::Int(min), Value::Int(max)));
                (range, (*count > 0).then(|| *sum as f64 / *count as f64))
            }
            Kind::Float { range, sum, count } => {
                let range = range.map(|(min, max)| (Value::Float(min), Value::Float(max)));
                (range, (*count > 0).then(|| sum.to_f64() / *count as f64))
            }
            Kind::Moment { range } => (range.map(|r| text(r, Timestamp::from_micros)), None),
            Kind::Date { range } => (range.map(|r| text(r, date)), None),
            Kind::Other => (None, None),
        };
        let (min, max) = range.unzip();
        ColumnStatistics {
            name: self.name.clone(),
            data_type: self.data_type.to_string(),
            nulls: self.nulls,
            min,
            max,
            mean: mean.filter(|mean| mean.is_finite()),
            fingerprint: format!("{:016x}", self.fingerprint),
        }
    }
}

fn date(days: i64) -> Date {
    Date::from_days(i32::try_from(days).unwrap_or(i32::MAX))
}

fn text<T: ToString>((min, max): (i64, i64), show: fn(i64) -> T) -> (Value, Value) {
    (Value::Text(show(min).to_string()), Value::Text(show(max).to_string()))
}

fn widen<T: PartialOrd + Copy>(range: &mut Option<(T, T)>, value: T) {
    let (min, max) = range.get_or_insert((value, value));
    if value < *min {
        *min = value;
    }
    if value > *max {
        *max = value;
    }
}

/// Observers of a batch's columns.
pub(crate) fn observe(observers: &mut [ColumnObserver], batch: &RecordBatch) -> Result<()> {
    for (observer, column) in observers.iter_mut().zip(batch.columns()) {
        observer.add(column)?;
    }
    Ok(())
}
