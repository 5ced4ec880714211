use super::*;

/// Ten days of payments, a file for each.
async fn lake() -> Lake {
    let lake = Lake::new().await;
    let new = NewTable::new(payments_schema()).with_partition_by(["day(event_timestamp)"]);
    lake.create("events.payments", new).await;
    let rows: Vec<String> = (1..=10)
        .flat_map(|day| (0..5).map(move |n| (day, n)))
        .map(|(day, n)| format!("{}|u{n}|{day}|2026-01-{day:02}T0{n}:00:00Z", day * 10 + n))
        .collect();
    lake.append("events.payments", payments(&rows.join(" "))).await;
    lake
}

/// How many files a query opens, as `EXPLAIN` says.
async fn files(lake: &Lake, condition: &str) -> String {
    let sql = format!("EXPLAIN SELECT * FROM events.payments WHERE {condition}");
    let plan = lake.rows(&sql).await.join("\n");
    let found =
        plan.split("files=").nth(1).map(|rest| rest.split([',', '\n', '|']).next().unwrap());
    found.map_or_else(|| format!("none: {plan}"), |text| text.trim().to_owned())
}

#[tokio::test]
async fn files_are_skipped_by_partition_and_by_what_is_known_of_columns() {
    let lake = lake().await;
    for (condition, kept) in [
        ("event_timestamp >= TIMESTAMP '2026-01-09'", 2),
        ("event_timestamp >= '2026-01-09T00:00:00Z'", 2),
        ("event_timestamp >= to_timestamp('2026-01-09T00:00:00Z')", 2),
        ("event_timestamp BETWEEN '2026-01-03T00:00:00Z' AND '2026-01-04T23:00:00Z'", 2),
        ("event_timestamp < '2026-01-02T00:00:00Z' OR event_timestamp > '2026-01-10T00:30:00Z'", 2),
        ("CAST(event_timestamp AS DATE) = DATE '2026-01-05'", 1),
        ("event_timestamp::date > DATE '2026-01-08'", 2),
        ("event_timestamp::date <= '2026-01-02'", 2),
        ("event_timestamp::date <> DATE '2026-01-05'", 9),
        ("event_timestamp::date BETWEEN DATE '2026-01-02' AND DATE '2026-01-04'", 3),
        ("id = 42", 1),
        ("id IN (11, 12, 101)", 2),
        ("NOT (id < 90)", 2),
        ("amount > 8.5 AND length(user_token) > 0", 2),
        ("amount <= 3 AND id <> 0", 3),
        ("user_token = 'u1'", 10),
        ("amount IS NULL", 0),
        ("id > 1000", 0),
        ("id % 2 = 0", 10),
    ] {
        assert_eq!(files(&lake, condition).await, format!("{kept} of 10"), "{condition}");
    }
}

#[tokio::test]
async fn skipping_files_changes_no_answer() {
    let lake = lake().await;
    for condition in [
        "event_timestamp >= TIMESTAMP '2026-01-09'",
        "event_timestamp::date <> DATE '2026-01-05' AND event_timestamp::date > DATE '2026-01-03'",
        "NOT (id < 90) AND amount > 9",
        "user_token = 'u1' OR id = 42",
        "id NOT IN (10, 11) AND amount BETWEEN 1 AND 2",
        "amount IS NOT NULL AND NOT (amount > 2 OR amount IS NULL)",
    ] {
        // An expression that no file can be skipped by gives the same rows.
        let plain = condition.replace("id", "(id + 0)").replace("amount", "(amount + 0)");
        let plain = plain.replace("event_timestamp", "(event_timestamp + INTERVAL '0 days')");
        let sql = |condition: &str| {
            format!("SELECT id FROM events.payments WHERE {condition} ORDER BY id")
        };
        let rows = lake.rows(&sql(condition)).await;
        assert!(!rows.is_empty(), "{condition}");
        assert_eq!(rows, lake.rows(&sql(&plain)).await, "{condition}");
    }
}

#[tokio::test]
async fn counts_come_from_the_catalog_and_bounds_do_not() {
    let lake = lake().await;
    let plan = lake.rows("EXPLAIN SELECT count(*), count(amount) FROM events.payments").await;
    assert!(!plan.join("\n").contains("DataSourceExec"), "{plan:?}");
    assert_eq!(lake.rows("SELECT count(*), count(amount) FROM events.payments").await, ["50|50"]);
    // The catalog's bounds need not be values.
    let plan = lake.rows("EXPLAIN SELECT max(user_token) FROM events.payments").await;
    assert!(plan.join("\n").contains("DataSourceExec"), "{plan:?}");
    assert_eq!(lake.rows("SELECT max(user_token), min(id) FROM events.payments").await, ["u4|10"]);
}

#[tokio::test]
async fn plans_name_the_pin_and_push_down_what_helps() {
    let lake = lake().await;
    let pin = lake.latest("events.payments").await;
    let sql = "EXPLAIN SELECT user_token FROM events.payments WHERE id = 72";
    let plan = lake.rows(sql).await.join("\n");
    assert!(plan.contains(&format!("table={pin}")), "{plan}");
    assert!(plan.contains("predicate=id") && !plan.contains("FilterExec"), "{plan}");
    // Where most rows pass, they are decoded first.
    let sql = "EXPLAIN SELECT user_token FROM events.payments WHERE id > 70";
    let plan = lake.rows(sql).await.join("\n");
    assert!(plan.contains("predicate=id") && plan.contains("FilterExec"), "{plan}");
    let plan = lake.rows("EXPLAIN SELECT id FROM events.payments WHERE id > 70").await.join("\n");
    assert!(plan.contains("predicate=id") && plan.contains("FilterExec"), "{plan}");
    let plan = lake
        .rows("EXPLAIN SELECT * FROM events.payments ORDER BY event_timestamp DESC LIMIT 3")
        .await
        .join("\n");
    assert!(plan.contains("DynamicFilter"), "{plan}");
    let plan = lake.rows("EXPLAIN SELECT amount FROM events.payments LIMIT 3").await.join("\n");
    assert!(plan.contains("limit=3") && plan.contains("projection=[amount]"), "{plan}");
}

#[tokio::test]
async fn joins_and_top_rows_filter_while_they_run() {
    let lake = lake().await;
    let top = "SELECT id FROM events.payments ORDER BY event_timestamp DESC LIMIT 2";
    assert_eq!(lake.rows(top).await, ["104", "103"]);
    let join = "SELECT sum(p.amount) FROM events.payments p \
                JOIN (SELECT 42 AS id UNION ALL SELECT 104) k ON p.id = k.id";
    assert_eq!(lake.rows(join).await, ["14.0"]);
}
