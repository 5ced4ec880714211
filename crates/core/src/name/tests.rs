use proptest::prelude::*;

use super::*;
use crate::{SnapshotSelector, Timestamp, nearest};

#[test]
fn a_table_name_has_a_namespace_and_leaves_no_directory() {
    for (name, namespace, table) in
        [("a.b", "a", "b"), ("a.b.c", "a.b", "c"), ("ereignisse.käufe", "ereignisse", "käufe")]
    {
        let parsed = TableName::parse(name).unwrap();
        assert_eq!((parsed.namespace(), parsed.table()), (namespace, table));
    }
    for name in ["", "a", ".", "a.", ".b", "a..b", "a/b.c", "a.\\b", "a.b\"c", "a.b\n", "..a.b"] {
        assert!(TableName::parse(name).is_err(), "{name:?}");
    }
    assert!(TableName::parse(&format!("a.{}", "b".repeat(256))).is_err());
}

#[test]
fn a_ref_cannot_be_taken_for_another_selector() {
    for name in ["latest", "42", "-1", "", "a/b", ".hidden"] {
        assert!(RefName::parse(name).is_err(), "{name:?}");
    }
    assert_eq!(RefName::parse("training-v3.2").unwrap().as_str(), "training-v3.2");
}

#[test]
fn a_selector_is_what_it_looks_like() {
    let moment = Timestamp::parse("2026-11-22").unwrap();
    for (text, selector) in [
        ("latest", SnapshotSelector::Latest),
        ("8473920183740928374", SnapshotSelector::Id(SnapshotId::new(8_473_920_183_740_928_374))),
        ("2026-11-22", SnapshotSelector::AsOf(moment)),
        ("2026-11-22T00:00:00Z", SnapshotSelector::AsOf(moment)),
        ("v3.2", SnapshotSelector::Ref(RefName::parse("v3.2").unwrap())),
    ] {
        assert_eq!(SnapshotSelector::parse(text).unwrap(), selector, "{text}");
        assert_eq!(SnapshotSelector::parse(&selector.to_string()).unwrap(), selector);
    }
    assert!(SnapshotSelector::parse("2026-11-22T00:00:00").is_err());
}

// Readers of JSON keep only 53 bits of a number.
#[test]
fn a_snapshot_id_is_a_string_in_json() {
    let id = SnapshotId::new(8_473_920_183_740_928_374);
    let text = serde_json::to_string(&id).unwrap();
    assert_eq!(text, "\"8473920183740928374\"");
    assert_eq!(serde_json::from_str::<SnapshotId>(&text).unwrap(), id);
}

#[test]
fn the_nearest_name_is_near() {
    let names = ["txn_count_7d", "txn_count_30d", "amount"];
    for (typed, meant) in [
        ("txn_cnt_30d", Some("txn_count_30d")),
        ("ammount", Some("amount")),
        ("AMOUNT", Some("amount")),
        ("amuont", Some("amount")),
        ("merchant", None),
        ("", None),
    ] {
        assert_eq!(nearest(typed, names), meant, "{typed}");
    }
}

proptest! {
    #[test]
    fn what_parses_reads_back_as_it_was(name in "\\PC{0,12}\\.\\PC{0,12}") {
        if let Ok(parsed) = TableName::parse(&name) {
            prop_assert_eq!(parsed.to_string(), name.clone());
            prop_assert_eq!(format!("{}.{}", parsed.namespace(), parsed.table()), name);
        }
    }

    #[test]
    fn no_name_panics(text in ".{0,30}") {
        let _ = RefName::parse(&text);
        let _ = SnapshotSelector::parse(&text);
        let _ = nearest(&text, ["amount", &text]);
    }
}
