//! D5: the condition that cuts an aggregate short.

mod subset;

use super::*;
use crate::{Narrowing, Scope};

async fn narrowing(full: &str, condition: &str) -> Option<Narrowing> {
    let lake = Lake::new().await;
    lake.create("events.payments", NewTable::new(payments_schema())).await;
    lake.create("models.this", NewTable::new(payments_schema())).await;
    let incremental = full.replace("TRUE", condition);
    lake.engine.narrowing(full, &incremental, &Scope::default()).await.unwrap()
}

const NEW: &str = "event_timestamp > (SELECT max(event_timestamp) FROM models.this)";

#[tokio::test]
async fn a_window_that_is_cut_short_is_found() {
    let full = "SELECT user_token, count(*) AS n FROM events.payments \
                WHERE event_timestamp >= DATE '2024-01-01' AND TRUE GROUP BY user_token";
    let found = narrowing(full, NEW).await.unwrap();
    assert!(found.condition.contains("event_timestamp"), "{found:?}");
    assert_eq!(found.grouped_by, ["user_token"]);
    assert_eq!(found.condition, "event_timestamp > (select max(event_timestamp))");
    // Also below a subquery, a union, or a window function.
    for full in [
        "WITH new AS (SELECT * FROM events.payments WHERE TRUE) \
         SELECT user_token, sum(amount) FROM new GROUP BY user_token",
        "SELECT max(amount) FROM events.payments WHERE TRUE",
        "SELECT id, sum(amount) OVER (PARTITION BY user_token) FROM events.payments WHERE TRUE",
        "SELECT date_trunc('day', event_timestamp) AS d, count(*) FROM events.payments WHERE TRUE GROUP BY 1",
        // A condition on the run's date is as bad as one on the table itself.
        "SELECT user_token, max(amount) FROM events.payments WHERE TRUE GROUP BY user_token",
    ] {
        assert!(narrowing(full, NEW).await.is_some(), "{full}");
        let by_date = "event_timestamp > TIMESTAMP '2024-02-01T00:00:00Z'";
        assert!(narrowing(full, by_date).await.is_some(), "{full}");
    }
}

#[tokio::test]
async fn conditions_that_take_whole_groups_are_fine() {
    for (full, condition) in [
        ("SELECT id, amount FROM events.payments WHERE TRUE", NEW),
        ("SELECT DISTINCT user_token FROM events.payments WHERE TRUE", NEW),
        ("SELECT event_timestamp, count(*) FROM events.payments WHERE TRUE GROUP BY 1", NEW),
        (
            "SELECT date_trunc('day', event_timestamp) AS d, count(*) FROM events.payments WHERE TRUE GROUP BY 1",
            "event_timestamp >= (SELECT max(event_timestamp) FROM models.this)",
        ),
        (
            "SELECT date_trunc('day', event_timestamp) AS d, count(*) FROM events.payments WHERE TRUE GROUP BY 1",
            "date_trunc('day', event_timestamp) > (SELECT max(event_timestamp) FROM models.this)",
        ),
        (
            "SELECT id, sum(amount) OVER (PARTITION BY user_token) FROM events.payments WHERE TRUE",
            "user_token IN ('a', 'b')",
        ),
        // Above the aggregate nothing is cut.
        (
            "SELECT user_token, max(id) AS m FROM events.payments GROUP BY 1 HAVING TRUE",
            "max(id) > 3",
        ),
        ("SELECT user_token, count(*) FROM events.payments WHERE TRUE GROUP BY 1", "TRUE"),
    ] {
        assert_eq!(narrowing(full, condition).await, None, "{full} / {condition}");
    }
}

/// A count of days, weeks, or what else groups begin at.
fn grouped(by: &str) -> String {
    format!("SELECT {by} AS d, count(*) FROM events.payments WHERE TRUE GROUP BY 1")
}

// D5: the day at the edge would be computed from a part of its events.
#[tokio::test]
async fn a_start_in_the_middle_of_a_group_is_found() {
    const LAST: &str = "(SELECT max(event_timestamp) FROM models.this)";
    for (by, start) in [
        ("date_trunc('day', event_timestamp)", "LAST - INTERVAL '6 hours'"),
        ("date_trunc('day', event_timestamp)", "LAST - INTERVAL '1 day 6 hours'"),
        ("date_trunc('day', event_timestamp)", "dateadd(hour, -6, LAST)"),
        (
            "date_trunc('day', event_timestamp)",
            "(SELECT max(event_timestamp) - INTERVAL '6 hours' FROM models.this)",
        ),
        (
            "date_trunc('day', event_timestamp)",
            "(SELECT max(t) FROM (SELECT event_timestamp - INTERVAL '6 hours' AS t FROM models.this))",
        ),
        ("date_trunc('day', event_timestamp)", "TIMESTAMP '2024-02-01T12:00:00Z'"),
        ("date_trunc('day', event_timestamp)", "'2024-02-01T00:00:00+02:00'"),
        ("date_trunc('day', event_timestamp)", "date_trunc('hour', now())"),
        ("date_trunc('day', event_timestamp)", "now()"),
        ("CAST(event_timestamp AS DATE)", "LAST - INTERVAL '6 hours'"),
        ("date_trunc('month', event_timestamp)", "LAST - INTERVAL '3 days'"),
        ("date_trunc('month', event_timestamp)", "date_trunc('week', LAST)"),
        ("date_trunc('week', event_timestamp)", "DATE '2024-02-06'"),
        ("date_bin(INTERVAL '15 minutes', event_timestamp)", "LAST - INTERVAL '20 minutes'"),
        // Hours of any day, and days that begin at another moment.
        ("date_part('hour', event_timestamp)", "LAST"),
        ("date_trunc('day', event_timestamp + INTERVAL '6 hours')", "DATE '2024-02-01'"),
    ] {
        let condition = format!("event_timestamp >= {}", start.replace("LAST", LAST));
        let found = narrowing(&grouped(by), &condition).await;
        assert!(found.is_some(), "{by} / {condition}");
    }
}

#[tokio::test]
async fn a_start_where_a_group_begins_is_fine() {
    const LAST: &str = "(SELECT max(event_timestamp) FROM models.this)";
    for (by, start) in [
        ("date_trunc('day', event_timestamp)", "LAST - INTERVAL '3 days'"),
        ("date_trunc('day', event_timestamp)", "LAST - INTERVAL '48 hours'"),
        ("date_trunc('day', event_timestamp)", "LAST - INTERVAL '1 month'"),
        ("date_trunc('day', event_timestamp)", "dateadd(day, -3, LAST)"),
        (
            "date_trunc('day', event_timestamp)",
            "(SELECT max(event_timestamp) - INTERVAL '3 days' FROM models.this)",
        ),
        (
            "date_trunc('day', event_timestamp)",
            "(SELECT coalesce(max(event_timestamp), TIMESTAMP '1900-01-01T00:00:00Z') FROM models.this)",
        ),
        ("date_trunc('day', event_timestamp)", "date_trunc('day', LAST - INTERVAL '6 hours')"),
        ("date_trunc('day', event_timestamp)", "date_trunc('month', LAST)"),
        ("date_trunc('day', event_timestamp)", "CAST(LAST AS DATE)"),
        ("date_trunc('day', event_timestamp)", "TIMESTAMP '2024-02-01T00:00:00Z'"),
        ("date_trunc('day', event_timestamp)", "'2024-02-01'"),
        ("CAST(event_timestamp AS DATE)", "LAST - INTERVAL '3 days'"),
        ("date_trunc('month', event_timestamp)", "LAST - INTERVAL '1 month'"),
        ("date_trunc('week', event_timestamp)", "DATE '2024-02-05'"),
        ("date_trunc('hour', event_timestamp)", "LAST - INTERVAL '6 hours'"),
        ("date_bin(INTERVAL '15 minutes', event_timestamp)", "LAST - INTERVAL '1 hour'"),
    ] {
        let start = start.replace("LAST", LAST);
        for condition in
            [format!("event_timestamp >= {start}"), format!("{start} <= event_timestamp")]
        {
            assert_eq!(narrowing(&grouped(by), &condition).await, None, "{by} / {condition}");
        }
    }
    let by_day = grouped("date_trunc('day', event_timestamp)");
    for (full, condition) in [
        // Rows of a day are compared by their day.
        (by_day.as_str(), "CAST(event_timestamp AS DATE) > DATE '2024-02-01'"),
        (
            "WITH e AS (SELECT CAST(event_timestamp AS DATE) AS d, amount FROM events.payments \
             WHERE TRUE) SELECT d, sum(amount) FROM e GROUP BY d",
            "event_timestamp >= (SELECT max(event_timestamp) FROM models.this)",
        ),
        (
            "SELECT date_part('year', event_timestamp) AS y, date_part('month', event_timestamp) \
             AS m, count(*) FROM events.payments WHERE TRUE GROUP BY 1, 2",
            "event_timestamp >= date_trunc('month', (SELECT max(event_timestamp) FROM models.this))",
        ),
    ] {
        assert_eq!(narrowing(full, condition).await, None, "{full} / {condition}");
    }
}

#[tokio::test]
async fn what_the_table_holds_is_asked() {
    const LAST: &str = "event_timestamp >= (SELECT max(event_timestamp) FROM models.this)";
    for (last, is_fine) in [("2024-02-01T03:00:00Z", false), ("2024-02-01T00:00:00Z", true)] {
        let lake = Lake::new().await;
        lake.create("events.payments", NewTable::new(payments_schema())).await;
        lake.create("models.this", NewTable::new(payments_schema())).await;
        lake.append("models.this", payments(&format!("1|a|1.5|{last}"))).await;
        let full = grouped("date_trunc('day', event_timestamp)");
        let incremental = full.replace("TRUE", LAST);
        let found = lake.engine.narrowing(&full, &incremental, &Scope::default()).await.unwrap();
        assert_eq!(found.is_none(), is_fine, "{last}: {found:?}");
    }
}

#[tokio::test]
async fn other_queries_are_not_believed() {
    let full = "SELECT id, amount FROM events.payments WHERE amount > 3 AND TRUE";
    for incremental in [
        "SELECT id, amount FROM events.payments WHERE id > 7",
        "SELECT id, amount FROM events.payments WHERE amount > 3 OR id > 7",
        "SELECT id, amount + 1 AS amount FROM events.payments WHERE amount > 3",
        "SELECT id, amount FROM models.this WHERE amount > 3",
        "SELECT id, amount FROM events.payments WHERE amount > 3 LIMIT 5",
        "SELECT id, amount FROM events.payments WHERE amount > 3 UNION ALL SELECT 1, 2.0",
    ] {
        let lake = Lake::new().await;
        lake.create("events.payments", NewTable::new(payments_schema())).await;
        lake.create("models.this", NewTable::new(payments_schema())).await;
        let found = lake.engine.narrowing(full, incremental, &Scope::default()).await.unwrap();
        let found = found.expect(incremental);
        assert!(found.computed.is_empty(), "{found:?}");
        assert!(found.to_string().contains("another than that of a full refresh"), "{found}");
    }
}
