//! Features in the online store: from tables by what changed, and back.

use std::path::Path;

use icecore_testkit::RedisServer;
use serde_json::{Value, json as document};

use crate::binary::{command, failure, json, text};

const FEATURES: &str = r#"
[[entity]]
name = "user"
join_keys = ["user_token"]
[[feature_view]]
name = "account"
entities = ["user"]
source = "ml.account"
columns = ["balance", "tier"]
ttl = "36500d"
[[feature_view.request]]
name = "amount"
type = "double"
[[feature_view.derived]]
name = "share"
expression = "amount / balance"
[[feature_service]]
name = "churn_v1"
features = ["account:tier", "account:share"]
"#;

fn project(online: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("features")).unwrap();
    std::fs::write(dir.path().join("icecore.toml"), format!("[online]\nurl = '{online}'\n"))
        .unwrap();
    std::fs::write(dir.path().join("features/account.toml"), FEATURES).unwrap();
    dir
}

fn ingest(project: &Path, lines: &str) {
    let file = project.join("rows.csv");
    let header = "user_token,event_timestamp,balance,tier\n";
    std::fs::write(&file, format!("{header}{lines}")).unwrap();
    json(project, &["ingest", "ml.account", file.to_str().unwrap()]);
}

fn get(project: &Path, user: &str) -> Vec<(String, Value, String)> {
    let entity = format!("user_token={user}");
    let all = ["online", "get", "churn_v1", "--entity", &entity, "--entity", "amount=5"];
    let field = |value: &Value, name: &str| value[name].as_str().unwrap().to_owned();
    let values = json(project, &all);
    let values = values.as_array().unwrap().iter();
    values.map(|v| (field(v, "feature"), v["value"].clone(), field(v, "status"))).collect()
}

fn tell_the_story(online: &str) {
    let dir = project(online);
    let project = dir.path();
    let (code, message) = failure(project, &["online", "materialize", "account"]);
    assert_eq!(code, 1, "{message}");
    ingest(project, "u1,2026-01-01T00:00:00Z,10.0,gold\nu2,2026-01-01T00:00:00Z,20.0,\n");
    let dry = json(project, &["online", "materialize", "churn_v1", "--dry-run"]);
    let status = || json(project, &["online", "status"])[0]["state"].clone();
    assert_eq!((&dry["written"], status()), (&document!(2), document!("never")));
    // What the store was never filled with is answered from the table.
    assert_eq!(get(project, "u1")[1].2, "PRESENT");
    let done = json(project, &["online", "materialize", "churn_v1"]);
    assert_eq!((&done["written"], &done["removed"]), (&document!(2), &document!(0)));
    let answer = |tier: Value, share: f64, status: &str| {
        vec![
            ("tier".to_owned(), tier, status.to_owned()),
            ("share".to_owned(), document!(share), "PRESENT".to_owned()),
        ]
    };
    assert_eq!(get(project, "u1")[1..], answer(document!("gold"), 0.5, "PRESENT"));
    assert_eq!(get(project, "u2")[1..], answer(Value::Null, 0.25, "NULL_VALUE"));

    // A late row, a new one, and a deletion.
    ingest(project, "u1,2025-01-01T00:00:00Z,1.0,old\nu3,2026-01-02T00:00:00Z,50.0,new\n");
    json(project, &["table", "delete", "ml.account", "--where", "user_token = 'u2'", "--yes"]);
    let status = json(project, &["online", "status"]);
    assert_eq!(status[0]["state"], "behind");
    let done = json(project, &["materialize", "account"]);
    assert_eq!((&done["full"], &done["removed"]), (&Value::Null, &document!(1)));
    assert_eq!(get(project, "u1")[1..], answer(document!("gold"), 0.5, "PRESENT"));
    assert_eq!(get(project, "u2")[1].2, "NOT_FOUND");
    assert_eq!(get(project, "u3")[1..], answer(document!("new"), 0.1, "PRESENT"));
    let verified = json(project, &["online", "verify", "churn_v1"]);
    assert_eq!(
        (&verified[0]["online_rows"], &verified[0]["different"]),
        (&document!(2), &document!(0))
    );
    assert_eq!(json(project, &["online", "status"])[0]["state"], "current");
    let again = json(project, &["online", "materialize", "--all"]);
    assert_eq!((&again["read"], &again["written"]), (&document!(0), &document!(0)));
}

#[test]
fn features_come_online_by_what_changed_in_the_embedded_store() {
    tell_the_story("embedded:online?access=shared");
}

#[test]
fn features_come_online_by_what_changed_on_redis() {
    let Some(server) = RedisServer::start() else { return };
    tell_the_story(&server.url());
}

#[test]
fn a_store_that_was_emptied_is_noticed_and_filled_again() {
    let Some(server) = RedisServer::start() else { return };
    let dir = project(&server.url());
    let project = dir.path();
    ingest(project, "u1,2026-01-01T00:00:00Z,10.0,gold\n");
    json(project, &["online", "materialize", "account"]);
    assert_eq!(server.command("FLUSHALL"), "+OK");
    let (code, message) = failure(project, &["online", "verify", "account"]);
    assert_eq!(code, 1, "{message}");
    assert!(message.contains("icecore online materialize account"), "{message}");
    let done = json(project, &["online", "materialize", "account"]);
    assert_eq!(done["written"], 1);
    json(project, &["online", "verify", "account"]);
}

#[test]
fn a_row_that_somebody_changed_is_found_by_its_key() {
    let Some(server) = RedisServer::start() else { return };
    let dir = project(&server.url());
    let project = dir.path();
    ingest(project, "u1,2026-01-01T00:00:00Z,10.0,gold\n");
    json(project, &["online", "materialize", "account"]);
    let keys = std::process::Command::new("redis-cli")
        .args(["-u", &server.url(), "--scan", "--pattern", "ic:account:*"])
        .output()
        .unwrap();
    let key = text(&keys.stdout).trim().to_owned();
    assert!(key.ends_with("}u1"), "{key}");
    assert_eq!(server.command(&format!("SETRANGE {key} 22 x")), ":37");
    let (code, message) = failure(project, &["online", "verify", "account"]);
    assert_eq!(code, 5, "{message}");
    assert!(message.contains(&key), "{message}");
    json(project, &["online", "materialize", "account", "--full"]);
    json(project, &["online", "verify", "account"]);
}

#[test]
fn a_job_that_is_killed_is_completed_by_the_next_one() {
    let Some(server) = RedisServer::start() else { return };
    let dir = project(&server.url());
    let project = dir.path();
    let row = |user: usize, day: usize| format!("u{user},2026-01-{day:02}T00:00:00Z,{user}.5,t\n");
    ingest(project, &(0..20_000).map(|user| row(user, 1)).collect::<String>());
    for wait_ms in [0, 40, 120, 240] {
        let job = ["online", "materialize", "account", "--take-over"];
        let mut job = command(&[&["--project", project.to_str().unwrap()][..], &job[..]].concat())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(wait_ms));
        let _ = job.kill();
        let _ = job.wait();
        let user = wait_ms as usize;
        ingest(project, &row(user, 2));
        json(
            project,
            &[
                "table",
                "delete",
                "ml.account",
                "--where",
                &format!("user_token = 'u{}'", user + 1),
                "--yes",
            ],
        );
    }
    json(project, &["online", "materialize", "account", "--take-over"]);
    let verified = json(project, &["online", "verify", "account"]);
    assert_eq!(
        (&verified[0]["offline_rows"], &verified[0]["different"]),
        (&document!(19_996), &document!(0))
    );
}

#[test]
fn what_there_is_not_is_named_with_the_nearest_name() {
    let dir = project("embedded:online");
    let project = dir.path();
    let (code, message) = failure(project, &["online", "materialize", "acount"]);
    assert!(code == 1 && message.contains("did you mean `account`?"), "{code} {message}");
    ingest(project, "u1,2026-01-01T00:00:00Z,10.0,gold\n");
    let all = ["online", "get", "account:teir", "--entity", "user_token=u1"];
    let (code, message) = failure(project, &all);
    assert!(code == 1 && message.contains("did you mean `tier`?"), "{code} {message}");
    let (_, message) =
        failure(project, &["online", "get", "churn_v1", "--entity", "user_token=u1"]);
    assert!(message.contains("`amount`"), "{message}");
}

#[test]
fn while_the_store_is_down_windows_say_what_the_table_knows() {
    let dir = project("redis://127.0.0.1:1");
    let project = dir.path();
    let windows = r#"
[[feature_view]]
name = "spending"
entities = ["user"]
source = "ml.account"
table = "ml.spending"
online = "tiles"
[[feature_view.aggregate]]
name = "n"
function = "count"
windows = ["7d"]
"#;
    std::fs::write(project.join("features/account.toml"), format!("{FEATURES}{windows}")).unwrap();
    let now = "SELECT CAST(arrow_cast(now(), 'Timestamp(Second, None)') AS BIGINT) AS t";
    let now = json(project, &["sql", now])[0]["t"].as_i64().unwrap();
    let ago = |days: i64| {
        icecore_core::Timestamp::from_micros((now - days * 86_400) * 1_000_000).to_string()
    };
    let rows = [("u1", 1), ("u1", 60), ("u2", 30), ("u2", 60), ("later", -30)];
    let rows: Vec<String> =
        rows.iter().map(|(user, days)| format!("{user},{},1.0,gold\n", ago(*days))).collect();
    ingest(project, &rows.concat());
    let ask = |user: &str| {
        let entity = format!("user_token={user}");
        let all = ["online", "get", "spending:n_7d", "--entity", &entity];
        let answer = json(project, &all);
        assert_eq!(answer[1]["source"], "lakehouse", "{answer}");
        assert_eq!(answer[1]["reason"], "online_store_unavailable", "{answer}");
        document!([answer[1]["value"], answer[1]["status"]])
    };
    assert_eq!(ask("u1"), document!([1, "PRESENT"]));
    assert_eq!(ask("u2"), document!([null, "OUTSIDE_MAX_AGE"]));
    assert_eq!(ask("later"), document!([null, "NOT_FOUND"]));
    assert_eq!(ask("nobody"), document!([null, "NOT_FOUND"]));
}
