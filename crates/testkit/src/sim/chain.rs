//! The states that a table went through, read from its metadata files without icecore's reader.

use std::collections::{BTreeMap, BTreeSet};

use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use serde_json::Value;

use super::actor::JOB;

/// One state.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    pub(super) location: String,
    pub(super) updated_ms: i64,
    pub(super) last_sequence: i64,
    pub(super) main: Option<i64>,
    pub(super) snapshots: BTreeMap<i64, Snapshot>,
    pub(super) refs: BTreeMap<String, i64>,
    /// Where earlier states are, oldest first.
    pub(super) past: Vec<String>,
}

#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    pub(super) parent: Option<i64>,
    pub(super) sequence: i64,
    pub(super) at_ms: i64,
    pub(super) operation: String,
    pub(super) job: Option<u64>,
    pub(super) attempt: Option<String>,
}

/// The key of a location: `memory://a/b` is `memory/a/b`.
pub(super) fn key(location: &str) -> Path {
    Path::from(location.replacen("://", "/", 1))
}

/// Reads a state.
pub(super) async fn read(store: &dyn ObjectStore, location: &str) -> Result<State, String> {
    let cannot = |error: &dyn std::fmt::Display| format!("cannot read `{location}`: {error}");
    let found = store.get(&key(location)).await.map_err(|error| cannot(&error))?;
    let bytes = found.bytes().await.map_err(|error| cannot(&error))?;
    let value: Value = serde_json::from_slice(&bytes).map_err(|error| cannot(&error))?;
    let number = |field: &str| value[field].as_i64();
    let main = number("current-snapshot-id").filter(|id| *id >= 0);
    let snapshots = list(&value["snapshots"]).map(snapshot).collect::<Option<_>>();
    let refs = value["refs"].as_object().into_iter().flatten();
    Ok(State {
        location: location.to_owned(),
        updated_ms: number("last-updated-ms").ok_or("no time")?,
        last_sequence: number("last-sequence-number").ok_or("no sequence number")?,
        main,
        snapshots: snapshots.ok_or_else(|| cannot(&"a snapshot lacks a field"))?,
        refs: refs
            .filter_map(|(name, of)| Some((name.clone(), of["snapshot-id"].as_i64()?)))
            .collect(),
        past: list(&value["metadata-log"])
            .filter_map(|entry| entry["metadata-file"].as_str().map(str::to_owned))
            .collect(),
    })
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn snapshot(value: &Value) -> Option<(i64, Snapshot)> {
    let summary = &value["summary"];
    let text = |field: &str| summary[field].as_str().map(str::to_owned);
    let snapshot = Snapshot {
        parent: value["parent-snapshot-id"].as_i64(),
        sequence: value["sequence-number"].as_i64()?,
        at_ms: value["timestamp-ms"].as_i64()?,
        operation: text("operation")?,
        job: text(JOB).and_then(|number| number.parse().ok()),
        attempt: text("icecore.attempt-id"),
    };
    Some((value["snapshot-id"].as_i64()?, snapshot))
}

/// What the step from one state to the next must be: one change, on top of the one before.
pub(super) fn check_step(before: &State, after: &State) -> Result<(), String> {
    let wrong = |what: String| Err(format!("`{}`: {what}", after.location));
    if after.past.last() != Some(&before.location) {
        return wrong(format!("its predecessor is not `{}`", before.location));
    }
    if after.updated_ms < before.updated_ms {
        return wrong("its clock ran backwards".to_owned());
    }
    let new: Vec<(&i64, &Snapshot)> =
        after.snapshots.iter().filter(|(id, _)| !before.snapshots.contains_key(id)).collect();
    if new.len() > 1 {
        return wrong(format!("{} snapshots came at once", new.len()));
    }
    for (id, snapshot) in new {
        if snapshot.parent != before.main || after.main != Some(*id) {
            return wrong(format!("snapshot {id} does not follow the head"));
        }
        if snapshot.sequence != before.last_sequence + 1 || after.last_sequence != snapshot.sequence
        {
            return wrong(format!("snapshot {id} has sequence number {}", snapshot.sequence));
        }
        if before.snapshots.values().any(|older| older.at_ms > snapshot.at_ms) {
            return wrong(format!("snapshot {id} is older than one before it"));
        }
    }
    for (name, snapshot) in before.refs.iter().filter(|(name, _)| *name != "main") {
        if after.refs.get(name) != Some(snapshot) {
            return wrong(format!("ref `{name}` moved"));
        }
    }
    let dangling: BTreeSet<&String> = after
        .refs
        .iter()
        .filter(|(_, snapshot)| !after.snapshots.contains_key(snapshot))
        .map(|(name, _)| name)
        .collect();
    if !dangling.is_empty() {
        return wrong(format!("refs {dangling:?} point at nothing"));
    }
    Ok(())
}
