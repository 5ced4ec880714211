//! The entries are those that the iceberg crate's reader finds.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int32Array,
    Int64Array, ListArray, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Int32Type, Schema, TimeUnit};
use iceberg::spec::{Manifest, ManifestFile};
use icecore_core::{
    BatchStream, CommitOptions, CompareOp, Literal, NewTable, Predicate, SnapshotCatalog, TableName,
};
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};

use super::super::Container;
use super::{Headers, manifest};
use crate::catalog::tests::Lake;
use crate::rowlevel::{RowMode, RowOptions};
use crate::storage::{KnownFile as _, ListedFile};

/// Rows with values of every kind, nulls and odd ones among them.
fn rows(count: i64) -> RecordBatch {
    let every = |third: i64| move |row: &i64| row % third != 0;
    let ids: Vec<i64> = (0..count).collect();
    let text = |row: &i64| every(5)(row).then(|| format!("n{}é", row % 17));
    let number = |row: i64| if row % 11 == 0 { f64::NAN } else { row as f64 / 3.0 - 2.0 };
    let lists = ids.iter().map(|row| Some((0..row % 3).map(|item| Some(item as i32))));
    let micros =
        TimestampMicrosecondArray::from_iter_values(ids.iter().map(|row| row * 7_777_777_777));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from(ids.clone()))),
        ("name", Arc::new(StringArray::from_iter(ids.iter().map(text)))),
        ("score", Arc::new(Float64Array::from_iter_values(ids.iter().map(|row| number(*row))))),
        ("share", Arc::new(Float32Array::from_iter_values(ids.iter().map(|row| -(*row as f32))))),
        (
            "flag",
            Arc::new(BooleanArray::from_iter(
                ids.iter().map(|row| every(7)(row).then_some(row % 2 == 0)),
            )),
        ),
        (
            "day",
            Arc::new(Date32Array::from_iter_values(ids.iter().map(|row| (*row % 40) as i32 - 20))),
        ),
        ("moment", Arc::new(micros.with_timezone("+00:00"))),
        ("small", Arc::new(Int32Array::from_iter_values(ids.iter().map(|row| (*row % 3) as i32)))),
        (
            "amount",
            Arc::new(
                Decimal128Array::from_iter_values(ids.iter().map(|row| i128::from(row % 4) - 2))
                    .with_precision_and_scale(12, 2)
                    .unwrap(),
            ),
        ),
        ("items", Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(lists))),
    ];
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, column)| Field::new(*name, column.data_type().clone(), true))
        .collect();
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

/// A table with files of this partitioning, of several commits, and with deletes.
async fn table(version: u8, partition_by: &[&str]) -> (Lake, iceberg::table::Table) {
    let lake = Lake::empty().await;
    let name = TableName::parse("ns.wide").unwrap();
    let batch = rows(60);
    assert_eq!(batch.schema().field(6).data_type(), &utc());
    let new = NewTable::new(batch.schema())
        .with_partition_by(partition_by.iter().copied())
        .with_format_version(version);
    lake.catalog.ensure_table(&name, &new).await.unwrap();
    for _ in 0..2 {
        let rows = BatchStream::from_batches(batch.schema(), vec![batch.clone()]);
        lake.catalog.commit(&name, rows, CommitOptions::default()).await.unwrap();
    }
    for (low, mode) in [(50, RowMode::MergeOnRead), (40, RowMode::CopyOnWrite)] {
        let filter = Predicate::compare("id", CompareOp::Gt, Literal::Int(low));
        let options = RowOptions::default().with_mode(mode);
        lake.catalog.delete(&name, &filter, options).await.unwrap();
    }
    let table = lake.catalog.tables_now().load(&name).await.unwrap();
    (lake, table)
}

fn utc() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()))
}

/// Every manifest of every snapshot, as bytes and as the iceberg crate reads it.
async fn manifests(table: &iceberg::table::Table) -> Vec<(ManifestFile, Vec<u8>, Manifest)> {
    let mut found = Vec::new();
    for snapshot in table.metadata().snapshots() {
        let list = table.manifest_list_reader(snapshot).load().await.unwrap();
        for file in list.consume_entries() {
            let bytes = table.file_io().new_input(&file.manifest_path).unwrap().read().await;
            let theirs = file.load_manifest(table.file_io()).await.unwrap();
            found.push((file, bytes.unwrap().to_vec(), theirs));
        }
    }
    found
}

/// The entries in these bytes, everything unpacked.
pub(super) fn unpacked(bytes: &[u8], listed: &ManifestFile, limit: u64) -> Option<Manifest> {
    let read = manifest(bytes, listed, limit, &Headers::default()).unwrap();
    read.map(|read| read.unpacked().unwrap())
}

const PARTITIONINGS: [&[&str]; 6] = [
    &[],
    &["day", "flag"],
    &["bucket(4, id)", "truncate(2, name)", "day(moment)"],
    &["small", "year(day)", "hour(moment)"],
    &["share", "score"],
    &["amount"],
];

#[tokio::test]
async fn entries_are_those_that_the_other_reader_finds() {
    for version in [2, 3] {
        for partition_by in PARTITIONINGS {
            let (_lake, table) = table(version, partition_by).await;
            let all = manifests(&table).await;
            assert!(all.len() > 6, "{partition_by:?}");
            for (file, bytes, theirs) in &all {
                let ours = unpacked(bytes, file, u64::MAX);
                assert_eq!(ours.as_ref(), Some(theirs), "version {version} by {partition_by:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_column_is_found_as_all_columns_are() {
    let (_lake, table) = table(3, &["day"]).await;
    for (file, bytes, theirs) in &manifests(&table).await {
        let ours = manifest(bytes, file, u64::MAX, &Headers::default()).unwrap().unwrap();
        for (ours, theirs) in ours.entries.iter().zip(theirs.entries()) {
            let theirs = theirs.data_file();
            for file in [&ours.file, &ListedFile::from(theirs.clone())] {
                let columns = (-1..20).chain([i32::MAX - 101, i32::MAX - 102]);
                for column in columns {
                    assert_eq!(file.nulls(column), theirs.nulls(column));
                    assert_eq!(file.nans(column), theirs.nans(column));
                    assert_eq!(file.lower(column), theirs.lower(column));
                    assert_eq!(file.upper(column), theirs.upper(column));
                    let has_size = theirs.column_sizes().contains_key(&column);
                    let is_there = has_size || theirs.nulls(column).is_some();
                    assert_eq!(file.has_column(column), is_there);
                }
                assert_eq!(*file.all_nulls(), *theirs.null_value_counts());
                assert_eq!(*file.all_nans(), *theirs.nan_value_counts());
                assert_eq!(*file.all_lower(), *theirs.lower_bounds());
                assert_eq!(*file.all_upper(), *theirs.upper_bounds());
            }
        }
    }
}

#[tokio::test]
async fn damaged_bytes_are_never_read_as_other_entries_than_the_other_reader_finds() {
    let (_lake, table) = table(3, &["day"]).await;
    let (file, bytes, _) = manifests(&table).await.swap_remove(0);
    // What the header says of the columns is the same for both readers only where it is whole.
    let header = bytes.len() - Container::open(&bytes).unwrap().parts.blocks.len();
    let cases = ProptestConfig::with_cases(64);
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(cases, rng);
    let damage = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4);
    runner
        .run(&damage, |damage| {
            let mut bytes = bytes.clone();
            for (at, byte) in damage {
                let at = header + at.index(bytes.len() - header);
                bytes[at] = byte;
            }
            // What the other reader makes of it, where it does not give up. Parsing alone leaves out
            // what an entry takes from the list.
            let theirs = std::panic::catch_unwind(|| Manifest::parse_avro(&bytes));
            if let (Some(ours), Ok(Ok(theirs))) = (unpacked(&bytes, &file, 1 << 20), theirs) {
                let files = |of: &Manifest| {
                    of.entries().iter().map(|entry| entry.data_file().clone()).collect::<Vec<_>>()
                };
                prop_assert_eq!(files(&ours), files(&theirs));
            }
            Ok(())
        })
        .unwrap();
}
