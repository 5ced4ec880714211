//! Killing the demo at any moment and running it again works; no table is ever half written.

use std::process::Stdio;
use std::time::Duration;

use crate::binary::{command, json, run, text};

#[test]
fn a_demo_that_was_killed_can_be_run_again() {
    let dir = tempfile::tempdir().unwrap();
    let project = dir.path().join("demo");
    let arguments = ["--json", "demo", "--rows", "5000", "--dir", project.to_str().unwrap()];
    // Each life is longer than the one before, so that the kills fall into different steps.
    for life in 1..=10_u64 {
        let mut child =
            command(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(life * life * 60));
        child.kill().unwrap();
        child.wait().unwrap();
        readable(&project);
    }
    let output = run(&arguments);
    assert!(output.status.success(), "{}", text(&output.stderr));

    // Nothing came in twice: an undisturbed demo of the same world has the same rows.
    let quiet = dir.path().join("quiet");
    let output = run(&["--json", "demo", "--rows", "5000", "--dir", quiet.to_str().unwrap()]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for table in [
        "events.raw_transactions",
        "labels.churn_outcomes",
        "ml_features.churn_features",
        "ml_features.user_transaction_features",
        "ml_training.churn",
        "ml_predictions.churn_scores",
    ] {
        let query = format!("SELECT count(*) AS n FROM {table}");
        assert_eq!(json(&project, &["sql", &query]), json(&quiet, &["sql", &query]), "{table}");
    }
    let models = |project| json(project, &["models", "show", "churn-prediction-gbm"]);
    assert_eq!(models(&quiet)[0]["hash"], models(&project)[0]["hash"]);
}

/// Every table that is there can be read whole, with as many rows as its snapshot says.
fn readable(project: &std::path::Path) {
    if !project.join(".icecore/catalog.db").try_exists().unwrap() {
        return;
    }
    for table in json(project, &["table", "list"]).as_array().unwrap() {
        let query = format!("SELECT count(*) AS n FROM {}", table["table"].as_str().unwrap());
        assert_eq!(json(project, &["sql", &query])[0]["n"], table["rows"], "{table}");
    }
}
