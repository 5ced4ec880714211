//! Other engines read what icecore wrote, and compute what it computed. C14

use std::fmt::Write as _;

use crate::binary::{demo, json, python, run, script};

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

#[test]
fn columns_that_are_read_fast_are_read_by_all() {
    let Some(python) = python() else { return };
    let dir = tempfile::tempdir().unwrap();
    let project = dir.path().join("project");
    assert!(run(&["init", project.to_str().unwrap(), "--template", "empty"]).status.success());
    let mut rows = "id,measured,rounded\n".to_owned();
    let mut random = 1_u32;
    for n in 0..6_000_u32 {
        random = random.wrapping_mul(1_103_515_245).wrapping_add(12_345);
        let (measured, rounded) = (f64::from(random).sqrt(), f64::from(random % 300_007) / 1e3);
        writeln!(rows, "{},{measured},{rounded}", n % 40).unwrap();
    }
    let csv = project.join("rows.csv");
    std::fs::write(&csv, rows).unwrap();
    json(&project, &["ingest", "lab.measured", csv.to_str().unwrap()]);
    let database = project.join(".icecore/catalog.db");
    let database = database.to_str().unwrap();
    let codecs = script(&python, "column_codecs.py", &[database, "lab.measured"]);
    assert_eq!(codecs["measured"], serde_json::json!(["UNCOMPRESSED"]), "{codecs:#}");
    assert_eq!(codecs["rounded"], serde_json::json!(["LZ4"]), "{codecs:#}");
    let read = script(&python, "read_tables.py", &[database]);
    let sums = "SELECT sum(measured) AS measured, sum(rounded) AS rounded FROM lab.measured";
    let ours = json(&project, &["sql", sums]);
    for reader in ["pyiceberg", "duckdb"] {
        let table = &read[reader]["lab.measured"];
        assert_eq!(table["rows"], 6_000, "{reader}");
        for column in ["measured", "rounded"] {
            let (ours, theirs) = (ours[0][column].as_f64(), table["sums"][column].as_f64());
            let (ours, theirs) = (ours.unwrap(), theirs.unwrap());
            assert!(
                (ours - theirs).abs() <= 1e-9 * ours,
                "{reader}: {column}: {theirs}, not {ours}"
            );
        }
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

/// Aggregates of every kind that DuckDB has too, over windows of every shape.
const AGGREGATES: &str = r#"
[[entity]]
name = "who"

[[feature_view]]
name = "orders"
entities = ["who"]
source = "shop.orders"
event_timestamp = "moment"
emit = "each_event"
table = "features.orders"
partition_by = []
write = "overwrite"
"#;

#[test]
fn duckdb_computes_the_same_aggregates_over_the_same_windows() {
    let Some(python) = python() else { return };
    let dir = tempfile::tempdir().unwrap();
    let project = dir.path().join("project");
    assert!(run(&["init", project.to_str().unwrap(), "--template", "empty"]).status.success());
    let mut events = "who,moment,amount,shop\n".to_owned();
    for n in 0..600_u64 {
        let (who, minutes) = (n * 31 % 5, n * 97 + n * n % 83);
        let (day, minute) = (1 + minutes / 1440 % 28, minutes % 1440);
        let month = 1 + minutes / 1440 / 28;
        let at =
            format!("2024-{month:02}-{day:02}T{:02}:{:02}:00.{n:06}Z", minute / 60, minute % 60);
        let amount = if n % 11 == 0 { String::new() } else { format!("{}.25", n * 13 % 100) };
        let shop = if n % 7 == 0 { String::new() } else { format!("s{}", n * 7 % 6) };
        writeln!(events, "u{who},{at},{amount},{shop}").unwrap();
    }
    let csv = project.join("orders.csv");
    std::fs::write(&csv, events).unwrap();
    json(&project, &["ingest", "shop.orders", csv.to_str().unwrap()]);
    let mut text = AGGREGATES.to_owned();
    let day = r#"["10d"]"#;
    for (name, function, windows) in [
        ("orders", "count", r#"["10d", "10d offset 5d", "tumbling 1d", "to date 1d"]"#),
        ("spend", "sum\"\ncolumn = \"amount", r#"["10d", "lifetime"]"#),
        ("mean", "mean\"\ncolumn = \"amount", day),
        ("sd", "stddev\"\ncolumn = \"amount", day),
        ("var", "variance\"\ncolumn = \"amount", day),
        ("least", "min\"\ncolumn = \"amount", day),
        ("most", "max\"\ncolumn = \"amount", day),
        ("shops", "count_distinct\"\ncolumn = \"shop", day),
        ("some_shops", "bounded_count_distinct\"\nk = 3\ncolumn = \"shop", day),
        ("first_shops", "first_k\"\nk = 3\ncolumn = \"shop", day),
        ("last_shops", "last_k\"\nk = 3\ncolumn = \"shop", day),
        ("top", "top_k\"\nk = 4\ncolumn = \"amount", day),
        ("bottom", "bottom_k\"\nk = 4\ncolumn = \"amount", day),
        ("classes", "histogram\"\nedges = [10, 50]\ncolumn = \"amount", day),
        ("p90", "approx_percentile\"\npercentile = 0.9\ncolumn = \"amount", day),
        ("big", "count\"\nwhere = \"amount > 50", day),
    ] {
        write!(text, "[[feature_view.aggregate]]\nname = \"{name}\"\nfunction = \"{function}\"\n")
            .unwrap();
        writeln!(text, "windows = {windows}").unwrap();
    }
    std::fs::create_dir_all(project.join("features")).unwrap();
    std::fs::write(project.join("features/orders.toml"), text).unwrap();
    json(&project, &["features", "compute", "orders"]);
    let out = project.join("features.parquet");
    let query = "SELECT *, moment AS event_timestamp FROM features.orders";
    json(&project, &["sql", query, "--format", "parquet", "--output", out.to_str().unwrap()]);
    let paths = [csv.to_str().unwrap(), out.to_str().unwrap()];
    let compared = script(&python, "recompute_aggregates.py", &paths);
    assert_eq!(compared["rows"], 600);
    assert_eq!(compared["different"], serde_json::json!({}), "{compared:#}");
}
