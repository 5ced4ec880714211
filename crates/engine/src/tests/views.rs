//! Views, of a query's own and of the catalog.

use icecore_core::{ErrorKind, Timestamp};

use super::*;
use crate::{Scope, View};

async fn lake() -> Lake {
    let lake = Lake::new().await;
    lake.create("events.payments", NewTable::new(payments_schema())).await;
    lake.append("events.payments", payments("1|a|10|2026-01-01 2|b|-|2026-01-02")).await;
    lake
}

fn view(table: &str, sql: &str) -> View {
    View {
        name: name(table),
        sql: sql.to_owned(),
        made_by: "model.p.v".to_owned(),
        created_at: Timestamp::from_micros(1),
    }
}

#[tokio::test]
async fn a_view_of_the_catalog_is_read_like_a_table_and_its_tables_are_pinned() {
    let lake = lake().await;
    let put = |view: View| async move { view };
    let first = put(view("staging.p", "SELECT id, amount FROM events.payments")).await;
    assert!(lake.engine.put_view(&first, CommitOptions::default()).await.unwrap());
    assert!(!lake.engine.put_view(&first, CommitOptions::default()).await.unwrap());
    let second = view("staging.q", "SELECT count(*) AS n FROM staging.p WHERE id > 1");
    lake.engine.put_view(&second, CommitOptions::default()).await.unwrap();
    assert_eq!(lake.rows("SELECT n FROM staging.q").await, ["1"]);
    let pins = lake.engine.pin_query("SELECT * FROM staging.q", &[]).await.unwrap();
    assert_eq!(pins, [lake.latest("events.payments").await]);
    // A pin of what a view reads keeps the view where it was.
    lake.append("events.payments", payments("3|a|5|2026-01-03")).await;
    assert_eq!(lake.rows_at("SELECT n FROM staging.q", &pins).await, ["1"]);
    assert_eq!(lake.rows("SELECT n FROM staging.q").await, ["2"]);
    assert_eq!(
        lake.rows("SELECT name FROM icecore.views ORDER BY 1").await,
        ["staging.p", "staging.q"]
    );

    let error = lake.error("SELECT * FROM staging.pp").await;
    assert_eq!(error.help(), Some("did you mean `staging.p`?"));
    assert!(lake.engine.drop_view(&name("staging.q")).await.unwrap());
    assert!(!lake.engine.drop_view(&name("staging.q")).await.unwrap());
    assert_eq!(lake.error("SELECT * FROM staging.q").await.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_pin_of_the_table_of_views_keeps_what_they_say() {
    let lake = lake().await;
    let put = async |sql: &str| {
        let view = view("staging.p", sql);
        assert!(lake.engine.put_view(&view, CommitOptions::default()).await.unwrap());
    };
    put("SELECT id FROM events.payments").await;
    let sql = "SELECT id FROM staging.p ORDER BY id";
    let pins = lake.engine.pin_query_with_views(sql, &[]).await.unwrap();
    let views = lake.latest("icecore.views").await;
    assert_eq!(pins, [lake.latest("events.payments").await, views.clone()]);
    put("SELECT id * 10 AS id FROM events.payments").await;
    assert_eq!(lake.rows(sql).await, ["10", "20"]);
    assert_eq!(lake.rows_at(sql, &pins).await, ["1", "2"]);
    // What a view says decides what is read.
    lake.create("events.others", NewTable::new(payments_schema())).await;
    put("SELECT id FROM events.others").await;
    let now = lake.engine.pin_query_with_views(sql, &[]).await.unwrap();
    assert_eq!(now[0], lake.latest("events.others").await);
    let at = [(views.table.clone(), SnapshotSelector::Id(views.snapshot))];
    assert_eq!(lake.engine.pin_query_with_views(sql, &at).await.unwrap(), pins);
    assert!(lake.engine.drop_view(&name("staging.p")).await.unwrap());
    assert_eq!(lake.rows_at(sql, &pins).await, ["1", "2"]);
    // Where no view is read, their table is not.
    let plain = "SELECT id FROM events.payments";
    let found = lake.engine.pin_query_with_views(plain, &[]).await.unwrap();
    assert_eq!(found, [lake.latest("events.payments").await]);
    assert!(lake.engine.pin_query_with_views(plain, &at).await.is_err());
}

#[tokio::test]
async fn a_view_cannot_take_the_name_of_a_table_or_read_itself() {
    let lake = lake().await;
    let taken = view("events.payments", "SELECT 1");
    let error = lake.engine.put_view(&taken, CommitOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    let change = view("staging.c", "DROP TABLE events.payments");
    assert!(lake.engine.put_view(&change, CommitOptions::default()).await.is_err());
    for (name, of) in [("staging.a", "staging.b"), ("staging.b", "staging.a")] {
        let view = view(name, &format!("SELECT * FROM {of}"));
        lake.engine.put_view(&view, CommitOptions::default()).await.unwrap();
    }
    let error = lake.error("SELECT * FROM staging.a").await;
    assert_eq!(error.to_string(), "view `staging.a` reads itself");
}

#[tokio::test]
async fn a_scopes_own_names_come_first() {
    let lake = lake().await;
    let scope = Scope::default()
        .with_view(name("staging.p"), "SELECT id * 10 AS id FROM events.payments")
        .with_rows(name("events.payments"), payments("7|z|1|2026-01-01"));
    let sql = "SELECT id FROM staging.p";
    let rows = lake.engine.sql_in(sql, &scope).await.unwrap().concat().await.unwrap();
    assert_eq!(lines(&rows), ["70"]);
    assert_eq!(lake.engine.pin_in(sql, &scope, &[]).await.unwrap(), []);
    let columns = lake.engine.schema_in(sql, &scope).await.unwrap();
    assert_eq!(columns.field(0).name(), "id");
}
