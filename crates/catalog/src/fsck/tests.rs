//! Damage that a check must find and name.

mod deep;

use std::path::PathBuf;

use iceberg::spec::Snapshot;
use icecore_core::{RefName, SnapshotCatalog, WriteMode};

use std::sync::Arc;

use iceberg::table::Table;

use super::*;
use crate::catalog::tests::{Lake, named};
use crate::refs::{RollbackPolicy, TagMove};

async fn check(lake: &Lake) -> TableCheck {
    let report = lake.reopened().await.fsck(&lake.table, FsckOptions::default()).await.unwrap();
    let [check] = report.tables.try_into().unwrap();
    check
}

async fn kinds(lake: &Lake) -> Vec<FindingKind> {
    let mut kinds: Vec<_> = check(lake).await.findings.iter().map(|found| found.kind).collect();
    kinds.dedup();
    kinds
}

async fn head(lake: &Lake) -> Table {
    lake.catalog.tables_now().load(&lake.table).await.unwrap()
}

async fn manifests(lake: &Lake, snapshot: &Arc<Snapshot>) -> Vec<String> {
    let list = head(lake).await.manifest_list_reader(snapshot).load().await.unwrap();
    list.entries().iter().map(|manifest| manifest.manifest_path.clone()).collect()
}

fn local(location: &str) -> PathBuf {
    crate::storage::local_path(location).unwrap()
}

/// Two appends, an overwrite of a partition, a tag, a branch and a rollback.
async fn eventful() -> Lake {
    let lake = Lake::new().await;
    let one = lake.append(&[(1, 1), (2, 2)]).await;
    lake.append(&[(3, 3)]).await;
    lake.commit(WriteMode::OverwritePartitions, &[(4, 2)]).await;
    lake.catalog.tag(&one, &named("v1"), TagMove::Refuse).await.unwrap();
    lake.catalog.branch(&one, &named("dev")).await.unwrap();
    lake.catalog.rollback(&lake.table, one.snapshot, RollbackPolicy::AncestorsOnly).await.unwrap();
    lake.append(&[(5, 5)]).await;
    lake
}

#[tokio::test]
async fn a_sound_table_has_no_findings() {
    let check = check(&eventful().await).await;
    assert_eq!(check.findings, []);
    assert_eq!((check.snapshots, check.data_files), (4, 5));
    let empty = Lake::new().await;
    assert_eq!(kinds(&empty).await, []);
}

#[tokio::test]
async fn an_unknown_table_is_an_error_and_not_a_finding() {
    let lake = Lake::new().await;
    let unknown = TableName::parse("ns.event").unwrap();
    let error = lake.catalog.fsck(&unknown, FsckOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_missing_file_is_named_with_what_needs_it() {
    let lake = eventful().await;
    let path = lake.paths().await.remove(0);
    std::fs::remove_file(format!("/{path}")).unwrap();
    let check = check(&lake).await;
    let [finding] = check.findings.try_into().unwrap();
    assert_eq!(finding.kind, FindingKind::MissingFile);
    assert!(finding.file.unwrap().ends_with(&path));
    assert!(finding.message.contains(".avro` needs it"), "{}", finding.message);
}

#[tokio::test]
async fn a_cut_file_is_found_by_its_size() {
    let lake = eventful().await;
    let path = format!("/{}", lake.paths().await.remove(0));
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    let length = file.metadata().unwrap().len();
    file.set_len(length - 7).unwrap();
    let check = check(&lake).await;
    let [finding] = check.findings.try_into().unwrap();
    assert_eq!(finding.kind, FindingKind::WrongSize);
    assert!(finding.message.starts_with(&format!("it has {} bytes", length - 7)));
}

#[tokio::test]
async fn a_manifest_that_cannot_be_read_is_named() {
    for (bytes, also) in [(&b"no avro at all"[..], true), (b"", true)] {
        let lake = eventful().await;
        let current = head(&lake).await.metadata().current_snapshot().unwrap().clone();
        let path = manifests(&lake, &current).await.remove(0);
        std::fs::write(local(&path), bytes).unwrap();
        let found = kinds(&lake).await;
        assert_eq!(found.contains(&FindingKind::UnreadableManifest), also, "{found:?}");
        assert!(found.contains(&FindingKind::WrongSize));
    }
}

#[tokio::test]
async fn a_manifest_list_that_cannot_be_read_is_named() {
    let lake = eventful().await;
    let list = head(&lake).await.metadata().current_snapshot().unwrap().manifest_list().to_owned();
    std::fs::write(local(&list), b"Obj\x01 and nothing more").unwrap();
    let check = check(&lake).await;
    let [finding] = check.findings.try_into().unwrap();
    assert_eq!(finding.kind, FindingKind::UnreadableManifestList);
    assert_eq!(finding.file.as_deref(), Some(list.as_str()));
}

#[tokio::test]
async fn manifests_that_changed_places_are_found() {
    let lake = Lake::new().await;
    // Two commits of the same shape, whose manifests have the same length and the same counts.
    lake.append(&[(1, 1)]).await;
    lake.append(&[(2, 2)]).await;
    let current = head(&lake).await.metadata().current_snapshot().unwrap().clone();
    let [one, two] = manifests(&lake, &current).await.try_into().unwrap();
    let (one, two) = (local(&one), local(&two));
    let swapped = std::fs::read(&one).unwrap();
    std::fs::copy(&two, &one).unwrap();
    std::fs::write(&two, swapped).unwrap();
    assert!(kinds(&lake).await.contains(&FindingKind::WrongManifest));
    // One in the place of the other also holds its files twice.
    std::fs::copy(&one, &two).unwrap();
    let found = kinds(&lake).await;
    assert!(found.contains(&FindingKind::DuplicateFile), "{found:?}");
}

/// Changes the current metadata in place, as nobody should.
async fn tamper(lake: &Lake, change: impl FnOnce(&mut serde_json::Value)) {
    let path = local(location_of(&head(lake).await).unwrap());
    let mut json = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(&mut json);
    std::fs::write(&path, serde_json::to_vec(&json).unwrap()).unwrap();
}

#[tokio::test]
async fn a_ref_to_nowhere_is_named() {
    let lake = eventful().await;
    tamper(&lake, |json| json["refs"]["v1"]["snapshot-id"] = 77.into()).await;
    let check = check(&lake).await;
    let [finding] = check.findings.try_into().unwrap();
    assert_eq!(finding.kind, FindingKind::DanglingRef);
    assert_eq!(finding.message, "ref `v1` names snapshot 77, which is not there");
}

#[tokio::test]
async fn metadata_that_cannot_be_understood_is_a_finding() {
    let lake = eventful().await;
    let path = local(location_of(&head(&lake).await).unwrap());
    std::fs::write(&path, b"{\"format-version\": 2, ").unwrap();
    assert_eq!(kinds(&lake).await, [FindingKind::UnreadableMetadata]);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(kinds(&lake).await, [FindingKind::UnreadableMetadata]);
}

#[tokio::test]
async fn totals_and_counts_that_are_not_those_of_the_files_are_found() {
    for field in ["total-records", "total-data-files", "total-files-size", "added-records"] {
        let lake = eventful().await;
        tamper(&lake, |json| {
            for snapshot in json["snapshots"].as_array_mut().unwrap() {
                if snapshot["summary"].get("deleted-records").is_some() {
                    snapshot["summary"][field] = "12345".into();
                }
            }
        })
        .await;
        // The chain shows that somebody wrote over a snapshot.
        let found = kinds(&lake).await;
        assert_eq!(found, [FindingKind::BrokenHistory, FindingKind::WrongSummary], "{field}");
    }
}

#[tokio::test]
async fn sequence_numbers_and_attempts_are_of_one_snapshot_each() {
    let lake = eventful().await;
    tamper(&lake, |json| {
        let snapshots = json["snapshots"].as_array_mut().unwrap();
        let first = snapshots[0].clone();
        snapshots[1]["sequence-number"] = first["sequence-number"].clone();
        let attempt = first["summary"]["icecore.attempt-id"].clone();
        snapshots[1]["summary"]["icecore.attempt-id"] = attempt;
    })
    .await;
    let found = kinds(&lake).await;
    assert!(found.contains(&FindingKind::BadSequenceNumber), "{found:?}");
    assert!(found.contains(&FindingKind::DuplicateAttempt), "{found:?}");
}

#[tokio::test]
async fn a_tag_and_its_property_agree() {
    let lake = eventful().await;
    let name = "training-dataset.v1.snapshot_id".to_owned();
    let set = [(name, "5".to_owned())].into();
    lake.catalog.set_properties(&lake.table, set, Vec::new()).await.unwrap();
    let check = check(&lake).await;
    assert_eq!(check.errors().count(), 0);
    assert_eq!(check.findings[0].kind, FindingKind::StaleTagProperty);
}

#[tokio::test]
async fn a_file_outside_of_the_table_is_named() {
    let lake = eventful().await;
    tamper(&lake, |json| {
        let elsewhere = json["location"].as_str().unwrap().replace("events", "event");
        json["location"] = elsewhere.into();
    })
    .await;
    assert!(kinds(&lake).await.contains(&FindingKind::OutsideTable));
}

#[tokio::test]
async fn every_history_of_commits_is_sound() {
    let lake = Lake::new().await;
    for number in 0..12 {
        let mode = match number % 4 {
            0 | 1 => WriteMode::Append,
            2 => WriteMode::OverwritePartitions,
            _ => WriteMode::Overwrite,
        };
        let rows = [(number, i32::try_from(number % 3).unwrap()), (number, 7)];
        let pinned = lake.commit(mode, &rows).await.pinned;
        if number % 3 == 0 {
            let name = RefName::parse(&format!("t{number}")).unwrap();
            lake.catalog.tag(&pinned, &name, TagMove::Refuse).await.unwrap();
        }
        assert_eq!(kinds(&lake).await, [], "after commit {number}");
    }
    assert_eq!(lake.catalog.history(&lake.table).await.unwrap().len(), 12);
}
