//! Columns of moments, as microseconds.

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit, TimestampNanosecondType};
use icecore_core::{Error, Result, ValueType};

/// The type of every moment that a join puts out.
pub(crate) fn moment_type() -> DataType {
    ValueType::Timestamp.arrow()
}

/// Whether a column of this type can hold moments.
pub(crate) fn is_moment(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(..) | DataType::Date32 | DataType::Date64)
}

/// Moments as microseconds since the epoch. A date is its midnight, a time without a zone is UTC,
/// and nanoseconds are rounded down.
///
/// # Errors
///
/// `InvalidInput` if a moment does not fit.
pub fn micros(column: &ArrayRef) -> Result<Int64Array> {
    if let DataType::Timestamp(TimeUnit::Nanosecond, _) = column.data_type() {
        let nanos = column.as_primitive::<TimestampNanosecondType>();
        return Ok(nanos.unary(|nanos| nanos.div_euclid(1000)));
    }
    let naive = DataType::Timestamp(TimeUnit::Microsecond, None);
    let moments = match column.data_type() {
        DataType::Timestamp(unit, Some(_)) => {
            // Dropping the zone of the type keeps the moment; casting it away would not.
            let raw = cast(column, &DataType::Int64)?;
            cast(&cast(&raw, &DataType::Timestamp(*unit, None))?, &naive)?
        }
        _ => cast(column, &naive)?,
    };
    let micros = cast(&moments, &DataType::Int64)?;
    if micros.null_count() > column.null_count() {
        return Err(Error::invalid("a moment is too far from 1970 to be counted in microseconds"));
    }
    Ok(micros.as_primitive().clone())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Date32Array, TimestampNanosecondArray, TimestampSecondArray};

    use super::*;

    #[test]
    fn every_kind_of_moment_becomes_microseconds() {
        let date: ArrayRef = Arc::new(Date32Array::from(vec![Some(1), None, Some(-1)]));
        assert_eq!(
            micros(&date).unwrap(),
            Int64Array::from(vec![Some(86_400_000_000), None, Some(-86_400_000_000)])
        );
        let nanos: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![1_999, -1]));
        assert_eq!(micros(&nanos).unwrap(), Int64Array::from(vec![1, -1]));
        let zoned: ArrayRef = Arc::new(TimestampSecondArray::from(vec![7]).with_timezone("+02:00"));
        assert_eq!(micros(&zoned).unwrap(), Int64Array::from(vec![7_000_000]));
    }

    #[test]
    fn a_moment_beyond_the_range_is_refused() {
        let far: ArrayRef = Arc::new(TimestampSecondArray::from(vec![i64::MAX]));
        assert!(micros(&far).is_err());
    }
}
