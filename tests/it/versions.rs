//! The version control of data, through the binary. C15-C18, C92-C95, C127-C140.

use crate::binary::{demo, failure, json, own_demo};

const EVENTS: &str = "events.raw_transactions";
const COUNT: &str = "SELECT count(*) AS n FROM events.raw_transactions";

// C15 C93 C127 C128
#[test]
fn every_commit_is_a_line_of_the_log() {
    let log = json(demo(), &["table", "log", EVENTS]);
    let log = log.as_array().unwrap();
    assert!(log.len() >= 7, "{} snapshots", log.len());
    for pair in log.windows(2) {
        assert_eq!(pair[0]["parent_id"], pair[1]["snapshot_id"]);
    }
    let rows: i64 = log.iter().map(|line| line["added_rows"].as_i64().unwrap()).sum();
    assert_eq!(json(demo(), &["sql", COUNT])[0]["n"].as_i64().unwrap(), rows);
    assert!(log[0]["snapshot_id"].is_string());
}

// C16-C18 C129 C130
#[test]
fn a_table_is_read_as_it_was_by_id_by_tag_and_by_time() {
    let log = json(demo(), &["table", "log", EVENTS]);
    let oldest = log.as_array().unwrap().last().unwrap();
    let id = oldest["snapshot_id"].as_str().unwrap();
    let time = oldest["committed_at"].as_str().unwrap();
    let expected = oldest["added_rows"].as_i64().unwrap();
    for selector in [id, time] {
        let at = format!("{EVENTS}={selector}");
        let rows = json(demo(), &["sql", COUNT, "--at", &at]);
        assert_eq!(rows[0]["n"].as_i64().unwrap(), expected, "{selector}");
    }
    let tagged = json(demo(), &["sql", COUNT, "--at", "events.raw_transactions=demo"]);
    assert_eq!(tagged, json(demo(), &["sql", COUNT]));
}

// C131 C132
#[test]
fn what_is_not_there_is_named() {
    for (selector, says) in
        [("1234567890", "1234567890"), ("no-such-tag", "no-such-tag"), ("1999-01-01", "1999-01-01")]
    {
        let at = format!("{EVENTS}={selector}");
        let (status, message) = failure(demo(), &["sql", COUNT, "--at", &at]);
        assert_eq!(status, 1, "{message}");
        assert!(message.contains("error[IC0404]") && message.contains(says), "{message}");
    }
}

// C92 C94 C135-C140
#[test]
fn tags_stay_and_rollbacks_lose_nothing() {
    let (_dir, project) = own_demo();
    let log = json(&project, &["table", "log", EVENTS]);
    let (newest, older) = (&log[0]["snapshot_id"], &log[2]["snapshot_id"]);
    let (newest, older) = (newest.as_str().unwrap(), older.as_str().unwrap());

    json(&project, &["table", "tag", EVENTS, "training-v3.2", "--at", older]);
    let (_, message) = failure(&project, &["table", "tag", EVENTS, "training-v3.2"]);
    assert!(message.contains("IC0410"), "{message}");
    let shown = json(&project, &["table", "show", EVENTS]);
    let mirror = &shown["properties"]["training-dataset.training-v3.2.snapshot_id"];
    assert_eq!(mirror.as_str().unwrap(), older);

    let dry = json(&project, &["table", "rollback", EVENTS, "--to", older, "--dry-run"]);
    assert_eq!(dry["snapshot_id"].as_str().unwrap(), older);
    assert_eq!(json(&project, &["table", "show", EVENTS])["snapshot_id"].as_str().unwrap(), newest);

    let before = json(&project, &["sql", COUNT]);
    json(&project, &["table", "rollback", EVENTS, "--to", "training-v3.2"]);
    let rolled = json(&project, &["sql", COUNT]);
    assert!(rolled[0]["n"].as_i64() < before[0]["n"].as_i64());
    let (status, message) = failure(&project, &["table", "rollback", EVENTS, "--to", newest]);
    assert_eq!(status, 1, "{message}");
    json(&project, &["table", "rollback", EVENTS, "--to", newest, "--force"]);
    assert_eq!(json(&project, &["sql", COUNT]), before);
}

// C137 C138
#[test]
fn a_diff_shows_both_directions() {
    let (_dir, project) = own_demo();
    let dir = project.join("more");
    std::fs::create_dir(&dir).unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let first = file("a.csv", "id,v\n1,one\n2,two\n3,three\n");
    let second = file("b.csv", "id,v\n2,two\n3,THREE\n4,four\n");
    let a = json(&project, &["ingest", "scratch.t", &first]);
    let b = json(&project, &["ingest", "scratch.t", &second, "--mode", "overwrite"]);
    let (a, b) = (a["snapshot_id"].as_str().unwrap(), b["snapshot_id"].as_str().unwrap());
    let plain = json(&project, &["table", "diff", "scratch.t", a, b]);
    assert_eq!((&plain["added"], &plain["removed"]), (&2.into(), &2.into()));
    let keyed = json(&project, &["table", "diff", "scratch.t", a, b, "--key", "id"]);
    assert_eq!(
        (&keyed["added"], &keyed["removed"], &keyed["changed"]),
        (&1.into(), &1.into(), &1.into())
    );
}

#[test]
fn a_table_is_renamed_dropped_and_brought_back() {
    let (_dir, project) = own_demo();
    let rows = json(&project, &["sql", COUNT]);
    let (log, new) = (json(&project, &["table", "log", EVENTS]), "events.moved");
    json(&project, &["table", "rename", EVENTS, new]);
    assert_eq!(json(&project, &["table", "log", new]), log);
    let (_, message) = failure(&project, &["table", "show", EVENTS]);
    assert!(message.contains("IC0404"), "{message}");
    let (_, message) = failure(&project, &["table", "rename", EVENTS, "events.again"]);
    assert!(message.contains("IC0404"), "{message}");
    let taken = json(&project, &["table", "list"])[0]["table"].as_str().unwrap().to_owned();
    let (_, message) = failure(&project, &["table", "rename", new, &taken]);
    assert!(message.contains("already"), "{message}");

    let (_, message) = failure(&project, &["table", "drop", new]);
    assert!(message.contains("--yes"), "{message}");
    let dropped = json(&project, &["table", "drop", new, "--yes"]);
    let metadata = dropped["metadata_location"].as_str().unwrap();
    let (_, message) = failure(&project, &["table", "register", EVENTS, &format!("{metadata}x")]);
    assert!(message.contains("metadata.jsonx"), "{message}");
    let registered = json(&project, &["table", "register", EVENTS, metadata]);
    assert_eq!(registered["snapshot_id"], log[0]["snapshot_id"]);
    assert_eq!(json(&project, &["sql", COUNT]), rows);
}
