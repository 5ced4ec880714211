//! Every command answers with one JSON document whose fixed fields are there.

use serde_json::Value;

use crate::binary::{json, own_demo};

#[track_caller]
fn has(document: &Value, fields: &[&str]) {
    for field in fields {
        assert!(document.get(field).is_some(), "`{field}` is not in {document:#}");
    }
}

#[test]
fn jobs_answer_with_their_fixed_fields() {
    let (_dir, project) = own_demo();
    let ask = |arguments: &[&str]| json(&project, arguments);
    has(
        &ask(&["features", "compute", "churn_features", "--from", "2026-04-01"]),
        &["table", "snapshot_id", "rows"],
    );
    ask(&["features", "compute", "churn_features", "--from", "2026-04-01", "--dry-run"]);
    has(
        &ask(&["dataset", "build", "churn"]),
        &["dataset", "table", "snapshot_id", "rows", "content_hash", "lockfile"],
    );
    ask(&["dataset", "build", "churn", "--dry-run"]);
    let trained = ask(&["train", "churn_logistic"]);
    has(&trained, &["run_id", "model", "version", "model_hash", "metrics"]);
    let run = trained["run_id"].as_str().unwrap();
    has(&ask(&["reproduce", run]), &["run_id", "equal", "content_hash", "model_hash"]);
    has(
        &ask(&["score", "churn"]),
        &["run_id", "table", "snapshot_id", "rows", "date", "model_version"],
    );
    has(&ask(&["score", "churn", "--dry-run"]), &["date", "features", "model_version"]);
    has(&ask(&["materialize", "churn"]), &["written", "removed", "unchanged"]);
    has(&ask(&["materialize", "churn", "--dry-run"]), &["written", "removed", "unchanged"]);
    has(
        &ask(&["table", "log", "ml_predictions.churn_scores"])[0],
        &[
            "snapshot_id",
            "parent_id",
            "committed_at",
            "operation",
            "added_rows",
            "removed_rows",
            "refs",
        ],
    );
}

#[test]
fn every_other_command_answers_in_json() {
    let (_dir, project) = own_demo();
    let ask = |arguments: &[&str]| json(&project, arguments);
    let models = ask(&["models", "list"]);
    let [first, second] = [0, 1].map(|model| models[model]["run"].as_str().unwrap());
    let user = ask(&["sql", "SELECT min(user_token) AS u FROM events.raw_transactions"]);
    let user = user[0]["u"].as_str().unwrap().to_owned();
    let lockfile = project.join("training/churn.lock.toml");
    let lockfile = lockfile.to_str().unwrap();
    let learned = format!("run:{second}");
    let export = project.join("export.parquet");
    let export = export.to_str().unwrap();
    for arguments in [
        &["table", "list"][..],
        &["table", "show", "events.raw_transactions"],
        &["table", "branch", "events.raw_transactions", "dev", "--min-snapshots-to-keep", "3"],
        &["table", "retain", "events.raw_transactions", "dev", "--max-ref-age", "30d"],
        &["table", "fast-forward", "events.raw_transactions", "dev"],
        &["table", "publish", "events.raw_transactions", "dev", "--dry-run"],
        &["table", "publish", "events.raw_transactions", "dev"],
        &["table", "upgrade", "events.raw_transactions", "--to", "3", "--dry-run"],
        &["table", "tag", "events.raw_transactions", "once"],
        &["table", "untag", "events.raw_transactions", "once"],
        &["table", "export", "labels.churn_outcomes", "--output", export],
        &["features", "list"],
        &["features", "show", "churn_features"],
        &["features", "explain", "churn_features", "--entity", &user, "--at", "2026-06-01"],
        &["dataset", "list"],
        &["dataset", "show", "churn"],
        &["dataset", "verify", "churn"],
        &["dataset", "diff", "churn", "churn_logistic"],
        &["dataset", "verify", lockfile],
        &["dataset", "diff", lockfile, &learned],
        &["runs", "list"],
        &["runs", "list", "--limit", "1"],
        &["runs", "show", first],
        &["runs", "show", &first[..8]],
        &["runs", "compare", first, second],
        &["models", "show", "churn-prediction-gbm"],
        &["models", "promote", "churn-prediction-logistic", "1", "--to", "candidate"],
        &["online", "get", "churn:nobody"],
        &["attempt", "0198c0de-0000-7000-8000-000000000000"],
        &["doctor"],
    ] {
        assert!(!ask(arguments).is_null(), "{arguments:?}");
    }
    // What was exported comes back.
    let again = ask(&["ingest", "scratch.outcomes", export]);
    let rows = ask(&["sql", "SELECT count(*) AS n FROM labels.churn_outcomes"]);
    assert_eq!(again["rows"], rows[0]["n"]);
    // C177
    for table in ["snapshots", "history", "refs", "files", "partitions", "manifests"] {
        let query = format!("SELECT * FROM events.\"raw_transactions${table}\"");
        assert!(!ask(&["sql", &query]).as_array().unwrap().is_empty(), "{table}");
    }
}
