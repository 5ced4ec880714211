//! Looking after tables, through the binary. C133, C134, C174, C175.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::binary::{failure, json, own_demo, run, text};

const EVENTS: &str = "events.raw_transactions";
const COUNT: &str = "SELECT count(*) AS n FROM events.raw_transactions";

/// The data files of a table.
pub(crate) fn data_files(project: &Path, table: &str) -> Vec<PathBuf> {
    let shown = json(project, &["table", "show", table]);
    let location = shown["location"].as_str().unwrap().trim_start_matches("file://").to_owned();
    let mut found = Vec::new();
    let mut directories = vec![PathBuf::from(location).join("data")];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { directories.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

// C133 C134
#[test]
fn expiry_keeps_what_a_lockfile_a_run_or_a_tag_needs_and_says_who_needs_it() {
    let (_dir, project) = own_demo();
    let count = json(&project, &["sql", COUNT]);
    // The training set's input: its lockfile and the runs hold it.
    let views = json(&project, &["dataset", "show", "churn"]);
    let table = "ml_features.churn_features";
    let inputs = views["input"].as_array().unwrap();
    let held = &inputs.iter().find(|input| input["table"] == table).unwrap()["snapshot"];
    let everything = ["--older-than", "2100-01-01", "--retain-last", "1"];
    let again: Vec<&str> = ["table", "expire", table].into_iter().chain(everything).collect();
    json(&project, &["features", "compute", "churn_features", "--force"]);
    let report = json(&project, &again);
    let by: Vec<&str> = report["held"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|line| line["snapshot_id"] == *held)
        .flat_map(|line| line["by"].as_array().unwrap())
        .filter_map(Value::as_str)
        .collect();
    for who in ["lockfile `training/churn.lock.toml`", "run `", "model `churn-prediction-gbm`"] {
        assert!(by.iter().any(|by| by.starts_with(who)), "{who}: {report:#}");
    }
    assert_eq!(json(&project, &["dataset", "verify", "churn"])["equal"], true);

    // Events: the old snapshots go, but for the tagged one.
    let log = json(&project, &["table", "log", EVENTS]);
    let oldest = log.as_array().unwrap().last().unwrap()["snapshot_id"].as_str().unwrap();
    let report = json(&project, &["table", "expire", EVENTS, "--older-than", "2100-01-01"]);
    assert!(!report["expired"].as_array().unwrap().is_empty(), "{report:#}");
    assert_eq!(json(&project, &["sql", COUNT]), count);
    let at = format!("{EVENTS}={oldest}");
    let (_, message) = failure(&project, &["sql", COUNT, "--at", &at]);
    assert!(message.contains("was expired at"), "{message}");
    assert_eq!(json(&project, &["fsck"])["errors"], Value::Array(Vec::new()));
}

// C174 C175
#[test]
fn compaction_rewriting_and_cleaning_change_no_row() {
    let (_dir, project) = own_demo();
    let count = json(&project, &["sql", COUNT]);
    let dry = json(&project, &["table", "compact", EVENTS, "--all", "--dry-run"]);
    let compact = |condition| ["table", "compact", EVENTS, "--all", "--where", condition];
    let none = json(&project, &compact("event_timestamp < '1990-01-01'"));
    assert_eq!(none["removed_files"], 0);
    let (_, message) = failure(&project, &compact("length(user_token) = 3"));
    assert!(message.contains("does not tell files from each other"), "{message}");
    let done = json(&project, &["table", "compact", EVENTS, "--all"]);
    assert_eq!(dry["removed_files"], done["removed_files"]);
    assert!(done["added_files"].as_u64().unwrap() > 0, "{done:#}");
    json(&project, &["table", "rewrite-manifests", EVENTS, "--force"]);
    assert_eq!(json(&project, &["sql", COUNT]), count);

    let left = data_files(&project, EVENTS)[0].with_file_name("left-behind.parquet");
    std::fs::write(&left, b"half a file").unwrap();
    // It is too young, and to say otherwise takes a word.
    assert_eq!(json(&project, &["table", "clean", EVENTS])["deleted_files"], 0);
    let (status, message) = failure(&project, &["table", "clean", EVENTS, "--older-than", "1us"]);
    assert_eq!(status, 1);
    assert!(message.contains("--yes"), "{message}");
    let young = ["table", "clean", EVENTS, "--older-than", "1us", "--yes"];
    let report = json(&project, &young);
    assert_eq!(report["deleted_files"], 1, "{report:#}");
    assert!(!left.try_exists().unwrap());
    assert_eq!(json(&project, &["sql", COUNT]), count);
    let checked = json(&project, &["fsck", EVENTS, "--deep"]);
    assert_eq!(checked["errors"], Value::Array(Vec::new()));
    assert_eq!(checked["tables"].as_array().unwrap().len(), 1);
}

#[test]
fn the_log_counts_rows_that_leave_however_they_do() {
    let (_dir, project) = own_demo();
    for (mode, amount) in [("merge-on-read", 20), ("merge-on-read", 30), ("copy-on-write", 40)] {
        let condition = format!("amount < {amount}");
        let delete = ["table", "delete", EVENTS, "--where", &condition, "--mode", mode, "--yes"];
        let deleted = json(&project, &delete)["rows"].as_i64().unwrap();
        assert!(deleted > 0, "{mode} {amount}");
        let log = json(&project, &["table", "log", EVENTS, "--limit", "1"]);
        let rows = |field: &str| log[0][field].as_i64().unwrap();
        assert_eq!(rows("removed_rows") - rows("added_rows"), deleted, "{mode} {amount}");
    }
}

#[test]
fn damage_is_an_answer_with_a_status_of_its_own() {
    let (_dir, project) = own_demo();
    let lost = data_files(&project, EVENTS).remove(0);
    std::fs::remove_file(&lost).unwrap();
    let output = run(&["--project", project.to_str().unwrap(), "--json", "fsck", EVENTS]);
    assert_eq!(output.status.code(), Some(5), "{}", text(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let errors = report["errors"].as_array().unwrap();
    assert_eq!(errors[0]["kind"], "missing-file");
    assert!(errors[0]["file"].as_str().unwrap().ends_with(lost.to_str().unwrap()));
    let output = run(&["--project", project.to_str().unwrap(), "fsck", EVENTS]);
    let said = text(&output.stdout);
    assert!(said.contains("error[missing-file]") && said.contains("= help:"), "{said}");
    // Another table is not affected.
    json(&project, &["fsck", "labels.churn_outcomes"]);
}
