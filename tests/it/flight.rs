//! Training sets and features over Arrow Flight, asked for by the real Python client. C99

use serde_json::Value;

use crate::binary::{demo, failure, json, python, script};
use crate::service::Service;

#[test]
fn a_python_client_reads_training_sets_and_gets_features_for_its_rows() {
    let Some(python) = python() else { return };
    let project = demo();
    let lock = json(project, &["dataset", "show", "churn"]);
    let token = "flight-secret";
    let service = Service::start_as("flight", project, &[("ICECORE_SERVE__TOKEN", token)]);
    let seen = script(&python, "flight_client.py", &[&service.address, token]);

    assert!(seen["listed"].as_array().unwrap().contains(&"dataset/churn".into()));
    for rows in ["total", "rows"] {
        assert_eq!(seen[rows], lock["rows"], "{rows}");
    }
    let columns = lock["column"].as_array().unwrap().iter().map(|column| &column["name"]);
    assert_eq!(seen["columns"], Value::Array(columns.cloned().collect()));
    assert_eq!(seen["schema_equal"], true);
    assert_eq!(seen["few"], serde_json::json!(["churn_label", "user_token"]));
    assert_eq!((&seen["few_batches_max"], &seen["few_equal"]), (&7.into(), &true.into()));
    assert_eq!(seen["where"], seen["passing"]);
    assert_ne!(seen["where"], seen["rows"]);

    let enriched = serde_json::json!(["user_token", "event_timestamp", "txn_count_30d"]);
    assert_eq!(seen["enriched"], enriched);
    assert_eq!(seen["enriched_keys_equal"], true);
    let named =
        serde_json::json!(["user_token", "event_timestamp", "txn_count_30d", "other__age_us"]);
    assert_eq!((&seen["named"], &seen["named_equal"]), (&named, &true.into()));
    assert_eq!(seen["enriched_counts"], seen["set_counts"], "as the training set has them");

    for (what, said) in [
        ("unknown", "did you mean `churn`"),
        ("escape", "training/churn"),
        ("column", "no column `lable`"),
        ("write", "writes nothing"),
        ("no_token", "authorization: Bearer TOKEN"),
    ] {
        let error = seen[what].as_str().unwrap_or_else(|| panic!("{what} was not refused"));
        assert!(error.contains(said), "{what}: {error}");
    }
}

#[test]
fn nobody_else_reaches_the_service_without_a_token() {
    let (status, message) = failure(demo(), &["flight", "--listen", "0.0.0.0:0"]);
    assert_eq!(status, 7, "{message}");
    assert!(message.contains("there is no token"), "{message}");
}
