//! Which values a cast changed: what a file says is stored as it is, or refused. Of values inside of
//! others each is looked at by itself.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::kernels::cmp::distinct;
use arrow::compute::{CastOptions, can_cast_types, cast_with_options};
use arrow::datatypes::{DECIMAL256_MAX_PRECISION, DataType, Float32Type, Float64Type, TimeUnit};
use icecore_core::Result;

/// Digits after the point to which texts of decimals are compared.
const TEXT_SCALE: i8 = 38;

/// The rows whose value is another one after a cast, or none. Doubles become the nearest float: that
/// is what this type is.
pub(super) fn changed_rows(sent: &ArrayRef, cast: &ArrayRef) -> Result<Vec<usize>> {
    let rows = 0..sent.len();
    let is_lost = |row: &usize| cast.is_null(*row) && sent.is_valid(*row);
    let differs = match (sent.data_type(), cast.data_type()) {
        (DataType::Float64, DataType::Float32) => {
            return Ok(rows.filter(|row| is_lost(row) || is_too_large(sent, cast, *row)).collect());
        }
        (text, DataType::Decimal128(..)) if is_text(text) => {
            let wide = DataType::Decimal256(DECIMAL256_MAX_PRECISION, TEXT_SCALE);
            let (Some(sent), Some(kept)) = (safely(sent, &wide)?, safely(cast, &wide)?) else {
                return Ok(rows.filter(is_lost).collect());
            };
            distinct(&sent, &kept)?
        }
        (from, to) if may_change(from, to) => match safely(cast, from)? {
            Some(back) => distinct(&back, sent)?,
            None => return Ok(rows.filter(is_lost).collect()),
        },
        _ => return Ok(rows.filter(is_lost).collect()),
    };
    let is_changed = |row: &usize| {
        sent.is_valid(*row) && (cast.is_null(*row) || differs.value(*row) && !is_zero(sent, *row))
    };
    Ok(rows.filter(is_changed).collect())
}

/// Whether a cast may answer another value than it was given, and not null.
fn may_change(from: &DataType, to: &DataType) -> bool {
    let to_days = matches!(from, DataType::Timestamp(..) | DataType::Date64)
        && matches!(to, DataType::Date32);
    let to_micros = is_in_nanoseconds(from) && !is_in_nanoseconds(to) && to.is_temporal();
    to_days || to_micros || from.is_numeric() && (to.is_numeric() || *to == DataType::Boolean)
}

/// Whether values are moments or times of day that may be finer than a microsecond.
pub(super) fn is_in_nanoseconds(data_type: &DataType) -> bool {
    use TimeUnit::Nanosecond;
    matches!(data_type, DataType::Timestamp(Nanosecond, _) | DataType::Time64(Nanosecond))
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn safely(array: &ArrayRef, to: &DataType) -> Result<Option<ArrayRef>> {
    if !can_cast_types(array.data_type(), to) {
        return Ok(None);
    }
    let options = CastOptions { safe: true, ..CastOptions::default() };
    Ok(Some(cast_with_options(array, to, &options)?))
}

/// A number that is finite and is not any more.
fn is_too_large(sent: &ArrayRef, cast: &ArrayRef, row: usize) -> bool {
    let sent = sent.as_primitive::<Float64Type>();
    let cast = cast.as_primitive::<Float32Type>();
    sent.is_valid(row) && sent.value(row).is_finite() && !cast.value(row).is_finite()
}

/// Both zeros are one number.
fn is_zero(sent: &ArrayRef, row: usize) -> bool {
    let double = sent.as_primitive_opt::<Float64Type>().map(|sent| sent.value(row) == 0.0);
    let float = sent.as_primitive_opt::<Float32Type>().map(|sent| sent.value(row) == 0.0);
    double.or(float).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        Decimal128Array, Float64Array, Int64Array, StringArray, Time64NanosecondArray,
        TimestampMicrosecondArray, TimestampNanosecondArray,
    };

    use super::*;

    fn changed(sent: impl Array + 'static, to: &DataType) -> Vec<usize> {
        let options = CastOptions { safe: true, ..CastOptions::default() };
        let sent: ArrayRef = Arc::new(sent);
        let cast = cast_with_options(&sent, to, &options).unwrap();
        changed_rows(&sent, &cast).unwrap()
    }

    #[test]
    fn a_number_that_does_not_fit_is_found() {
        let floats = || Float64Array::from(vec![2.0, 2.7, -0.0, f64::NAN, 1e300]);
        assert_eq!(changed(floats(), &DataType::Int64), [1, 3, 4]);
        assert_eq!(changed(floats(), &DataType::Float32), [4]);
        assert_eq!(changed(floats(), &DataType::Decimal128(9, 1)), [3, 4]);
        assert_eq!(changed(floats(), &DataType::Decimal128(9, 0)), [1, 3, 4]);
        let wide = Int64Array::from(vec![Some(1 << 53), Some((1 << 53) + 1), None]);
        assert_eq!(changed(wide, &DataType::Float64), [1]);
        let cents = Decimal128Array::from(vec![1_990, 1_999]).with_precision_and_scale(9, 3);
        assert_eq!(changed(cents.unwrap(), &DataType::Decimal128(9, 2)), [1]);
        let texts = StringArray::from(vec!["1.99", "1.990", "1.999", "x"]);
        assert_eq!(changed(texts, &DataType::Decimal128(9, 2)), [2, 3]);
    }

    #[test]
    fn a_moment_is_a_date_at_midnight_only() {
        let moments = TimestampMicrosecondArray::from(vec![Some(0), Some(1), None]);
        assert_eq!(changed(moments.clone(), &DataType::Date32), [1]);
        let millis = DataType::Timestamp(TimeUnit::Millisecond, None);
        assert!(changed(moments, &millis).is_empty());
    }

    #[test]
    fn nanoseconds_are_microseconds_where_they_are_whole_ones() {
        let moments = TimestampNanosecondArray::from(vec![Some(2_000), Some(2_001), None]);
        let micros = DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
        assert_eq!(changed(moments.with_timezone("+00:00"), &micros), [1]);
        let times = Time64NanosecondArray::from(vec![1_000, 999]);
        assert_eq!(changed(times, &DataType::Time64(TimeUnit::Microsecond)), [1]);
    }
}
