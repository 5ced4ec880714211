//! What a table's metadata says about itself.

use std::collections::{BTreeMap, HashMap, HashSet};

use iceberg::io::FileIO;
use iceberg::spec::{MAIN_BRANCH, SnapshotRef, TableMetadata};
use icecore_core::{Error, ErrorKind, Result};
use serde_json::Value;

use super::finding::{FindingKind, Findings};
use super::{Subject, in_words};
use crate::commit::ATTEMPT_ID;
use crate::refs::{self, RefKind};

/// Says what is wrong with metadata that could not be understood.
pub(super) async fn unreadable(
    io: &FileIO,
    location: Option<&str>,
    error: &Error,
    findings: &mut Findings,
) -> Result<()> {
    let location = location.unwrap_or("the catalog");
    if error.kind() == ErrorKind::Unsupported {
        findings.add(FindingKind::NotRead, location, in_words(error));
        return Ok(());
    }
    let before = findings.len();
    if let Ok(bytes) = async { io.new_input(location)?.read().await }.await
        && let Ok(json) = serde_json::from_slice::<Value>(&bytes)
    {
        dangling_refs(&json, location, findings);
    }
    if findings.len() == before {
        findings.add(FindingKind::UnreadableMetadata, location, in_words(error));
    }
    Ok(())
}

/// The refs of metadata that name no snapshot of it.
fn dangling_refs(json: &Value, location: &str, findings: &mut Findings) {
    let snapshots = json.get("snapshots").and_then(Value::as_array).into_iter().flatten();
    let known: HashSet<i64> =
        snapshots.filter_map(|snapshot| snapshot.get("snapshot-id")?.as_i64()).collect();
    let refs = json.get("refs").and_then(Value::as_object).into_iter().flatten();
    for (name, target) in refs {
        let Some(id) = target.get("snapshot-id").and_then(Value::as_i64) else { continue };
        if !known.contains(&id) {
            let message = format!("ref `{name}` names snapshot {id}, which is not there");
            findings.add(FindingKind::DanglingRef, location, message);
        }
    }
    let current = json.get("current-snapshot-id").and_then(Value::as_i64);
    if let Some(id) = current.filter(|id| *id >= 0 && !known.contains(id)) {
        let message = format!("the current snapshot {id} is not there");
        findings.add(FindingKind::DanglingRef, location, message);
    }
}

pub(super) fn check(subject: &Subject, findings: &mut Findings) {
    let Subject { metadata, location, .. } = subject;
    let mut check = Check { metadata, location, findings };
    check.snapshots();
    check.attempts();
    check.ids();
    if let Err(error) = check.refs() {
        check.add(FindingKind::UnreadableMetadata, in_words(&error));
    }
}

struct Check<'a> {
    metadata: &'a TableMetadata,
    location: &'a str,
    findings: &'a mut Findings,
}

impl Check<'_> {
    fn add(&mut self, kind: FindingKind, message: impl Into<String>) {
        self.findings.add(kind, self.location, message);
    }

    /// Sequence numbers: one for each snapshot, rising from parent to child.
    fn snapshots(&mut self) {
        let metadata = self.metadata;
        let mut by_number: BTreeMap<i64, Vec<&SnapshotRef>> = BTreeMap::new();
        for snapshot in metadata.snapshots() {
            by_number.entry(snapshot.sequence_number()).or_default().push(snapshot);
        }
        let last = metadata.last_sequence_number();
        for (number, snapshots) in &by_number {
            if let [first, second, ..] = snapshots.as_slice()
                && *number > 0
            {
                let (first, second) = (first.snapshot_id(), second.snapshot_id());
                let message =
                    format!("snapshots {first} and {second} both have sequence number {number}");
                self.add(FindingKind::BadSequenceNumber, message);
            }
            if *number > last {
                let message = format!("a snapshot has sequence number {number}, the table {last}");
                self.add(FindingKind::BadSequenceNumber, message);
            }
        }
        for snapshot in metadata.snapshots() {
            let parent = snapshot.parent_snapshot_id();
            // A parent that is not there was expired.
            let Some(parent) = parent.and_then(|id| metadata.snapshot_by_id(id)) else { continue };
            let (of_child, of_parent) = (snapshot.sequence_number(), parent.sequence_number());
            if of_child <= of_parent && of_child > 0 {
                let message = format!(
                    "snapshot {} has sequence number {of_child}, its parent {of_parent}",
                    snapshot.snapshot_id()
                );
                self.add(FindingKind::BadSequenceNumber, message);
            }
        }
    }

    fn attempts(&mut self) {
        let mut seen: HashMap<&str, i64> = HashMap::new();
        let mut snapshots: Vec<&SnapshotRef> = self.metadata.snapshots().collect();
        snapshots.sort_by_key(|snapshot| snapshot.sequence_number());
        for snapshot in snapshots {
            let id = snapshot.snapshot_id();
            let attempt = snapshot.summary().additional_properties.get(ATTEMPT_ID);
            if let Some(attempt) = attempt
                && let Some(other) = seen.insert(attempt, id)
            {
                let message = format!("snapshots {other} and {id} are both of attempt {attempt}");
                self.add(FindingKind::DuplicateAttempt, message);
            }
        }
    }

    fn ids(&mut self) {
        let metadata = self.metadata;
        for snapshot in metadata.snapshots() {
            let schema = snapshot.schema_id();
            if let Some(schema) = schema.filter(|id| metadata.schema_by_id(*id).is_none()) {
                let message = format!(
                    "snapshot {} has schema {schema}, which the table lacks",
                    snapshot.snapshot_id()
                );
                self.add(FindingKind::UnknownId, message);
            }
        }
    }

    fn refs(&mut self) -> Result<()> {
        let metadata = self.metadata;
        let main = metadata.snapshot_for_ref(MAIN_BRANCH).map(|snapshot| snapshot.snapshot_id());
        if main.is_some() && main != metadata.current_snapshot_id() {
            self.add(FindingKind::DanglingRef, "`main` is not the current snapshot");
        }
        for reference in refs::all(metadata)? {
            let (name, id) = (&reference.name, reference.snapshot.get());
            if metadata.snapshot_by_id(id).is_none() {
                let message = format!("ref `{name}` names snapshot {id}, which is not there");
                self.add(FindingKind::DanglingRef, message);
            }
            let mirrored = metadata.properties().get(&refs::mirror(name, "snapshot_id"));
            if let Some(mirrored) = mirrored.filter(|mirrored| **mirrored != id.to_string())
                && reference.kind == RefKind::Tag
            {
                let message =
                    format!("tag `{name}` is snapshot {id}; its property says {mirrored}");
                self.add(FindingKind::StaleTagProperty, message);
            }
        }
        Ok(())
    }
}
