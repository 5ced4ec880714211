//! Tags and branches.

mod publish;

use std::collections::{BTreeMap, HashMap};

use iceberg::spec::{MAIN_BRANCH, SnapshotReference, SnapshotRetention, TableMetadata};
use iceberg::table::Table;
use iceberg::{TableRequirement, TableUpdate};
use icecore_core::{
    Error, ErrorKind, PinnedTable, RefName, Result, SnapshotId, TableName, Timestamp,
};
use serde::Deserialize;

use crate::commit::Plan;
use crate::error::Context;
use crate::history::ancestors;

pub(crate) use publish::{plan_fast_forward, plan_publish};

/// A tag or branch of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RefInfo {
    /// Its name.
    pub name: RefName,
    /// What it points at.
    pub snapshot: SnapshotId,
    /// Whether commits move it.
    pub kind: RefKind,
    /// How long it is kept, and how many of its snapshots.
    pub retention: Retention,
}

/// How long a ref and its snapshots are kept. What is absent follows from the table's properties
/// `history.expire.*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Retention {
    /// Of a branch: snapshots that are kept however old they are.
    pub min_snapshots_to_keep: Option<i32>,
    /// Of a branch: the age in milliseconds at which other snapshots of it may go.
    pub max_snapshot_age_ms: Option<i64>,
    /// The age of its snapshot, in milliseconds, at which the ref itself may go. `main` stays.
    pub max_ref_age_ms: Option<i64>,
}

impl Retention {
    /// Keeps so many snapshots of a branch however old they are.
    #[must_use]
    pub const fn with_min_snapshots_to_keep(mut self, count: i32) -> Self {
        self.min_snapshots_to_keep = Some(count);
        self
    }

    /// Lets other snapshots of a branch go at this age.
    #[must_use]
    pub const fn with_max_snapshot_age_ms(mut self, millis: i64) -> Self {
        self.max_snapshot_age_ms = Some(millis);
        self
    }

    /// Lets the ref go when its snapshot has this age.
    #[must_use]
    pub const fn with_max_ref_age_ms(mut self, millis: i64) -> Self {
        self.max_ref_age_ms = Some(millis);
        self
    }

    const fn of(stored: &SnapshotRetention) -> Self {
        match *stored {
            SnapshotRetention::Branch {
                min_snapshots_to_keep,
                max_snapshot_age_ms,
                max_ref_age_ms,
            } => Self { min_snapshots_to_keep, max_snapshot_age_ms, max_ref_age_ms },
            SnapshotRetention::Tag { max_ref_age_ms } => {
                Self { min_snapshots_to_keep: None, max_snapshot_age_ms: None, max_ref_age_ms }
            }
        }
    }

    /// As it is stored for a ref of this name and kind.
    fn to_stored(self, name: &RefName, kind: RefKind) -> Result<SnapshotRetention> {
        let numbers = [
            self.min_snapshots_to_keep.map(i64::from),
            self.max_snapshot_age_ms,
            self.max_ref_age_ms,
        ];
        if numbers.into_iter().flatten().any(|number| number <= 0) {
            return Err(Error::invalid(format!("`{name}` cannot be kept for nothing"))
                .with_help("leave the limit out to keep it for ever"));
        }
        if name.as_str() == MAIN_BRANCH && self.max_ref_age_ms.is_some() {
            return Err(Error::invalid("`main` never goes")
                .with_help("limit the age of its snapshots instead"));
        }
        match kind {
            RefKind::Branch => Ok(SnapshotRetention::branch(
                self.min_snapshots_to_keep,
                self.max_snapshot_age_ms,
                self.max_ref_age_ms,
            )),
            RefKind::Tag
                if self.min_snapshots_to_keep.is_some() || self.max_snapshot_age_ms.is_some() =>
            {
                Err(Error::invalid(format!("tag `{name}` has one snapshot"))
                    .with_note("only branches limit the number and the age of their snapshots")
                    .with_help("limit the age of the tag itself"))
            }
            RefKind::Tag => Ok(SnapshotRetention::Tag { max_ref_age_ms: self.max_ref_age_ms }),
        }
    }
}

/// Whether commits move a ref.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefKind {
    /// Commits to it move it.
    Branch,
    /// It stays where it is.
    Tag,
}

/// What happens when a tag of that name points at another snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TagMove {
    /// The tag stays; the call fails with `AlreadyExists`.
    #[default]
    Refuse,
    /// The tag moves.
    Force,
}

/// Which snapshots a rollback may go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RollbackPolicy {
    /// Those that `main` descends from.
    #[default]
    AncestorsOnly,
    /// Any.
    Force,
}

/// Every ref as it is stored.
pub(crate) fn stored(metadata: &TableMetadata) -> Result<BTreeMap<String, SnapshotReference>> {
    // The metadata shows its refs only by name, and in its stored form.
    #[derive(Deserialize)]
    struct Refs {
        #[serde(default)]
        refs: BTreeMap<String, SnapshotReference>,
    }
    let cannot = || "cannot read the table's refs";
    let stored = serde_json::to_value(metadata).context(cannot)?;
    let stored: Refs = serde_json::from_value(stored).context(cannot)?;
    Ok(stored.refs)
}

/// What a ref is, and how long it and its snapshots are kept. That of a branch which does not
/// exist says nothing.
pub(crate) fn retention(metadata: &TableMetadata, name: &str) -> Result<SnapshotRetention> {
    let found = stored(metadata)?.remove(name);
    Ok(found.map_or(SnapshotRetention::branch(None, None, None), |found| found.retention))
}

/// Every ref of a table, in order of name.
pub(crate) fn all(metadata: &TableMetadata) -> Result<Vec<RefInfo>> {
    let refs = stored(metadata)?.into_iter().filter_map(|(name, reference)| {
        // Names that other tools allow and selectors do not are left out.
        let name = RefName::parse(&name).ok()?;
        let kind = if reference.is_branch() { RefKind::Branch } else { RefKind::Tag };
        let retention = Retention::of(&reference.retention);
        Some(RefInfo { name, snapshot: SnapshotId::new(reference.snapshot_id), kind, retention })
    });
    Ok(refs.collect())
}

/// The error for a ref that is not there.
pub(crate) fn unknown(table: &TableName, metadata: &TableMetadata, name: &RefName) -> Error {
    let error = Error::not_found(format!("table `{table}` has no tag or branch `{name}`"));
    match all(metadata) {
        Ok(refs) if refs.is_empty() => error.with_note("it has no tags and no branches"),
        Ok(refs) => {
            let names: Vec<&str> = refs.iter().map(|reference| reference.name.as_str()).collect();
            error
                .with_note(format!("tags and branches: {}", names.join(", ")))
                .with_candidates(name.as_str(), names.iter().copied())
        }
        Err(error) => error,
    }
}

pub(crate) fn find(metadata: &TableMetadata, name: &RefName) -> Result<Option<RefInfo>> {
    Ok(all(metadata)?.into_iter().find(|reference| reference.name == *name))
}

/// The requirement that a ref still points where it did when a change was planned.
pub(crate) fn unmoved(metadata: &TableMetadata, name: &str) -> Vec<TableRequirement> {
    let snapshot_id = metadata.snapshot_for_ref(name).map(|snapshot| snapshot.snapshot_id());
    vec![
        TableRequirement::UuidMatch { uuid: metadata.uuid() },
        TableRequirement::RefSnapshotIdMatch { r#ref: name.to_owned(), snapshot_id },
    ]
}

/// The properties that mirror a tag, for readers who look for tags there.
pub(crate) fn mirror(name: &RefName, field: &str) -> String {
    format!("training-dataset.{name}.{field}")
}

/// All properties that mirror a tag.
pub(crate) fn mirrors(name: &RefName) -> Vec<String> {
    MIRRORED.iter().map(|field| mirror(name, field)).collect()
}

const MIRRORED: [&str; 3] = ["snapshot_id", "created_at", "row_count"];

/// A tag to be set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewTag<'a> {
    pub(crate) pinned: &'a PinnedTable,
    pub(crate) name: &'a RefName,
    pub(crate) moving: TagMove,
    pub(crate) retention: Retention,
    pub(crate) now: Timestamp,
}

impl NewTag<'_> {
    pub(crate) fn plan(&self, head: &Table) -> Result<Plan> {
        let (metadata, name) = (head.metadata(), self.name);
        let retention = self.retention.to_stored(name, RefKind::Tag)?;
        let snapshot = snapshot_to_name(head, self.pinned)?;
        match find(metadata, name)? {
            Some(found) if found.kind == RefKind::Branch => return Err(taken_by_branch(self)),
            Some(found) if found.snapshot == self.pinned.snapshot => return Ok(Plan::Nothing),
            Some(found) if self.moving == TagMove::Refuse => {
                return Err(Error::new(
                    ErrorKind::AlreadyExists,
                    format!("tag `{name}` of table `{}` is already set", self.pinned.table),
                )
                .with_note(format!("it points at snapshot `{}`", found.snapshot))
                .with_help("choose another name; `--force` moves the tag"));
            }
            Some(_) | None => {}
        }
        let id = self.pinned.snapshot.get();
        let mut properties = HashMap::from([
            (mirror(name, "snapshot_id"), id.to_string()),
            (mirror(name, "created_at"), self.now.to_string()),
        ]);
        if let Some(rows) = snapshot.summary().additional_properties.get("total-records") {
            properties.insert(mirror(name, "row_count"), rows.clone());
        }
        Ok(Plan::Apply {
            requirements: unmoved(metadata, name.as_str()),
            updates: vec![
                TableUpdate::SetSnapshotRef {
                    ref_name: name.to_string(),
                    reference: SnapshotReference::new(id, retention),
                },
                TableUpdate::SetProperties { updates: properties },
            ],
        })
    }
}

fn taken_by_branch(tag: &NewTag<'_>) -> Error {
    Error::new(
        ErrorKind::AlreadyExists,
        format!("`{}` is a branch of table `{}`", tag.name, tag.pinned.table),
    )
    .with_help("choose another name for the tag")
}

/// The snapshot that a ref may point at.
fn snapshot_to_name<'t>(
    head: &'t Table,
    pinned: &PinnedTable,
) -> Result<&'t iceberg::spec::SnapshotRef> {
    if pinned.snapshot == PinnedTable::EMPTY {
        return Err(Error::invalid(format!(
            "table `{}` has no snapshot yet that a tag or branch could point at",
            pinned.table
        ))
        .with_help("commit rows first"));
    }
    let metadata = head.metadata();
    metadata
        .snapshot_by_id(pinned.snapshot.get())
        .filter(|_| metadata.uuid().to_string() == pinned.uuid)
        .ok_or_else(|| Error::not_found(format!("there is no `{pinned}` any more")))
}

/// Sets a branch that does not exist.
pub(crate) fn plan_branch(
    head: &Table,
    pinned: &PinnedTable,
    name: &RefName,
    retention: Retention,
) -> Result<Plan> {
    let metadata = head.metadata();
    snapshot_to_name(head, pinned)?;
    match find(metadata, name)? {
        Some(found) if found.kind == RefKind::Branch && found.snapshot == pinned.snapshot => {
            return Ok(Plan::Nothing);
        }
        Some(found) => {
            return Err(Error::new(
                ErrorKind::AlreadyExists,
                format!("`{name}` of table `{}` is already set", pinned.table),
            )
            .with_note(format!("it points at snapshot `{}`", found.snapshot))
            .with_help("choose another name"));
        }
        None => {}
    }
    let retention = retention.to_stored(name, RefKind::Branch)?;
    Ok(Plan::Apply {
        requirements: unmoved(metadata, name.as_str()),
        updates: vec![point(name.as_str(), pinned.snapshot.get(), retention)],
    })
}

/// Says how long a ref and its snapshots are kept.
pub(crate) fn plan_retention(
    head: &Table,
    table: &TableName,
    name: &RefName,
    retention: Retention,
) -> Result<Plan> {
    let metadata = head.metadata();
    let Some(found) = find(metadata, name)? else {
        return Err(unknown(table, metadata, name));
    };
    if found.retention == retention {
        return Ok(Plan::Nothing);
    }
    let stored = retention.to_stored(name, found.kind)?;
    Ok(Plan::Apply {
        requirements: unmoved(metadata, name.as_str()),
        updates: vec![point(name.as_str(), found.snapshot.get(), stored)],
    })
}

pub(crate) fn point(name: &str, snapshot: i64, retention: SnapshotRetention) -> TableUpdate {
    TableUpdate::SetSnapshotRef {
        ref_name: name.to_owned(),
        reference: SnapshotReference::new(snapshot, retention),
    }
}

/// Removes a tag or branch.
pub(crate) fn plan_drop(head: &Table, table: &TableName, name: &RefName) -> Result<Plan> {
    let metadata = head.metadata();
    if name.as_str() == MAIN_BRANCH {
        return Err(Error::invalid(format!("`main` of table `{table}` cannot be dropped"))
            .with_help(format!("`icecore table rollback {table} --to SEL` moves it")));
    }
    let Some(found) = find(metadata, name)? else {
        return Err(unknown(table, metadata, name));
    };
    let mut updates = vec![TableUpdate::RemoveSnapshotRef { ref_name: name.to_string() }];
    if found.kind == RefKind::Tag {
        updates.push(TableUpdate::RemoveProperties { removals: mirrors(name) });
    }
    Ok(Plan::Apply { requirements: unmoved(metadata, name.as_str()), updates })
}

/// Points a branch at an older snapshot.
pub(crate) fn plan_rollback(
    head: &Table,
    (table, branch): (&TableName, &RefName),
    to: SnapshotId,
    policy: RollbackPolicy,
) -> Result<Plan> {
    let (metadata, name) = (head.metadata(), branch.as_str());
    if name != MAIN_BRANCH && find(metadata, branch)?.is_none() {
        return Err(unknown(table, metadata, branch));
    }
    crate::commit::check_no_tag(head, branch)?;
    let current = metadata.snapshot_for_ref(name).map(|snapshot| snapshot.snapshot_id());
    if current == Some(to.get()) {
        return Ok(Plan::Nothing);
    }
    let is_ancestor =
        ancestors(metadata, current).any(|snapshot| snapshot.snapshot_id() == to.get());
    if !is_ancestor && policy == RollbackPolicy::AncestorsOnly {
        return Err(Error::invalid(format!(
            "snapshot `{to}` is not part of the history of `{branch}` of table `{table}`"
        ))
        .with_note(format!("`{branch}` does not descend from it, so going there is no way back"))
        .with_help("`--force` goes there all the same"));
    }
    Ok(Plan::Apply {
        requirements: unmoved(metadata, name),
        // How long its snapshots are kept does not change.
        updates: vec![point(name, to.get(), retention(metadata, name)?)],
    })
}
