//! Deleting runs and models, through the binary.

use std::path::Path;

use serde_json::Value;

use crate::binary::{failure, json, own_demo};

const MODEL: &str = "churn-prediction-gbm";
const FEATURES: &str = "ml_features.churn_features";

fn ids(runs: &Value) -> Vec<&str> {
    runs.as_array().unwrap().iter().map(|run| run["id"].as_str().unwrap()).collect()
}

/// Who holds snapshots of the features that would expire otherwise.
fn holders(project: &Path) -> String {
    let expire = ["table", "expire", FEATURES, "--older-than", "2100-01-01", "--dry-run"];
    json(project, &expire)["held"].to_string()
}

#[test]
fn what_is_served_or_scored_with_is_deleted_by_force_only_and_a_number_is_given_once() {
    let (_dir, project) = own_demo();
    let first = json(&project, &["models", "show", MODEL]);
    let made_by = first[0]["run"].as_str().unwrap();
    let (code, said) = failure(&project, &["runs", "delete", made_by]);
    assert!(code == 1 && said.contains(&format!("models:/{MODEL}/1 (Production)")), "{said}");
    let (code, said) = failure(&project, &["models", "delete", MODEL, "1"]);
    assert!(code == 1 && said.contains("`icecore models promote"), "{said}");

    assert_eq!(json(&project, &["train", "churn"])["version"], 2);
    let file = project.join("scoring/churn.toml");
    let scoring = std::fs::read_to_string(&file).unwrap();
    let by_number = scoring.replace(&format!("{MODEL}/Production"), &format!("{MODEL}/2"));
    assert_ne!(scoring, by_number);
    std::fs::write(&file, by_number).unwrap();
    let (_, said) = failure(&project, &["models", "delete", MODEL, "2"]);
    assert!(said.contains("`scoring/churn.toml` scores with"), "{said}");
    std::fs::write(&file, scoring).unwrap();

    let delete = ["models", "delete", MODEL, "2"];
    let dry = json(&project, &[&delete[..], &["--dry-run"]].concat());
    assert_eq!(json(&project, &["models", "show", MODEL]).as_array().unwrap().len(), 2);
    let deleted = json(&project, &delete);
    assert_eq!((&dry["deleted"], dry["dry_run"].as_bool()), (&deleted["deleted"], Some(true)));
    assert_eq!(json(&project, &["models", "show", MODEL]), first);
    let (code, said) = failure(&project, &delete);
    assert!(code != 0 && said.contains("versions: 1 (Production)"), "{said}");
    assert_eq!(json(&project, &["train", "churn"])["version"], 3);

    let (_, said) = failure(&project, &["models", "delete", MODEL, "--all"]);
    assert!(said.contains("--force"), "{said}");
    json(&project, &["models", "delete", MODEL, "--all", "--force"]);
    let (_, said) = failure(&project, &["models", "show", MODEL]);
    assert!(said.contains("there is no model"), "{said}");
    json(&project, &["runs", "delete", made_by]);
}

#[test]
fn a_deleted_run_comes_back_until_it_is_removed_with_its_files() {
    let (_dir, project) = own_demo();
    let trained = json(&project, &["train", "churn"]);
    let run = trained["run_id"].as_str().unwrap();
    let before = json(&project, &["runs", "show", run]);
    json(&project, &["features", "compute", "churn_features", "--force"]);
    let delete = ["runs", "delete", &run[..12], "--force"];
    json(&project, &[&delete[..], &["--dry-run"]].concat());
    assert_eq!(json(&project, &["runs", "show", run]), before);

    let deleted = json(&project, &delete);
    assert_eq!(deleted["runs"], Value::from(vec![run]));
    assert_eq!(deleted["models"][0]["version"], trained["version"]);
    assert!(!ids(&json(&project, &["runs", "list"])).contains(&run));
    assert_eq!(ids(&json(&project, &["runs", "list", "--deleted"])), [run]);
    assert!(holders(&project).contains(&format!("deleted run `{run}`")));
    let (_, said) = failure(&project, &["runs", "show", run]);
    assert!(said.contains(&format!("icecore runs restore {run}")), "{said}");

    json(&project, &["runs", "restore", &run[..12]]);
    assert_eq!(json(&project, &["runs", "show", run]), before);
    assert_eq!(json(&project, &["reproduce", run])["equal"], true);
    json(&project, &["runs", "delete", run]);
    assert_eq!(json(&project, &["runs", "gc", "--older-than", "1d"])["runs"], Value::Array(vec![]));
    let dry = json(&project, &["runs", "gc", "--dry-run"]);
    let files = project.join(".icecore/artifacts").join(run);
    assert!(files.try_exists().unwrap());
    let removed = json(&project, &["runs", "gc"]);
    assert_eq!((&removed["runs"], &removed["files"]), (&dry["runs"], &dry["files"]));
    assert!(removed["files"].as_u64().unwrap() > 3, "{removed}");
    assert!(!files.try_exists().unwrap());
    assert!(!holders(&project).contains(run));
    let (_, said) = failure(&project, &["runs", "restore", run]);
    assert!(said.contains("there is no run"), "{said}");
}
