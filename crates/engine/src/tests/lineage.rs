//! Where columns come from.

use super::*;
use crate::Scope;
use crate::lineage::InfluenceKind;

async fn lake() -> Lake {
    let lake = Lake::new().await;
    lake.create("events.payments", NewTable::new(payments_schema())).await;
    lake.create("labels.churn", NewTable::new(payments_schema())).await;
    lake
}

/// Each column as `name <- table.column:how …`, and the influences.
async fn lineage(lake: &Lake, sql: &str, scope: &Scope) -> (Vec<String>, Vec<String>) {
    let found = lake.engine.lineage(sql, scope).await.unwrap();
    let columns = found.columns.iter().map(|column| {
        let inputs = column
            .inputs
            .iter()
            .map(|input| format!(" {}.{}:{:?}", input.table, input.column, input.how));
        format!("{} <-{}", column.name, inputs.collect::<String>())
    });
    let influences = found.influences.iter();
    let influences = influences.map(|by| format!("{}.{}:{:?}", by.table, by.column, by.by));
    (columns.collect(), influences.collect())
}

#[tokio::test]
async fn columns_are_followed_through_everything_that_sql_has() {
    let lake = lake().await;
    for (sql, columns, influences) in [
        (
            "SELECT user_token, round(avg(amount), 2) AS mean, count(*) AS n, 1 AS one \
             FROM events.payments WHERE id > 3 GROUP BY user_token",
            vec![
                "user_token <- events.payments.user_token:Identity",
                "mean <- events.payments.amount:Aggregation",
                "n <-",
                "one <-",
            ],
            vec!["events.payments.id:Filter", "events.payments.user_token:GroupBy"],
        ),
        (
            "WITH p AS (SELECT id, amount * 2 AS double FROM events.payments) \
             SELECT p.double + c.amount AS x FROM p JOIN labels.churn c ON p.id = c.id",
            vec!["x <- events.payments.amount:Transformation labels.churn.amount:Transformation"],
            vec!["events.payments.id:Join", "labels.churn.id:Join"],
        ),
        (
            "SELECT id FROM events.payments UNION ALL SELECT id + 1 FROM labels.churn",
            vec!["id <- events.payments.id:Identity labels.churn.id:Transformation"],
            vec![],
        ),
        (
            "SELECT id, row_number() OVER (PARTITION BY user_token ORDER BY event_timestamp) AS r, \
             sum(amount) OVER (PARTITION BY user_token) AS s FROM events.payments",
            vec![
                "id <- events.payments.id:Identity",
                "r <-",
                "s <- events.payments.amount:Aggregation",
            ],
            vec!["events.payments.event_timestamp:Window", "events.payments.user_token:Window"],
        ),
        (
            "SELECT id FROM events.payments WHERE amount > (SELECT max(amount) FROM labels.churn)",
            vec!["id <- events.payments.id:Identity"],
            vec!["events.payments.amount:Filter", "labels.churn.amount:Filter"],
        ),
        (
            "SELECT sum(amount) FILTER (WHERE id > 1) AS s FROM events.payments ORDER BY 1",
            vec!["s <- events.payments.amount:Aggregation"],
            vec!["events.payments.amount:Sort", "events.payments.id:Filter"],
        ),
        (
            "SELECT id FROM events.payments WHERE id IN (SELECT id FROM labels.churn)",
            vec!["id <- events.payments.id:Identity"],
            vec!["events.payments.id:Filter", "labels.churn.id:Filter"],
        ),
    ] {
        let found = lineage(&lake, sql, &Scope::default()).await;
        assert_eq!(found, (owned(&columns), owned(&influences)), "{sql}");
    }
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[tokio::test]
async fn a_view_is_a_source_of_its_own() {
    let lake = lake().await;
    let scope = Scope::default()
        .with_view(name("staging.p"), "SELECT id, amount * 2 AS a FROM events.payments");
    let (columns, _) = lineage(&lake, "SELECT max(a) AS m FROM staging.p", &scope).await;
    assert_eq!(columns, ["m <- staging.p.a:Aggregation"]);
    let found = lake.engine.lineage("SELECT 1 AS x FROM staging.p WHERE a > 1", &scope).await;
    let found = found.unwrap();
    assert_eq!(found.tables(), [&name("staging.p")]);
    assert_eq!(found.influences[0].by, InfluenceKind::Filter);
}
