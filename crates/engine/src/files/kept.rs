//! Which values a cast changed: what a file says is stored as it is, or refused.

use arrow::array::{Array, ArrayRef, AsArray, new_null_array};
use arrow::compute::kernels::cmp::distinct;
use arrow::compute::{CastOptions, can_cast_types, cast_with_options};
use arrow::datatypes::{DECIMAL256_MAX_PRECISION, DataType, Float32Type, Float64Type};
use icecore_core::Result;

/// Digits after the point to which texts of decimals are compared.
const TEXT_SCALE: i8 = 38;

/// The rows whose value is another one after a cast, or none. Moments lose what is finer than a
/// microsecond, and doubles become the nearest float: that is what these types are.
pub(super) fn changed_rows(sent: &ArrayRef, cast: &ArrayRef) -> Result<Vec<usize>> {
    let rows = 0..sent.len();
    let is_lost = |row: &usize| cast.is_null(*row) && sent.is_valid(*row);
    if sent.data_type().is_nested() || is_dictionary_of_nested(sent.data_type()) {
        return changed_inside(sent, cast);
    }
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
    to_days || from.is_numeric() && (to.is_numeric() || *to == DataType::Boolean)
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn is_dictionary_of_nested(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Dictionary(_, value) if value.is_nested())
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

/// Values inside of structs, lists and maps are compared by row, with what they were cast from.
fn changed_inside(sent: &ArrayRef, cast: &ArrayRef) -> Result<Vec<usize>> {
    let back = match safely(cast, sent.data_type())? {
        Some(back) => back,
        None => new_null_array(sent.data_type(), sent.len()),
    };
    let is_changed = |row: &usize| {
        sent.is_valid(*row) && back.slice(*row, 1).to_data() != sent.slice(*row, 1).to_data()
    };
    Ok((0..sent.len()).filter(is_changed).collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        Decimal128Array, Float64Array, Int64Array, ListArray, StringArray,
        TimestampMicrosecondArray,
    };
    use arrow::datatypes::{Field, Int64Type, TimeUnit};

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
    fn values_inside_of_others_are_compared_too() {
        let lists = ListArray::from_iter_primitive::<Int64Type, _, _>([
            Some(vec![Some(1), None]),
            Some(vec![Some(1 << 40)]),
            None,
        ]);
        let narrow = DataType::List(Arc::new(Field::new_list_field(DataType::Int32, true)));
        assert_eq!(changed(lists, &narrow), [1]);
    }
}
