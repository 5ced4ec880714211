use proptest::prelude::*;

use super::*;

#[test]
fn a_moment_is_read_as_rfc_3339_or_as_a_date() {
    for (text, micros) in [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01", 0),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1969-12-31T23:59:59.999999Z", -1),
        ("2026-11-22T10:00:00.5Z", 1_795_341_600_500_000),
    ] {
        assert_eq!(Timestamp::parse(text).unwrap().micros(), micros, "{text}");
    }
}

// D1
#[test]
fn a_time_without_a_zone_is_refused_with_the_fix() {
    for text in ["2026-11-22T10:00:00", "2026-11-22 10:00:00.25"] {
        let error = Timestamp::parse(text).unwrap_err();
        assert!(error.help().unwrap().ends_with("Z` for UTC"), "{text}");
    }
    for text in ["", "yesterday", "2026-13-01", "22.11.2026"] {
        assert!(Timestamp::parse(text).unwrap_err().help().unwrap().contains("RFC 3339"), "{text}");
    }
}

#[test]
fn a_span_is_a_positive_number_and_a_unit() {
    for (text, micros) in [("1us", 1), ("90s", 90_000_000), ("2w", 14 * DAY_MICROS)] {
        assert_eq!(Span::parse(text).unwrap().micros(), micros, "{text}");
    }
    for text in
        ["", "7", "d", "0d", "-1d", "1.5h", "7 d", "7D", "99999999999999999999d", "9999999999w"]
    {
        assert!(Span::parse(text).is_err(), "{text}");
    }
}

#[test]
fn a_date_before_the_epoch_is_rounded_down() {
    assert_eq!(Timestamp::from_micros(-1).date().to_string(), "1969-12-31");
    assert_eq!(Timestamp::from_micros(DAY_MICROS - 1).date().days(), 0);
    assert_eq!(Timestamp::from_micros(-1).millis(), -1);
}

#[test]
fn a_range_has_its_first_moment_and_not_its_last() {
    let [one, two] = [1, 2].map(Timestamp::from_micros);
    let range = TimeRange { from: Some(one), to: Some(two) };
    assert!(range.contains(one) && !range.contains(two));
    assert!(TimeRange::default().contains(Timestamp::from_micros(i64::MIN)));
}

proptest! {
    #[test]
    fn a_moment_reads_back_as_it_was_written(micros in -62_135_596_800_000_000_i64..253_402_300_800_000_000) {
        let moment = Timestamp::from_micros(micros);
        prop_assert_eq!(Timestamp::parse(&moment.to_string()).unwrap(), moment);
        prop_assert_eq!(moment.date().midnight().micros(), micros - micros.rem_euclid(DAY_MICROS));
    }

    #[test]
    fn a_date_reads_back_as_it_was_written(days in -719_162_i32..2_932_896) {
        let date = Date::from_days(days);
        prop_assert_eq!(Date::parse(&date.to_string()).unwrap(), date);
    }

    #[test]
    fn a_span_reads_back_as_it_was_written(micros in 1_i64..i64::MAX) {
        let span = Span::from_micros(micros);
        prop_assert_eq!(Span::parse(&span.to_string()).unwrap(), span);
    }

    #[test]
    fn nothing_that_is_typed_panics(text in ".{0,40}") {
        let _ = Timestamp::parse(&text);
        let _ = Date::parse(&text);
        let _ = Span::parse(&text);
    }
}
