//! Tests gate what is published.

use icecore_core::{SnapshotSelector, TableName};

use super::*;

const KEYS: &str = "models: [{name: m, columns: [{name: k, data_tests: [not_null, unique]}]}]";

async fn world() -> World {
    let world = World::new().await;
    world.put("raw.t", "SELECT 1 AS k, 'a' AS v UNION ALL SELECT 2, 'b'").await;
    world
        .write(
            "models/m.sql",
            "{{ config(materialized='table') }} select k, v from {{ source('raw', 't') }}",
        )
        .write(
            "models/after.sql",
            "{{ config(materialized='table') }} select count(*) as n from {{ ref('m') }}",
        )
        .write("models/s.yml", KEYS);
    world
}

#[tokio::test]
async fn a_failed_test_leaves_readers_with_what_they_had_and_says_which_rows() {
    let world = world().await;
    world.good("2026-11-20").await;
    assert_eq!(world.rows("SELECT n FROM models.after").await, ["2"]);
    let m = TableName::parse("models.m").unwrap();
    let catalog = world.engine.catalog();
    let before = catalog.pin(&m, &SnapshotSelector::Latest).await.unwrap();

    world.put("raw.t", "SELECT 2 AS k, 'c' AS v UNION ALL SELECT NULL, 'd'").await;
    let report = world.run_with(options("2026-11-21"), Selection::default()).await;
    let statuses = statuses(&report);
    let of = |name: &str| statuses.iter().find(|(n, _)| n == name).unwrap().1;
    assert_eq!(of("not_null_m_k"), Status::Fail);
    assert_eq!(of("unique_m_k"), Status::Fail);
    assert_eq!((of("m"), of("after")), (Status::Error, Status::Skipped));
    let test = report.results.iter().find(|result| result.name == "not_null_m_k").unwrap();
    assert_eq!((test.failures, test.sample.as_ref().unwrap().num_rows()), (Some(1), 1));
    assert_eq!(test.sample.as_ref().unwrap().num_columns(), 2, "the whole row is shown");
    let error =
        report.results.iter().find(|result| result.name == "m").unwrap().error.as_ref().unwrap();
    assert!(error.to_string().contains("`m` is not published"), "{error}");

    assert_eq!(catalog.pin(&m, &SnapshotSelector::Latest).await.unwrap(), before);
    assert_eq!(world.refs("models.m").await, ["main"], "the branch is gone");
    assert_eq!(world.rows("SELECT n FROM models.after").await, ["2"]);
}

#[tokio::test]
async fn a_table_that_was_never_published_is_not_there() {
    let world = world().await;
    world.put("raw.t", "SELECT CAST(NULL AS BIGINT) AS k, 'd' AS v").await;
    let report = world.run_with(options("2026-11-21"), Selection::default()).await;
    assert!(!report.is_good());
    assert!(world.engine.sql("SELECT * FROM models.m", &[]).await.is_err());
    // A view is not published either.
    world.write("models/m.sql", "select k, v from {{ source('raw', 't') }}");
    world.run_with(options("2026-11-21"), Selection::default()).await;
    assert!(world.engine.views().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_failed_test_takes_back_new_columns_and_layouts() {
    let world = world().await;
    world.good("2026-11-20").await;
    let m = TableName::parse("models.m").unwrap();
    let catalog = world.engine.catalog();
    let before = catalog.describe(&m).await.unwrap();
    world.write(
        "models/m.sql",
        "{{ config(materialized='table', partition_by='w') }} select cast(null as bigint) as k, 1 as w from {{ source('raw', 't') }}",
    );
    let report = world.run_with(options("2026-11-21"), Selection::default()).await;
    assert!(!report.is_good());
    let after = catalog.describe(&m).await.unwrap();
    assert_eq!((&after.schema, &after.partition_by), (&before.schema, &before.partition_by));
    assert_eq!(world.rows("SELECT k, v FROM models.m ORDER BY k").await, ["1|a", "2|b"]);
    // Where the tests pass, the table becomes what the model is.
    world.write("models/m.sql", "{{ config(materialized='table', partition_by='w') }} select k, k * 2 as w from {{ source('raw', 't') }}");
    world.good("2026-11-22").await;
    assert_eq!(world.rows("SELECT * FROM models.m ORDER BY k").await, ["1|2", "2|4"]);
    assert_eq!(catalog.describe(&m).await.unwrap().partition_by, ["w"]);
}

#[tokio::test]
async fn every_kind_of_test_finds_what_it_is_for() {
    let world = World::new().await;
    world.put("raw.users", "SELECT 1 AS id UNION ALL SELECT 2").await;
    world
        .write("models/m.sql", "select * from (values (1, 'paid', 5), (3, 'lost', -1)) t(user_id, status, amount)")
        .write(
            "models/s.yml",
            "sources: [{name: raw, tables: [{name: users, columns: [{name: id, tests: [unique]}]}]}]\n\
             models:\n  - name: m\n    columns:\n      - name: status\n        data_tests:\n          \
             - accepted_values: {values: [paid, open], config: {severity: warn}}\n      - name: user_id\n        \
             data_tests:\n          - relationships: {arguments: {to: \"source('raw', 'users')\", field: id}, severity: warn}\n          \
             - not_null: {where: \"amount > 0\"}\n      - name: amount\n        data_tests: [{at_least: {least: 0, config: {severity: warn}}}, {at_least: {name: paid, least: 9, where: \"status = 'paid'\", severity: warn}}]\n",
        )
        .write("macros/t.sql", "{% test at_least(model, column_name, least) %}select * from {{ model }} where {{ column_name }} < {{ least }}{% endtest %}")
        .write("tests/no_more_than_two.sql", "{{ config(severity='warn', error_if='> 5') }} select * from {{ ref('m') }}");
    let report = world.run_with(options("2026-11-22"), Selection::default()).await;
    let found: Vec<(String, Status, u64)> = report
        .results
        .iter()
        .filter(|result| result.kind == "test")
        .map(|result| (result.name.clone(), result.status, result.failures.unwrap_or(99)))
        .collect();
    let of = |start: &str| {
        let found = found.iter().find(|(name, ..)| name.starts_with(start));
        found.map(|(_, status, rows)| (*status, *rows))
    };
    assert_eq!(of("accepted_values_m_status__paid__open"), Some((Status::Warn, 1)), "{found:?}");
    assert_eq!(
        of("relationships_m_user_id__id__source__raw____users"),
        Some((Status::Warn, 1)),
        "{found:?}"
    );
    assert_eq!(of("not_null_m_user_id"), Some((Status::Pass, 0)));
    assert_eq!(of("at_least_m_amount__0"), Some((Status::Warn, 1)));
    assert_eq!(of("paid"), Some((Status::Warn, 1)));
    assert_eq!(of("no_more_than_two"), Some((Status::Warn, 2)));
    assert_eq!(of("unique_source_raw_users_id"), Some((Status::Pass, 0)));
    assert!(report.is_good());
}

#[tokio::test]
async fn all_models_of_a_run_see_one_moment_and_commits_say_what_they_are() {
    let world = world().await;
    world.write("models/view.sql", "select k from {{ source('raw', 't') }} where k > 1");
    world.write(
        "models/of_view.sql",
        "{{ config(materialized='table') }} select * from {{ ref('view') }}",
    );
    let report = world.good("2026-11-20").await;
    let log =
        world.engine.catalog().history(&TableName::parse("models.of_view").unwrap()).await.unwrap();
    let summary = &log.last().unwrap().summary;
    assert_eq!(summary["icecore.model"], "model.icecore.of_view");
    assert_eq!(summary["icecore.run-id"], report.run_id);
    assert!(summary["icecore.sources"].contains("raw.t"), "{summary:?}");
    assert_eq!(summary["icecore.model-hash"].len(), 64);
    assert_eq!(report.pins.len(), 1);
    // The view is there for everybody, and follows its table.
    world.put("raw.t", "SELECT 3 AS k, 'c' AS v").await;
    assert_eq!(world.rows("SELECT k FROM models.view ORDER BY k").await, ["2", "3"]);
    assert_eq!(world.rows("SELECT k FROM models.of_view").await, ["2"]);
}

#[tokio::test]
async fn a_model_needs_what_was_built_before() {
    let world = world().await;
    let project = world.load(options("2026-11-22")).unwrap();
    let only = RunOptions::new(Arc::new(FixedClock(Timestamp::from_micros(0))))
        .with_selection(Selection::new(vec!["after".to_owned()], vec![]));
    let error = run(&world.engine, &project, &only).await.unwrap_err();
    assert!(error.help().unwrap().contains("--select +after"), "{error:?}");
    world.write("models/m.sql", "select * from raw.tt");
    let project = world.load(options("2026-11-22")).unwrap();
    let all = RunOptions::new(Arc::new(FixedClock(Timestamp::from_micros(0))));
    let error = run(&world.engine, &project, &all).await.unwrap_err();
    assert_eq!(error.help(), Some("did you mean `raw.t`?"));
}

#[tokio::test]
async fn what_a_dead_run_left_is_swept_up_and_never_seen() {
    let world = world().await;
    world.good("2026-11-20").await;
    let m = TableName::parse("models.m").unwrap();
    let catalog = world.engine.catalog();
    // A run that died after it wrote: its branch stands, `main` is as it was.
    let rows = world.engine.sql("SELECT 9 AS k, 'z' AS v", &[]).await.unwrap();
    let branch = icecore_core::RefName::parse("icecore-run-dead").unwrap();
    let commit = CommitOptions::new(WriteMode::Overwrite).with_branch(branch).with_new_branch();
    catalog.commit(&m, rows, commit).await.unwrap();
    assert_eq!(world.rows("SELECT count(*) FROM models.m").await, ["2"]);
    world.good("2036-01-01").await;
    assert_eq!(world.refs("models.m").await, ["main"]);
    assert_eq!(world.rows("SELECT count(*) FROM models.m").await, ["2"]);
}

#[tokio::test]
async fn a_view_becomes_a_table_and_not_the_other_way_around() {
    let world = World::new().await;
    world.write("models/m.sql", "select 1 as x");
    world.good("2026-11-20").await;
    world.write("models/m.sql", "{{ config(materialized='table') }} select 2 as x");
    world.good("2026-11-21").await;
    assert_eq!(world.rows("SELECT x FROM models.m").await, ["2"]);
    assert!(world.engine.views().await.unwrap().is_empty());
    world.write("models/m.sql", "select 3 as x");
    let report = world.run_with(options("2026-11-22"), Selection::default()).await;
    let error = report.results[0].error.as_ref().unwrap();
    assert!(error.to_string().contains("would have to become a view"), "{error}");
    assert_eq!(world.rows("SELECT x FROM models.m").await, ["2"]);
}

#[tokio::test]
async fn ephemeral_models_are_part_of_those_that_name_them() {
    let world = World::new().await;
    world
        .write(
            "models/e.sql",
            "{{ config(materialized='ephemeral') }} select 1 as x union all select 2",
        )
        .write(
            "models/m.sql",
            "{{ config(materialized='table') }} select sum(x) as s from {{ ref('e') }}",
        );
    let report = world.good("2026-11-20").await;
    assert_eq!(report.results.len(), 1);
    assert_eq!(world.rows("SELECT s FROM models.m").await, ["3"]);
    assert!(world.engine.sql("SELECT * FROM models.e", &[]).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_at_the_same_time_come_out_as_one_after_the_other() {
    let world = world().await;
    world.write(
        "models/m.sql",
        "{{ config(materialized='incremental', incremental_strategy='append') }} \
         select k, v from {{ source('raw', 't') }} \
         {% if is_incremental() %} where k > (select max(k) from {{ this }}) {% endif %}",
    );
    world.good("2026-11-20").await;
    world.put("raw.t", "SELECT 3 AS k, 'c' AS v").await;
    let runs = (0..3).map(|_| world.run_with(options("2026-11-21"), Selection::default()));
    let reports = futures::future::join_all(runs).await;
    assert!(reports.iter().all(RunReport::is_good), "{:?}", reports[0].results);
    assert_eq!(world.rows("SELECT k FROM models.m ORDER BY k").await, ["1", "2", "3"]);
    assert_eq!(world.refs("models.m").await, ["main"]);
}
