use super::*;

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn range(window: &str, closed: Closed, moment: &str) -> String {
    let range = Window::parse(window).unwrap().range(closed, at(moment));
    let end = |end: Option<Timestamp>| end.map_or_else(|| "..".to_owned(), |end| end.to_string());
    format!("{} {}", end(range.from), end(range.to))
}

#[test]
fn windows_read_as_they_are_written() {
    for text in [
        "7d",
        "1us",
        "lifetime",
        "lifetime offset 7d",
        "tumbling 1d",
        "tumbling 7d align 4d",
        "hopping 1h every 5m",
        "hopping 1h every 5m align 1m offset 1d",
        "to date 1d",
        "to date 1d align 8h",
        "30d offset 30d",
    ] {
        assert_eq!(Window::parse(text).unwrap().to_string(), text);
    }
    assert_eq!(Window::parse("  2y ").unwrap(), Window::last(Span::from_days(730)));
    assert_eq!(Window::parse("1w").unwrap().to_string(), "7d");
    for text in ["", "7", "0d", "7d align 1h", "lifetime align 1h", "tumbling", "7d offset", "7d x"]
    {
        assert!(Window::parse(text).is_err(), "{text}");
    }
    let error = Window::parse("lifetim").unwrap_err();
    assert_eq!(error.help(), Some("did you mean `lifetime`?"));
}

#[test]
fn the_names_of_columns_follow_from_windows() {
    let suffix = |text| Window::parse(text).unwrap().suffix();
    assert_eq!(suffix("7d"), "7d");
    assert_eq!(suffix("lifetime"), "");
    assert_eq!(suffix("lifetime offset 7d"), "offset_7d");
    assert_eq!(suffix("hopping 1h every 5m"), "hopping_1h_every_5m");
}

// D6
#[test]
fn each_bound_says_which_end_is_in() {
    let noon = "2026-11-22T12:00:00Z";
    assert_eq!(
        range("12h", Closed::Both, noon),
        "2026-11-22T00:00:00Z 2026-11-22T12:00:00.000001Z"
    );
    assert_eq!(range("12h", Closed::Left, noon), "2026-11-22T00:00:00Z 2026-11-22T12:00:00Z");
    assert_eq!(
        range("12h", Closed::Right, noon),
        "2026-11-22T00:00:00.000001Z 2026-11-22T12:00:00.000001Z"
    );
    assert_eq!(
        range("12h", Closed::None, noon),
        "2026-11-22T00:00:00.000001Z 2026-11-22T12:00:00Z"
    );
    assert_eq!(range("lifetime", Closed::Left, noon), ".. 2026-11-22T12:00:00Z");
    assert_eq!(
        range("12h offset 1d", Closed::Left, noon),
        "2026-11-21T00:00:00Z 2026-11-21T12:00:00Z"
    );
}

#[test]
fn tumbling_windows_are_complete_and_aligned() {
    let closed = Closed::Left;
    let day = |moment| range("tumbling 1d", closed, moment);
    assert_eq!(day("2026-11-22T12:00:00Z"), "2026-11-21T00:00:00Z 2026-11-22T00:00:00Z");
    assert_eq!(day("2026-11-22"), "2026-11-21T00:00:00Z 2026-11-22T00:00:00Z");
    assert_eq!(day("1969-12-31T23:59:59Z"), "1969-12-30T00:00:00Z 1969-12-31T00:00:00Z");
    assert_eq!(
        range("tumbling 1d align 8h", closed, "2026-11-22T07:00:00Z"),
        "2026-11-20T08:00:00Z 2026-11-21T08:00:00Z"
    );
    // The epoch was a Thursday; Monday is four days later.
    assert_eq!(
        range("to date 7d align 4d", Closed::Both, "2026-11-25T00:00:00Z"),
        "2026-11-23T00:00:00Z 2026-11-25T00:00:00.000001Z"
    );
    assert_eq!(
        range("hopping 1h every 5m", closed, "2026-11-22T12:03:00Z"),
        "2026-11-22T11:00:00Z 2026-11-22T12:00:00Z"
    );
}

#[test]
fn the_ends_of_time_hold_nothing_that_is_not_there() {
    let least = Timestamp::from_micros(i64::MIN);
    let greatest = Timestamp::from_micros(i64::MAX);
    let week = Window::last(Span::from_days(7));
    let all = week.range(Closed::Both, least);
    assert_eq!((all.from, all.to), (None, Some(Timestamp::from_micros(i64::MIN + 1))));
    let empty = week.with_offset(Span::from_days(1)).range(Closed::Both, least);
    assert_eq!(empty.from, empty.to);
    assert!(week.range(Closed::Both, greatest).contains(Timestamp::from_micros(i64::MAX)));
    let every = Window::to_date(Span::from_micros(1));
    for moment in [least, greatest] {
        let empty = every.range(Closed::None, moment);
        assert_eq!(empty.from, empty.to);
    }
}
