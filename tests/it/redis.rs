//! The story with a real Redis. C85 C125 C161-C164

use icecore_testkit::RedisServer;
use serde_json::Value;

use crate::binary::{json, make_demo};

/// What `redis-cli` answers.
fn ask(server: &RedisServer, arguments: &[&str]) -> String {
    let output = std::process::Command::new("redis-cli")
        .args(["-u", &server.url()])
        .args(arguments)
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn high_risks_are_in_redis_and_leave_it_when_they_are_high_no_more() {
    let Some(server) = RedisServer::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let project = dir.path().join("demo");
    make_demo(&project, &["--redis", &server.url()]);
    let high = "SELECT user_token, churn_probability AS p FROM ml_predictions.churn_scores \
                    WHERE score_bucket = 'high'";
    let high = json(&project, &["sql", high]);
    let high = high.as_array().unwrap();
    assert!(!high.is_empty());
    for row in high {
        let key = format!("churn:{}", row["user_token"].as_str().unwrap());
        let value: f64 = ask(&server, &["GET", &key]).parse().unwrap();
        assert!((value - row["p"].as_f64().unwrap()).abs() <= 5e-5, "{key}");
        let ttl: i64 = ask(&server, &["TTL", &key]).parse().unwrap();
        assert!((86_000..=86_400).contains(&ttl), "{ttl}");
    }
    let keys = ask(&server, &["--scan", "--pattern", "churn:*"]);
    assert_eq!(keys.lines().count(), high.len());

    // Everyone is removed once nobody is selected any more (D19).
    let file = project.join("scoring/churn.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("score_bucket = 'high'", "score_bucket = 'nobody'"))
        .unwrap();
    let again: Value = json(&project, &["materialize", "churn"]);
    assert_eq!(again["removed"].as_u64().unwrap() as usize, high.len());
    assert_eq!(ask(&server, &["--scan", "--pattern", "churn:*"]), "");
}

#[test]
fn a_server_that_is_down_is_unavailable_soon() {
    let (_dir, project) = crate::binary::own_demo();
    let begun = std::time::Instant::now();
    let output =
        crate::binary::command(&["--project", project.to_str().unwrap(), "materialize", "churn"])
            .env("ICECORE_ONLINE__URL", "redis://:secret@127.0.0.1:1/0")
            .output()
            .unwrap();
    let message = crate::binary::text(&output.stderr);
    assert_eq!(output.status.code(), Some(8), "{message}");
    assert!(!message.contains("secret"), "{message}");
    assert!(begun.elapsed().as_secs() < 30);
}
