//! Files and manifests of a snapshot as tables.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Int32Array, Int32Builder, Int64Array, ListBuilder, RecordBatch, StringArray,
};
use futures::{StreamExt, TryStreamExt, stream};
use iceberg::spec::{
    DataContentType, ManifestContentType, ManifestEntryRef, ManifestFile, ManifestStatus,
    SnapshotRef,
};
use iceberg::table::Table;
use icecore_core::{Error, Result};

use super::batch;
use crate::commit::RowIds;
use crate::described::partition_in_words;
use crate::storage;

/// Manifests that are read at once.
const MANIFESTS_AT_ONCE: usize = 8;

/// A file that a manifest names.
pub(super) struct Named {
    pub(super) spec_id: i32,
    /// `field=value/field=value`, as in a path; empty without partitions.
    pub(super) partition: String,
    pub(super) entry: ManifestEntryRef,
    first_row_id: Option<u64>,
}

async fn manifest_files(
    table: &Table,
    snapshot: Option<&SnapshotRef>,
) -> Result<Vec<ManifestFile>> {
    let Some(snapshot) = snapshot else { return Ok(Vec::new()) };
    storage::load_list(table, snapshot).await
}

/// What the manifests of a snapshot name, in order of path.
async fn named_files(table: &Table, snapshot: Option<&SnapshotRef>) -> Result<Vec<Named>> {
    let metadata = table.metadata();
    let mut manifests = stream::iter(manifest_files(table, snapshot).await?)
        .map(async |file| {
            let manifest = storage::load_manifest(table, &file).await?;
            Ok::<_, Error>((file, manifest))
        })
        .buffered(MANIFESTS_AT_ONCE);
    let mut named = Vec::new();
    while let Some((file, manifest)) = manifests.try_next().await? {
        let spec_id = file.partition_spec_id;
        let mut row_ids = RowIds::of(&file);
        let spec = manifest.metadata().partition_spec();
        let (entries, of) = (manifest.entries(), manifest.metadata().schema());
        for entry in entries {
            // Its words need the columns that the spec was made over: those of the manifest.
            let partition = match metadata.partition_spec_by_id(spec_id) {
                Some(_) => partition_in_words(spec, of, entry.data_file().partition()),
                None => None,
            };
            let partition = partition.unwrap_or_default();
            let is_data = entry.is_alive() && entry.content_type() == DataContentType::Data;
            let first_row_id = match is_data {
                true => row_ids.first_of(entry.data_file()),
                false => None,
            };
            named.push(Named { spec_id, partition, entry: entry.clone(), first_row_id });
        }
    }
    named.sort_by(|a, b| a.entry.file_path().cmp(b.entry.file_path()));
    Ok(named)
}

/// The live files of a snapshot, in order of path.
pub(super) async fn live_files(
    table: &Table,
    snapshot: Option<&SnapshotRef>,
) -> Result<Vec<Named>> {
    let mut named = named_files(table, snapshot).await?;
    named.retain(|file| file.entry.is_alive());
    Ok(named)
}

pub(super) fn longs<T>(items: &[T], value: impl Fn(&T) -> Option<i64>) -> ArrayRef {
    Arc::new(items.iter().map(value).collect::<Int64Array>())
}

pub(super) fn ints<T>(items: &[T], value: impl Fn(&T) -> i32) -> ArrayRef {
    Arc::new(items.iter().map(|item| Some(value(item))).collect::<Int32Array>())
}

pub(super) fn texts<'i, T>(items: &'i [T], value: impl Fn(&'i T) -> &'i str) -> ArrayRef {
    Arc::new(items.iter().map(|item| Some(value(item))).collect::<StringArray>())
}

/// Counts fit: no table has 2^63 rows or bytes.
pub(super) fn signed(count: u64) -> Option<i64> {
    i64::try_from(count).ok()
}

pub(super) async fn files(
    table: &Table,
    snapshot: Option<&SnapshotRef>,
    wanted: fn(DataContentType) -> bool,
) -> Result<RecordBatch> {
    let mut live = live_files(table, snapshot).await?;
    live.retain(|file| wanted(file.entry.content_type()));
    batch(described(&live))
}

pub(super) async fn entries(table: &Table, snapshot: Option<&SnapshotRef>) -> Result<RecordBatch> {
    let named = named_files(table, snapshot).await?;
    let mut columns = vec![
        (
            "status",
            false,
            texts(&named, |file| match file.entry.status() {
                ManifestStatus::Existing => "existing",
                ManifestStatus::Added => "added",
                ManifestStatus::Deleted => "deleted",
            }),
        ),
        ("snapshot_id", true, longs(&named, |file| file.entry.snapshot_id())),
        ("sequence_number", true, longs(&named, |file| file.entry.sequence_number())),
        ("file_sequence_number", true, longs(&named, |file| file.entry.file_sequence_number)),
    ];
    let of_file = described(&named).into_iter();
    columns
        .extend(of_file.filter(|(name, ..)| !matches!(*name, "snapshot_id" | "sequence_number")));
    batch(columns)
}

/// What is known of files, column by column.
fn described(files: &[Named]) -> Vec<(&'static str, bool, ArrayRef)> {
    let formats: Vec<String> =
        files.iter().map(|file| file.entry.file_format().to_string().to_uppercase()).collect();
    let mut keys = ListBuilder::new(Int32Builder::new());
    for file in files {
        let ids = file.entry.data_file().equality_ids();
        keys.append_option(ids.map(|ids| ids.into_iter().map(Some).collect::<Vec<_>>()));
    }
    let referenced = files.iter().map(|file| file.entry.data_file().referenced_data_file());
    let orders = files.iter().map(|file| file.entry.data_file().sort_order_id());
    vec![
        (
            "content",
            false,
            texts(files, |file| match file.entry.content_type() {
                DataContentType::Data => "data",
                DataContentType::PositionDeletes => "position_deletes",
                DataContentType::EqualityDeletes => "equality_deletes",
            }),
        ),
        ("file_path", false, texts(files, |file| file.entry.file_path())),
        ("file_format", false, texts(&formats, String::as_str)),
        ("partition", false, texts(files, |file| &file.partition)),
        ("record_count", true, longs(files, |file| signed(file.entry.record_count()))),
        ("file_size_in_bytes", true, longs(files, |file| signed(file.entry.file_size_in_bytes()))),
        ("spec_id", false, ints(files, |file| file.spec_id)),
        ("sequence_number", true, longs(files, |file| file.entry.sequence_number())),
        ("snapshot_id", true, longs(files, |file| file.entry.snapshot_id())),
        ("sort_order_id", true, Arc::new(orders.collect::<Int32Array>())),
        ("equality_ids", true, Arc::new(keys.finish())),
        ("referenced_data_file", true, Arc::new(referenced.collect::<StringArray>())),
        ("first_row_id", true, longs(files, |file| file.first_row_id.and_then(signed))),
    ]
}

pub(super) async fn manifests(
    table: &Table,
    snapshot: Option<&SnapshotRef>,
) -> Result<RecordBatch> {
    let all = manifest_files(table, snapshot).await?;
    let count = |count: Option<u32>| count.map(i64::from);
    let rows = |count: Option<u64>| count.and_then(signed);
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
        ("added_rows_count", true, longs(&all, |file| rows(file.added_rows_count))),
        ("existing_rows_count", true, longs(&all, |file| rows(file.existing_rows_count))),
        ("deleted_rows_count", true, longs(&all, |file| rows(file.deleted_rows_count))),
        ("sequence_number", false, longs(&all, |file| Some(file.sequence_number))),
    ])
}
