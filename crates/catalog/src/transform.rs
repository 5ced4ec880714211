//! Transforms of columns and of single values: those of the iceberg crate, put right where they are
//! wrong.
//!
//! There the last second of a day before 1970 is on the next day, so that a later moment may be on
//! an earlier day; of a moment in nanoseconds before 1970, a column and a value may have different
//! buckets; a date beyond its calendar is a panic, and so is a number from which truncating takes
//! more than 32 or 64 bits hold. Such a number becomes one at the other end, as in other engines.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Date32Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType,
    TimestampNanosecondType,
};
use iceberg::spec::{Datum, PrimitiveLiteral, PrimitiveType, Transform};
use iceberg::transform::{BoxedTransformFunction, create_transform_function};
use icecore_core::Result;

use crate::described::CALENDAR_DAYS;
use crate::error::Context as _;

const MICROS_PER_DAY: i64 = 86_400_000_000;
const NANOS_PER_DAY: i64 = 1000 * MICROS_PER_DAY;
const NANOS_PER_HOUR: i64 = 3_600_000_000_000;

/// A transform that can be computed.
#[derive(Debug)]
pub(crate) struct Function {
    transform: Transform,
    function: BoxedTransformFunction,
}

impl Function {
    /// # Errors
    ///
    /// `Unsupported` for a transform that nobody knows.
    pub(crate) fn new(transform: Transform) -> Result<Self> {
        let function = create_transform_function(&transform)
            .context(|| format!("cannot compute `{transform}`"))?;
        Ok(Self { transform, function })
    }

    /// What it makes of each value of a column.
    ///
    /// # Errors
    ///
    /// `Unsupported` or `Internal` for a column of a type that it does not take.
    pub(crate) fn column(&self, column: &ArrayRef) -> Result<ArrayRef> {
        let compute = |column: ArrayRef| {
            let values = self.function.transform(column);
            values.context(|| format!("cannot compute `{}`", self.transform))
        };
        match (self.transform, column.data_type()) {
            (Transform::Truncate(_), DataType::LargeBinary) => {
                let cut = compute(cast(column, &DataType::Binary)?)?;
                Ok(cast(&cut, &DataType::LargeBinary)?)
            }
            (Transform::Truncate(width), DataType::Int32) => {
                let numbers = column.as_primitive::<Int32Type>();
                Ok(Arc::new(numbers.unary::<_, Int32Type>(|number| truncated_int(number, width))))
            }
            (Transform::Truncate(width), DataType::Int64) => {
                let numbers = column.as_primitive::<Int64Type>();
                Ok(Arc::new(numbers.unary::<_, Int64Type>(|number| truncated_long(number, width))))
            }
            (Transform::Day, DataType::Timestamp(TimeUnit::Microsecond, _)) => {
                let moments = column.as_primitive::<TimestampMicrosecondType>();
                let days =
                    moments.unary::<_, Date32Type>(|micros| whole_units(micros, MICROS_PER_DAY));
                Ok(Arc::new(days))
            }
            (Transform::Day, DataType::Timestamp(TimeUnit::Nanosecond, _)) => {
                let moments = column.as_primitive::<TimestampNanosecondType>();
                let days =
                    moments.unary::<_, Date32Type>(|nanos| whole_units(nanos, NANOS_PER_DAY));
                Ok(Arc::new(days))
            }
            (Transform::Hour, DataType::Timestamp(TimeUnit::Nanosecond, _)) => {
                let moments = column.as_primitive::<TimestampNanosecondType>();
                let hours =
                    moments.unary::<_, Int32Type>(|nanos| whole_units(nanos, NANOS_PER_HOUR));
                Ok(Arc::new(hours))
            }
            (Transform::Bucket(_), DataType::Timestamp(TimeUnit::Nanosecond, _)) => {
                let moments = column.as_primitive::<TimestampNanosecondType>();
                let micros =
                    moments.unary::<_, TimestampMicrosecondType>(|nanos| nanos.div_euclid(1000));
                compute(Arc::new(micros))
            }
            (Transform::Void, of) => Ok(new_null_array(of, column.len())),
            _ => compute(column.clone()),
        }
    }

    /// What it makes of one value; `None` where that cannot be told.
    pub(crate) fn value(&self, value: &Datum) -> Option<Datum> {
        use PrimitiveLiteral as L;
        use PrimitiveType as P;
        match (self.transform, value.data_type(), value.literal()) {
            (Transform::Truncate(width), P::Int, L::Int(number)) => {
                Some(Datum::int(truncated_int(*number, width)))
            }
            (Transform::Truncate(width), P::Long, L::Long(number)) => {
                Some(Datum::long(truncated_long(*number, width)))
            }
            (Transform::Day, P::Timestamp | P::Timestamptz, L::Long(micros)) => {
                Some(Datum::date(whole_units(*micros, MICROS_PER_DAY)))
            }
            (Transform::Day, P::TimestampNs | P::TimestamptzNs, L::Long(nanos)) => {
                Some(Datum::date(whole_units(*nanos, NANOS_PER_DAY)))
            }
            (Transform::Bucket(_), P::TimestampNs | P::TimestamptzNs, L::Long(nanos)) => {
                self.computed(&Datum::timestamp_micros(nanos.div_euclid(1000)))
            }
            (Transform::Year | Transform::Month, P::Date, L::Int(days))
                if !(-CALENDAR_DAYS..=CALENDAR_DAYS).contains(days) =>
            {
                None
            }
            _ => self.computed(value),
        }
    }

    fn computed(&self, value: &Datum) -> Option<Datum> {
        self.function.transform_literal(value).ok().flatten()
    }
}

/// How many whole units lie between 1970 and a moment, rounded down.
fn whole_units(moment: i64, unit: i64) -> i32 {
    // 32 bits count the days to any moment of 64 bits, and the hours to any in nanoseconds.
    i32::try_from(moment.div_euclid(unit)).unwrap_or_default()
}

/// The greatest multiple of a width that is not greater than a number, in 32 bits: it wraps around
/// where there is none.
fn truncated_int(number: i32, width: u32) -> i32 {
    let below = i64::from(number).rem_euclid(i64::from(width.max(1)));
    // Less than 2^32 fits, and what is cut off is what wraps around.
    number.wrapping_sub(below as i32)
}

/// The same in 64 bits.
fn truncated_long(number: i64, width: u32) -> i64 {
    number.wrapping_sub(number.rem_euclid(i64::from(width.max(1))))
}

#[cfg(test)]
mod tests;
