//! Definitions, their versions, and computing what changed, through the binary. C2, C142-C145.

use std::path::Path;

use serde_json::Value;

use crate::binary::{failure, json, own_demo};

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
