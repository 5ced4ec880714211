use icecore_core::{SnapshotId, Span};

use super::*;

fn definitions() -> Definitions {
    Definitions::parse(
        "f.toml",
        r#"
        [[entity]]
        name = "user"
        join_keys = ["user_token"]
        [[feature_view]]
        name = "account"
        entities = ["user"]
        source = "ml_features.user_features"
        created_timestamp = "created"
        ttl = "2h"
        columns = ["balance", "tier"]
        [[feature_view]]
        name = "txn"
        entities = ["user"]
        source = "events.raw"
        table = "ml_features.txn"
        [[feature_view.aggregate]]
        name = "txn_count"
        function = "count"
        windows = ["7d", "30d"]
    "#,
    )
    .unwrap()
}

fn pin(table: &str) -> PinnedTable {
    PinnedTable {
        table: TableName::parse(table).unwrap(),
        uuid: "u".to_owned(),
        snapshot: SnapshotId::new(1),
    }
}

#[test]
fn features_come_in_the_order_of_mention() {
    let found =
        resolve_features(&definitions(), &["txn:txn_count_30d", "account:*", "txn:txn_count_7d"]);
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(
        found.unwrap(),
        [
            ("txn".to_owned(), names(&["txn_count_30d", "txn_count_7d"])),
            ("account".to_owned(), names(&["balance", "tier"])),
        ]
    );
}

#[test]
fn every_wrong_name_is_reported_with_the_nearest() {
    let wrong = ["acount:tier", "txn:txn_cnt_7d", "tier", "account:*", "account:tier"];
    let error = resolve_features(&definitions(), &wrong).unwrap_err();
    let all = std::iter::once(&error).chain(error.related());
    let found: Vec<String> =
        all.map(|error| format!("{error} | {}", error.help().unwrap_or_default())).collect();
    assert_eq!(
        found,
        [
            "there is no feature view `acount` | did you mean `account`?",
            "feature view `txn` has no feature `txn_cnt_7d` | did you mean `txn_count_7d`?",
            "`tier` does not name a feature | did you mean `account:tier`?",
            "feature `account:tier` is named twice | leave one of them out",
        ]
    );
}

#[test]
fn stored_features_are_read_from_their_source() {
    let definitions = definitions();
    let view = definitions.view("account").unwrap();
    let columns = [("tier".to_owned(), "account__tier".to_owned())];
    let keys = BTreeMap::from([("user_token".to_owned(), "payer".to_owned())]);
    let table =
        feature_table(&definitions, view, pin("ml_features.user_features"), &columns, &keys)
            .unwrap();
    assert_eq!(table.keys, [("user_token".to_owned(), "payer".to_owned())]);
    assert_eq!(table.created_timestamp.as_deref(), Some("created"));
    assert_eq!(table.ttl, Some(Span::parse("2h").unwrap()));
    assert_eq!(table.columns, columns);

    let wrong = feature_table(&definitions, view, pin("ml_features.txn"), &columns, &keys);
    assert!(
        wrong.unwrap_err().to_string().contains("keeps its rows in `ml_features.user_features`")
    );
    let keys = BTreeMap::from([("user_tokn".to_owned(), "payer".to_owned())]);
    let wrong =
        feature_table(&definitions, view, pin("ml_features.user_features"), &columns, &keys);
    assert_eq!(wrong.unwrap_err().help(), Some("did you mean `user_token`?"));
}

#[test]
fn window_features_are_read_from_their_table() {
    let definitions = definitions();
    let view = definitions.view("txn").unwrap();
    let table =
        feature_table(&definitions, view, pin("ml_features.txn"), &[], &BTreeMap::new()).unwrap();
    assert_eq!(table.event_timestamp, "event_timestamp");
    assert_eq!(table.keys, [("user_token".to_owned(), "user_token".to_owned())]);
}
