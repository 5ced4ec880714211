//! A small dbt project, as it is: seeds, property files, unit tests, artifacts.

use serde_json::Value;

use super::*;

const PROJECT: [(&str, &str); 6] = [
    (
        "dbt_project.yml",
        "name: churn\nversion: '1.0.0'\nconfig-version: 2\nprofile: churn\nmodel-paths: [\"models\"]\n\
         seed-paths: [\"seeds\"]\ntest-paths: [\"tests\"]\nmodels:\n  churn:\n    \
         staging: {+materialized: view}\n    features: {+materialized: incremental}\n\
         vars: {window_days: 30}\n",
    ),
    ("profiles.yml", "churn: {target: dev, outputs: {dev: {type: duckdb, path: churn.duckdb}}}\n"),
    (
        "models/features/user_features.sql",
        "{{ config(materialized='incremental', incremental_strategy='delete+insert', \
         unique_key='user_token', on_schema_change='append_new_columns', tags=['ml']) }}\n\
         select user_token, CAST('{{ run_started_at }}'[:10] AS DATE) as feature_date,\n       \
         count(*) filter (where status='declined') as decline_count, round(avg(amount),2) as \
         avg_amount, max(ts) as last_ts\nfrom {{ ref('stg_txn') }}\n{% if is_incremental() %} where \
         ts > (select max(last_ts) from {{ this }}) {% endif %}\ngroup by user_token\n",
    ),
    (
        "models/staging/stg_txn.sql",
        "select txn_id, user_token, amount, status, cast(ts as date) as ts from {{ ref('raw_txn') }}\n",
    ),
    (
        "models/schema.yml",
        "version: 2\nsources:\n  - name: raw\n    schema: main\n    tables: [{name: raw_txn, \
         loaded_at_field: ts, freshness: {warn_after: {count: 1, period: day}}}]\nmodels:\n  \
         - name: user_features\n    description: per-user features\n    columns:\n      \
         - name: user_token\n        data_tests: [unique, not_null]\n      - name: decline_count\n        \
         data_tests: [{accepted_values: {values: [0, 1]}}]\nunit_tests:\n  - name: counts_declines\n    \
         model: user_features\n    overrides: {macros: {is_incremental: false}}\n    given:\n      \
         - input: ref('stg_txn')\n        rows: [{txn_id: 1, user_token: a, amount: 1.0, status: \
         declined, ts: 2024-01-01}]\n    expect:\n      rows: [{user_token: a, decline_count: 1, \
         avg_amount: 1.0}]\n",
    ),
    (
        "seeds/raw_txn.csv",
        "txn_id,user_token,amount,status,ts\n1,u1,10.0,completed,2024-01-01\n\
         2,u1,20.0,declined,2024-01-10\n3,u2,5.5,completed,2024-02-01\n",
    ),
];

async fn churn() -> World {
    let world = World::new().await;
    for (file, text) in PROJECT {
        world.write(file, text);
    }
    world
}

#[tokio::test]
async fn a_dbt_project_runs_as_it_is() {
    let world = churn().await;
    let report = world.good("2026-11-22").await;
    let kinds: Vec<(&str, Status)> =
        report.results.iter().map(|result| (result.kind, result.status)).collect();
    assert_eq!(kinds.iter().filter(|(kind, _)| *kind == "test").count(), 3);
    assert!(kinds.contains(&("unit_test", Status::Pass)), "{kinds:?}");
    let rows = world.rows("SELECT user_token, feature_date, decline_count, avg_amount FROM main.user_features ORDER BY 1").await;
    assert_eq!(rows, ["u1|2026-11-22|1|15.0", "u2|2026-11-22|0|5.5"]);
    assert_eq!(world.rows("SELECT count(*) FROM main.stg_txn").await, ["3"]);
    // The seed is read again only where it changed; new rows count for whole users.
    let more = "txn_id,user_token,amount,status,ts\n1,u1,10.0,completed,2024-01-01\n\
                2,u1,20.0,declined,2024-01-10\n3,u2,5.5,completed,2024-02-01\n4,u2,6.5,declined,2024-03-01\n";
    let again = world.good("2026-11-23").await;
    let seed = again.results.iter().find(|result| result.kind == "seed").unwrap();
    assert_eq!(seed.message, "unchanged");
    world.write("seeds/raw_txn.csv", more);
    world.good("2026-11-24").await;
    let rows = world
        .rows("SELECT user_token, decline_count, avg_amount FROM main.user_features ORDER BY 1")
        .await;
    assert_eq!(rows, ["u1|1|15.0", "u2|1|6.0"]);
}

#[tokio::test]
async fn a_unit_test_that_fails_says_how() {
    let world = churn().await;
    let wrong = PROJECT[4].1.replace("avg_amount: 1.0}]", "avg_amount: 2.0}]");
    world.write("models/schema.yml", &wrong);
    let report = world.run_with(options("2026-11-22"), Selection::default()).await;
    let unit = report.results.iter().find(|result| result.kind == "unit_test").unwrap();
    assert_eq!(unit.status, Status::Fail);
    assert!(unit.message.contains("(a, 1, 2.0)"), "{}", unit.message);
    assert!(unit.message.contains("(a, 1, 1.0)"), "{}", unit.message);
    assert!(world.engine.sql("SELECT * FROM main.user_features", &[]).await.is_err());
}

#[tokio::test]
async fn artifacts_have_the_shape_of_dbts() {
    let world = churn().await;
    let options = options("2026-11-22");
    let project = world.load(options).unwrap();
    let at = project.started_at();
    crate::write_compiled(&project, at).unwrap();
    let run_options = RunOptions::new(Arc::new(FixedClock(at)));
    let report = run(&world.engine, &project, &run_options).await.unwrap();
    crate::write_results(&project, &report).unwrap();
    let read = |file: &str| -> Value {
        serde_json::from_slice(&std::fs::read(world.dir().join("target").join(file)).unwrap())
            .unwrap()
    };
    let manifest = read("manifest.json");
    assert_eq!(
        manifest["metadata"]["dbt_schema_version"],
        "https://schemas.getdbt.com/dbt/manifest/v12.json"
    );
    let model = &manifest["nodes"]["model.churn.user_features"];
    assert_eq!(model["config"]["unique_key"], "user_token");
    assert_eq!(model["depends_on"]["nodes"][0], "model.churn.stg_txn");
    assert_eq!(model["columns"]["user_token"]["name"], "user_token");
    assert_eq!(manifest["parent_map"]["model.churn.stg_txn"][0], "seed.churn.raw_txn");
    assert!(manifest["unit_tests"]["unit_test.churn.user_features.counts_declines"].is_object());
    assert_eq!(
        manifest["sources"]["source.churn.raw.raw_txn"]["freshness"]["warn_after"]["count"],
        1
    );
    let results = read("run_results.json");
    assert_eq!(
        results["metadata"]["dbt_schema_version"],
        "https://schemas.getdbt.com/dbt/run-results/v6.json"
    );
    assert_eq!(results["results"].as_array().unwrap().len(), 7);
    let compiled = std::fs::read_to_string(
        world.dir().join("target/compiled/churn/models/features/user_features.sql"),
    );
    assert!(compiled.unwrap().contains("from \"main\".\"stg_txn\""));
}

#[tokio::test]
async fn documents_say_where_columns_come_from() {
    let world = churn().await;
    world.good("2026-11-22").await;
    let project = world.load(options("2026-11-22")).unwrap();
    let docs = crate::document(&world.engine, &project, &Selection::default()).await.unwrap();
    let features = docs.iter().find(|model| model.name == "user_features").unwrap();
    let lineage = features.lineage.as_ref().unwrap();
    let amount = lineage.columns.iter().find(|column| column.name == "avg_amount").unwrap();
    assert_eq!(amount.inputs[0].table.as_str(), "main.stg_txn");
    assert_eq!(amount.inputs[0].column, "amount");
}
