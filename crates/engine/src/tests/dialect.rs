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
    assert!(error.help().unwrap().contains("2262"), "{error}");
    let bins = "SELECT date_bin(INTERVAL '1 day', CAST(event_timestamp AS TIMESTAMP)) FROM t.t";
    let error = lake.error(bins).await;
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

#[tokio::test]
async fn moments_of_all_ages_are_compared() {
    let lake = ages().await;
    let rows = |condition: &str| {
        let sql = format!("SELECT id FROM t.t WHERE {condition} ORDER BY id");
        let lake = &lake;
        async move { lake.rows(&sql).await }
    };
    for (condition, expected) in [
        ("date_trunc('year', event_timestamp) < '2000-01-01'", vec!["1"]),
        ("event_timestamp = TIMESTAMP '9999-12-31 00:00:00'", vec!["3"]),
        ("event_timestamp < '9999-12-31'", vec!["1", "2"]),
        ("event_timestamp >= DATE '9999-12-31'", vec!["3"]),
        ("'9999-12-31' = event_timestamp", vec!["3"]),
        ("event_timestamp IN ('0001-01-02', TIMESTAMP '9999-12-31')", vec!["1", "3"]),
        ("event_timestamp BETWEEN '0001-01-01' AND DATE '2025-01-01'", vec!["1", "2"]),
        ("CAST(event_timestamp AS DATE) > now()", vec!["3"]),
        ("CAST(event_timestamp AS DATE) > now() - INTERVAL '1 day'", vec!["3"]),
        ("CAST(event_timestamp AS DATE) > TIMESTAMP '2024-01-01 00:00:00'", vec!["2", "3"]),
        ("CAST(event_timestamp AS DATE) = event_timestamp", vec!["1", "2", "3"]),
        ("CAST(CAST(event_timestamp AS DATE) AS TIMESTAMP) = event_timestamp", vec!["1", "2", "3"]),
        ("TRY_CAST(CAST(event_timestamp AS VARCHAR) AS TIMESTAMP) > '9999-01-01'", vec!["3"]),
        ("coalesce(event_timestamp, DATE '9999-12-31') > '9000-01-01'", vec!["3", "4"]),
        (
            "CASE WHEN id = 4 THEN DATE '9999-12-31' ELSE event_timestamp END > '9000-01-01'",
            vec!["3", "4"],
        ),
        ("to_char(event_timestamp, '%Y') = '9999'", vec!["3"]),
        ("extract(year FROM event_timestamp) = 9999", vec!["3"]),
    ] {
        assert_eq!(rows(condition).await, expected, "{condition}");
        let filter = lake.engine.row_filter(&payments_schema(), condition).unwrap();
        let icecore_catalog::RowFilter::Test(test) = filter else { continue };
        let all = lake.engine.sql("SELECT * FROM t.t ORDER BY id", &[]).await.unwrap();
        let all = all.concat().await.unwrap();
        let schema = all.schema();
        let columns: Vec<usize> =
            test.columns().iter().map(|name| schema.index_of(name).unwrap()).collect();
        let passes = test.passes(&all.project(&columns).unwrap()).unwrap();
        let found: Vec<String> = (0..4_usize)
            .filter(|row| arrow::array::Array::is_valid(&passes, *row) && passes.value(*row))
            .map(|row| (row + 1).to_string())
            .collect();
        assert_eq!(found, expected, "as a filter of rows: {condition}");
    }
}

#[tokio::test]
async fn casts_to_timestamps_mean_what_they_did() {
    for (sql, expected) in [
        ("CAST(1 AS TIMESTAMP)", "1970-01-01T00:00:01Z"),
        ("CAST('2024-01-01 00:00:00.123456' AS TIMESTAMP)", "2024-01-01T00:00:00.123456Z"),
        ("'9999-12-31'::TIMESTAMP", "9999-12-31T00:00:00Z"),
        ("TIMESTAMP WITH TIME ZONE '9999-12-31 02:00:00+02:00'", "9999-12-31T00:00:00Z"),
        ("TIMESTAMP '2024-01-01 00:00:00.0000005' > TIMESTAMP '2024-01-01 00:00:00'", "true"),
        (
            "arrow_cast('2024-01-01 00:00:00.0000005', 'Timestamp(Nanosecond, None)') \
             = TIMESTAMP '2024-01-01 00:00:00'",
            "false",
        ),
        ("arrow_typeof(TIMESTAMP '2024-01-01 00:00:00')", "Timestamp(µs)"),
        ("arrow_typeof(TIME '12:00:00')", "Time64(µs)"),
        ("TIME '12:00:00.000001' > TIME '12:00:00'", "true"),
        ("TIME '12:00:00.0000001' > TIME '12:00:00'", "true"),
        ("current_time > TIME '00:00:00' OR true", "true"),
    ] {
        assert_eq!(one(sql).await, expected, "{sql}");
    }
}

#[tokio::test]
async fn times_and_uuids_are_written_as_literals() {
    use arrow::array::{FixedSizeBinaryArray, Time64MicrosecondArray};
    let lake = Lake::new().await;
    let times = Time64MicrosecondArray::from(vec![Some(1_000_000), Some(43_200_000_000), None]);
    let ids = [[0_u8; 16], [255; 16], [0; 16]];
    let ids = FixedSizeBinaryArray::try_from_iter(ids.into_iter()).unwrap();
    let batch = RecordBatch::try_from_iter([
        ("tm", Arc::new(times) as arrow::array::ArrayRef),
        ("u", Arc::new(ids)),
    ])
    .unwrap();
    lake.create("t.t", NewTable::new(batch.schema())).await;
    lake.append("t.t", batch).await;
    for (condition, expected) in [
        ("tm < TIME '12:00:00'", "1"),
        ("coalesce(tm, TIME '12:00:00') = TIME '12:00:00'", "2"),
        ("tm IN (TIME '12:00:00', TIME '00:00:01')", "2"),
        ("u = 'ffffffff-ffff-ffff-ffff-ffffffffffff'", "1"),
        ("u = UUID '00000000-0000-0000-0000-000000000000'", "2"),
        ("u IN ('00000000-0000-0000-0000-000000000000')", "2"),
        ("u > CAST('00000000-0000-0000-0000-000000000000' AS UUID)", "1"),
    ] {
        let sql = format!("SELECT count(*) FROM t.t WHERE {condition}");
        assert_eq!(lake.rows(&sql).await, [expected], "{condition}");
    }
    let error = lake.error("SELECT UUID 'x'").await;
    assert!(error.to_string().contains("is no UUID"), "{error}");
}

#[tokio::test]
async fn samples_are_refused() {
    let lake = ages().await;
    for sql in [
        "SELECT count(*) FROM t.t TABLESAMPLE (10 PERCENT)",
        "SELECT 1 WHERE 1 IN (SELECT id FROM t.t TABLESAMPLE BERNOULLI (10))",
        "WITH s AS (SELECT * FROM t.t TABLESAMPLE SYSTEM (1)) SELECT * FROM s",
    ] {
        let error = lake.error(sql).await;
        assert_eq!(error.kind(), icecore_core::ErrorKind::Unsupported, "{sql}: {error}");
        assert!(error.help().unwrap().contains("random()"), "{sql}");
    }
}
