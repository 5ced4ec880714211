//! Deletes that are folded in, and deletes that come while files are written anew.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use futures::TryStreamExt;
use icecore_core::{CommitOptions, Literal, NewTable, Predicate, SnapshotCatalog, TableName};

use super::*;
use crate::catalog::IcebergCatalog;
use crate::catalog::tests::{Row, columns, options_at, stream};
use crate::rowlevel::{RowDelta, RowMode, RowOptions};
use crate::scan::{TaskRead, plan_tasks, read_task};
use crate::{CompactOptions, CompactReport, CompactStrategy, FsckOptions};

/// Two files of ten rows each in one partition.
async fn two_files(version: u8) -> Lake {
    let lake = Lake::empty().await;
    let new = NewTable::new(columns()).with_partition_by(["day"]).with_format_version(version);
    lake.catalog.ensure_table(&lake.table, &new).await.unwrap();
    for file in 0..2 {
        lake.append(&(0..10).map(|row| (file * 10 + row, 1)).collect::<Vec<Row>>()).await;
    }
    lake
}

async fn delete(catalog: &IcebergCatalog, table: &TableName, number: i64) {
    let options = RowOptions::default().with_mode(RowMode::MergeOnRead);
    let filter = Predicate::equal("number", Literal::Int(number));
    assert!(catalog.delete(table, filter, options).await.unwrap().changed);
}

async fn delete_key(catalog: &IcebergCatalog, table: &TableName, key: Row) {
    let delta = RowDelta::new(stream(&[key]));
    catalog.row_delta(table, delta, CommitOptions::default()).await.unwrap();
}

async fn compact(lake: &Lake, options: CompactOptions) -> CompactReport {
    let report = lake.catalog.compact(&lake.table, options).await.unwrap();
    let deep = FsckOptions::default().with_deep(true);
    let checked = lake.reopened().await.fsck(&lake.table, deep).await.unwrap();
    assert_eq!(checked.errors().collect::<Vec<_>>(), []);
    report
}

async fn total_deletes(lake: &Lake) -> i64 {
    let history = lake.catalog.history(&lake.table).await.unwrap();
    history.last().unwrap().count("total-delete-files")
}

#[tokio::test]
async fn deletes_of_every_kind_are_folded_in_and_their_files_are_gone() {
    for version in [2, 3] {
        for strategy in [CompactStrategy::BinPack, CompactStrategy::Sort] {
            let lake = two_files(version).await;
            delete(&lake.catalog, &lake.table, 3).await;
            delete(&lake.catalog, &lake.table, 4).await;
            delete_key(&lake.catalog, &lake.table, (15, 1)).await;
            let (rows, before) = (lake.rows_now().await, lake.pin("latest").await.unwrap());
            assert_eq!(rows.len(), 17);
            assert!(total_deletes(&lake).await >= 2, "version {version}");
            let dry = CompactOptions::default().with_strategy(strategy).with_dry_run(true);
            let said = compact(&lake, dry).await;
            let done = compact(&lake, CompactOptions::default().with_strategy(strategy)).await;
            assert_eq!(said.removed_files, 2);
            assert_eq!((done.removed_files, done.rows), (2, 17), "version {version}");
            assert_eq!(said.removed_delete_files, done.removed_delete_files);
            assert_eq!(total_deletes(&lake).await, 0, "version {version}");
            assert_eq!(lake.rows_now().await, rows);
            assert_eq!(lake.rows(&before).await, rows);
            assert_eq!(compact(&lake, CompactOptions::default()).await.commits, 0);
        }
    }
}

#[tokio::test]
async fn deletes_of_files_that_are_gone_are_dropped() {
    let lake = two_files(2).await;
    delete(&lake.catalog, &lake.table, 3).await;
    // The data goes, and what deletes rows of it stays behind where nobody looked for it.
    let options = RowOptions::default().with_mode(RowMode::CopyOnWrite);
    let all = Predicate::equal("day", Literal::Date(icecore_core::Date::from_days(1)));
    lake.catalog.delete(&lake.table, all, options).await.unwrap();
    compact(&lake, CompactOptions::default()).await;
    assert_eq!((total_deletes(&lake).await, lake.rows_now().await.len()), (0, 0));
}

/// Does something as another process once files were planned, and before they are written.
fn meanwhile<F>(
    lake: &Lake,
    work: impl Fn(IcebergCatalog, TableName) -> F + Send + Sync + 'static,
) -> CompactOptions
where
    F: Future<Output = ()>,
{
    let done = AtomicBool::new(false);
    let (root, clock) = (lake.root.path().to_owned(), lake.clock.clone());
    let table = lake.table.clone();
    CompactOptions::default().with_all(true).with_progress(move |_| {
        if done.swap(true, Ordering::SeqCst) {
            return;
        }
        let other = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let catalog = IcebergCatalog::open(options_at(&root, &clock)).await.unwrap();
                work(catalog, table.clone()).await;
            });
        };
        std::thread::scope(|scope| scope.spawn(other).join().unwrap());
    })
}

#[tokio::test]
async fn a_delete_by_key_that_comes_meanwhile_applies_to_the_new_files() {
    for version in [2, 3] {
        let lake = two_files(version).await;
        let options = meanwhile(&lake, |catalog, table| async move {
            delete_key(&catalog, &table, (7, 1)).await;
        });
        let report = compact(&lake, options).await;
        assert_eq!((report.commits, report.conflicts), (1, 0));
        let rows = lake.rows_now().await;
        assert_eq!(rows.len(), 19);
        assert!(!rows.contains(&(7, 1)), "the deleted row came back");
        // And is folded in by the next.
        compact(&lake, CompactOptions::default()).await;
        assert_eq!((lake.rows_now().await, total_deletes(&lake).await), (rows, 0));
    }
}

#[tokio::test]
async fn a_delete_by_position_that_comes_meanwhile_makes_it_begin_again() {
    for version in [2, 3] {
        let lake = two_files(version).await;
        let options = meanwhile(&lake, |catalog, table| async move {
            delete(&catalog, &table, 7).await;
        });
        let report = compact(&lake, options).await;
        assert_eq!((report.commits, report.conflicts), (1, 1));
        let rows = lake.rows_now().await;
        assert_eq!((rows.len(), rows.contains(&(7, 1))), (19, false));
        assert_eq!(total_deletes(&lake).await, 0);
    }
}

#[tokio::test]
async fn an_append_that_comes_meanwhile_is_kept() {
    let lake = two_files(2).await;
    let options = meanwhile(&lake, |catalog, table| async move {
        let rows = stream(&[(99, 1)]);
        catalog.commit(&table, rows, CommitOptions::default()).await.unwrap();
    });
    let report = compact(&lake, options).await;
    assert_eq!((report.commits, report.conflicts), (1, 0));
    assert_eq!(lake.rows_now().await.len(), 21);
}

/// The ids of rows by their numbers, and since when they are as they are.
async fn lineage(lake: &Lake) -> BTreeMap<i64, (i64, i64)> {
    use iceberg::metadata_columns::{last_updated_sequence_number_field, row_id_field};
    let table = lake.catalog.tables_now().load(&lake.table).await.unwrap();
    let number = table.metadata().current_schema().field_by_name("number").unwrap().clone();
    let fields = vec![number, row_id_field().clone(), last_updated_sequence_number_field().clone()];
    let schema = iceberg::spec::Schema::builder().with_fields(fields).build().unwrap();
    let read = TaskRead {
        columns: std::sync::Arc::new(schema),
        filter: None,
        positions: false,
        groups: None,
        batch_rows: 100,
    };
    let mut found = BTreeMap::new();
    let head = table.metadata().current_snapshot_id();
    for task in plan_tasks(&table, head, None).await.unwrap() {
        let batches: Vec<_> = read_task(&table, &task, &read).try_collect().await.unwrap();
        for batch in batches {
            let column = |at: usize| batch.column(at).as_primitive::<Int64Type>().values().clone();
            let (numbers, ids, since) = (column(0), column(1), column(2));
            for row in 0..batch.num_rows() {
                found.insert(numbers[row], (ids[row], since[row]));
            }
        }
    }
    found
}

#[tokio::test]
async fn rows_of_version_3_stay_the_same_rows() {
    for strategy in [CompactStrategy::BinPack, CompactStrategy::Sort] {
        let lake = two_files(3).await;
        delete(&lake.catalog, &lake.table, 3).await;
        let before = lineage(&lake).await;
        assert_eq!(before.len(), 19);
        compact(&lake, CompactOptions::default().with_strategy(strategy).with_all(true)).await;
        assert_eq!(lineage(&lake).await, before, "{strategy:?}");
        // Twice: ids are in the file now.
        compact(&lake, CompactOptions::default().with_strategy(strategy).with_all(true)).await;
        assert_eq!(lineage(&lake).await, before, "{strategy:?}");
        // New rows get ids of their own.
        lake.append(&[(1000, 1)]).await;
        let after = lineage(&lake).await;
        assert!(before.values().all(|(id, _)| *id != after[&1000].0));
    }
}
