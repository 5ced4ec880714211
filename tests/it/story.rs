//! The story as a whole: what the demo leaves behind, its determinism, and its bits.

use serde_json::Value;

use crate::binary::{demo, json, make_demo, own_demo};

/// The result of the first step whose command begins so.
#[track_caller]
fn step<'a>(report: &'a Value, command: &str) -> &'a Value {
    report["steps"]
        .as_array()
        .unwrap()
        .iter()
        .find(|step| step["command"].as_str().unwrap().starts_with(command))
        .map(|step| &step["result"])
        .unwrap_or_else(|| panic!("no step `{command}` in {report:#}"))
}

// C122 C124 C178
#[test]
fn the_demo_leaves_the_named_tables_and_the_production_model() {
    let tables = json(demo(), &["table", "list"]);
    let names: Vec<&str> =
        tables.as_array().unwrap().iter().map(|table| table["table"].as_str().unwrap()).collect();
    for name in [
        "events.raw_transactions",
        "labels.churn_outcomes",
        "ml_features.churn_features",
        "ml_features.user_transaction_features",
        "ml_predictions.churn_scores",
        "ml_training.churn",
    ] {
        assert!(names.contains(&name), "{name} is not in {names:?}");
    }
    let models = json(demo(), &["models", "show", "churn-prediction-gbm"]);
    assert_eq!(models[0]["aliases"], serde_json::json!(["Production"]));
}

// C4 D4: the same seed gives the same data, the same training set and the same model, in another
// directory, on other threads.
#[test]
fn a_seed_decides_the_content_and_the_model_bit_for_bit() {
    let dir = tempfile::tempdir().unwrap();
    let reports = [("a", "1"), ("b", "2")].map(|(name, threads)| {
        make_demo(&dir.path().join(name), &["--seed", "7", "--threads", threads])
    });
    for (command, field) in [
        ("dataset build churn", "content_hash"),
        ("train churn", "model_hash"),
        ("train churn_logistic", "model_hash"),
        ("train churn_forest", "model_hash"),
    ] {
        let [a, b] = [0, 1].map(|i| step(&reports[i], command)[field].as_str().unwrap());
        assert_eq!(a, b, "{command}: {field}");
    }
}

// C26 C58-C60
#[test]
fn the_model_knows_something_and_the_run_says_how_it_was_made() {
    let runs = json(demo(), &["runs", "list", "--experiment", "/ml/churn-prediction"]);
    let run =
        runs.as_array().unwrap().iter().find(|run| run["params"]["algorithm"] == "gbdt").unwrap();
    for metric in ["val_auc_roc", "cv_auc_mean"] {
        let auc = run["metrics"][metric].as_f64().unwrap();
        assert!((0.6..1.0).contains(&auc), "{metric} = {auc}");
    }
    for metric in ["cv_auc_std", "training_row_count", "positive_class_rate"] {
        assert!(run["metrics"][metric].is_number(), "{metric}");
    }
    // C22 C55 C57 C104 C176
    for param in [
        "training_data_table",
        "training_data_snapshot_id",
        "training_data_row_count",
        "training_table",
        "training_data_version",
        "training_data_timestamp",
        "training_start_date",
        "training_end_date",
        "feature_set_version",
        "n_estimators",
        "max_depth",
        "learning_rate",
        "subsample",
        "min_samples_leaf",
        "seed",
        "code_version",
        "definition_hash.churn_features",
    ] {
        assert!(run["params"][param].is_string(), "{param} is not in {:#}", run["params"]);
    }
    assert!(!run["inputs"].as_array().unwrap().is_empty());
    // C54
    let snapshot = run["params"]["training_data_snapshot_id"].as_str().unwrap();
    assert!(run["name"].as_str().unwrap().ends_with(snapshot));
    // C61
    let shown = json(demo(), &["runs", "show", run["id"].as_str().unwrap()]);
    let artifacts: Vec<&str> =
        shown["artifacts"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    for path in ["model/model.icm", "model/signature.json", "model/input_example.json"] {
        assert!(artifacts.contains(&path), "{path} is not in {artifacts:?}");
    }
}

// C28 C63
#[test]
fn a_run_is_reproduced_bit_for_bit_after_the_data_has_moved_on() {
    let (_dir, project) = own_demo();
    let models = json(&project, &["models", "show", "churn-prediction-gbm"]);
    let run = models[0]["run"].as_str().unwrap().to_owned();
    let events = project.join("data/events-01.parquet");
    json(&project, &["ingest", "events.raw_transactions", events.to_str().unwrap()]);
    json(&project, &["features", "compute", "churn_features", "--from", "2026-04-01"]);
    let reproduced = json(&project, &["reproduce", &run]);
    assert_eq!(reproduced["equal"], true);
    assert_eq!(reproduced["model_hash"], models[0]["hash"]);
    let verified = json(&project, &["dataset", "verify", "churn"]);
    assert_eq!(verified["equal"], true);
}

// C78-C83
#[test]
fn scoring_again_replaces_the_date_and_nothing_else() {
    let (_dir, project) = own_demo();
    let count = "SELECT count(*) AS n, count(DISTINCT user_token) AS users, \
                 min(churn_probability) AS low, max(churn_probability) AS high \
                 FROM ml_predictions.churn_scores";
    let before = json(&project, &["sql", count]);
    assert_eq!(before[0]["n"], before[0]["users"]);
    // C159
    assert!(
        before[0]["low"].as_f64().unwrap() >= 0.0 && before[0]["high"].as_f64().unwrap() <= 1.0
    );
    let scored = json(&project, &["score", "churn", "--date", "2026-07-01"]);
    assert_eq!(scored["rows"], before[0]["n"]);
    assert_eq!(json(&project, &["sql", count]), before);
    assert_eq!(scored["changed"], false, "equal models have scored equal features");
    let again = json(&project, &["score", "churn", "--date", "2026-07-01", "--force"]);
    assert_eq!((&again["changed"], &again["rows"]), (&Value::Bool(true), &scored["rows"]));
    assert_ne!(again["run_id"], scored["run_id"]);
    assert_eq!(json(&project, &["sql", count]), before);
    let older = json(&project, &["score", "churn", "--date", "2026-06-01"]);
    let dates = "SELECT DISTINCT CAST(churn_score_date AS VARCHAR) AS d FROM ml_predictions.churn_scores ORDER BY 1";
    let dates = json(&project, &["sql", dates]);
    assert_eq!(dates, serde_json::json!([{"d": "2026-06-01"}, {"d": "2026-07-01"}]));
    assert!(older["rows"].as_u64().unwrap() > 0);
    // C168
    let columns = "SELECT DISTINCT model_version, run_id, feature_snapshot_id FROM ml_predictions.churn_scores";
    assert_eq!(json(&project, &["sql", columns]).as_array().unwrap().len(), 2);
}

// C114
#[test]
fn every_prediction_of_a_user_comes_with_the_features_that_produced_it() {
    let (_dir, project) = own_demo();
    json(&project, &["score", "churn", "--date", "2026-06-01"]);
    let user = "SELECT user_token AS u FROM ml_predictions.churn_scores GROUP BY 1 \
                HAVING count(*) = 2 ORDER BY max(churn_probability) DESC LIMIT 1";
    let user = json(&project, &["sql", user])[0]["u"].as_str().unwrap().to_owned();
    let newest = json(&project, &["score", "explain", &user]);
    assert_eq!(newest.as_array().unwrap().len(), 1);
    assert_eq!(newest[0]["date"], "2026-07-01");
    let both = json(&project, &["score", "explain", &user, "--from", "2026-01-01"]);
    assert_eq!(both[0]["date"], "2026-06-01");
    assert_eq!(both[1], newest[0]);
    for score in both.as_array().unwrap() {
        assert_eq!(score["equal"], true, "{score:#}");
        assert_eq!(score["prediction"], score["stored"]["churn_probability"]);
        let features = score["features"].as_array().unwrap();
        assert!(features.iter().any(|feature| feature["name"] == "txn_count_30d"));
        let added = |feature: &Value| feature["contribution"].as_f64().unwrap();
        let raw = score["expected"].as_f64().unwrap() + features.iter().map(added).sum::<f64>();
        let probability = 1.0 / (1.0 + (-raw).exp());
        assert!((probability - score["prediction"].as_f64().unwrap()).abs() < 1e-9);
    }
}
