//! Files that are as long as they should be and hold something else.

use std::collections::HashMap;

use arrow::array::{ArrayRef, BinaryArray, RecordBatch, TimestampMicrosecondArray};
use iceberg::TableUpdate;
use iceberg::spec::{DataFile, DataFileBuilder, Datum, Literal, Struct};
use icecore_core::{BatchStream, CommitOptions, NewTable};

use super::*;
use crate::catalog::tests::columns;
use crate::commit::{AddedFiles, FileChange, FileSet, OwnedRemoval};

async fn deep(lake: &Lake) -> TableCheck {
    let options = FsckOptions::default().with_deep(true);
    let report = lake.reopened().await.fsck(&lake.table, options).await.unwrap();
    let [check] = report.tables.try_into().unwrap();
    check
}

async fn deep_kinds(lake: &Lake) -> Vec<FindingKind> {
    let mut kinds: Vec<_> = deep(lake).await.findings.iter().map(|found| found.kind).collect();
    kinds.dedup();
    kinds
}

#[tokio::test]
async fn every_row_of_a_sound_table_is_read() {
    let lake = eventful().await;
    let check = deep(&lake).await;
    assert_eq!(check.findings, []);
    // The rows of every data file that some snapshot holds.
    assert_eq!(check.rows_read, 5);
}

#[tokio::test]
async fn a_page_that_was_overwritten_is_found() {
    let lake = eventful().await;
    let path = format!("/{}", lake.paths().await.remove(0));
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[4..60].fill(0xEE);
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(kinds(&lake).await, []);
    assert_eq!(deep_kinds(&lake).await, [FindingKind::UnreadableFile]);
}

/// A data file as it is described, told otherwise.
fn retold(
    file: &DataFile,
    change: impl FnOnce(&mut DataFileBuilder) -> &mut DataFileBuilder,
) -> DataFile {
    let mut builder = crate::described::told_again(file);
    change(&mut builder);
    builder.build().unwrap()
}

/// Commits a file of the head again, described otherwise.
async fn retell(lake: &Lake, change: impl FnOnce(&mut DataFileBuilder) -> &mut DataFileBuilder) {
    let table = head(lake).await;
    let current = table.metadata().current_snapshot().unwrap().clone();
    let manifest = manifests(lake, &current).await.remove(0);
    let list = table.manifest_list_reader(&current).load().await.unwrap();
    let listed = list.entries().iter().find(|listed| listed.manifest_path == manifest).unwrap();
    let loaded = listed.load_manifest(table.file_io()).await.unwrap();
    let file = loaded.entries()[0].data_file().clone();
    let retold = retold(&file, change);
    let metadata = table.metadata_ref();
    let mut change = FileChange::new(metadata.clone(), iceberg::spec::Operation::Overwrite);
    change.added = vec![AddedFiles::data(&metadata, vec![retold])];
    change.removed = OwnedRemoval::Files(FileSet::of([&file]));
    lake.catalog.commit_change(&lake.table, change).await.unwrap();
    // The old description would contradict the new one.
    let ids = metadata.snapshots().map(|snapshot| snapshot.snapshot_id()).collect();
    lake.update(&[TableUpdate::RemoveSnapshots { snapshot_ids: ids }]).await;
}

/// What a lake of one file is told to be.
async fn found_after(
    change: impl FnOnce(&mut DataFileBuilder) -> &mut DataFileBuilder,
) -> Vec<FindingKind> {
    let lake = Lake::new().await;
    lake.append(&[(1, 1), (5, 1)]).await;
    retell(&lake, change).await;
    deep_kinds(&lake).await
}

#[tokio::test]
async fn what_a_manifest_says_of_a_file_is_compared_with_its_rows() {
    use FindingKind::{WrongColumnMetrics, WrongPartition, WrongRowCount};
    assert_eq!(found_after(|file| file).await, []);
    let found = found_after(|file| file.record_count(7)).await;
    assert!(found.contains(&WrongRowCount), "{found:?}");
    let found = found_after(|file| file.null_value_counts(HashMap::from([(1, 1)]))).await;
    assert_eq!(found, [WrongColumnMetrics]);
    let found = found_after(|file| file.lower_bounds(HashMap::from([(1, Datum::long(2))]))).await;
    assert_eq!(found, [WrongColumnMetrics]);
    let found = found_after(|file| file.upper_bounds(HashMap::from([(1, Datum::long(4))]))).await;
    assert_eq!(found, [WrongColumnMetrics]);
    let elsewhere = Struct::from_iter([Some(Literal::date(2))]);
    let found = found_after(|file| file.partition(elsewhere)).await;
    assert!(found.contains(&WrongPartition), "{found:?}");
}

#[tokio::test]
async fn rows_lie_where_their_partition_says_whatever_it_is_by() {
    // One in the last second of a day before 1970.
    let at = TimestampMicrosecondArray::from(vec![-86_400_500_000, -1, 0]).with_timezone("+00:00");
    let bytes = BinaryArray::from(vec![&b"ab"[..], &b"ac"[..], &b"b"[..]]);
    let columns = [("at", Arc::new(at) as ArrayRef), ("bytes", Arc::new(bytes) as ArrayRef)];
    let rows = RecordBatch::try_from_iter(columns).unwrap();
    for by in ["day(at)", "bytes", "truncate(1, bytes)"] {
        let lake = Lake::empty().await;
        let new = NewTable::new(rows.schema()).with_partition_by([by]);
        lake.catalog.ensure_table(&lake.table, &new).await.unwrap();
        let stream = BatchStream::from_batches(rows.schema(), vec![rows.clone()]);
        lake.catalog.commit(&lake.table, stream, CommitOptions::default()).await.unwrap();
        assert_eq!(deep(&lake).await.findings, [], "{by}");
    }
}

/// Some writers round the last second of a day before 1970 up, and readers look for it there, too.
#[tokio::test]
async fn a_partition_that_was_rounded_up_is_a_right_one() {
    let at = TimestampMicrosecondArray::from(vec![-86_400_500_000]).with_timezone("+00:00");
    let rows = RecordBatch::try_from_iter([("at", Arc::new(at) as ArrayRef)]).unwrap();
    let lake = Lake::empty().await;
    let new = NewTable::new(rows.schema()).with_partition_by(["day(at)"]);
    lake.catalog.ensure_table(&lake.table, &new).await.unwrap();
    let stream = BatchStream::from_batches(rows.schema(), vec![rows]);
    lake.catalog.commit(&lake.table, stream, CommitOptions::default()).await.unwrap();
    for (day, wrong) in [(-1, false), (0, true), (-3, true), (-2, false)] {
        let partition = Struct::from_iter([Some(Literal::date(day))]);
        retell(&lake, |file| file.partition(partition)).await;
        let found = deep_kinds(&lake).await;
        assert_eq!(found.contains(&FindingKind::WrongPartition), wrong, "{day}: {found:?}");
    }
}

#[tokio::test]
async fn rows_that_are_not_in_the_order_of_their_file_are_found() {
    let lake = Lake::empty().await;
    let new = NewTable::new(columns()).with_sort_by(["number"]);
    lake.catalog.ensure_table(&lake.table, &new).await.unwrap();
    lake.append(&[(5, 1), (1, 1)]).await;
    assert_eq!(deep_kinds(&lake).await, []);
    let unsorted = Lake::new().await;
    unsorted.append(&[(5, 1), (1, 1)]).await;
    // As if the file said that it is sorted.
    let order = iceberg::spec::SortOrder::builder()
        .with_order_id(1)
        .with_sort_field(
            iceberg::spec::SortField::builder()
                .source_id(1)
                .direction(iceberg::spec::SortDirection::Ascending)
                .null_order(iceberg::spec::NullOrder::First)
                .transform(iceberg::spec::Transform::Identity)
                .build(),
        )
        .build_unbound()
        .unwrap();
    unsorted
        .update(&[
            TableUpdate::AddSortOrder { sort_order: order },
            TableUpdate::SetDefaultSortOrder { sort_order_id: -1 },
        ])
        .await;
    retell(&unsorted, |file| file.sort_order_id(1)).await;
    assert_eq!(deep_kinds(&unsorted).await, [FindingKind::NotSorted]);
}
