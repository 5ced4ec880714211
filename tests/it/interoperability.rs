//! Other engines read what icecore wrote, and compute what it computed. C14

use crate::binary::{demo, json, python, script};

#[test]
fn pyiceberg_and_duckdb_read_every_table_as_icecore_does() {
    let Some(python) = python() else { return };
    let database = demo().join(".icecore/catalog.db");
    let read = script(&python, "read_tables.py", &[database.to_str().unwrap()]);
    let tables = json(demo(), &["table", "list"]);
    assert!(!tables.as_array().unwrap().is_empty());
    for table in tables.as_array().unwrap() {
        let name = table["table"].as_str().unwrap();
        for reader in ["pyiceberg", "duckdb"] {
            let theirs = &read[reader][name];
            assert_eq!(theirs["rows"], table["rows"], "{reader}: rows of {name}");
            for (column, sum) in theirs["sums"].as_object().unwrap() {
                let query = format!("SELECT sum(CAST(\"{column}\" AS DOUBLE)) AS s FROM {name}");
                let ours = json(demo(), &["sql", &query]);
                let (ours, theirs) = (ours[0]["s"].as_f64().unwrap_or(0.0), sum.as_f64().unwrap());
                let near = (ours - theirs).abs() <= 1e-9 * theirs.abs().max(1.0);
                assert!(near, "{reader}: sum of {name}.{column}: {theirs}, ours {ours}");
            }
        }
        assert_eq!(read["pyiceberg"][name]["nulls"], read["duckdb"][name]["nulls"], "{name}");
    }
}

// C40-C46
#[test]
fn duckdb_computes_the_same_window_features_from_the_raw_events() {
    let Some(python) = python() else { return };
    let database = demo().join(".icecore/catalog.db");
    let compared = script(&python, "recompute_windows.py", &[database.to_str().unwrap()]);
    assert!(compared["rows"].as_u64().unwrap() > 1000, "{compared:#}");
    assert_eq!(compared["differences"], serde_json::json!([]), "{compared:#}");
}
