//! Snapshots, history and refs as tables.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray};
use iceberg::table::Table;
use icecore_core::Result;

use super::{batch, moments};
use crate::error::Context;
use crate::refs::{RefKind, Retention};
use crate::{history as past, refs as named};

pub(super) fn snapshots(table: &Table) -> Result<RecordBatch> {
    let log = past::log(table.metadata())?;
    let mut summaries = Vec::with_capacity(log.len());
    for snapshot in &log {
        let json = serde_json::to_string(&snapshot.summary).context(|| "cannot write a summary")?;
        summaries.push(json);
    }
    let added: Int64Array =
        log.iter().map(|snapshot| Some(snapshot.count("added-records"))).collect();
    let removed: Int64Array = log.iter().map(|snapshot| Some(snapshot.removed_rows())).collect();
    let ids: Int64Array = log.iter().map(|snapshot| Some(snapshot.id.get())).collect();
    let parents: Int64Array =
        log.iter().map(|snapshot| snapshot.parent.map(|id| id.get())).collect();
    let sequence: Int64Array = log.iter().map(|snapshot| Some(snapshot.sequence_number)).collect();
    let operations: StringArray =
        log.iter().map(|snapshot| Some(snapshot.operation.as_str())).collect();
    let metadata = table.metadata();
    let lists: StringArray = log
        .iter()
        .map(|snapshot| {
            metadata.snapshot_by_id(snapshot.id.get()).map(|found| found.manifest_list())
        })
        .collect();
    batch(vec![
        ("snapshot_id", false, Arc::new(ids)),
        ("parent_id", true, Arc::new(parents)),
        ("sequence_number", false, Arc::new(sequence)),
        (
            "committed_at",
            false,
            moments(log.iter().map(|snapshot| Some(snapshot.committed_at.millis()))),
        ),
        ("operation", false, Arc::new(operations)),
        ("added_rows", false, Arc::new(added)),
        ("removed_rows", false, Arc::new(removed)),
        ("summary", false, Arc::new(StringArray::from(summaries))),
        ("manifest_list", true, Arc::new(lists)),
    ])
}

pub(super) fn history(table: &Table) -> Result<RecordBatch> {
    let metadata = table.metadata();
    let log = metadata.history();
    let ancestors: BTreeSet<i64> = past::ancestors(metadata, metadata.current_snapshot_id())
        .map(|snapshot| snapshot.snapshot_id())
        .collect();
    let ids: Int64Array = log.iter().map(|entry| Some(entry.snapshot_id)).collect();
    let parents: Int64Array = log
        .iter()
        .map(|entry| metadata.snapshot_by_id(entry.snapshot_id)?.parent_snapshot_id())
        .collect();
    let current: BooleanArray =
        log.iter().map(|entry| Some(ancestors.contains(&entry.snapshot_id))).collect();
    batch(vec![
        ("made_current_at", false, moments(log.iter().map(|entry| Some(entry.timestamp_ms())))),
        ("snapshot_id", false, Arc::new(ids)),
        ("parent_id", true, Arc::new(parents)),
        ("is_current_ancestor", false, Arc::new(current)),
    ])
}

pub(super) fn refs(table: &Table) -> Result<RecordBatch> {
    let refs = named::all(table.metadata())?;
    let names: StringArray = refs.iter().map(|found| Some(found.name.as_str())).collect();
    let kinds: StringArray = refs
        .iter()
        .map(|found| match found.kind {
            RefKind::Branch => Some("BRANCH"),
            RefKind::Tag => Some("TAG"),
        })
        .collect();
    let ids: Int64Array = refs.iter().map(|found| Some(found.snapshot.get())).collect();
    let keep: Int32Array = refs.iter().map(|found| found.retention.min_snapshots_to_keep).collect();
    let ages = |of: fn(&Retention) -> Option<i64>| -> Int64Array {
        refs.iter().map(|found| of(&found.retention)).collect()
    };
    // Named as Iceberg's Java library names them.
    batch(vec![
        ("name", false, Arc::new(names)),
        ("type", false, Arc::new(kinds)),
        ("snapshot_id", false, Arc::new(ids)),
        ("max_reference_age_in_ms", true, Arc::new(ages(|kept| kept.max_ref_age_ms))),
        ("min_snapshots_to_keep", true, Arc::new(keep)),
        ("max_snapshot_age_in_ms", true, Arc::new(ages(|kept| kept.max_snapshot_age_ms))),
    ])
}
