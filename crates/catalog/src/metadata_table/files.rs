//! Files, partitions and manifests of a table's head as tables.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray};
use futures::{StreamExt, TryStreamExt, stream};
use iceberg::spec::{DataContentType, ManifestContentType, ManifestEntryRef, ManifestFile};
use iceberg::table::Table;
use icecore_core::{Error, Result};

use super::{batch, moments};
use crate::error::Context;

/// Manifests that are read at once.
const MANIFESTS_AT_ONCE: usize = 8;

/// A live file.
struct Live {
    spec_id: i32,
    /// `field=value/field=value`, as in a path; empty without partitions.
    partition: String,
    entry: ManifestEntryRef,
}

async fn manifest_files(table: &Table) -> Result<Vec<ManifestFile>> {
    let Some(head) = table.metadata().current_snapshot() else { return Ok(Vec::new()) };
    let list = table
        .manifest_list_reader(head)
        .load()
        .await
        .context(|| format!("cannot read manifest list `{}`", head.manifest_list()))?;
    Ok(list.consume_entries().into_iter().collect())
}

async fn live_files(table: &Table) -> Result<Vec<Live>> {
    let metadata = table.metadata();
    let io = table.file_io();
    let mut manifests = stream::iter(manifest_files(table).await?)
        .map(async |file| {
            let manifest = file
                .load_manifest(io)
                .await
                .context(|| format!("cannot read manifest `{}`", file.manifest_path))?;
            Ok::<_, Error>((file.partition_spec_id, manifest))
        })
        .buffered(MANIFESTS_AT_ONCE);
    let mut live = Vec::new();
    while let Some((spec_id, manifest)) = manifests.try_next().await? {
        let spec = manifest.metadata().partition_spec();
        let (entries, of) = (manifest.entries(), manifest.metadata().schema());
        for entry in entries.iter().filter(|entry| entry.is_alive()) {
            // The path needs the columns that the spec was made over: those of the manifest.
            let partition = if metadata.partition_spec_by_id(spec_id).is_some() {
                spec.partition_to_path(entry.data_file().partition(), of.clone())
            } else {
                String::new()
            };
            live.push(Live { spec_id, partition, entry: entry.clone() });
        }
    }
    live.sort_by(|a, b| a.entry.file_path().cmp(b.entry.file_path()));
    Ok(live)
}

fn longs<T>(items: &[T], value: impl Fn(&T) -> Option<i64>) -> ArrayRef {
    Arc::new(items.iter().map(value).collect::<Int64Array>())
}

fn ints<T>(items: &[T], value: impl Fn(&T) -> i32) -> ArrayRef {
    Arc::new(items.iter().map(|item| Some(value(item))).collect::<Int32Array>())
}

fn texts<'i, T>(items: &'i [T], value: impl Fn(&'i T) -> &'i str) -> ArrayRef {
    Arc::new(items.iter().map(|item| Some(value(item))).collect::<StringArray>())
}

/// Counts fit: no table has 2^63 rows or bytes.
fn signed(count: u64) -> Option<i64> {
    i64::try_from(count).ok()
}

pub(super) async fn files(table: &Table) -> Result<RecordBatch> {
    let live = live_files(table).await?;
    let formats: Vec<String> =
        live.iter().map(|file| file.entry.file_format().to_string().to_uppercase()).collect();
    batch(vec![
        (
            "content",
            false,
            texts(&live, |file| match file.entry.content_type() {
                DataContentType::Data => "data",
                DataContentType::PositionDeletes => "position_deletes",
                DataContentType::EqualityDeletes => "equality_deletes",
            }),
        ),
        ("file_path", false, texts(&live, |file| file.entry.file_path())),
        ("file_format", false, texts(&formats, String::as_str)),
        ("partition", false, texts(&live, |file| &file.partition)),
        ("record_count", true, longs(&live, |file| signed(file.entry.record_count()))),
        ("file_size_in_bytes", true, longs(&live, |file| signed(file.entry.file_size_in_bytes()))),
        ("spec_id", false, ints(&live, |file| file.spec_id)),
        ("sequence_number", true, longs(&live, |file| file.entry.sequence_number())),
        ("snapshot_id", true, longs(&live, |file| file.entry.snapshot_id())),
    ])
}

/// The sums over the files of a partition.
#[derive(Default)]
struct Sums {
    spec_id: i32,
    partition: String,
    rows: u64,
    files: i64,
    bytes: u64,
    delete_files: i64,
    updated_ms: Option<i64>,
    updated_by: Option<i64>,
}

impl Sums {
    fn add(&mut self, file: &Live, added_ms: Option<i64>) {
        match file.entry.content_type() {
            DataContentType::Data => {
                self.rows += file.entry.record_count();
                self.files += 1;
                self.bytes += file.entry.file_size_in_bytes();
            }
            _ => self.delete_files += 1,
        }
        if added_ms >= self.updated_ms {
            self.updated_ms = added_ms;
            self.updated_by = file.entry.snapshot_id();
        }
    }
}

pub(super) async fn partitions(table: &Table) -> Result<RecordBatch> {
    let metadata = table.metadata();
    let mut by_partition: BTreeMap<(String, i32), Sums> = BTreeMap::new();
    for file in live_files(table).await? {
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
        ("delete_file_count", false, longs(&all, |of| Some(of.delete_files))),
        ("last_updated_at", true, moments(all.iter().map(|of| of.updated_ms))),
        ("last_updated_snapshot_id", true, longs(&all, |of| of.updated_by)),
    ])
}

pub(super) async fn manifests(table: &Table) -> Result<RecordBatch> {
    let all = manifest_files(table).await?;
    let count = |count: Option<u32>| count.map(i64::from);
    batch(vec![
        (
            "content",
            false,
            texts(&all, |file| match file.content {
                ManifestContentType::Data => "data",
                ManifestContentType::Deletes => "deletes",
            }),
        ),
        ("path", false, texts(&all, |file| &file.manifest_path)),
        ("length", false, longs(&all, |file| Some(file.manifest_length))),
        ("partition_spec_id", false, ints(&all, |file| file.partition_spec_id)),
        ("added_snapshot_id", false, longs(&all, |file| Some(file.added_snapshot_id))),
        ("added_files_count", true, longs(&all, |file| count(file.added_files_count))),
        ("existing_files_count", true, longs(&all, |file| count(file.existing_files_count))),
        ("deleted_files_count", true, longs(&all, |file| count(file.deleted_files_count))),
    ])
}
