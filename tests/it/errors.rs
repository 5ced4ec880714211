//! What the binary says when something is wrong: an exit status, a code, a place, a fix.

use crate::binary::{demo, failure, json, own_demo, run, text};

#[test]
fn wrong_usage_is_status_2() {
    for arguments in [&["frobnicate"][..], &["sql"], &["--threads", "many", "table", "list"], &[]] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(!output.stderr.is_empty());
    }
}

#[test]
fn a_time_without_a_zone_is_explained() {
    // D1
    let (status, message) = failure(
        demo(),
        &["sql", "SELECT 1", "--at", "events.raw_transactions=2026-01-01T00:00:00"],
    );
    assert_eq!(status, 2);
    assert!(message.contains("2026-01-01T00:00:00Z"), "{message}");
}

#[test]
fn wrong_usage_is_a_document_where_documents_are_asked_for() {
    let output =
        run(&["--json", "features", "explain", "churn_features", "--entity", "u", "--at", "june"]);
    assert_eq!(output.status.code(), Some(2));
    let error: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(error["code"], "IC0400");
    assert!(error["message"].as_str().unwrap().contains("`june` is not a time"), "{error:#}");
    assert!(error["help"].as_str().unwrap().contains("2026-11-22"), "{error:#}");
}

// What is only tried out says what would be, and nothing is different afterwards.
#[test]
fn names_can_be_changed_without_a_change() {
    let project = demo();
    let before = json(project, &["table", "show", "labels.churn_outcomes"]);
    for arguments in [
        &["table", "tag", "labels.churn_outcomes", "tried", "--dry-run"][..],
        &["table", "branch", "labels.churn_outcomes", "tried", "--dry-run"],
        &["table", "rename", "labels.churn_outcomes", "labels.tried", "--dry-run"],
        &["table", "drop", "labels.churn_outcomes", "--dry-run"],
        &["models", "promote", "churn-prediction-gbm", "1", "--to", "Tried", "--dry-run"],
    ] {
        assert_eq!(json(project, arguments)["dry_run"], true, "{arguments:?}");
    }
    let untag = ["table", "untag", "labels.churn_outcomes", "tried", "--dry-run"];
    assert_eq!(failure(project, &untag).0, 1, "there is none");
    assert_eq!(json(project, &["table", "show", "labels.churn_outcomes"]), before);
}

#[test]
fn a_missing_project_is_explained() {
    let dir = tempfile::tempdir().unwrap();
    let (status, message) = failure(dir.path(), &["table", "list"]);
    assert_eq!(status, 1);
    assert!(message.contains("icecore.toml") && message.contains("= help:"), "{message}");
    let output = run(&["--json", "--project", dir.path().to_str().unwrap(), "table", "list"]);
    let error: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(error["code"], "IC0404");
    assert!(output.stdout.is_empty());
}

#[test]
fn near_names_are_offered() {
    for (arguments, offered) in [
        (&["table", "log", "events.raw_transaction"][..], "events.raw_transactions"),
        (&["sql", "SELECT usertoken FROM events.raw_transactions"], "user_token"),
        (&["sql", "SELECT 1 FROM events.raw_transactoins"], "events.raw_transactions"),
        (&["features", "show", "churn_feature"], "churn_features"),
        (&["dataset", "build", "chrun"], "churn"),
        (&["train", "chrun"], "churn"),
        (&["models", "show", "churn-prediction-gmb"], "churn-prediction-gbm"),
    ] {
        let (status, message) = failure(demo(), arguments);
        assert_eq!(status, 1, "{arguments:?}: {message}");
        assert!(message.contains(&format!("`{offered}`")), "{arguments:?}: {message}");
    }
}

#[test]
fn queries_only_read() {
    for query in [
        "DROP TABLE events.raw_transactions",
        "DELETE FROM events.raw_transactions",
        "COPY (SELECT 1) TO 'out.csv'",
        "SELECT * FROM '/etc/passwd'",
        "SET datafusion.execution.batch_size = 1",
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'",
    ] {
        let (status, message) = failure(demo(), &["sql", query]);
        assert_eq!(status, 1, "{query}: {message}");
        assert!(message.starts_with("error["), "{query}: {message}");
    }
}

#[test]
fn a_bad_row_names_its_place_and_nothing_is_written() {
    let (_dir, project) = own_demo();
    let file = project.join("bad.csv");
    std::fs::write(&file, "id,amount\n1,1.5\n2,2.5\n3,lots\n").unwrap();
    let good = project.join("good.csv");
    std::fs::write(&good, "id,amount\n1,1.5\n").unwrap();
    json(&project, &["ingest", "scratch.amounts", good.to_str().unwrap()]);
    let (status, message) =
        failure(&project, &["ingest", "scratch.amounts", file.to_str().unwrap()]);
    assert_eq!(status, 1);
    assert!(message.contains("bad.csv:4:"), "{message}");
    let count = "SELECT count(*) AS n FROM scratch.amounts";
    assert_eq!(json(&project, &["sql", count])[0]["n"], 1);
    let skipped = json(
        &project,
        &["ingest", "scratch.amounts", file.to_str().unwrap(), "--on-error", "skip"],
    );
    assert_eq!((&skipped["rows"], &skipped["rejected"]), (&2.into(), &1.into()));
    // A table that would be made for rows that cannot be read is not made.
    let ragged = project.join("ragged.csv");
    std::fs::write(&ragged, "id,amount\n1,1.5\n2\n").unwrap();
    failure(&project, &["ingest", "scratch.ragged", ragged.to_str().unwrap()]);
    let (_, message) = failure(&project, &["table", "show", "scratch.ragged"]);
    assert!(message.contains("IC0404"), "{message}");
}

#[test]
fn a_file_without_rows_makes_a_table_without_a_snapshot() {
    let (_dir, project) = own_demo();
    let file = project.join("empty.csv");
    std::fs::write(&file, "id,amount\n").unwrap();
    let done = json(&project, &["ingest", "scratch.empty", file.to_str().unwrap()]);
    assert_eq!((&done["rows"], &done["created"]), (&0.into(), &true.into()), "{done}");
    assert!(done["snapshot_id"].is_null(), "{done}");
    let count = "SELECT count(*) AS n FROM scratch.empty";
    assert_eq!(json(&project, &["sql", count])[0]["n"], 0);
}

#[test]
fn a_mistake_in_a_definition_has_line_and_column() {
    let (_dir, project) = own_demo();
    let file = project.join("features/broken.toml");
    std::fs::write(
        &file,
        "[[feature_view]]\nname = \"broken\"\nentities = [\"usr\"]\nsource = \"events.raw_transactions\"\n\
         event_timestamp = \"event_timestamp\"\ntable = \"t.broken\"\n\
         [[feature_view.aggregate]]\nname = \"n\"\nfunction = \"conut\"\nwindows = [\"7d\"]\n",
    )
    .unwrap();
    let (status, message) = failure(&project, &["features", "list"]);
    assert_eq!(status, 1);
    assert!(message.contains("features/broken.toml:9:"), "{message}");
    std::fs::remove_file(&file).unwrap();
}

#[test]
fn completions_and_help_need_no_project() {
    for arguments in
        [&["--help"][..], &["table", "--help"], &["completions", "bash"], &["--version"]]
    {
        let output = run(arguments);
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert!(!output.stdout.is_empty());
    }
}
