use arrow::array::{Time64MicrosecondArray, TimestampMicrosecondArray};
use chrono::{Datelike, NaiveDate, NaiveTime, Timelike, Utc};
use proptest::prelude::*;

use super::*;

const UNITS: [&str; 10] = [
    "microsecond",
    "millisecond",
    "second",
    "minute",
    "hour",
    "day",
    "week",
    "month",
    "quarter",
    "year",
];

/// What a calendar on the wall says, field by field.
fn by_the_calendar(unit: &str, at: NaiveDateTime) -> NaiveDateTime {
    let (date, time) = (at.date(), at.time());
    let clock = |hour, minute, second, nano| {
        date.and_time(NaiveTime::from_hms_nano_opt(hour, minute, second, nano).unwrap())
    };
    let first = |month| NaiveDate::from_ymd_opt(date.year(), month, 1).unwrap();
    let day = match unit {
        "microsecond" => {
            let nano = time.nanosecond() / 1000 * 1000;
            return clock(time.hour(), time.minute(), time.second(), nano);
        }
        "millisecond" => {
            let nano = time.nanosecond() / 1_000_000 * 1_000_000;
            return clock(time.hour(), time.minute(), time.second(), nano);
        }
        "second" => return clock(time.hour(), time.minute(), time.second(), 0),
        "minute" => return clock(time.hour(), time.minute(), 0, 0),
        "hour" => return clock(time.hour(), 0, 0, 0),
        "day" => date,
        "week" => date.week(chrono::Weekday::Mon).first_day(),
        "month" => first(date.month()),
        "quarter" => first(date.month0() / 3 * 3 + 1),
        _ => first(1),
    };
    day.and_time(NaiveTime::MIN)
}

fn start(unit: &str, moment: i64, per_second: i64) -> Option<i64> {
    Unit::parse(unit).unwrap().start(moment, per_second)
}

proptest! {
    #[test]
    fn every_moment_begins_where_the_calendar_says(
        // From the year -9999 to the year 9999.
        seconds in -377_000_000_000_i64..=253_402_300_799,
        nanos in 0_u32..1_000_000_000,
    ) {
        for unit in UNITS {
            for (per_second, digits) in [(1, 1_000_000_000), (1000, 1_000_000), (1_000_000, 1000)] {
                let nanos = nanos / digits * digits;
                let at = DateTime::<Utc>::from_timestamp(seconds, nanos).unwrap().naive_utc();
                let count = |at: NaiveDateTime| {
                    let at = at.and_utc();
                    at.timestamp() * per_second + i64::from(at.timestamp_subsec_nanos() / digits)
                };
                let wanted = count(by_the_calendar(unit, at));
                prop_assert_eq!(start(unit, count(at), per_second), Some(wanted), "{} {}", unit, at);
            }
        }
    }

    #[test]
    fn nanoseconds_begin_where_the_calendar_says(nanos in i64::MIN..=i64::MAX) {
        for unit in UNITS {
            let at = DateTime::from_timestamp_nanos(nanos).naive_utc();
            let wanted = by_the_calendar(unit, at).and_utc().timestamp_nanos_opt();
            prop_assert_eq!(start(unit, nanos, 1_000_000_000), wanted, "{} {}", unit, at);
        }
    }

    /// Where clocks are moved, a moment's start is at or before it, on the wall what the calendar
    /// says, and its own start.
    #[test]
    fn zones_have_midnights_of_their_own(seconds in 0_i64..=4_000_000_000) {
        for name in ["Europe/Berlin", "America/New_York", "Asia/Kolkata", "+05:30", "-08:00"] {
            let zone = Tz::from_str(name).unwrap();
            let at = DateTime::from_timestamp(seconds, 0).unwrap().with_timezone(&zone);
            for unit in ["hour", "day", "week", "month", "quarter", "year"] {
                let begun = start_in(zone, Unit::parse(unit).unwrap(), seconds, 1).unwrap();
                let shown = DateTime::from_timestamp(begun, 0).unwrap().with_timezone(&zone);
                prop_assert!(begun <= seconds, "{} {} {}", name, unit, at);
                prop_assert_eq!(
                    shown.naive_local(),
                    by_the_calendar(unit, at.naive_local()),
                    "{} {}", name, unit
                );
            }
        }
    }
}

#[test]
fn what_begins_outside_of_the_range_is_an_error() {
    assert_eq!(start("year", i64::MIN, 1_000_000), None);
    assert_eq!(start("week", i64::MIN, 1_000_000_000), None);
    assert_eq!(start("microsecond", i64::MIN, 1_000_000), Some(i64::MIN));
    let column: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![None, Some(i64::MIN)]));
    let error = starts(Unit::Day, &column).unwrap_err();
    assert!(error.to_string().contains("outside of the range"), "{error}");
}

#[test]
fn an_hour_that_comes_twice_is_the_one_that_the_moment_is_in() {
    // 2024-10-27 in Berlin: 02:30 at +02:00, and an hour later at +01:00.
    let zone = Tz::from_str("Europe/Berlin").unwrap();
    let first = 1_729_989_000;
    for moment in [first, first + 3600] {
        assert_eq!(start_in(zone, Unit::Hour, moment, 1), Some(moment - 1800));
    }
    // 2018-11-04 in São Paulo began at 01:00.
    let zone = Tz::from_str("America/Sao_Paulo").unwrap();
    let noon = 1_541_340_000;
    let midnight = start_in(zone, Unit::Day, noon, 1).unwrap();
    assert_eq!(
        DateTime::from_timestamp(midnight, 0).unwrap().to_rfc3339(),
        "2018-11-04T03:00:00+00:00"
    );
}

#[test]
fn times_have_hours_and_less() {
    let column: ArrayRef = Arc::new(Time64MicrosecondArray::from(vec![Some(45_296_789_012), None]));
    let hours = starts(Unit::Hour, &column).unwrap();
    assert_eq!(hours.as_primitive::<Time64MicrosecondType>().value(0), 43_200_000_000);
    assert!(hours.is_null(1));
    let day = ScalarValue::from("day");
    assert!(unit_for(&day, &DataType::Time64(TimeUnit::Microsecond)).is_err());
}
