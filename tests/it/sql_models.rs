//! SQL models: the binary on projects of files.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use crate::binary::{command, failure, json, python, run, script, text};
use crate::examples::example;

fn write(project: &Path, file: &str, contents: &str) {
    let path = project.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, contents).unwrap();
}

/// The result of a node in the answer of a run.
#[track_caller]
fn of<'v>(answer: &'v Value, name: &str) -> &'v Value {
    let all = answer.as_array().unwrap();
    all.iter().find(|result| result["name"] == name).unwrap_or_else(|| panic!("{name}: {answer:#}"))
}

fn rows(project: &Path, query: &str) -> Value {
    json(project, &["sql", query])
}

#[test]
fn the_document_s_driver_model_runs_and_its_history_is_kept() {
    // C30-C39, D5, D7
    let (_dir, project) = example("drivers");
    let first = json(&project, &["run", "--run-started-at", "2026-11-10T01:00:00Z"]);
    let driver = of(&first, "driver_performance_features");
    assert_eq!(driver["table"], "features.driver_performance_features");
    assert_eq!((driver["rows"].as_u64(), driver["incremental"].as_bool()), (Some(2), Some(false)));
    assert!(driver["snapshot_id"].as_str().unwrap().parse::<i64>().is_ok());
    let second = json(&project, &["run", "--run-started-at", "2026-11-11T01:00:00Z"]);
    let driver = of(&second, "driver_performance_features");
    assert_eq!(driver["incremental"], true);
    assert!(driver["warnings"][0].as_str().unwrap().contains("trip_date"), "{driver:#}");
    let count = "SELECT feature_date, count(*) AS n FROM features.driver_performance_features \
                 GROUP BY 1 ORDER BY 1";
    let by_day = rows(&project, count);
    assert_eq!((by_day[0]["n"].as_u64(), by_day[1]["n"].as_u64()), (Some(2), Some(2)), "{by_day}");
    // C39: a dashboard, a training set, a job read one table; the view of trips is there for all.
    assert_eq!(rows(&project, "SELECT count(*) AS n FROM features.trips_enriched")[0]["n"], 141);
    // A full run on a second lake comes to the same rows of that day.
    let (_other, fresh) = example("drivers");
    json(&fresh, &["run", "--full-refresh", "--run-started-at", "2026-11-11T01:00:00Z"]);
    let day = "SELECT * FROM features.driver_performance_features \
               WHERE feature_date = DATE '2026-11-11' ORDER BY driver_id";
    assert_eq!(rows(&project, day), rows(&fresh, day));
}

#[test]
fn a_dbt_project_runs_and_dbts_tools_read_what_it_left() {
    let (_dir, project) = example("dbt-churn");
    let answer = json(&project, &["run"]);
    assert_eq!(of(&answer, "user_features")["table"], "main.user_features");
    assert_eq!(of(&answer, "counts_declines")["status"], "pass");
    let tests = json(&project, &["test", "user_features"]);
    assert_eq!(tests["tests"].as_array().unwrap().len(), 4, "three on data, a unit test");
    json(&project, &["run"]);
    let Some(python) = python() else { return };
    let found = script(&python, "dbt_artifacts.py", &[project.join("target").to_str().unwrap()]);
    assert_eq!(found["manifest"], "ManifestV12");
    assert_eq!(found["run_results"], "RunResultsV6");
    assert_eq!(found["nodes"], 6, "two models, a seed, three tests");
    assert_eq!(found["results"]["model.churn.user_features"], "success");
    assert_eq!(found["depends_on"], serde_json::json!(["model.churn.stg_txn"]));
}

#[test]
fn one_model_answers_as_one_table_does_and_nothing_is_changed_by_looking() {
    let (_dir, project) = example("drivers");
    let docs = json(&project, &["run", "--dry-run"]);
    assert!(docs.as_array().unwrap().iter().all(|model| model["sql"].is_string()));
    assert_eq!(json(&project, &["table", "list"]), Value::Array(Vec::new()));
    json(&project, &["run", "--run-started-at", "2026-11-10T01:00:00Z"]);
    let one = json(
        &project,
        &["run", "driver_performance_features", "--run-started-at", "2026-11-11T00:00:00Z"],
    );
    for field in ["table", "snapshot_id", "rows"] {
        assert!(!one[field].is_null(), "{field}: {one:#}");
    }
    let docs = json(&project, &["docs", "driver_performance_features"]);
    let columns = docs[0]["lineage"]["columns"].as_array().unwrap();
    let rate = columns.iter().find(|column| column["name"] == "cancellation_rate_30d").unwrap();
    assert_eq!(rate["inputs"][0]["table"], "features.trips_enriched");
    assert_eq!(docs[0]["column_descriptions"]["driver_id"], "The driver.");
    let output = run(&["--project", project.to_str().unwrap(), "docs", "--sql"]);
    assert!(
        text(&output.stdout).contains("features.trips_enriched.trip_id"),
        "{}",
        text(&output.stdout)
    );
}

#[test]
fn a_failed_test_is_status_1_and_shows_the_rows() {
    let (_dir, project) = example("drivers");
    json(&project, &["run", "--run-started-at", "2026-11-10T01:00:00Z"]);
    // What failed is no part of the history that readers see.
    let log = ["table", "log", "features.driver_performance_features", "--branch", "main"];
    let before = json(&project, &log);
    write(
        &project,
        "tests/no_idle_driver.sql",
        "select driver_id, total_trips_30d from {{ ref('driver_performance_features') }} where driver_id = 'd1'",
    );
    let output = run(&[
        "--project",
        project.to_str().unwrap(),
        "run",
        "--run-started-at",
        "2026-11-11T01:00:00Z",
    ]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stdout);
    assert!(said.contains("is not published") && said.contains("d1"), "{said}");
    assert!(said.contains("ERROR=2"), "{said}");
    assert_eq!(json(&project, &log), before);
}

#[test]
fn mistakes_in_models_are_told_with_place_and_fix() {
    let (_dir, project) = example("drivers");
    write(&project, "models/x.sql", "select 1 as x\nfrom {{ ref('trips_enrichd') }}");
    let (status, message) = failure(&project, &["run"]);
    assert_eq!(status, 1);
    assert!(
        message.contains("--> models/x.sql:2:13") && message.contains("`trips_enriched`"),
        "{message}"
    );
    write(&project, "models/x.sql", "{% include '/etc/passwd' %}");
    let (status, message) = failure(&project, &["run"]);
    assert_eq!(status, 7, "{message}");
    write(&project, "models/x.sql", "select iff(true, 1, 2) as x");
    let output = run(&["--project", project.to_str().unwrap(), "run", "--select", "x"]);
    let said = text(&output.stdout);
    assert!(said.contains("CASE WHEN") && said.contains("models/x.sql"), "{said}");
    write(&project, "models/x.sql", "select '{{ env_var('GRANTED') }}' as x, {{ var('n') }} as n");
    write(&project, "icecore.toml", "[models]\nenv_vars = [\"GRANTED\"]\nvars = { n = 1 }\n");
    let arguments =
        ["--project", project.to_str().unwrap(), "--json", "run", "x", "--vars", "n: 7"];
    let output = command(&arguments).env("GRANTED", "yes").output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stdout));
    assert_eq!(
        rows(&project, "SELECT x, n FROM models.x"),
        serde_json::json!([{ "x": "yes", "n": 7 }])
    );
    json(&project, &["table", "drop", "models.x"]);
    let (status, _) = failure(&project, &["sql", "SELECT 1 FROM models.x"]);
    assert_eq!(status, 1);
}

#[test]
fn a_run_that_was_killed_leaves_what_was_there_or_what_it_made() {
    let (_dir, project) = example("drivers");
    json(&project, &["run", "--run-started-at", "2026-10-01T01:00:00Z"]);
    let total = "SELECT count(*) AS n, count(DISTINCT feature_date) AS days \
                 FROM features.driver_performance_features";
    let mut before = rows(&project, total)[0]["days"].as_u64().unwrap();
    for life in 1..=12_u64 {
        let day = format!("2026-10-{:02}T01:00:00Z", life + 1);
        let arguments =
            ["--project", project.to_str().unwrap(), "--json", "run", "--run-started-at", &day];
        let mut child =
            command(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(life * 40));
        child.kill().unwrap();
        child.wait().unwrap();
        let now = rows(&project, total);
        let days = now[0]["days"].as_u64().unwrap();
        // Each day has its three drivers whole, or is not there.
        assert!(days == before || days == before + 1, "{now}");
        assert_eq!(now[0]["n"].as_u64().unwrap(), days * 3, "{now}");
        before = days;
    }
    json(&project, &["run", "--run-started-at", "2026-10-20T01:00:00Z"]);
    assert_eq!(json(&project, &["fsck"])["errors"].as_u64().unwrap_or(0), 0);
}
