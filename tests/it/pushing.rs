//! Events that clients push over HTTP and from the command line: durable, online at once, and in
//! the table once each, whatever is killed in between.

use std::path::Path;

use serde_json::{Value, json as document};

use crate::binary::{command, failure, json};
use crate::service::Service;

const FEATURES: &str = r#"
[[entity]]
name = "driver"
join_keys = [{ name = "driver_id", type = "long" }]
[[feature_view]]
name = "driver_hourly_stats"
entities = ["driver"]
source = "ml.driver_stats"
columns = ["conv_rate"]
[[push_source]]
name = "driver_stats_push_source"
table = "ml.driver_stats"
"#;

fn project(settings: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("features")).unwrap();
    std::fs::write(dir.path().join("icecore.toml"), settings).unwrap();
    std::fs::write(dir.path().join("features/drivers.toml"), FEATURES).unwrap();
    let rows = "driver_id,event_timestamp,conv_rate\n1001,2026-11-22T19:00:00Z,0.25\n";
    std::fs::write(dir.path().join("rows.csv"), rows).unwrap();
    let file = dir.path().join("rows.csv");
    json(dir.path(), &["ingest", "ml.driver_stats", file.to_str().unwrap()]);
    json(dir.path(), &["online", "materialize", "--all"]);
    dir
}

fn event(driver: i64, minute: usize, rate: f64, to: &str) -> String {
    document!({
        "push_source_name": "driver_stats_push_source",
        "df": {
            "driver_id": [driver],
            "event_timestamp": [format!("2026-11-22T20:{:02}:{:02}", minute / 60, minute % 60)],
            "conv_rate": [rate],
        },
        "allow_registry_cache": true, "to": to, "transform_on_write": true,
    })
    .to_string()
}

fn rate(service: &Service, driver: i64) -> Value {
    let asked = document!({
        "features": ["driver_hourly_stats:conv_rate"], "entities": {"driver_id": [driver]},
    });
    let (status, answer) = service.post("/get-online-features", "", &asked.to_string());
    assert_eq!(status, 200, "{answer}");
    answer["results"][1]["values"][0].clone()
}

fn rows(dir: &Path) -> i64 {
    let count = "SELECT count(*) AS n, count(DISTINCT conv_rate) AS d FROM ml.driver_stats";
    let found = json(dir, &["sql", count]);
    assert_eq!(found[0]["n"], found[0]["d"], "an event is there twice");
    found[0]["n"].as_i64().unwrap()
}

#[test]
fn an_event_is_served_at_once_and_a_service_that_stops_has_committed_it() {
    let dir = project("[online]\ncache_ttl = '1h'\n[push]\ncommit_every = '1h'\n");
    let service = Service::start(dir.path(), &[]);
    assert_eq!(rate(&service, 1001), 0.25);
    let (status, receipt) = service.post("/push", "", &event(1001, 1, 0.5, "online_and_offline"));
    assert_eq!(
        (status, &receipt["online"], &receipt["rows"]),
        (200, &document!("written"), &document!(1))
    );
    assert_eq!(rate(&service, 1001), 0.5);
    assert_eq!(rows(dir.path()), 1);
    let metrics = service.get("/metrics", "").1;
    assert!(
        metrics.contains("icecore_push_queue_rows{source=\"driver_stats_push_source\"} 1"),
        "{metrics}"
    );

    let key = "Idempotency-Key: k1\r\n";
    let body = event(1002, 2, 0.75, "online_and_offline");
    assert_eq!(service.post("/push", key, &body).1["repeated"], false);
    assert_eq!(service.post("/push", key, &body).1["repeated"], true);
    let other = event(1002, 3, 0.8, "online_and_offline");
    assert_eq!(service.post("/push", key, &other).0, 409);
    // Another process is told who has the queue.
    let file = dir.path().join("rows.csv");
    let (status, said) =
        failure(dir.path(), &["push", "driver_stats_push_source", file.to_str().unwrap()]);
    assert!(status == 8 && said.contains("POST /push"), "{said}");

    service.stop();
    assert_eq!(rows(dir.path()), 3);
    json(dir.path(), &["online", "materialize", "--all"]);
    json(dir.path(), &["online", "verify", "driver_hourly_stats"]);
}

#[test]
fn whenever_a_service_is_killed_no_accepted_event_is_lost_and_none_is_there_twice() {
    let dir = project("[push]\ncommit_every = '20ms'\n");
    let mut accepted = 1;
    for round in 0..6 {
        let service = Service::start(dir.path(), &[]);
        for number in 0..=(5 + round * 3) {
            let minute = round * 60 + number;
            let value = 1.0 + minute as f64 / 1024.0;
            let body = event(1003, minute, value, "online_and_offline");
            let (status, answer) = service.post("/push", "", &body);
            assert_eq!(status, 200, "{answer}");
            assert_eq!(rate(&service, 1003), value);
            accepted += 1;
        }
        match round {
            5 => service.stop(),
            _ => drop(service),
        }
    }
    assert_eq!(rows(dir.path()), accepted);
    // A service that was killed counts as filling its views for a while.
    json(dir.path(), &["online", "materialize", "--all", "--take-over"]);
    json(dir.path(), &["online", "verify", "driver_hourly_stats"]);
}

#[test]
fn mistakes_are_named_all_at_once_and_tokens_say_who_may_push() {
    let settings = "[[serve.tokens]]\ntoken = 'push'\nroles = ['push']\n\
                    [[serve.tokens]]\ntoken = 'read'\nroles = ['features']\n\
                    [[serve.tokens]]\ntoken = 'other'\nroles = ['push']\nviews = ['another']\n";
    let dir = project(settings);
    let service = Service::start(dir.path(), &[]);
    let good = event(1001, 1, 0.5, "online_and_offline");
    for (token, expected) in [("nobody", 401), ("read", 403), ("other", 403), ("push", 200)] {
        let header = format!("Authorization: Bearer {token}\r\n");
        assert_eq!(service.post("/push", &header, &good).0, expected, "{token}");
    }
    let header = "Authorization: Bearer push\r\n";
    let wrong = r#"{"push_source_name": "driver_stats_push_source", "df": {
        "driver_id": [1, "x", null], "event_timestamp": ["2026-11-22", "never", "2026-11-22"], "conv_rate": [1, 2, 3]}}"#;
    let (status, answer) = service.post("/push", header, wrong);
    let places: Vec<&str> = answer["error"]["details"]
        .as_array()
        .unwrap()
        .iter()
        .map(|detail| detail["at"].as_str().unwrap())
        .collect();
    assert_eq!((status, places), (400, vec!["df.driver_id[1]", "df.event_timestamp[1]"]));
    for (body, expected) in [
        ("{}", 400),
        (r#"{"push_source_name": "nothing", "df": {"a": [1]}}"#, 404),
        (r#"{"push_source_name": "driver_stats_push_source", "df": {"a": [1]}}"#, 404),
        (r#"{"push_source_name": "driver_stats_push_source", "df": {}}"#, 400),
        (r#"{"push_source_name": "driver_stats_push_source", "df": {}, "to": "moon"}"#, 400),
    ] {
        assert_eq!(service.post("/push", header, body).0, expected, "{body}");
    }
}

#[test]
fn files_are_pushed_and_committed_from_the_command_line() {
    let dir = project("");
    let more = "driver_id,event_timestamp,conv_rate\n1001,2026-11-22T20:00:00Z,0.5\n7,2026-11-22T20:00:00Z,0.7\n";
    std::fs::write(dir.path().join("more.csv"), more).unwrap();
    let file = dir.path().join("more.csv");
    let source = ["push", "driver_stats_push_source", file.to_str().unwrap()];
    let push = |more: &[&str]| {
        let arguments: Vec<&str> = source.iter().chain(more).copied().collect();
        json(dir.path(), &arguments)
    };
    assert_eq!(push(&["--dry-run"])["committed"], Value::Null);
    let report = push(&["--key", "monday"]);
    assert_eq!((&report["rows"], &report["committed"]["rows"]), (&document!(2), &document!(2)));
    assert_eq!(push(&["--key", "monday"])["repeated"], 2);
    assert_eq!(rows(dir.path()), 3);
    let found =
        json(dir.path(), &["online", "get", "driver_hourly_stats", "--entity", "driver_id=7"]);
    assert_eq!(found[1]["value"], 0.7);
    let output =
        command(&["--project", dir.path().to_str().unwrap(), "push", "driver_stats", "x.csv"])
            .output();
    assert!(String::from_utf8_lossy(&output.unwrap().stderr).contains("driver_stats_push_source"));
}
