//! Snapshots, and which of them a selector means.

use std::collections::{BTreeMap, BTreeSet};

use iceberg::spec::{SnapshotRef, TableMetadata};
use iceberg::table::Table;
use icecore_core::{
    Error, PinnedTable, RefName, Result, SnapshotId, SnapshotInfo, SnapshotSelector, TableName,
    Timestamp,
};

use crate::refs;
use crate::storage;

/// A snapshot and the ones it was made from, newest first.
pub(crate) fn ancestors(
    metadata: &TableMetadata,
    from: Option<i64>,
) -> impl Iterator<Item = &SnapshotRef> {
    let start = from.and_then(|id| metadata.snapshot_by_id(id));
    std::iter::successors(start, |snapshot| {
        snapshot.parent_snapshot_id().and_then(|parent| metadata.snapshot_by_id(parent))
    })
    // Damaged metadata could name a snapshot as its own ancestor.
    .take(metadata.snapshots().len())
}

/// Answers which snapshot a selector means in this state of a table.
pub(crate) async fn select(
    name: &TableName,
    table: &Table,
    selector: &SnapshotSelector,
) -> Result<PinnedTable> {
    let metadata = table.metadata();
    let snapshot = match selector {
        SnapshotSelector::Latest => {
            metadata.current_snapshot_id().map_or(PinnedTable::EMPTY, SnapshotId::new)
        }
        SnapshotSelector::Id(id) if metadata.snapshot_by_id(id.get()).is_some() => *id,
        // What a table pins to before its first commit may be pinned again.
        SnapshotSelector::Id(PinnedTable::EMPTY) if metadata.snapshots().len() == 0 => {
            PinnedTable::EMPTY
        }
        SnapshotSelector::Id(id) => return Err(missing(name, table, *id).await),
        SnapshotSelector::AsOf(moment) => {
            as_of(name, metadata, metadata.current_snapshot_id(), *moment)?
        }
        SnapshotSelector::RefAsOf(reference, moment) => {
            match metadata.snapshot_for_ref(reference.as_str()) {
                Some(tip) => as_of(name, metadata, Some(tip.snapshot_id()), *moment)?,
                None => return Err(refs::unknown(name, metadata, reference)),
            }
        }
        SnapshotSelector::Ref(reference) => match metadata.snapshot_for_ref(reference.as_str()) {
            Some(snapshot) => SnapshotId::new(snapshot.snapshot_id()),
            None if *reference == RefName::main() => PinnedTable::EMPTY,
            None => return Err(refs::unknown(name, metadata, reference)),
        },
    };
    Ok(PinnedTable { table: name.clone(), uuid: metadata.uuid().to_string(), snapshot })
}

/// What a ref points at now: the head of `main` for one that is not there.
pub(crate) fn at_ref(name: &TableName, table: &Table, reference: &RefName) -> PinnedTable {
    let metadata = table.metadata();
    let tip = metadata.snapshot_for_ref(reference.as_str());
    let tip = tip.or_else(|| metadata.current_snapshot());
    let snapshot = tip.map_or(PinnedTable::EMPTY, |tip| SnapshotId::new(tip.snapshot_id()));
    PinnedTable { table: name.clone(), uuid: metadata.uuid().to_string(), snapshot }
}

fn as_of(
    name: &TableName,
    metadata: &TableMetadata,
    tip: Option<i64>,
    moment: Timestamp,
) -> Result<SnapshotId> {
    let mut oldest: Option<&SnapshotRef> = None;
    for snapshot in ancestors(metadata, tip) {
        if snapshot.timestamp_ms() <= moment.millis() {
            return Ok(SnapshotId::new(snapshot.snapshot_id()));
        }
        oldest = Some(snapshot);
    }
    let error = Error::not_found(format!("table `{name}` has no snapshot at or before {moment}"));
    Err(match oldest {
        None => error.with_note("nothing was committed to it yet"),
        Some(first) => {
            let (id, at) = (first.snapshot_id(), committed_at(first));
            let error = match first.parent_snapshot_id() {
                None => error.with_note(format!("its first snapshot, {id}, was committed at {at}")),
                Some(_) => error
                    .with_note(format!(
                        "its first snapshot that is left, {id}, was committed at {at}"
                    ))
                    .with_note("older snapshots were expired"),
            };
            error.with_help(format!("ask for {at} or later"))
        }
    })
}

/// The snapshot that a pin names, or `None` for the state before the first one.
///
/// # Errors
///
/// `NotFound` if the table was created anew since, or the snapshot was expired.
pub(crate) async fn pinned<'t>(
    pin: &PinnedTable,
    table: &'t Table,
) -> Result<Option<&'t SnapshotRef>> {
    check_uuid(pin, table)?;
    if pin.snapshot == PinnedTable::EMPTY {
        return Ok(None);
    }
    match table.metadata().snapshot_by_id(pin.snapshot.get()) {
        Some(snapshot) => Ok(Some(snapshot)),
        None => Err(missing(&pin.table, table, pin.snapshot).await),
    }
}

fn check_uuid(pin: &PinnedTable, table: &Table) -> Result<()> {
    let uuid = table.metadata().uuid().to_string();
    if pin.uuid == uuid {
        return Ok(());
    }
    let name = &pin.table;
    Err(Error::not_found(format!("the table that `{pin}` pins is gone"))
        .with_note(format!(
            "`{name}` was dropped and created again: the pin is of table {}, now there is {uuid}",
            pin.uuid
        ))
        .with_help(format!("pin `{name}` anew, or register the old table's metadata again")))
}

/// Why a snapshot is not there: it was expired, or never was.
async fn missing(name: &TableName, table: &Table, id: SnapshotId) -> Error {
    let log = format!("`icecore table log {name}` shows the snapshots that are left");
    match expiry(table, id.get()).await {
        Some(Expiry::At(moment)) => {
            Error::not_found(format!("snapshot `{id}` of table `{name}` was expired at {moment}"))
                .with_note("a tag keeps its snapshot from being expired")
                .with_help(log)
        }
        Some(Expiry::Unknown) => {
            Error::not_found(format!("snapshot `{id}` of table `{name}` was expired"))
                .with_note("a tag keeps its snapshot from being expired")
                .with_help(log)
        }
        None => {
            let error = Error::not_found(format!("table `{name}` has no snapshot `{id}`"));
            let ids: Vec<String> =
                table.metadata().snapshots().map(|s| s.snapshot_id().to_string()).collect();
            match icecore_core::nearest(&id.to_string(), ids.iter().map(String::as_str)) {
                Some(near) => error.with_note(log).with_help(format!("did you mean `{near}`?")),
                None => error.with_help(log),
            }
        }
    }
}

enum Expiry {
    At(Timestamp),
    Unknown,
}

/// Looks for a snapshot in the table's past metadata.
async fn expiry(table: &Table, id: i64) -> Option<Expiry> {
    let metadata = table.metadata();
    let mut without_since = metadata.last_updated_ms();
    for entry in metadata.metadata_log().iter().rev() {
        match storage::read_metadata(table.file_io(), &entry.metadata_file).await {
            Ok(past) if past.snapshot_by_id(id).is_some() => {
                return Some(Expiry::At(Timestamp::from_millis(without_since)));
            }
            Ok(_) => without_since = entry.timestamp_ms,
            // Past metadata is deleted at some time; then the past ends here.
            Err(_) => break,
        }
    }
    let was_a_parent = metadata.snapshots().any(|s| s.parent_snapshot_id() == Some(id));
    was_a_parent.then_some(Expiry::Unknown)
}

/// Every snapshot, oldest first.
pub(crate) fn log(metadata: &TableMetadata) -> Result<Vec<SnapshotInfo>> {
    let main: BTreeSet<i64> = ancestors(metadata, metadata.current_snapshot_id())
        .map(|snapshot| snapshot.snapshot_id())
        .collect();
    let mut refs_of: BTreeMap<i64, Vec<RefName>> = BTreeMap::new();
    for reference in refs::all(metadata)? {
        refs_of.entry(reference.snapshot.get()).or_default().push(reference.name);
    }
    let mut snapshots: Vec<SnapshotInfo> = metadata
        .snapshots()
        .map(|snapshot| {
            let id = snapshot.snapshot_id();
            SnapshotInfo {
                id: SnapshotId::new(id),
                parent: snapshot.parent_snapshot_id().map(SnapshotId::new),
                sequence_number: snapshot.sequence_number(),
                committed_at: committed_at(snapshot),
                operation: snapshot.summary().operation.as_str().to_owned(),
                summary: snapshot.summary().additional_properties.clone().into_iter().collect(),
                refs: refs_of.remove(&id).unwrap_or_default(),
                on_main: main.contains(&id),
            }
        })
        .collect();
    snapshots.sort_by_key(|snapshot| (snapshot.sequence_number, snapshot.committed_at));
    Ok(snapshots)
}

/// When a snapshot was committed.
pub(crate) fn committed_at(snapshot: &SnapshotRef) -> Timestamp {
    Timestamp::from_millis(snapshot.timestamp_ms())
}
