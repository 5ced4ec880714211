//! Definitions, their versions, and computing what changed, through the binary. C2, C142-C145.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use crate::binary::{command, failure, json, own_demo, python, script};

const EVENTS: &str = "events.raw_transactions";
const VIEW: &str = "churn_features";

/// Adds a window to a view of a project.
fn change_definition(project: &Path) {
    let file = project.join("features/churn.toml");
    let written = std::fs::read_to_string(&file).unwrap();
    let changed = written.replacen("\"90d\"]", "\"90d\", \"60d\"]", 1);
    assert_ne!(written, changed);
    std::fs::write(file, changed).unwrap();
}

fn of_view(answer: &Value) -> &Value {
    answer.as_array().unwrap().iter().find(|line| line["view"] == VIEW).unwrap()
}

#[test]
fn a_change_of_a_definition_in_use_says_what_it_touches_before_it_is_a_version() {
    let (_dir, project) = own_demo();
    assert_eq!(json(&project, &["features", "check"])["errors"], 0);
    let first = json(&project, &["features", "apply"]);
    assert_eq!(
        (&of_view(&first)["change"], &of_view(&first)["version"]),
        (&"added".into(), &1.into())
    );
    // Formatting is no change.
    let file = project.join("features/churn.toml");
    let written = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("# a comment\n\n{written}")).unwrap();
    let same = json(&project, &["features", "apply", "--dry-run"]);
    assert_eq!(of_view(&same)["change"], "unchanged");

    change_definition(&project);
    let dry = json(&project, &["features", "apply", "--dry-run"]);
    let touches = &of_view(&dry)["touches"];
    assert!(touches["rows"].as_u64().unwrap() > 0 && touches["bytes"].as_u64().unwrap() > 0);
    assert!(touches["datasets"].as_array().unwrap().contains(&"churn".into()), "{touches:#}");
    assert!(!touches["models"].as_array().unwrap().is_empty(), "{touches:#}");
    let (_, message) = failure(&project, &["features", "apply"]);
    assert!(message.contains("is in use") && message.contains("--yes"), "{message}");
    let history = ["features", "history", VIEW];
    assert_eq!(json(&project, &history).as_array().unwrap().len(), 1);
    json(&project, &["features", "apply", "--yes"]);
    assert_eq!(json(&project, &history).as_array().unwrap().len(), 2);
    let differs = json(&project, &["features", "diff", VIEW, "--from", "1", "--to", "2"]);
    assert_eq!(differs[0]["path"], "aggregate.txn_count.windows");

    let (_, message) = failure(&project, &["features", "compute", VIEW]);
    assert!(message.contains("definition") && message.contains("--full"), "{message}");
    json(&project, &["features", "compute", VIEW, "--full"]);
    let lineage = json(&project, &["features", "lineage", VIEW]);
    let features = lineage["features"].as_array().unwrap();
    let added = features.iter().find(|line| line["feature"] == "txn_count_60d").unwrap();
    assert!(added["inputs"].to_string().contains("txn_id"), "{added:#}");
    let found = json(&project, &["features", "search", "--column", "merchant_id"]);
    assert!(found.to_string().contains("unique_merchants_90d"), "{found:#}");
}

// C142 C143 C144 C145
#[test]
fn a_late_event_and_a_deleted_one_change_the_rows_that_they_reach_and_no_others() {
    let (_dir, project) = own_demo();
    let sql = format!("SELECT user_token FROM {EVENTS} ORDER BY event_timestamp LIMIT 1");
    let user = json(&project, &["sql", &sql])[0]["user_token"].as_str().unwrap().to_owned();
    json(&project, &["features", "compute", VIEW, "--full"]);
    let late = project.join("late.jsonl");
    let event = serde_json::json!({
        "amount": 5.0, "event_timestamp": "2026-02-03T10:00:00Z", "merchant_id": "m0001",
        "status": "declined", "txn_id": "late-1", "user_token": user,
    });
    std::fs::write(&late, format!("{event}\n")).unwrap();
    json(&project, &["ingest", EVENTS, late.to_str().unwrap()]);
    let equal = || json(&project, &["features", "verify", VIEW, "--sample", "1"])["equal"].clone();
    let done = json(&project, &["features", "compute", VIEW]);
    assert_eq!((&done["changed"], &done["entities"]), (&true.into(), &1.into()), "{done:#}");
    assert_eq!(equal(), true);
    let condition = "txn_id = 'late-1'";
    json(&project, &["table", "delete", EVENTS, "--where", condition, "--yes"]);
    let done = json(&project, &["features", "compute", VIEW, "--verify-sample", "0.2"]);
    assert_eq!((&done["changed"], &done["entities"]), (&true.into(), &1.into()), "{done:#}");
    assert_eq!(equal(), true);
    assert_eq!(json(&project, &["features", "compute", VIEW])["changed"], false);
}

#[test]
fn a_backfill_that_is_done_is_not_done_again() {
    let (_dir, project) = own_demo();
    change_definition(&project);
    let planned = json(&project, &["features", "backfill", VIEW, "--dry-run"]);
    assert!(planned["steps"].as_u64().unwrap() > 1, "{planned:#}");
    let done = json(&project, &["features", "backfill", VIEW]);
    assert!(done["rows"].as_u64().unwrap() > 0, "{done:#}");
    let again = json(&project, &["features", "backfill", VIEW]);
    assert_eq!((&again["skipped"], &again["input_rows"]), (&done["steps"], &0.into()));
    assert_eq!(again["snapshot_id"], done["snapshot_id"]);
    let verified = json(&project, &["features", "verify", VIEW, "--sample", "1"]);
    assert_eq!(verified["equal"], true);
}

// The specification's own client knows every object of the events, and would send the same.
#[test]
fn lineage_is_what_the_client_of_openlineage_understands() {
    let Some(python) = python() else { return };
    let (_dir, project) = own_demo();
    json(&project, &["features", "compute", VIEW, "--full"]);
    let file = project.join("events.jsonl");
    let written = ["features", "lineage", VIEW, "--openlineage", file.to_str().unwrap()];
    let events = json(&project, &written)["events"].as_u64().unwrap();
    let found = script(&python, "openlineage_events.py", &[file.to_str().unwrap()]);
    assert_eq!(found["events"].as_u64(), Some(events));
    let states = found["states"].as_array().unwrap();
    assert_eq!(states.last(), Some(&"COMPLETE".into()), "{found:#}");
}

// C142: a backfill goes on where it was killed.
#[test]
fn a_backfill_that_was_killed_again_and_again_ends_where_a_full_run_does() {
    let (_dir, project) = own_demo();
    let rows = format!("SELECT * FROM ml_features.{VIEW} ORDER BY user_token, event_timestamp");
    json(&project, &["features", "compute", VIEW, "--full"]);
    let expected = json(&project, &["sql", &rows]);
    let table = format!("ml_features.{VIEW}");
    json(&project, &["table", "drop", &table, "--yes"]);
    let directory = project.to_str().unwrap();
    let backfill =
        ["--project", directory, "--json", "features", "backfill", VIEW, "--step", "10d"];
    for life in 1..=8_u64 {
        let mut child =
            command(&backfill).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // Longer lives reach later steps; some end by themselves.
        std::thread::sleep(Duration::from_millis(100 + life * life * 12));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let done = json(&project, &["features", "backfill", VIEW, "--step", "10d"]);
    assert!(done["steps"].as_u64().unwrap() > 3, "{done:#}");
    assert_eq!(json(&project, &["sql", &rows]), expected);
    let verified = json(&project, &["features", "verify", VIEW, "--sample", "1"]);
    assert_eq!(verified["equal"], true, "{verified:#}");
}

// C2: one definition; what a request brings comes from the spine in training.
#[test]
fn a_feature_on_demand_is_in_the_training_set_and_not_in_the_table() {
    let (_dir, project) = own_demo();
    let file = project.join("features/churn.toml");
    let written = std::fs::read_to_string(&file).unwrap();
    let request = format!(
        "{written}\n[[feature_view.request]]\nname = \"asked\"\ntype = \"double\"\n\n\
         [[feature_view.derived]]\nname = \"asked_of_usual\"\nexpression = \"asked / avg_amount_30d\"\n"
    );
    std::fs::write(&file, request).unwrap();
    json(&project, &["features", "check"]);
    json(&project, &["features", "compute", VIEW, "--full"]);
    let columns = json(&project, &["sql", &format!("SELECT * FROM ml_features.{VIEW} LIMIT 1")]);
    assert!(
        columns[0].get("avg_amount_30d").is_some() && columns[0].get("asked_of_usual").is_none()
    );
    let training = format!(
        "name = \"asked\"\nlabel = \"churn_label\"\nfeatures = [\"{VIEW}:asked_of_usual\"]\n\
         spine = \"SELECT user_token, observed_at AS event_timestamp, churned AS churn_label, \
         12.5 AS asked FROM labels.churn_outcomes\"\n"
    );
    std::fs::write(project.join("training/asked.toml"), training).unwrap();
    json(&project, &["dataset", "build", "asked"]);
    let query = "SELECT count(*) AS n, count(asked_of_usual) AS known FROM ml_training.asked";
    let counts = json(&project, &["sql", query]);
    assert!(counts[0]["known"].as_u64().unwrap() > 0, "{counts:#}");
    let lineage = json(&project, &["features", "lineage", VIEW]);
    let features = lineage["features"].as_array().unwrap();
    let found = features.iter().find(|line| line["feature"] == "asked_of_usual").unwrap();
    assert_eq!(found["requests"], serde_json::json!(["asked"]));
    let readers = &lineage["used_by"]["datasets"];
    assert!(readers.as_array().unwrap().contains(&"asked".into()), "{lineage:#}");
}
