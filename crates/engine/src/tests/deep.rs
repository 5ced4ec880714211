//! Queries and conditions of many terms and of many levels.

use icecore_core::ErrorKind;

use super::*;

async fn lake() -> Lake {
    let lake = Lake::new().await;
    lake.create("events.payments", NewTable::new(payments_schema())).await;
    lake.append("events.payments", payments("1|a|10|2026-01-01 2|b|-|2026-01-02")).await;
    lake
}

#[tokio::test]
async fn thousands_of_alternatives_are_asked() {
    let lake = lake().await;
    let terms =
        |term: &dyn Fn(usize) -> String| (0..3_000).map(term).collect::<Vec<_>>().join(" OR ");
    let ids = terms(&|at| format!("id = {}", at * 2));
    let sql = format!("SELECT id FROM events.payments WHERE {ids}");
    assert_eq!(lake.rows(&sql).await, ["2"]);
    let pairs = terms(&|at| format!("id = {at} AND user_token = 'b'"));
    let sql = format!("SELECT id FROM events.payments WHERE {pairs}");
    assert_eq!(lake.rows(&sql).await, ["2"]);
    let filter = lake.engine.row_filter(&payments_schema(), &ids).unwrap();
    assert!(filter.implied().is_some());
    lake.engine.row_test(&payments_schema(), &pairs).unwrap();
}

fn on_large_stack<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    crate::parse::tests::on_large_stack(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(test());
    });
}

#[test]
fn what_is_too_deep_is_refused_and_not_a_crash() {
    on_large_stack(deep_queries);
}

async fn deep_queries() {
    let lake = lake().await;
    let plus = format!("id{} > 3", " + id".repeat(2_000));
    let error = lake.engine.row_filter(&payments_schema(), &plus).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
    let steps: Vec<String> =
        (1..150).map(|at| format!("t{at} AS (SELECT id + 1 AS id FROM t{})", at - 1)).collect();
    let with = format!(
        "WITH t0 AS (SELECT id FROM events.payments), {} SELECT * FROM t149",
        steps.join(", ")
    );
    let error = lake.error(&with).await;
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
    assert_eq!(error.to_string(), "the query has more than 200 steps one after the other");
    let explained = lake.error(&format!("{}SELECT 1", "EXPLAIN ".repeat(1_000))).await;
    assert_eq!(explained.kind(), ErrorKind::LimitExceeded);
}

#[test]
fn views_that_read_each_other_are_limited() {
    on_large_stack(nested_views);
}

async fn nested_views() {
    let lake = lake().await;
    let mut scope = crate::Scope::default();
    for at in 1..100 {
        let of = if at == 1 { "events.payments".to_owned() } else { format!("v.v{}", at - 1) };
        scope = scope.with_view(name(&format!("v.v{at}")), format!("SELECT id FROM {of}"));
    }
    let answer = |at: usize| {
        let (engine, scope) = (lake.engine.clone(), scope.clone());
        async move { engine.query_in(&format!("SELECT id FROM v.v{at}"), &scope).await.map(drop) }
    };
    answer(5).await.unwrap();
    let error = answer(90).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
}
