//! Partitions of a snapshot as a table.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use iceberg::spec::{DataContentType, SnapshotRef};
use iceberg::table::Table;
use icecore_core::Result;

use super::files::{Named, ints, live_files, longs, signed, texts};
use super::{batch, moments};

/// The sums over delete files of one kind.
#[derive(Default)]
struct Deleted {
    files: i64,
    rows: u64,
}

impl Deleted {
    fn add(&mut self, file: &Named) {
        self.files += 1;
        self.rows += file.entry.record_count();
    }
}

/// The sums over the files of a partition.
#[derive(Default)]
struct Sums {
    spec_id: i32,
    partition: String,
    rows: u64,
    files: i64,
    bytes: u64,
    by_position: Deleted,
    by_key: Deleted,
    updated_ms: Option<i64>,
    updated_by: Option<i64>,
}

impl Sums {
    fn add(&mut self, file: &Named, added_ms: Option<i64>) {
        match file.entry.content_type() {
            DataContentType::Data => {
                self.rows += file.entry.record_count();
                self.files += 1;
                self.bytes += file.entry.file_size_in_bytes();
            }
            DataContentType::PositionDeletes => self.by_position.add(file),
            DataContentType::EqualityDeletes => self.by_key.add(file),
        }
        if added_ms >= self.updated_ms {
            self.updated_ms = added_ms;
            self.updated_by = file.entry.snapshot_id();
        }
    }
}

pub(super) async fn partitions(
    table: &Table,
    snapshot: Option<&SnapshotRef>,
) -> Result<RecordBatch> {
    let metadata = table.metadata();
    let mut by_partition: BTreeMap<(String, i32), Sums> = BTreeMap::new();
    for file in live_files(table, snapshot).await? {
        let added_by = file.entry.snapshot_id().and_then(|id| metadata.snapshot_by_id(id));
        let sums = by_partition.entry((file.partition.clone(), file.spec_id)).or_default();
        sums.add(&file, added_by.map(|snapshot| snapshot.timestamp_ms()));
    }
    let all: Vec<Sums> = by_partition
        .into_iter()
        .map(|((partition, spec_id), sums)| Sums { partition, spec_id, ..sums })
        .collect();
    batch(vec![
        ("partition", false, texts(&all, |of| &of.partition)),
        ("spec_id", false, ints(&all, |of| of.spec_id)),
        ("record_count", true, longs(&all, |of| signed(of.rows))),
        ("file_count", false, longs(&all, |of| Some(of.files))),
        ("total_size_in_bytes", true, longs(&all, |of| signed(of.bytes))),
        (
            "delete_file_count",
            false,
            longs(&all, |of| Some(of.by_position.files + of.by_key.files)),
        ),
        ("last_updated_at", true, moments(all.iter().map(|of| of.updated_ms))),
        ("last_updated_snapshot_id", true, longs(&all, |of| of.updated_by)),
        ("position_delete_record_count", true, longs(&all, |of| signed(of.by_position.rows))),
        ("position_delete_file_count", false, longs(&all, |of| Some(of.by_position.files))),
        ("equality_delete_record_count", true, longs(&all, |of| signed(of.by_key.rows))),
        ("equality_delete_file_count", false, longs(&all, |of| Some(of.by_key.files))),
    ])
}
