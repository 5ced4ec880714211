//! Statistics, drift, skew, alerts; labels from outcomes and the next training set.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;

use serde_json::{Value, json as document};

use crate::binary::{demo, json, own_demo, python, run, script, text};

/// Runs a command whose exit status is bad news, not failure.
#[track_caller]
fn news(project: &Path, arguments: &[&str]) -> (i32, Value) {
    let mut all = vec!["--project", project.to_str().unwrap(), "--json"];
    all.extend(arguments);
    let output = run(&all);
    let answer = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{arguments:?}: {error}: {}", text(&output.stderr)));
    (output.status.code().unwrap_or(-1), answer)
}

fn feature<'a>(drift: &'a Value, name: &str) -> &'a Value {
    let features = drift["drift"]["features"].as_array().unwrap();
    features.iter().find(|feature| feature["feature"] == name).unwrap()
}

// C107 C171: feature tables, training sets, trainings and scorings have statistics as soon as they
// are written.
#[test]
fn everything_that_was_written_has_statistics_that_equal_its_rows() {
    for (source, query) in [
        (
            "ml_features.churn_features",
            "SELECT count(*) AS rows, avg(txn_count_30d) AS mean, min(txn_count_30d) AS min, \
             max(txn_count_30d) AS max FROM ml_features.churn_features",
        ),
        (
            "ml_features.churn_features[feature_date=2026-07-01]",
            "SELECT count(*) AS rows, avg(txn_count_30d) AS mean, min(txn_count_30d) AS min, \
             max(txn_count_30d) AS max FROM ml_features.churn_features \
             WHERE feature_date = DATE '2026-07-01'",
        ),
        (
            "dataset:churn",
            "SELECT count(*) AS rows, avg(txn_count_30d) AS mean, min(txn_count_30d) AS min, \
             max(txn_count_30d) AS max FROM ml_training.churn",
        ),
        (
            "scoring:churn",
            "SELECT count(*) AS rows, avg(txn_count_30d) AS mean, min(txn_count_30d) AS min, \
             max(txn_count_30d) AS max FROM ml_features.churn_features \
             WHERE feature_date = DATE '2026-07-01'",
        ),
    ] {
        let known = json(demo(), &["monitor", "profile", source]);
        let rows = &json(demo(), &["sql", query])[0];
        assert_eq!(known["complete"], true, "{source}: {:#}", known["notes"]);
        assert_eq!(known["notes"], document!([]), "{source} was not read");
        assert_eq!(known["rows"], rows["rows"], "{source}");
        let column = &known["columns"]["txn_count_30d"];
        for what in ["mean", "min", "max"] {
            let (known, read) = (column[what].as_f64().unwrap(), rows[what].as_f64().unwrap());
            assert!((known - read).abs() <= 1e-9 * read.abs(), "{source}: {what} {known} {read}");
        }
    }
    let keys = json(demo(), &["monitor", "profile", "ml_features.churn_features"]);
    assert!(keys["columns"]["user_token"]["distinct"].is_null(), "keys are in no statistics");
    let model = json(demo(), &["monitor", "profile", "model:churn-prediction-gbm/Production"]);
    assert_eq!(model["columns"].as_object().unwrap().len(), 8);
}

#[test]
fn pyiceberg_finds_the_statistics_files_of_a_table() {
    let Some(python) = python() else { return };
    let database = demo().join(".icecore/catalog.db");
    let arguments = [database.to_str().unwrap(), "ml_predictions.churn_scores"];
    let found = script(&python, "statistics_files.py", &arguments);
    let files = found["files"].as_array().unwrap();
    let current = files.iter().find(|file| file["snapshot"] == found["current"]).unwrap();
    assert_eq!(current["kinds"], document!(["icecore-profile-v1"]));
    // PyIceberg loads no table whose metadata names kinds that it does not know.
    assert_eq!(current["in_metadata"], document!([]));
    let fsck = json(demo(), &["fsck", "ml_predictions.churn_scores", "--deep"]);
    assert_eq!(fsck["errors"], document!([]), "{fsck:#}");
}

#[test]
fn each_measure_is_that_of_numpy_and_scipy() {
    let Some(python) = python() else { return };
    let partition = |day: &str| format!("ml_features.churn_features[feature_date={day}]");
    let (june, july) = (partition("2026-06-01"), partition("2026-07-01"));
    let dir = tempfile::tempdir().unwrap();
    for name in ["txn_count_30d", "avg_amount_30d", "decline_rate_30d"] {
        let values = |day: &str| {
            let query = format!(
                "SELECT {name} AS v FROM ml_features.churn_features \
                 WHERE feature_date = DATE '{day}' AND {name} IS NOT NULL"
            );
            let rows = json(demo(), &["sql", &query]);
            let rows = rows.as_array().unwrap().iter().map(|row| row["v"].clone());
            Value::Array(rows.collect())
        };
        let (a, b) = (values("2026-06-01"), values("2026-07-01"));
        for exact in [true, false] {
            let mut arguments = vec!["monitor", "drift", &june, &july, "--features", name];
            arguments.extend(exact.then_some("--exact"));
            let drift = json(demo(), &arguments);
            let ours = feature(&drift, name);
            let asked = document!({"a": a, "b": b, "bins": ours["bins"]});
            let path = dir.path().join("asked.json");
            std::fs::write(&path, asked.to_string()).unwrap();
            let theirs = script(&python, "drift_measures.py", &[path.to_str().unwrap()]);
            for measure in ["ks", "wasserstein", "js", "psi"] {
                let (value, error) = (
                    ours[measure]["value"].as_f64().unwrap(),
                    ours[measure]["error"].as_f64().unwrap(),
                );
                let oracle = theirs[measure].as_f64().unwrap();
                let near = (value - oracle).abs() <= error + 1e-9 * oracle.abs().max(1.0);
                assert!(near, "{name} {measure} exact={exact}: {value} ± {error}, {oracle}");
                assert!(!exact || error == 0.0);
            }
            for (at, side) in ["reference", "current"].iter().enumerate() {
                for (own, other) in [("mean", "mean"), ("stddev", "stddev")] {
                    let ours = ours[side][own].as_f64().unwrap();
                    let theirs = theirs[other][at].as_f64().unwrap();
                    assert!((ours - theirs).abs() <= 1e-9 * theirs.abs().max(1.0));
                }
            }
        }
    }
}

/// A receiver of one webhook.
fn receiver() -> (String, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/hook", listener.local_addr().unwrap());
    let served = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut request, mut part) = (Vec::new(), [0; 4096]);
        while !request.ends_with(b"}") {
            let read = stream.read(&mut part).unwrap();
            request.extend_from_slice(&part[..read]);
        }
        write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
        text(&request)
    });
    (address, served)
}

// C172
#[test]
fn a_feature_that_moved_too_far_is_told_in_every_way_that_is_asked_for() {
    let (_dir, project) = own_demo();
    let (address, served) = receiver();
    let write = |threshold: &str| {
        std::fs::create_dir_all(project.join("monitor")).unwrap();
        let monitor = format!(
            "name = \"churn\"\nreference = \"model:churn-prediction-gbm/Production\"\n\
             current = \"scoring:churn\"\n[thresholds]\npsi = {threshold}\nnull_rate = 1.0\n[alert]\n\
             webhook = \"{address}\"\nmetrics = \"out/churn.prom\"\ntable = \"monitor.drift\"\n"
        );
        std::fs::write(project.join("monitor/churn.toml"), monitor).unwrap();
    };
    write("1e9");
    let (status, quiet) = news(&project, &["monitor", "check", "churn"]);
    let psi = |found: &Value| {
        let alerts = found["monitors"][0]["alerts"].as_array().unwrap().clone();
        alerts.into_iter().filter(|alert| alert["measure"] == "psi").count()
    };
    assert_eq!((status, quiet["alerts"].clone()), (0, document!(0)), "{quiet:#}");
    write("0.0");
    let page = project.join("drift.html");
    let page_path = page.to_str().unwrap().to_owned();
    let (status, found) = news(&project, &["monitor", "check", "churn", "--output", &page_path]);
    assert_eq!((status, found["undelivered"].clone()), (1, document!([])));
    assert!(psi(&found) > 0, "{found:#}");
    let request = served.join().unwrap();
    assert!(request.contains("\"monitor\":\"churn\""), "{request}");
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("<svg") && page.contains("txn_count_30d") && !page.contains("<script"));
    let metrics = std::fs::read_to_string(project.join("out/churn.prom")).unwrap();
    assert!(
        metrics
            .contains("icecore_drift{monitor=\"churn\",feature=\"txn_count_30d\",measure=\"psi\"}")
    );
    let kept = "SELECT count(DISTINCT checked_at) AS checks, bool_or(alert) AS alert \
                FROM monitor.drift WHERE measure = 'psi'";
    assert_eq!(json(&project, &["sql", kept]), document!([{"checks": 2, "alert": true}]));
}

// C105: a definition that changed after training is named, with the part that did.
#[test]
fn the_causes_of_skew_are_told_apart() {
    let (_dir, project) = own_demo();
    json(&project, &["features", "apply", "--yes"]);
    let (status, found) = news(&project, &["monitor", "skew", "churn"]);
    let causes = |found: &Value| -> Vec<String> {
        let findings = found["findings"].as_array().unwrap().iter();
        findings.map(|finding| finding["cause"].as_str().unwrap().to_owned()).collect()
    };
    let by_definition =
        |found: &Value| causes(found).iter().any(|cause| cause == "window" || cause == "code_path");
    assert!(!by_definition(&found), "nothing was changed yet: {found:#}");
    assert_eq!(status, i32::from(!causes(&found).is_empty()));
    let file = project.join("features/churn.toml");
    let definition = std::fs::read_to_string(&file).unwrap();
    assert!(definition.contains("emit"), "{definition}");
    let closed = definition.replacen("emit =", "closed = \"left\"\nemit =", 1);
    let closed = if definition.contains("closed =") {
        definition.replace("\"both\"", "\"left\"")
    } else {
        closed
    };
    std::fs::write(&file, closed).unwrap();
    json(&project, &["features", "apply", "--yes"]);
    json(&project, &["features", "compute", "churn_features", "--full"]);
    json(&project, &["score", "churn", "--date", "2026-07-01"]);
    let (status, found) = news(&project, &["monitor", "skew", "churn"]);
    assert_eq!(status, 1);
    let window = found["findings"].as_array().unwrap().iter().find(|f| f["cause"] == "window");
    let window = window.unwrap_or_else(|| panic!("{found:#}"));
    assert_eq!(window["subject"], "churn_features");
    assert!(window["evidence"].as_str().unwrap().contains("closed"), "{window:#}");
}

// C102 C103 C113 C169 C170
#[test]
fn outcomes_become_labels_measures_and_the_next_training_set() {
    let (_dir, project) = own_demo();
    let file = project.join("scoring/churn.toml");
    let mut definition = std::fs::read_to_string(&file).unwrap();
    definition.push_str(
        "\n[feedback]\noutcomes = \"SELECT user_token, observed_at, churned FROM \
         labels.churn_outcomes\"\noutcome_timestamp = \"observed_at\"\nlabel = \"churned\"\n\
         window = \"30d\"\npick = \"first\"\n",
    );
    std::fs::write(&file, definition).unwrap();
    let newest =
        "SELECT CAST(max(CAST(observed_at AS DATE)) AS VARCHAR) AS d FROM labels.churn_outcomes";
    let newest = json(&project, &["sql", newest])[0]["d"].as_str().unwrap().to_owned();
    let before = format!(
        "SELECT CAST(max(feature_date) AS VARCHAR) AS d FROM ml_features.churn_features \
         WHERE feature_date < DATE '{newest}'"
    );
    let date = json(&project, &["sql", &before])[0]["d"].as_str().unwrap().to_owned();
    json(&project, &["score", "churn", "--date", &date]);
    let early = json(&project, &["label", "churn", "--as-of", &date, "--dry-run"]);
    assert!(early["pending"].as_u64().unwrap() > 0, "nothing is settled yet: {early:#}");
    let labelled = json(&project, &["label", "churn"]);
    assert!(labelled["rows"].as_u64().unwrap() > 0, "{labelled:#}");
    assert_eq!(json(&project, &["label", "churn"])["changed"], false);
    let measures = json(&project, &["evaluate", "churn"]);
    let measures = measures["measures"].as_array().unwrap();
    let model = measures.iter().find(|row| row["grouped_by"] == "model").unwrap();
    assert_eq!(model["rows"], labelled["rows"]);
    assert!(measures.iter().any(|row| row["grouped_by"] == "bucket"));
    let one = "SELECT churned, churn_probability, churn_features__txn_count_30d AS n \
               FROM labels.churn_with_features WHERE churn_features__txn_count_30d IS NOT NULL";
    let rows = json(&project, &["sql", one]);
    assert_eq!(rows.as_array().unwrap().len() as u64, labelled["rows"].as_u64().unwrap());
    let next = "name = \"next\"\nspine = \"SELECT user_token, event_timestamp, churned FROM \
                labels.churn\"\nlabel = \"churned\"\nfeatures = [\"churn_features:*\"]\n";
    std::fs::write(project.join("training/next.toml"), next).unwrap();
    let built = json(&project, &["dataset", "build", "next"]);
    assert_eq!(built["rows"], labelled["rows"]);
}
