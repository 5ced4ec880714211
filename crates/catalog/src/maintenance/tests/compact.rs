//! The same rows in other files.

use std::borrow::Cow;

use icecore_core::{ErrorKind, NewTable, SnapshotCatalog, WriteMode};

use super::*;
use crate::catalog::tests::{columns, named};
use crate::storage::KnownFile as _;
use crate::{CompactOptions, CompactReport, CompactStrategy};

async fn compact(lake: &Lake, options: CompactOptions) -> CompactReport {
    let report = lake.catalog.compact(&lake.table, options).await.unwrap();
    assert_sound(lake).await;
    report
}

fn eager() -> CompactOptions {
    CompactOptions::default().with_min_input_files(2)
}

/// Eight commits of two rows each into two partitions, newest numbers first.
async fn scattered() -> Lake {
    let lake = Lake::new().await;
    for number in (0..8).rev() {
        lake.append(&[(number, 1), (number + 100, 2)]).await;
    }
    lake
}

#[tokio::test]
async fn small_files_of_a_partition_become_one_and_every_pin_reads_the_same() {
    let lake = scattered().await;
    let before = lake.pin("latest").await.unwrap();
    let rows = lake.rows_now().await;
    let dry = compact(&lake, eager().with_dry_run(true)).await;
    assert_eq!((dry.groups, dry.removed_files, dry.commits), (2, 16, 0));
    assert_eq!(lake.paths().await.len(), 16);
    let report = compact(&lake, eager()).await;
    assert_eq!((report.removed_files, report.added_files, report.rows), (16, 2, 16));
    assert_eq!(report.commits, 1);
    assert_eq!(lake.paths().await.len(), 2);
    assert_eq!(lake.rows_now().await, rows);
    assert_eq!(lake.rows(&before).await, rows);
    let history = lake.catalog.history(&lake.table).await.unwrap();
    let last = history.last().unwrap();
    assert_eq!((last.operation.as_str(), Some(last.id)), ("replace", report.snapshot));
    assert_eq!(last.count("total-records"), 16);
    // There is nothing left to do.
    let again = compact(&lake, eager()).await;
    assert_eq!((again.groups, again.commits), (0, 0));
}

#[tokio::test]
async fn new_files_are_as_old_as_the_rows_in_them() {
    let lake = scattered().await;
    compact(&lake, eager()).await;
    let table = lake.catalog.tables_now().load(&lake.table).await.unwrap();
    let current = table.metadata().current_snapshot().unwrap();
    let list = table.manifest_list_reader(current).load().await.unwrap();
    for manifest in list.entries() {
        let manifest = manifest.load_manifest(table.file_io()).await.unwrap();
        for entry in manifest.entries().iter().filter(|entry| entry.is_alive()) {
            // That of the snapshot that was read: a later delete by key applies to it.
            assert_eq!(entry.sequence_number(), Some(current.sequence_number() - 1));
        }
    }
}

#[tokio::test]
async fn few_files_and_other_partitions_stay_as_they_are() {
    let lake = Lake::new().await;
    for number in 0..5 {
        lake.append(&[(number, 1)]).await;
    }
    lake.append(&[(9, 2)]).await;
    let alone: Vec<String> =
        lake.paths().await.into_iter().filter(|path| path.contains("day=1970-01-03")).collect();
    let report = compact(&lake, CompactOptions::default()).await;
    assert_eq!((report.removed_files, report.added_files), (5, 1));
    assert!(lake.paths().await.contains(&alone[0]));
    // Fewer than asked for.
    for number in 0..3 {
        lake.append(&[(number, 3)]).await;
    }
    assert_eq!(compact(&lake, CompactOptions::default()).await.groups, 0);
    assert_eq!(compact(&lake, CompactOptions::default().with_all(true)).await.removed_files, 5);
}

#[tokio::test]
async fn large_work_is_committed_part_by_part_and_says_how_far_it_is() {
    let lake = scattered().await;
    let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let told = seen.clone();
    let options = eager().with_commit_bytes(1).with_progress(move |progress| {
        told.lock().unwrap().push((progress.group, progress.groups, progress.files));
    });
    let report = compact(&lake, options).await;
    assert_eq!((report.commits, report.groups), (2, 2));
    assert_eq!(*seen.lock().unwrap(), [(1, 2, 8), (2, 2, 8)]);
    assert_eq!(lake.rows_now().await.len(), 16);
}

#[tokio::test]
async fn rows_are_sorted_across_the_files_of_a_partition() {
    let lake = Lake::empty().await;
    let new = NewTable::new(columns()).with_partition_by(["day"]).with_sort_by(["number"]);
    lake.catalog.ensure_table(&lake.table, &new).await.unwrap();
    for number in (0..8).rev() {
        let row = |of: i64| (of * 8 + number, i32::try_from(of % 2).unwrap());
        lake.append(&(0..5000).map(row).collect::<Vec<_>>()).await;
    }
    let rows = lake.rows_now().await;
    let sort = || eager().with_strategy(CompactStrategy::Sort);
    let report = compact(&lake, sort().with_target_bytes(Some(1 << 14))).await;
    assert_eq!((report.removed_files, report.rows), (16, 40_000));
    assert_eq!(lake.rows_now().await, rows);
    // Each file begins where the one before it in its partition ends.
    let table = lake.catalog.tables_now().load(&lake.table).await.unwrap();
    let tasks = crate::scan::plan_tasks(&table, table.metadata().current_snapshot_id(), None)
        .await
        .unwrap();
    for day in 0..2 {
        let of_day = tasks
            .iter()
            .filter(|task| task.file.partition()[0] == Some(iceberg::spec::Literal::date(day)));
        let bound = |bound: Option<Cow<'_, iceberg::spec::Datum>>| match bound.unwrap().literal() {
            iceberg::spec::PrimitiveLiteral::Long(value) => *value,
            other => panic!("{other:?}"),
        };
        let mut ranges: Vec<(i64, i64)> =
            of_day.map(|task| (bound(task.file.lower(1)), bound(task.file.upper(1)))).collect();
        ranges.sort_unstable();
        assert!(ranges.len() >= 2, "{ranges:?}");
        assert!(ranges.windows(2).all(|pair| pair[0].1 < pair[1].0), "{ranges:?}");
    }
    // Files that are in order already are merged.
    let report = compact(&lake, sort()).await;
    assert_eq!((report.commits, report.added_files), (1, 2));
    assert_eq!(compact(&lake, sort()).await.commits, 0);
    assert_eq!(lake.rows_now().await, rows);
    let deep = FsckOptions::default().with_deep(true);
    let report = lake.catalog.fsck(&lake.table, deep).await.unwrap();
    assert_eq!(report.findings().collect::<Vec<_>>(), []);
}

#[tokio::test]
async fn what_others_commit_meanwhile_is_kept() {
    let lake = scattered().await;
    let other = lake.reopened().await;
    let writes = async {
        for number in 200..210 {
            lake.append(&[(number, 1)]).await;
        }
        lake.commit(WriteMode::OverwritePartitions, &[(777, 2)]).await;
    };
    let compactions = async {
        for _ in 0..4 {
            // It may lose every time, and then says so.
            if let Err(error) = other.compact(&lake.table, eager().with_all(true)).await {
                assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
                assert!(error.help().is_some_and(|help| help.starts_with("run it again")));
            }
        }
    };
    tokio::join!(writes, compactions);
    let rows = lake.rows_now().await;
    assert_eq!(rows.len(), 8 + 10 + 1, "{rows:?}");
    assert!(rows.contains(&(777, 2)));
    assert_sound(&lake).await;
}

#[tokio::test]
async fn a_branch_is_compacted_by_itself() {
    let lake = scattered().await;
    let pinned = lake.pin("latest").await.unwrap();
    lake.catalog.branch(&pinned, &named("dev")).await.unwrap();
    let report = compact(&lake, eager().with_branch(named("dev"))).await;
    assert_eq!(report.added_files, 2);
    assert_eq!(lake.paths().await.len(), 16);
    assert_eq!(lake.rows(&lake.pin("dev").await.unwrap()).await, lake.rows_now().await);
    let unknown = eager().with_branch(named("nowhere"));
    let error = lake.catalog.compact(&lake.table, unknown).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn an_empty_table_has_nothing_to_compact() {
    let lake = Lake::new().await;
    assert_eq!(compact(&lake, eager().with_all(true)).await, CompactReport::default());
}
