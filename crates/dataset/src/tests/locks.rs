//! Lockfiles on disk, and what differs between two.

use icecore_core::{ErrorKind, Knowledge, PinnedTable, SnapshotId, Span, Timestamp};

use crate::leak::{LeakCheck, ViewLeakCheck};
use crate::lock::Lock;
use crate::statistics::{ColumnStatistics, Value};
use crate::{
    Change, DatasetPlan, InputRole, LockedInput, LockedMaturity, LockedSpine, LockedSplit,
    LockedView, SettingChange, SplitBy, Unmatured, diff,
};

fn pin(table: &str, snapshot: i64) -> PinnedTable {
    PinnedTable {
        table: table.parse().unwrap(),
        uuid: format!("uuid of {table}"),
        snapshot: SnapshotId::new(snapshot),
    }
}

fn column(name: &str, min: Value, mean: Option<f64>) -> ColumnStatistics {
    ColumnStatistics {
        name: name.to_owned(),
        data_type: "Int64".to_owned(),
        nulls: 3,
        min: Some(min.clone()),
        max: Some(min),
        mean,
        fingerprint: "00000000000000ff".to_owned(),
    }
}

fn lock() -> Lock {
    let view = LockedView {
        name: "account".to_owned(),
        of: None,
        definition_hash: "ab".repeat(32),
        table: "ml_features.user_features".parse().unwrap(),
        knowledge: Knowledge::Created,
        event_timestamp: "event_timestamp".to_owned(),
        created_timestamp: Some("created".to_owned()),
        ttl: Some(Span::from_days(90)),
        delay: None,
        strict: false,
        keys: vec![("user_token".to_owned(), "customer".to_owned())],
        columns: vec![("balance".to_owned(), "account__balance".to_owned())],
        on_demand: None,
        windows: None,
    };
    let pins = [
        (InputRole::Spine, pin("labels.seen", i64::MAX)),
        (InputRole::Features, pin("ml_features.user_features", 2)),
    ];
    Lock {
        version: 1,
        created_at: Timestamp::from_micros(1_700_000_000_123_456),
        icecore_version: "0.1.0".to_owned(),
        rows: 7,
        content_hash: "0f".repeat(32),
        tag: icecore_core::RefName::parse("dataset-churn-0f0f0f0f0f0f").unwrap(),
        materialized: pin("ml_training.churn", 3),
        plan: DatasetPlan {
            dataset: "churn".to_owned(),
            table: "ml_training.churn".parse().unwrap(),
            label: Some("y".to_owned()),
            event_timestamp: "at".to_owned(),
            keys: vec!["customer".to_owned()],
            knowledge: None,
            with_event_timestamps: false,
            with_ages: false,
            filter: None,
            maturity: None,
            split: None,
            spine: LockedSpine::new("SELECT \"a\"\nFROM b -- 'x'".to_owned()),
            inputs: pins.map(|(role, pin)| LockedInput { role, pin }).to_vec(),
            views: vec![view],
        },
        columns: vec![
            column("balance", Value::Int(i64::MIN), Some(0.1)),
            column("rate", Value::Float(2.0), Some(1.0 / 3.0)),
            column("at", Value::Text("2024-01-15T00:00:00Z".to_owned()), None),
        ],
        leak_check: LeakCheck {
            rows: 7,
            violations: 0,
            views: vec![ViewLeakCheck {
                name: "account".to_owned(),
                joined: 5,
                newest_before_moment_us: Some(0),
                oldest_before_moment_us: None,
                newest_known_before_moment_us: None,
            }],
        },
    }
}

#[test]
fn a_lock_is_read_as_it_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("training/churn.lock.toml");
    lock().write(&path).unwrap();
    assert_eq!(Lock::read(&path).unwrap(), lock());
    let text = std::fs::read_to_string(&path).unwrap();
    // Ids exceed what other readers of TOML and JSON hold in a number.
    assert!(text.contains("snapshot = \"9223372036854775807\""), "{text}");
    let files = std::fs::read_dir(dir.path().join("training")).unwrap().count();
    assert_eq!(files, 1, "nothing is left beside the lock");

    let later = text.replacen("version = 1", "version = 2", 1);
    let error = Lock::parse("churn.lock.toml", &later).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(Lock::read(&dir.path().join("x")).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn equal_locks_have_no_difference() {
    let same = diff(&lock(), &lock()).unwrap();
    assert!(same.content_equal && same.spine.is_none() && same.settings.is_empty());
    assert!(same.inputs.is_empty() && same.definitions.is_empty() && same.columns.is_empty());
}

#[test]
fn each_difference_is_told() {
    let (before, mut after) = (lock(), lock());
    after.content_hash = "1f".repeat(32);
    after.rows = 9;
    after.plan.inputs[1].pin.snapshot = SnapshotId::new(5);
    after.plan.spine = LockedSpine::new("SELECT 2".to_owned());
    after.plan.views[0].ttl = None;
    after.columns[1].nulls = 4;
    after.columns.remove(2);
    let found = diff(&before, &after).unwrap();
    assert!(!found.content_equal);
    assert_eq!(found.rows, Change { before: 7, after: 9 });
    assert_eq!(found.spine.unwrap().after, "SELECT 2");
    assert_eq!(found.inputs.len(), 1);
    assert_eq!(found.inputs[0].table.as_str(), "ml_features.user_features");
    assert_eq!(found.inputs[0].snapshot.after, Some(SnapshotId::new(5)));
    assert!(!found.definitions[0].is_of_definition());
    let ttl = changed("ttl", Some("90d"), None);
    assert_eq!(found.definitions[0].taken_differently, [ttl]);
    let names: Vec<&str> = found.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["rate", "at"]);
    assert_eq!(found.columns[1].statistics.after, None);
    serde_json::to_value(diff(&before, &after).unwrap()).unwrap();
}

fn changed(setting: &str, before: Option<&str>, after: Option<&str>) -> SettingChange {
    let value = Change { before: before.map(str::to_owned), after: after.map(str::to_owned) };
    SettingChange { setting: setting.to_owned(), value }
}

// A build writes over the lock, so two of one set differ in what was chosen anew.
#[test]
fn choices_are_told_with_what_they_were_and_are() {
    let (before, mut after) = (lock(), lock());
    let plan = &mut after.plan;
    plan.dataset = "churn_v2".to_owned();
    plan.label = Some("left".to_owned());
    plan.filter = Some("balance > 0".to_owned());
    plan.knowledge = Some(Knowledge::Event);
    plan.maturity = Some(LockedMaturity {
        after: Span::from_days(30),
        as_of: Timestamp::from_micros(0),
        unmatured: Unmatured::Drop,
    });
    plan.split = Some(LockedSplit {
        by: SplitBy::Key,
        validation_ppm: 200_000,
        test_ppm: 0,
        seed: 42,
        group: None,
        validation_from: None,
        test_from: None,
    });
    let view = &mut plan.views[0];
    view.ttl = Some(Span::from_days(7));
    view.delay = Some(Span::from_days(1));
    view.strict = true;
    view.knowledge = Knowledge::Event;
    view.keys[0].1 = "seller".to_owned();
    view.columns.push(("tier".to_owned(), "tier".to_owned()));
    let found = diff(&before, &after).unwrap();
    assert_eq!(
        found.settings,
        [
            changed("knowledge", None, Some("event")),
            changed("label", Some("y"), Some("left")),
            changed("maturity.after", None, Some("30d")),
            changed("maturity.as_of", None, Some("1970-01-01T00:00:00Z")),
            changed("maturity.unmatured", None, Some("drop")),
            changed("split.by", None, Some("key")),
            changed("split.seed", None, Some("42")),
            changed("split.test_ppm", None, Some("0")),
            changed("split.validation_ppm", None, Some("200000")),
            changed("where", None, Some("balance > 0")),
        ]
    );
    let columns = "balance as account__balance";
    assert_eq!(
        found.definitions[0].taken_differently,
        [
            changed("columns", Some(columns), Some(&format!("{columns}, tier"))),
            changed("delay", None, Some("1d")),
            changed("keys", Some("user_token as customer"), Some("user_token as seller")),
            changed("knowledge", Some("created"), Some("event")),
            changed("strict", None, Some("true")),
            changed("ttl", Some("90d"), Some("7d")),
        ]
    );
    let gone = Lock { plan: DatasetPlan { views: Vec::new(), ..lock().plan }, ..lock() };
    let found = diff(&before, &gone).unwrap();
    assert_eq!(found.definitions[0].definition_hash.after, None);
    assert!(found.definitions[0].is_of_definition());
    assert_eq!(found.definitions[0].taken_differently, []);
}
