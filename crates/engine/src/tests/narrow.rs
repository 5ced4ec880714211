//! D5: the condition that cuts an aggregate short.

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
