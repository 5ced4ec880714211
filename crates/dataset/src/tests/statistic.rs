//! Statistics of columns.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::Field;

use crate::statistics::{ColumnObserver, ColumnStatistics, Value};

fn statistics(column: &ArrayRef) -> ColumnStatistics {
    let mut whole = ColumnObserver::new(&Field::new("c", column.data_type().clone(), true));
    let mut parts = whole.clone();
    whole.add(column).unwrap();
    for row in (0..column.len()).rev() {
        parts.add(&column.slice(row, 1)).unwrap();
    }
    assert_eq!(whole.finish(), parts.finish(), "neither order nor batches matter");
    whole.finish()
}

#[track_caller]
fn check(
    column: impl arrow::array::Array + 'static,
    range: Option<(Value, Value)>,
    mean: Option<f64>,
) {
    let found = statistics(&(Arc::new(column) as ArrayRef));
    assert_eq!((found.min.zip(found.max), found.mean, found.nulls), (range, mean, 1));
}

#[test]
fn each_type_has_its_statistics() {
    let ints = |a, b| Some((Value::Int(a), Value::Int(b)));
    let floats = |a, b| Some((Value::Float(a), Value::Float(b)));
    let texts = |a: &str, b: &str| Some((Value::Text(a.to_owned()), Value::Text(b.to_owned())));
    check(Int32Array::from(vec![Some(3), None, Some(-1)]), ints(-1, 3), Some(1.0));
    check(BooleanArray::from(vec![Some(true), None, Some(false)]), ints(0, 1), Some(0.5));
    let numbers = [Some(1e300), Some(1.0), Some(-1e300), Some(f64::NAN), None];
    check(Float64Array::from(numbers.to_vec()), floats(-1e300, 1e300), Some(1.0 / 3.0));
    let decimals = Decimal128Array::from(vec![Some(125), None, Some(375)]);
    let decimals = decimals.with_precision_and_scale(5, 2).unwrap();
    check(decimals, floats(1.25, 3.75), Some(2.5));
    let dates = Date32Array::from(vec![Some(0), None, Some(19_737)]);
    check(dates, texts("1970-01-01", "2024-01-15"), None);
    let moments = TimestampMicrosecondArray::from(vec![Some(0), None, Some(1)]);
    check(
        moments.with_timezone("+00:00"),
        texts("1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000001Z"),
        None,
    );
    // Text may name people, and a lockfile is kept beside code.
    check(StringArray::from(vec![Some("ann"), None, Some("bob")]), None, None);
    check(Int32Array::from(vec![None::<i32>]), None, None);
}

#[test]
fn another_value_has_another_fingerprint() {
    let of = |values: Vec<i32>| statistics(&(Arc::new(Int32Array::from(values)) as _)).fingerprint;
    assert_eq!(of(vec![1, 2, 2]), of(vec![2, 1, 2]));
    assert_ne!(of(vec![1, 2, 2]), of(vec![1, 1, 2]));
}
