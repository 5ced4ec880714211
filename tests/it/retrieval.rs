//! Features as they were known, and training sets as files, through the binary. C99, C116-C118.

use std::process::Command;

use serde_json::Value;

use crate::binary::{failure, json, own_demo, python, text};

const FEATURES: &str = "ml_features.churn_features";

/// Observations a few hours after the rows that they see, and some before all of them.
const SPINE: &str = "SELECT row_number() OVER (ORDER BY user_token, observed_at) AS row_id, \
     user_token, observed_at + INTERVAL '7 hours' AS event_timestamp FROM labels.churn_outcomes";

// C118: engines that are not ours join the same rows to the same.
#[test]
fn the_join_gives_what_the_as_of_joins_of_duckdb_and_polars_give() {
    let Some(python) = python() else { return };
    let (_dir, project) = own_demo();
    let path = |name: &str| project.join(name).display().to_string();
    let (spine, features, joined) = (path("spine.parquet"), path("f.parquet"), path("joined.csv"));
    json(&project, &["sql", SPINE, "--output", &spine]);
    let all = format!("SELECT * FROM {FEATURES}");
    json(&project, &["sql", &all, "--output", &features]);

    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/python/asof.py");
    for (feature, ttl) in [("txn_count_30d", "90"), ("avg_amount_7d", "3")] {
        let name = format!("churn_features:{feature}");
        let span = format!("{ttl}d");
        let get = ["features", "get", &name, "--spine-file", &spine, "--ttl", &span, "-o", &joined];
        let answer = json(&project, &get);
        let asof = [script, &spine, &features, "user_token", "event_timestamp", feature, ttl];
        let theirs = Command::new(&python).args(asof).output().unwrap();
        assert!(theirs.status.success(), "{}", text(&theirs.stderr));
        let theirs = text(&theirs.stdout);
        let ours = std::fs::read_to_string(&joined).unwrap();
        let mut lines: Vec<(i64, Option<f64>)> = ours.lines().skip(1).map(line).collect();
        lines.sort_by_key(|(row, _)| *row);
        let expected: Vec<(i64, Option<f64>)> = theirs.lines().map(line).collect();
        assert_eq!(answer["rows"], expected.len());
        assert!(expected.iter().any(|(_, value)| value.is_some()));
        assert_eq!(lines, expected, "{feature}");
    }
}

/// The first and the last field.
fn line(text: &str) -> (i64, Option<f64>) {
    let (row, rest) = text.split_once(',').unwrap();
    let value = rest.rsplit(',').next().unwrap_or_default();
    (row.parse().unwrap(), value.parse().ok())
}

#[test]
fn every_entity_can_be_seen_at_moments_and_a_view_has_its_rows() {
    let (_dir, project) = own_demo();
    let day = "SELECT max(feature_date) AS day, count(DISTINCT user_token) AS users FROM";
    let last = json(&project, &["sql", &format!("{day} {FEATURES}")]);
    let day = last[0]["day"].as_str().unwrap().to_owned();
    let get = ["features", "get", "churn_features:txn_count_7d", "--with-ages", "--at", &day];
    let seen = json(&project, &get);
    let seen = seen.as_array().unwrap();
    let sql = format!(
        "SELECT count(DISTINCT user_token) AS n FROM {FEATURES} WHERE event_timestamp <= TIMESTAMP '{day}' AND event_timestamp >= TIMESTAMP '{day}' - INTERVAL '90 days'"
    );
    let users = json(&project, &["sql", &sql])[0]["n"].as_u64().unwrap();
    assert_eq!(seen.len() as u64, users);
    assert!(seen.iter().all(|row| row["churn_features__age_us"].as_i64().unwrap() >= 0));
    // Under another name the view gives the same.
    let named = ["other:txn_count_7d", "--alias", "other=churn_features", "--at", &day];
    let named = json(&project, &[&["features", "get"], &named[..]].concat());
    let counts = |rows: &[Value]| -> Vec<Value> {
        rows.iter().map(|row| row["txn_count_7d"].clone()).collect()
    };
    assert_eq!(counts(named.as_array().unwrap()), counts(seen));
    let get = ["features", "get", "churn_features:txn_count_7d", "--rows", "--from", &day];
    let rows = json(&project, &get);
    let sql = format!("SELECT count(*) AS n FROM {FEATURES} WHERE feature_date >= DATE '{day}'");
    assert_eq!(rows.as_array().unwrap().len() as u64, json(&project, &["sql", &sql])[0]["n"]);
    let (_, message) = failure(&project, &["features", "get", "churn_features:*"]);
    assert!(message.contains("--spine"), "{message}");
    let (_, message) = failure(&project, &["features", "get", "churn_featurs:*", "--at", &day]);
    assert!(message.contains("did you mean `churn_features`"), "{message}");
}

#[test]
fn a_divided_set_is_trained_and_exported_by_its_parts() {
    let (_dir, project) = own_demo();
    let file = project.join("training/churn.toml");
    let written = std::fs::read_to_string(&file).unwrap();
    let divided = "[split]\nby = \"key\"\ntest = 0.2\nvalidation = 0.2";
    let changed = written.replacen("[split]\nvalidation = 0.2", divided, 1);
    assert_ne!(written, changed);
    std::fs::write(&file, changed).unwrap();
    let built = json(&project, &["dataset", "build", "churn"]);
    json(&project, &["dataset", "verify", "churn"]);
    let rows = |part: &str| -> u64 {
        let out = project.join(format!("{part}.parquet")).display().to_string();
        let mut command = vec!["dataset", "export", "churn", "-o", &out];
        if part != "all" {
            command.extend(["--part", part, "--columns", "user_token,churn_label"]);
        }
        json(&project, &command)["rows"].as_u64().unwrap()
    };
    let parts = ["training", "validation", "test"].map(rows);
    assert_eq!(parts.iter().sum::<u64>(), built["rows"].as_u64().unwrap());
    assert_eq!(rows("all"), built["rows"].as_u64().unwrap());
    assert!(parts.iter().all(|rows| *rows > 0), "{parts:?}");
    let trained: Value = json(&project, &["train", "churn"]);
    let used = trained["rows"].as_u64().unwrap();
    assert!(used <= parts[0] + parts[1], "{used} {parts:?}");
    assert!(trained["metrics"]["val_row_count"].as_f64().unwrap() <= parts[1] as f64);
}

// C3 C41 C116: windows that end at each row's own moment are what SQL counts in the events.
#[test]
fn windows_end_at_the_moments_of_the_rows_where_they_are_asked_to() {
    let (_dir, project) = own_demo();
    let path = |name: &str| project.join(name).display().to_string();
    let (spine, joined) = (path("spine.parquet"), path("joined.csv"));
    json(&project, &["sql", SPINE, "--output", &spine]);
    let name = "user_transaction_features:txn_count_30d";
    let get =
        ["features", "get", name, "--spine-file", &spine, "--windows", "moment", "-o", &joined];
    json(&project, &get);
    let counted = format!(
        "SELECT row_id, CASE WHEN lately > 0 THEN counted END AS counted FROM (\
           SELECT s.row_id, count(e.user_token) AS lately, \
                  count(e.txn_id) FILTER (WHERE e.event_timestamp >= s.event_timestamp - INTERVAL '30 days') AS counted \
           FROM ({SPINE}) s LEFT JOIN events.raw_transactions e ON e.user_token = s.user_token \
             AND e.event_timestamp <= s.event_timestamp \
             AND e.event_timestamp >= s.event_timestamp - INTERVAL '90 days' \
           GROUP BY s.row_id, s.event_timestamp) ORDER BY row_id"
    );
    let expected = json(&project, &["sql", &counted]);
    let expected: Vec<(i64, Option<f64>)> = expected
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["row_id"].as_i64().unwrap(), row["counted"].as_f64()))
        .collect();
    let ours = std::fs::read_to_string(&joined).unwrap();
    let mut lines: Vec<(i64, Option<f64>)> = ours.lines().skip(1).map(line).collect();
    lines.sort_by_key(|(row, _)| *row);
    assert!(expected.iter().filter(|(_, counted)| counted.is_some()).count() > 10);
    assert_eq!(lines, expected);

    let plan = json(&project, &["dataset", "explain", "churn"]);
    let plan = plan["plan"].as_str().unwrap();
    assert!(plan.starts_with("PointInTimeExec: moment=event_timestamp"), "{plan}");
}
