use icecore_catalog::{RowMode, RowOptions};
use icecore_core::{CompareOp, Literal, Predicate};

use super::*;

/// Ten days of payments, a file for each, of which one row of the first two days is deleted.
async fn lake(version: u8) -> Lake {
    let lake = Lake::new().await;
    let new = NewTable::new(payments_schema()).with_partition_by(["day(event_timestamp)"]);
    lake.create("events.payments", new.with_format_version(version)).await;
    let rows: Vec<String> = (1..=10)
        .flat_map(|day| (0..5).map(move |n| (day, n)))
        .map(|(day, n)| format!("{}|u{n}|{day}|2026-01-{day:02}T0{n}:00:00Z", day * 10 + n))
        .collect();
    lake.append("events.payments", payments(&rows.join(" "))).await;
    let gone = Predicate::In("id".to_owned(), vec![Literal::Int(12), Literal::Int(24)]);
    let options = RowOptions::default().with_mode(RowMode::MergeOnRead);
    lake.catalog().delete(&name("events.payments"), gone, options).await.unwrap();
    lake
}

#[tokio::test]
async fn deleted_rows_are_in_no_answer() {
    for version in [2, 3] {
        let lake = lake(version).await;
        let sql = "SELECT count(*), count(amount), sum(id) FROM events.payments";
        let sum: i64 = (1..=10).flat_map(|day| (0..5).map(move |n| day * 10 + n)).sum();
        assert_eq!(lake.rows(sql).await, [format!("48|48|{}", sum - 36)], "{version}");
        let sql = "SELECT id FROM events.payments WHERE id < 26 AND user_token <> 'u0' ORDER BY id";
        assert_eq!(lake.rows(sql).await, ["11", "13", "14", "21", "22", "23"], "{version}");
        let sql = "SELECT id FROM events.payments WHERE id IN (12, 24)";
        assert!(lake.rows(sql).await.is_empty(), "{version}");
        let sql = "SELECT id FROM events.payments ORDER BY event_timestamp LIMIT 3";
        assert_eq!(lake.rows(sql).await, ["10", "11", "13"], "{version}");
        let sql = "SELECT count(*) FROM (SELECT id FROM events.payments LIMIT 47)";
        assert_eq!(lake.rows(sql).await, ["47"], "{version}");
    }
}

#[tokio::test]
async fn only_the_files_with_deletes_are_read_through_the_catalog() {
    let lake = lake(3).await;
    let plan = lake.rows("EXPLAIN SELECT id, amount FROM events.payments").await.join("\n");
    assert!(plan.contains("DataSourceExec"), "{plan}");
    assert!(plan.contains("deletes in 2, partitions=2"), "{plan}");
    let sql = "EXPLAIN SELECT id, amount FROM events.payments WHERE id > 30";
    assert!(!lake.rows(sql).await.join("\n").contains("CatalogScan"));
}

#[tokio::test]
async fn a_renamed_column_is_no_delete() {
    let lake = Lake::new().await;
    lake.create("events.payments", NewTable::new(payments_schema())).await;
    lake.append("events.payments", payments("1|a|10|2026-01-01")).await;
    let rename =
        icecore_catalog::Alteration::RenameColumn { column: "amount".into(), to: "paid".into() };
    let options = icecore_catalog::AlterOptions::default();
    lake.catalog().alter(&name("events.payments"), &[rename], options).await.unwrap();
    let plan = lake.rows("EXPLAIN SELECT id, paid FROM events.payments").await.join("\n");
    assert!(!plan.contains("deletes"), "{plan}");
    assert!(plan.contains("other columns in 1, partitions="), "{plan}");
}

#[tokio::test]
async fn what_a_query_finds_while_it_runs_reaches_files_with_deletes() {
    let lake = lake(3).await;
    let best = "SELECT id FROM events.payments ORDER BY id LIMIT 3";
    let plan = lake.rows(&format!("EXPLAIN {best}")).await.join("\n");
    let scan = plan.lines().find(|line| line.contains("CatalogScan")).unwrap_or_default();
    assert!(scan.contains("DynamicFilter"), "{plan}");
    assert_eq!(lake.rows(best).await, ["10", "11", "13"]);
    let joined =
        "SELECT p.id, k.n FROM (VALUES (12, 'gone'), (13, 'here'), (101, 'last')) AS k(id, n)
        JOIN events.payments AS p ON p.id = k.id ORDER BY p.id";
    assert_eq!(lake.rows(joined).await, ["13|here", "101|last"]);
    let outer = "SELECT count(*), count(k.id) FROM events.payments AS p
        LEFT JOIN (VALUES (12), (13)) AS k(id) ON p.id = k.id";
    assert_eq!(lake.rows(outer).await, ["48|1"]);
}

/// The sizes of deletion vectors are known; those of position delete files may count a row twice.
#[tokio::test]
async fn rows_are_counted_without_reading_where_vectors_say_how_many_are_gone() {
    let reads = async |version| {
        let lake = lake(version).await;
        let plan = lake.rows("EXPLAIN SELECT count(*) FROM events.payments").await.join("\n");
        plan.contains("CatalogScan")
    };
    assert!(!reads(3).await);
    assert!(reads(2).await);
}

#[tokio::test]
async fn the_tables_about_a_table_are_those_of_its_pin() {
    let lake = Lake::new().await;
    lake.create("t.t", NewTable::new(payments_schema())).await;
    let first = lake.append("t.t", payments("1|a|1|2026-01-01")).await.pinned;
    lake.append("t.t", payments("2|b|2|2026-01-02")).await;
    let of = |which: &str| format!("SELECT count(*) FROM t.\"t${which}\"");
    for which in ["files", "data_files", "entries", "manifests"] {
        let pinned = lake.rows_at(&of(which), std::slice::from_ref(&first)).await;
        assert_eq!((pinned[0].as_str(), lake.rows(&of(which)).await[0].as_str()), ("1", "2"));
    }
    assert_eq!(lake.rows(&of("snapshots")).await, ["2"]);
    assert_eq!(lake.rows(&of("delete_files")).await, ["0"]);
    let gone = Predicate::compare("id", CompareOp::Gt, Literal::Int(0));
    lake.catalog().delete(&name("t.t"), gone, RowOptions::default()).await.unwrap();
    let sql = "SELECT count(*) FROM t.\"t$entries\" WHERE status = 'deleted'";
    assert_eq!(lake.rows(sql).await, ["2"]);
}
