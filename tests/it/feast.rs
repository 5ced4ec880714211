//! A client of Feast's feature server, which reads and writes here as it does there.

use serde_json::{Value, json as document};

use crate::binary::{json, python, script};
use crate::online_service::DRIVERS;
use crate::service::Service;

/// The view that clients push to, beside the one that jobs fill.
const FRESH: &str = r#"
[[feature_view]]
name = "driver_hourly_stats_fresh"
entities = ["driver"]
source = "ml.driver_stats_fresh"
columns = ["conv_rate", "acc_rate", "avg_daily_trips"]
[[push_source]]
name = "driver_stats"
table = "ml.driver_stats"
[[push_source]]
name = "driver_stats_push_source"
table = "ml.driver_stats_fresh"
"#;

/// The values of a feature in an answer.
fn values(answer: &Value, name: &str) -> Value {
    let names = answer[1]["metadata"]["feature_names"].as_array().unwrap();
    let at = names.iter().position(|found| found == name).unwrap();
    answer[1]["results"][at]["values"].clone()
}

#[test]
fn a_client_of_feasts_server_reads_and_writes_here() {
    let Some(python) = python() else { return };
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("features")).unwrap();
    // A busy machine is slower than the deadlines, which are not what is tested.
    let settings = "[serve]\nfeature_deadline = '30s'\nfeature_lake_deadline = '1m'\n\
        request_timeout = '2m'\n";
    std::fs::write(dir.path().join("icecore.toml"), settings).unwrap();
    let features = format!("{DRIVERS}{FRESH}");
    std::fs::write(dir.path().join("features/drivers.toml"), features).unwrap();
    let rows = "driver_id,event_timestamp,created,conv_rate,acc_rate,avg_daily_trips\n\
        1001,2026-07-01T19:00:00Z,2026-07-01T19:00:00Z,0.75,0.5,286\n\
        1002,2026-07-01T19:00:00Z,2026-07-01T19:00:00Z,0.625,0.25,923\n";
    let file = dir.path().join("rows.csv");
    std::fs::write(&file, rows).unwrap();
    for table in ["ml.driver_stats", "ml.driver_stats_fresh"] {
        json(dir.path(), &["ingest", table, file.to_str().unwrap()]);
    }
    json(dir.path(), &["online", "materialize", "--all"]);
    let service = Service::start(dir.path(), &[]);
    let said = script(&python, "feast_client.py", &[&format!("http://{}", service.address)]);
    for (label, status) in [
        ("health", 200),
        ("version", 200),
        ("list", 200),
        ("full names", 200),
        ("unknown entity", 200),
        ("service", 200),
        ("unknown view", 404),
        ("push", 200),
        ("read pushed", 200),
        ("write", 200),
        ("materialize", 200),
        ("materialize all", 200),
        ("materialize nothing", 404),
        ("materialize never", 400),
        ("after", 200),
    ] {
        assert_eq!(said[label][0], status, "{label}: {said:#}");
    }
    assert_eq!(values(&said["list"], "conv_rate"), document!([0.75, 0.625]));
    assert_eq!(values(&said["full names"], "driver_hourly_stats__conv_rate"), document!([0.75]));
    assert_eq!(values(&said["unknown entity"], "conv_rate"), document!([0.75, null]));
    assert_eq!(values(&said["service"], "conv_rate_plus_val2"), document!([2.75]));
    assert_eq!(values(&said["read pushed"], "avg_daily_trips"), document!([77]));
    for label in ["write", "materialize", "materialize all"] {
        assert_eq!(said[label][1], Value::Null, "{label}");
    }
    // What was written is newer than what the table has, and stays.
    assert_eq!(values(&said["after"], "conv_rate"), document!([0.75, 0.125]));
}
