//! Snapshots that go, and those that stay.

use icecore_core::{
    Error, ErrorKind, RefName, Result, SnapshotCatalog, SnapshotId, TableName, WriteMode,
};

use super::*;
use crate::catalog::tests::{at, named};
use crate::maintenance::{Hold, SnapshotHolder};
use crate::refs::{RollbackPolicy, TagMove};
use crate::{ExpireOptions, ExpireReport};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// One snapshot a day, each of which replaces everything.
async fn daily(days: i64) -> (Lake, Vec<PinnedTable>) {
    let lake = Lake::new().await;
    let mut pins = Vec::new();
    for day in 0..days {
        let rows = [(day, 1), (day, 2)];
        pins.push(lake.commit(WriteMode::Overwrite, &rows).await.pinned);
        lake.clock.advance_ms(DAY_MS);
    }
    (lake, pins)
}

async fn expire(lake: &Lake, options: ExpireOptions) -> ExpireReport {
    let report = lake.catalog.expire(&lake.table, options).await.unwrap();
    assert_eq!(report.failed, []);
    assert_sound(lake).await;
    report
}

fn everything() -> ExpireOptions {
    ExpireOptions { older_than: Some(at("2030-01-01")), ..ExpireOptions::default() }
}

async fn ids(lake: &Lake) -> Vec<SnapshotId> {
    lake.catalog.history(&lake.table).await.unwrap().iter().map(|of| of.id).collect()
}

fn ids_of(pins: &[PinnedTable]) -> Vec<SnapshotId> {
    pins.iter().map(|pinned| pinned.snapshot).collect()
}

#[tokio::test]
async fn old_snapshots_go_with_the_files_that_only_they_need() {
    let (lake, pins) = daily(10).await;
    let before = files(&lake);
    let options = ExpireOptions { older_than: Some(at("2026-01-08")), ..ExpireOptions::default() };
    let report = expire(&lake, options).await;
    assert_eq!(report.expired, ids_of(&pins[..7]));
    assert_eq!(ids(&lake).await, ids_of(&pins[7..]));
    for (pinned, day) in pins[7..].iter().zip(7..) {
        assert_eq!(lake.rows(pinned).await, [(day, 1), (day, 2)]);
    }
    // Each had two data files, a list, and the manifests of what it added and removed. The
    // manifest that removes the files of the last one that went is still listed.
    let gone = before.difference(&files(&lake)).count() as u64;
    assert_eq!(report.deleted_files, gone);
    assert!(gone >= 7 * 4, "{gone}");
    assert!(report.deleted_bytes > 0);
    // C133
    let error = lake.pin(&pins[0].snapshot.to_string()).await.unwrap_err();
    assert!(error.to_string().contains("was expired at"), "{error}");
}

#[tokio::test]
async fn a_dry_run_says_the_same_and_changes_nothing() {
    let (lake, pins) = daily(6).await;
    let before = files(&lake);
    let mut options = everything();
    options.retain_last = Some(2);
    options.dry_run = true;
    let said = expire(&lake, options.clone()).await;
    assert!(said.dry_run);
    assert_eq!(files(&lake), before);
    options.dry_run = false;
    let done = expire(&lake, options).await;
    assert_eq!((&said.expired, &done.expired), (&ids_of(&pins[..4]), &ids_of(&pins[..4])));
    assert_eq!((said.deleted_files, said.deleted_bytes), (done.deleted_files, done.deleted_bytes));
}

#[tokio::test]
async fn the_tables_own_settings_hold_where_nothing_is_asked() {
    let (lake, pins) = daily(10).await;
    // Five days.
    let report = expire(&lake, ExpireOptions::default()).await;
    assert_eq!(report.expired, ids_of(&pins[..5]));
    let set =
        [("history.expire.max-snapshot-age-ms", 1), ("history.expire.min-snapshots-to-keep", 3)];
    let set = set.map(|(name, value)| (name.to_owned(), value.to_string())).into();
    lake.catalog.set_properties(&lake.table, set, Vec::new()).await.unwrap();
    let report = expire(&lake, ExpireOptions::default()).await;
    assert_eq!(report.expired, ids_of(&pins[5..7]));
    let set = [("history.expire.max-snapshot-age-ms".to_owned(), "soon".to_owned())].into();
    lake.catalog.set_properties(&lake.table, set, Vec::new()).await.unwrap();
    let error = lake.catalog.expire(&lake.table, ExpireOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn what_a_ref_a_run_or_a_lockfile_needs_stays_and_the_report_says_who() {
    // C134, I12, R13.
    let (lake, pins) = daily(8).await;
    lake.catalog.tag(&pins[1], &named("v1"), TagMove::Refuse).await.unwrap();
    lake.catalog.branch(&pins[2], &named("dev")).await.unwrap();
    let mut options = everything();
    let holds = vec![
        Hold::of_pin(&pins[3], "run `r1`"),
        Hold::of_pin(&pins[3], "lockfile `training/churn.lock.toml`"),
        // Of a table of this name that is no more.
        Hold { uuid: Some("another".to_owned()), ..Hold::new(pins[4].snapshot, "run `r0`") },
        // Young enough anyway.
        Hold::of_pin(&pins[7], "run `r2`"),
    ];
    options.holders = vec![std::sync::Arc::new(holds)];
    let report = expire(&lake, options).await;
    let kept = [&pins[1], &pins[2], &pins[3], &pins[7]].map(|pinned| pinned.snapshot);
    assert_eq!(ids(&lake).await, kept);
    assert_eq!(report.expired.len(), 4);
    let held: Vec<(SnapshotId, Vec<String>)> =
        report.held.into_iter().map(|held| (held.snapshot, held.by)).collect();
    let words = |by: &[&str]| by.iter().map(|by| (*by).to_owned()).collect::<Vec<_>>();
    assert_eq!(
        held,
        [
            (pins[1].snapshot, words(&["tag `v1`"])),
            (pins[2].snapshot, words(&["branch `dev`"])),
            (pins[3].snapshot, words(&["lockfile `training/churn.lock.toml`", "run `r1`"])),
        ]
    );
    for index in [1, 2, 3, 7] {
        let day = i64::try_from(index).unwrap();
        assert_eq!(lake.rows(&pins[index]).await, [(day, 1), (day, 2)]);
    }
}

#[tokio::test]
async fn files_that_a_branch_still_has_stay_after_main_replaced_them() {
    // R13: what a snapshot says it removed is not what nobody needs.
    let lake = Lake::new().await;
    let one = lake.append(&[(1, 1), (2, 2)]).await;
    lake.clock.advance_ms(DAY_MS);
    lake.append(&[(3, 3)]).await;
    lake.catalog.branch(&one, &named("old")).await.unwrap();
    lake.clock.advance_ms(DAY_MS);
    lake.commit(WriteMode::Overwrite, &[(4, 4)]).await;
    let report = expire(&lake, everything()).await;
    assert_eq!(report.expired.len(), 1);
    assert_eq!(lake.rows(&lake.pin("old").await.unwrap()).await, [(1, 1), (2, 2)]);
    // And after a rollback: the snapshot that overwrote is no ancestor.
    lake.clock.advance_ms(DAY_MS);
    let kept = lake.pin("old").await.unwrap();
    lake.catalog.rollback(&lake.table, kept.snapshot, RollbackPolicy::Force).await.unwrap();
    lake.append(&[(5, 5)]).await;
    let report = expire(&lake, everything()).await;
    assert_eq!(report.expired.len(), 1);
    assert_eq!(lake.rows_now().await, [(1, 1), (2, 2), (5, 5)]);
    assert_eq!(lake.rows(&lake.pin("old").await.unwrap()).await, [(1, 1), (2, 2)]);
}

#[tokio::test]
async fn snapshots_that_were_named_go_unless_they_are_needed() {
    let (lake, pins) = daily(4).await;
    lake.catalog.tag(&pins[1], &named("v1"), TagMove::Refuse).await.unwrap();
    for (index, by) in [(1, "tag `v1`"), (3, "branch `main`")] {
        let options = ExpireOptions::default().with_snapshots(vec![pins[index].snapshot]);
        let error = lake.catalog.expire(&lake.table, options).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(error.notes(), [format!("it is held by {by}")]);
    }
    let options = ExpireOptions::default().with_snapshots(vec![pins[2].snapshot]);
    assert_eq!(expire(&lake, options.clone()).await.expired, [pins[2].snapshot]);
    let error = lake.catalog.expire(&lake.table, options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_ref_goes_when_it_reaches_its_age() {
    let (lake, pins) = daily(6).await;
    lake.catalog.tag(&pins[1], &named("v1"), TagMove::Refuse).await.unwrap();
    let age = ("history.expire.max-ref-age-ms".to_owned(), (3 * DAY_MS).to_string());
    lake.catalog.set_properties(&lake.table, [age].into(), Vec::new()).await.unwrap();
    let report = expire(&lake, everything()).await;
    assert_eq!(report.expired_refs, ["v1"]);
    assert_eq!(ids(&lake).await, ids_of(&pins[5..]));
    let found = lake.catalog.describe(&lake.table).await.unwrap();
    assert!(!found.properties.keys().any(|name| name.starts_with("training-dataset.")));
    assert_eq!(lake.catalog.refs(&lake.table).await.unwrap().len(), 1);
}

#[derive(Debug)]
struct Silent;

#[async_trait::async_trait]
impl SnapshotHolder for Silent {
    async fn holds(&self, _: &TableName) -> Result<Vec<Hold>> {
        Err(Error::unavailable("the tracking store does not answer"))
    }
}

#[tokio::test]
async fn nothing_goes_while_a_holder_does_not_answer() {
    let (lake, pins) = daily(3).await;
    let before = files(&lake);
    let mut options = everything();
    options.holders = vec![std::sync::Arc::new(Silent)];
    let error = lake.catalog.expire(&lake.table, options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!((ids(&lake).await, files(&lake)), (ids_of(&pins), before));
}

#[tokio::test]
async fn expiring_twice_expires_once() {
    let (lake, _) = daily(4).await;
    assert_eq!(expire(&lake, everything()).await.expired.len(), 3);
    let again = expire(&lake, everything()).await;
    assert_eq!((again.expired.len(), again.deleted_files), (0, 0));
    let name = RefName::parse("v1").unwrap();
    let head = lake.pin("latest").await.unwrap();
    lake.catalog.tag(&head, &name, TagMove::Refuse).await.unwrap();
    assert_eq!(expire(&lake, everything()).await.expired.len(), 0);
}

#[tokio::test]
async fn a_table_whose_files_may_be_those_of_another_keeps_them() {
    let (lake, pins) = daily(3).await;
    let set = async |value: &str| {
        let set = [("gc.enabled".to_owned(), value.to_owned())].into();
        lake.catalog.set_properties(&lake.table, set, Vec::new()).await.unwrap();
    };
    // As Spark's `snapshot` procedure leaves it.
    set("false").await;
    let before = files(&lake);
    for dry_run in [true, false] {
        let options = everything().with_dry_run(dry_run);
        let error = lake.catalog.expire(&lake.table, options).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("`gc.enabled` is `false`"), "{error}");
        assert!(error.help().unwrap().contains("gc.enabled=true"), "{error:?}");
    }
    assert_eq!((ids(&lake).await, files(&lake)), (ids_of(&pins), before));
    set("TRUE").await;
    assert_eq!(expire(&lake, everything()).await.expired, ids_of(&pins[..2]));
}

#[tokio::test]
async fn nothing_goes_while_another_name_leads_to_the_same_files() {
    // As a rename leaves them that dies half way, or a table that is registered twice. The metadata
    // may be elsewhere than the table's other files.
    for directory in ["ns/events", "elsewhere"] {
        let (lake, pins) = daily(3).await;
        let pointers = lake.catalog.tables_now().pointers();
        let old = pointers.find(&lake.table).await.unwrap().unwrap();
        let own = old.replace("warehouse/ns/events", &format!("warehouse/{directory}"));
        if own != old {
            let path = |location: &str| crate::storage::local_path(location).unwrap();
            std::fs::create_dir_all(path(&own).parent().unwrap()).unwrap();
            std::fs::copy(path(&old), path(&own)).unwrap();
            pointers.swap(&lake.table, &old, &own).await;
        }
        let alias = TableName::parse("ns.alias").unwrap();
        pointers.create(&alias, &own).await;
        let before = files(&lake);
        for dry_run in [true, false] {
            let options = everything().with_dry_run(dry_run);
            let error = lake.catalog.expire(&lake.table, options).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains("`ns.events` and `ns.alias` share"), "{error}");
        }
        assert_eq!((ids(&lake).await, files(&lake)), (ids_of(&pins), before));
        // Where nothing would go, nobody has to look.
        let kept = ExpireOptions::default().with_retain_last(Some(3));
        assert_eq!(lake.catalog.expire(&lake.table, kept).await.unwrap().expired, []);
        lake.catalog.drop_table(&alias).await.unwrap();
        let report = lake.catalog.expire(&lake.table, everything()).await.unwrap();
        assert_eq!(report.expired, ids_of(&pins[..2]));
    }
}

/// As another engine may leave it.
#[tokio::test]
async fn a_table_that_nobody_can_open_keeps_no_other_from_expiring() {
    let (lake, pins) = daily(3).await;
    let database = format!("sqlite:{}", lake.root.path().join("catalog.db").display());
    let pool = sqlx::SqlitePool::connect(&database).await.unwrap();
    let odd = "INSERT INTO iceberg_tables SELECT catalog_name, 'ns', 'odd', NULL, NULL, 'TABLE' \
        FROM iceberg_tables WHERE table_name = 'events'";
    sqlx::query(odd).execute(&pool).await.unwrap();
    let report = lake.catalog.expire(&lake.table, everything()).await.unwrap();
    assert_eq!(report.expired, ids_of(&pins[..2]));
}

/// The copy's catalog names the files of the original.
#[tokio::test]
async fn a_copied_project_deletes_nothing_of_the_original() {
    let (lake, pins) = daily(3).await;
    let copy = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(lake.root.path()).unwrap().map(|entry| entry.unwrap().path()) {
        if file.is_file() {
            std::fs::copy(&file, copy.path().join(file.file_name().unwrap())).unwrap();
        }
    }
    let before = files(&lake);
    let options = crate::catalog::tests::options_at(copy.path(), &lake.clock);
    let catalog = crate::IcebergCatalog::open(options).await.unwrap();
    let error = catalog.expire(&lake.table, everything()).await.unwrap_err();
    assert!(error.to_string().contains("not in the warehouse"), "{error}");
    let error = catalog.clean(&lake.table, crate::CleanOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(files(&lake), before);
    // Somebody who knows that they are nobody else's says so.
    let own = std::collections::BTreeMap::from([("gc.enabled".to_owned(), "true".to_owned())]);
    catalog.set_properties(&lake.table, own, Vec::new()).await.unwrap();
    let report = catalog.expire(&lake.table, everything()).await.unwrap();
    assert_eq!(report.expired, ids_of(&pins[..2]));
}

#[tokio::test]
async fn a_snapshot_whose_files_are_damaged_can_be_expired() {
    let (lake, pins) = daily(3).await;
    let table = lake.catalog.tables_now().load(&lake.table).await.unwrap();
    let first = table.metadata().snapshot_by_id(pins[0].snapshot.get()).unwrap();
    let list = crate::storage::local_path(first.manifest_list()).unwrap();
    std::fs::write(list, b"nothing").unwrap();
    let report = expire(&lake, everything()).await;
    assert_eq!(report.expired, ids_of(&pins[..2]));
}
