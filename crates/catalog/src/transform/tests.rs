use arrow::array::{
    Date32Array, Int32Array, Int64Array, TimestampMicrosecondArray, TimestampNanosecondArray,
};

use super::*;

fn day_of(moment: &Datum) -> Option<Datum> {
    Function::new(Transform::Day).unwrap().value(moment)
}

#[test]
fn a_day_has_all_of_its_last_second() {
    let day = MICROS_PER_DAY;
    let before = [-day - 1_000_001, -day - 1_000_000, -day - 500_000, -day - 2, -day - 1, -day];
    let others = [-3 * day - 1, -1_000_000, -2, -1, 0, 1, day - 1, day, i64::MIN, i64::MAX];
    for micros in before.into_iter().chain(others) {
        let wanted = i32::try_from(micros.div_euclid(day)).unwrap();
        for moment in [Datum::timestamp_micros(micros), Datum::timestamptz_micros(micros)] {
            assert_eq!(day_of(&moment), Some(Datum::date(wanted)), "{micros}");
        }
        let column: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![micros]));
        let days = Function::new(Transform::Day).unwrap().column(&column).unwrap();
        assert_eq!(days.as_primitive::<Date32Type>().value(0), wanted, "{micros}");
    }
}

#[test]
fn a_value_becomes_what_it_becomes_in_a_column() {
    for nanos in [-86_400_500_000_001_i64, -86_400_000_000_001, -1001, -1000, -1, 0, 1] {
        let column: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![nanos]));
        for transform in [Transform::Day, Transform::Hour, Transform::Bucket(1000)] {
            let function = Function::new(transform).unwrap();
            let values = function.column(&column).unwrap();
            let of_column = match values.data_type() {
                DataType::Date32 => values.as_primitive::<Date32Type>().value(0),
                _ => values.as_primitive::<Int32Type>().value(0),
            };
            let value = function.value(&Datum::timestamp_nanos(nanos)).unwrap();
            let wanted = PrimitiveLiteral::Int(of_column);
            assert_eq!(value.literal(), &wanted, "{transform} of {nanos}");
        }
    }
}

#[test]
fn a_date_beyond_the_calendar_becomes_nothing() {
    for transform in [Transform::Year, Transform::Month] {
        let function = Function::new(transform).unwrap();
        for days in [i32::MIN, -CALENDAR_DAYS - 1, CALENDAR_DAYS + 1, i32::MAX] {
            assert_eq!(function.value(&Datum::date(days)), None, "{transform} of {days}");
        }
        for days in [-CALENDAR_DAYS, CALENDAR_DAYS] {
            let column: ArrayRef = Arc::new(Date32Array::from(vec![days]));
            let values = function.column(&column).unwrap();
            let wanted = Datum::int(values.as_primitive::<Int32Type>().value(0));
            assert_eq!(function.value(&Datum::date(days)), Some(wanted), "{transform} of {days}");
        }
        assert_eq!(function.value(&Datum::timestamp_micros(i64::MAX)), None);
    }
    assert_eq!(day_of(&Datum::date(i32::MAX)), Some(Datum::date(i32::MAX)));
}

#[test]
fn the_least_numbers_wrap_around_as_in_other_engines() {
    for width in [1, 7, 10, 64, 1000, 3_000_000_000] {
        let function = Function::new(Transform::Truncate(width)).unwrap();
        for int in [i32::MIN, i32::MIN + 9, -11, -1, 0, 9, 10, i32::MAX] {
            let wide = i64::from(int);
            let wanted = (wide - wide.rem_euclid(i64::from(width))) as i32;
            let column: ArrayRef = Arc::new(Int32Array::from(vec![int]));
            let made = function.column(&column).unwrap();
            assert_eq!(made.as_primitive::<Int32Type>().value(0), wanted, "{int} by {width}");
            assert_eq!(function.value(&Datum::int(int)), Some(Datum::int(wanted)));
        }
        for long in [i64::MIN, i64::MIN + 9, -11, -1, 0, 9, 10, i64::MAX] {
            let wide = i128::from(long);
            let wanted = (wide - wide.rem_euclid(i128::from(width))) as i64;
            let column: ArrayRef = Arc::new(Int64Array::from(vec![long]));
            let made = function.column(&column).unwrap();
            assert_eq!(made.as_primitive::<Int64Type>().value(0), wanted, "{long} by {width}");
            assert_eq!(function.value(&Datum::long(long)), Some(Datum::long(wanted)));
        }
    }
}
