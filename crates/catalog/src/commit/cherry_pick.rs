//! Doing again on a branch what a snapshot elsewhere did.

use std::collections::{BTreeMap, HashSet};

use async_trait::async_trait;
use iceberg::TableRequirement;
use iceberg::spec::{ManifestContentType, ManifestStatus, Operation, SnapshotRef, TableMetadata};
use iceberg::table::Table;
use icecore_core::{Error, ErrorKind, RefName, Result, SnapshotId};

use super::branch::Tip;
use super::delta::{AddedFiles, Delta, FileSet, Removal};
use super::manifests::{load, spec_of};
use super::{ATTEMPT_ID, Attempt, Change, Plan, snapshot};
use crate::history::ancestors;
use crate::storage::load_list;

/// The summary field that names the snapshot whose rows were taken over.
const SOURCE: &str = "source-snapshot-id";
/// The summary fields by which writers outside of icecore name what they write, audit and publish.
const STAGED_ID: &str = "wap.id";
const PUBLISHED_ID: &str = "published-wap-id";

/// Adds to a branch the rows that a snapshot appended elsewhere.
#[derive(Debug)]
pub(crate) struct CherryPick<'a> {
    pub(crate) snapshot: SnapshotId,
    /// The uuid of the table that it is a snapshot of.
    pub(crate) uuid: String,
    pub(crate) branch: &'a RefName,
}

/// Whether a snapshot was made from where a branch is, and so can become its head as it is.
fn follows(picked: &SnapshotRef, tip: &Tip<'_>) -> bool {
    picked.parent_snapshot_id() == tip.snapshot.map(|head| head.snapshot_id())
}

impl CherryPick<'_> {
    /// Fails if the rows of the snapshot cannot be taken over; returns how many there are.
    pub(crate) fn check(&self, head: &Table) -> Result<u64> {
        let metadata = head.metadata();
        let picked = self.picked(metadata)?;
        let tip = Tip::of(head, self.branch, false)?;
        self.check_new(metadata, picked, &tip)?;
        let operation = &picked.summary().operation;
        if *operation != Operation::Append && !follows(picked, &tip) {
            return Err(Error::unsupported(format!(
                "snapshot `{}` is of kind {}, and only appends can be done again elsewhere",
                self.snapshot,
                operation.as_str()
            ))
            .with_note(format!("`{}` is not the snapshot that it was made from", self.branch))
            .with_help("do the change again on the branch"));
        }
        Ok(super::counts(&picked.summary().additional_properties).0)
    }

    fn picked<'m>(&self, metadata: &'m TableMetadata) -> Result<&'m SnapshotRef> {
        metadata
            .snapshot_by_id(self.snapshot.get())
            .filter(|_| metadata.uuid().to_string() == self.uuid)
            .ok_or_else(|| {
                Error::not_found(format!("there is no snapshot `{}` any more", self.snapshot))
            })
    }

    /// Refuses a snapshot whose rows the branch has.
    fn check_new(
        &self,
        metadata: &TableMetadata,
        picked: &SnapshotRef,
        tip: &Tip<'_>,
    ) -> Result<()> {
        let field = |snapshot: &SnapshotRef, name: &str| {
            snapshot.summary().additional_properties.get(name).cloned()
        };
        let (id, staged) = (picked.snapshot_id(), field(picked, STAGED_ID));
        let has = |snapshot: &&SnapshotRef| {
            let took = |name| field(snapshot, name);
            snapshot.snapshot_id() == id
                || took(SOURCE).is_some_and(|source| source == id.to_string())
                || staged.is_some() && [took(STAGED_ID), took(PUBLISHED_ID)].contains(&staged)
        };
        let head = tip.snapshot.map(|head| head.snapshot_id());
        let Some(found) = ancestors(metadata, head).find(has) else { return Ok(()) };
        Err(Error::new(
            ErrorKind::AlreadyExists,
            format!("`{}` has the rows of snapshot `{id}` already", self.branch),
        )
        .with_note(format!("they came with snapshot `{}`", found.snapshot_id())))
    }

    /// The fields that say where the rows came from, and what piece of work made them.
    fn fields(&self, picked: &SnapshotRef) -> BTreeMap<String, String> {
        let stored = &picked.summary().additional_properties;
        let ours = stored
            .iter()
            .filter(|(name, _)| name.starts_with("icecore.") && name.as_str() != ATTEMPT_ID);
        let mut fields: BTreeMap<String, String> =
            ours.map(|(name, value)| (name.clone(), value.clone())).collect();
        fields.insert(SOURCE.to_owned(), self.snapshot.to_string());
        if let Some(staged) = stored.get(STAGED_ID) {
            fields.insert(PUBLISHED_ID.to_owned(), staged.clone());
        }
        fields
    }
}

#[async_trait]
impl Change for CherryPick<'_> {
    async fn plan(&self, head: &Table, attempt: &mut Attempt) -> Result<Plan> {
        let metadata = head.metadata();
        let picked = self.picked(metadata)?;
        let tip = Tip::of(head, self.branch, false)?;
        self.check(head)?;
        if follows(picked, &tip) {
            let requirements =
                vec![TableRequirement::UuidMatch { uuid: metadata.uuid() }, tip.unmoved()];
            let updates = vec![tip.moved(head, picked.snapshot_id(), attempt)?];
            return Ok(Plan::Apply { requirements, updates });
        }
        let added = added_by(head, picked).await?;
        // The snapshot that took them over may be expired by now.
        if let Some(path) = alive_in(head, &tip, &added).await? {
            return Err(Error::new(
                ErrorKind::AlreadyExists,
                format!("`{}` has the rows of snapshot `{}` already", self.branch, self.snapshot),
            )
            .with_note(format!("`{path}` is one of its files")));
        }
        let fields = self.fields(picked);
        let delta = Delta {
            branch: self.branch.as_str(),
            operation: Operation::Append,
            added: &added,
            removed: Removal::Nothing,
            keeps_after: None,
            fields: &fields,
        };
        snapshot::plan(head, delta, attempt).await
    }

    fn is_repeatable(&self) -> bool {
        false
    }
}

/// One of these files that a branch has.
async fn alive_in(head: &Table, tip: &Tip<'_>, added: &[AddedFiles]) -> Result<Option<String>> {
    let Some(snapshot) = tip.snapshot else { return Ok(None) };
    let wanted = FileSet::of(added.iter().flat_map(|added| &added.files));
    let specs: HashSet<i32> = added.iter().map(|added| added.spec.spec_id()).collect();
    let list = load_list(head, snapshot).await?;
    for file in &list {
        if file.content != ManifestContentType::Data || !specs.contains(&file.partition_spec_id) {
            continue;
        }
        let manifest = load(head, file).await?;
        let mut live = manifest.entries().iter().filter(|entry| entry.is_alive());
        if let Some(found) = live.find(|entry| wanted.contains(entry.data_file())) {
            return Ok(Some(found.file_path().to_owned()));
        }
    }
    Ok(None)
}

/// The files that a snapshot added.
async fn added_by(head: &Table, snapshot: &SnapshotRef) -> Result<Vec<AddedFiles>> {
    let id = snapshot.snapshot_id();
    let list = load_list(head, snapshot).await?;
    let mut added = Vec::new();
    for file in &list {
        if file.added_snapshot_id != id || file.content != ManifestContentType::Data {
            continue;
        }
        let manifest = load(head, file).await?;
        let new = manifest.entries().iter().filter(|entry| {
            entry.status() == ManifestStatus::Added && entry.snapshot_id() == Some(id)
        });
        added.push(AddedFiles {
            content: file.content,
            schema: manifest.metadata().schema().clone(),
            spec: spec_of(head.metadata(), file)?.clone(),
            sequence: None,
            files: new.map(|entry| entry.data_file().clone()).collect(),
        });
    }
    Ok(added)
}
