//! The SQL of other engines.

use super::*;

async fn one(sql: &str) -> String {
    Lake::new().await.rows(&format!("SELECT {sql}")).await.join(";")
}

#[tokio::test]
async fn the_driver_models_date_arithmetic_runs_as_written() {
    // C31, C36, C37
    let started = "'2026-11-22 22:04:42.614426+00:00'[:10]";
    assert_eq!(one(&format!("CAST({started} AS DATE)")).await, "2026-11-22");
    assert_eq!(one(&format!("DATEADD(day, -30, CAST({started} AS DATE))")).await, "2026-10-23");
    let diff =
        format!("DATEDIFF(CAST({started} AS DATE), MAX(d)) FROM (VALUES (DATE '2026-11-01')) t(d)");
    assert_eq!(one(&diff).await, "21");
}

#[tokio::test]
async fn texts_and_lists_are_cut_by_slices() {
    for (sql, expected) in [
        ("'abcdef'[:3]", "abc"),
        ("'abcdef'[3:]", "cdef"),
        ("'abcdef'[2:3]", "bc"),
        ("'äöü'[:2]", "äö"),
        ("'ab'[:10]", "ab"),
        ("CAST(NULL AS VARCHAR)[:2]", "null"),
        ("t.s[:2] FROM (VALUES ('xyz')) t(s)", "xy"),
        ("[1,2,3][:2]", "[1, 2]"),
        ("[1,2,3][2:]", "[2, 3]"),
        ("[1,2,3][2:2]", "[2]"),
    ] {
        assert_eq!(one(sql).await, expected, "{sql}");
    }
}

#[tokio::test]
async fn every_spelling_of_date_arithmetic_is_understood() {
    for (sql, expected) in [
        ("DATEADD('month', 1, DATE '2024-01-31')", "2024-02-29"),
        ("dateadd(hour, 1, DATE '2024-01-31')", "2024-01-31T01:00:00Z"),
        ("DATE_ADD(DATE '2024-01-31', 1)", "2024-02-01"),
        ("DATE_ADD(DATE '2024-01-31', INTERVAL '1' DAY)", "2024-02-01"),
        ("DATE_SUB(DATE '2024-03-01', 1)", "2024-02-29"),
        ("ADD_MONTHS(DATE '2024-01-31', -2)", "2023-11-30"),
        (
            "DATEADD(day, n, d) FROM (VALUES (DATE '2024-01-01', 2), (NULL, 1), (DATE '2024-01-01', NULL)) t(d, n)",
            "2024-01-03;null;null",
        ),
        ("DATEDIFF(DATE '2024-03-01', DATE '2024-02-01')", "29"),
        ("DATEDIFF(month, DATE '2024-01-31', DATE '2024-02-01')", "1"),
        ("DATE_DIFF(DATE '2024-02-01', DATE '2024-01-31', MONTH)", "1"),
        (
            "TIMESTAMPDIFF(HOUR, TIMESTAMP '2024-01-01 00:30:00', TIMESTAMP '2024-01-01 02:10:00')",
            "2",
        ),
        ("DATEDIFF('2024-01-03', '2024-01-01')", "2"),
        ("date_trunc(month, DATE '2024-01-31')", "2024-01-01T00:00:00Z"),
    ] {
        assert_eq!(one(sql).await, expected, "{sql}");
    }
}

#[tokio::test]
async fn tumbling_windows_end_where_the_next_begins() {
    // C68
    let lake = Lake::new().await;
    let sql = "SELECT TUMBLE_END(t, INTERVAL '5' MINUTE) AS window_end, count(x) \
               FROM (VALUES (TIMESTAMP '2024-01-01 00:00:00', 1), (TIMESTAMP '2024-01-01 00:04:59', 2), \
               (TIMESTAMP '2024-01-01 00:05:00', 3)) e(t, x) \
               GROUP BY TUMBLE(t, INTERVAL '5' MINUTE) ORDER BY 1";
    let rows = lake.rows(sql).await;
    assert!(rows[0].starts_with("2024-01-01T00:05:00") && rows[0].ends_with("|2"), "{rows:?}");
    assert!(rows[1].starts_with("2024-01-01T00:10:00") && rows[1].ends_with("|1"), "{rows:?}");
}

#[tokio::test]
async fn an_unknown_function_names_what_to_write_instead() {
    let lake = Lake::new().await;
    let error = lake.error("SELECT IFF(true, 1, 2)").await;
    assert_eq!(error.help(), Some("write `CASE WHEN condition THEN a ELSE b END`"));
    let error = lake.error("SELECT percentile_approx(1, 0.5)").await;
    assert!(error.help().unwrap().contains("approx_percentile_cont"));
    let error = lake.error("SELECT approx_distint(1)").await;
    assert_eq!(error.help(), Some("did you mean `approx_distinct`?"));
    let error = lake.error("SELECT dateadd(fortnight, 1, DATE '2024-01-01')").await;
    assert!(error.help().unwrap().contains("quarter"), "{error:?}");
}

/// Moments far from 1970, as tables of validity have them.
pub(super) async fn ages() -> Lake {
    let lake = Lake::new().await;
    lake.create("t.t", NewTable::new(payments_schema())).await;
    let rows = "1|a|1|0001-01-02 2|b|2|2024-05-16 3|c|3|9999-12-31 4|d|4|-";
    lake.append("t.t", payments(rows)).await;
    lake
}

#[tokio::test]
async fn moments_of_all_ages_are_cut_to_their_units() {
    let lake = ages().await;
    for (unit, expected) in [
        ("year", ["0001-01-01", "2024-01-01", "9999-01-01"]),
        ("quarter", ["0001-01-01", "2024-04-01", "9999-10-01"]),
        ("month", ["0001-01-01", "2024-05-01", "9999-12-01"]),
        ("week", ["0001-01-01", "2024-05-13", "9999-12-27"]),
        ("day", ["0001-01-02", "2024-05-16", "9999-12-31"]),
        ("hour", ["0001-01-02", "2024-05-16", "9999-12-31"]),
    ] {
        let rows = |moment: &str| {
            let sql = format!("SELECT date_trunc('{unit}', {moment}) FROM t.t ORDER BY id");
            let lake = &lake;
            async move { lake.rows(&sql).await }
        };
        let mut expected: Vec<String> =
            expected.iter().map(|day| format!("{day}T00:00:00Z")).collect();
        expected.push("null".to_owned());
        assert_eq!(rows("event_timestamp").await, expected, "{unit}");
        assert_eq!(rows("CAST(event_timestamp AS DATE)").await, expected, "{unit}");
    }
    let error = lake.error("SELECT date_trunc('fortnight', event_timestamp) FROM t.t").await;
    assert!(error.to_string().contains("quarter"), "{error}");
    let bins = "SELECT date_bin(INTERVAL '1 day', event_timestamp) FROM t.t WHERE id = ";
    assert_eq!(lake.rows(&format!("{bins}2")).await, ["2024-05-16T00:00:00Z"]);
    let error = lake.error(&format!("{bins}3")).await;
    assert!(error.to_string().contains("2262"), "{error}");
}

#[tokio::test]
async fn weeks_of_iso_8601_have_days_one_to_seven() {
    let days = "(VALUES (DATE '2024-05-13'), (DATE '2024-05-19'), (NULL)) t(d)";
    let expected = "1;7;null";
    assert_eq!(one(&format!("extract(isodow FROM d) FROM {days}")).await, expected);
    assert_eq!(one(&format!("date_part('ISODOW', d) FROM {days}")).await, expected);
    assert_eq!(one(&format!("extract(dow FROM d) FROM {days}")).await, "1;0;null");
    assert_eq!(one("extract(isodow FROM DATE '2024-05-19')").await, "7");
    let year = format!("d FROM {days} WHERE extract(year FROM d) = 2024 ORDER BY d");
    assert_eq!(one(&year).await, "2024-05-13;2024-05-19");
}
