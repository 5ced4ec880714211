//! The branch that a commit goes to.

use iceberg::spec::{MAIN_BRANCH, SnapshotRef, SnapshotReference, SnapshotRetention};
use iceberg::table::Table;
use iceberg::{TableRequirement, TableUpdate};
use icecore_core::{Error, RefName, Result, TableName};

use super::Attempt;
use crate::refs;

/// Where a branch is.
#[derive(Debug)]
pub(crate) struct Tip<'t> {
    /// The snapshot that the next one follows.
    pub(crate) snapshot: Option<&'t SnapshotRef>,
    /// What the branch points at: nothing if it does not exist yet.
    now: Option<i64>,
    name: &'t str,
}

impl<'t> Tip<'t> {
    /// Finds a branch. One that does not exist begins at the head of `main` if it may.
    ///
    /// # Errors
    ///
    /// `NotFound` for an unknown branch.
    pub(crate) fn of(head: &'t Table, branch: &'t RefName, create: bool) -> Result<Self> {
        let tip = Self::at(head, branch.as_str());
        if tip.now.is_none() && branch.as_str() != MAIN_BRANCH && !create {
            let table = head.identifier().to_string();
            let error = match TableName::parse(&table) {
                Ok(name) => refs::unknown(&name, head.metadata(), branch),
                Err(_) => Error::not_found(format!("table `{table}` has no branch `{branch}`")),
            };
            return Err(error.with_help(format!(
                "`icecore table branch {table} {branch}` creates it at the head of `main`"
            )));
        }
        Ok(tip)
    }

    /// Finds a branch. One that does not exist begins at the head of `main`.
    pub(super) fn at(head: &'t Table, name: &'t str) -> Self {
        let metadata = head.metadata();
        let now = metadata.snapshot_for_ref(name);
        let snapshot = now.or_else(|| metadata.current_snapshot());
        Self { snapshot, now: now.map(|now| now.snapshot_id()), name }
    }

    /// That the branch is still where it was.
    pub(super) fn unmoved(&self) -> TableRequirement {
        TableRequirement::RefSnapshotIdMatch { r#ref: self.name.to_owned(), snapshot_id: self.now }
    }

    /// Moves it to this snapshot; how long it keeps its snapshots stays as it is.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a tag.
    pub(super) fn moved(
        &self,
        head: &Table,
        snapshot: i64,
        attempt: &mut Attempt,
    ) -> Result<TableUpdate> {
        let retention = match (self.now, attempt.refs(head)?.get(self.name)) {
            (Some(_), Some(stored)) => stored.retention.clone(),
            _ => SnapshotRetention::branch(None, None, None),
        };
        if let SnapshotRetention::Tag { .. } = retention {
            return Err(is_tag(head, self.name));
        }
        Ok(TableUpdate::SetSnapshotRef {
            ref_name: self.name.to_owned(),
            reference: SnapshotReference::new(snapshot, retention),
        })
    }
}

/// Refuses a tag, before anything is written for it.
///
/// # Errors
///
/// `InvalidInput` for a tag.
pub(crate) fn check_no_tag(head: &Table, name: &RefName) -> Result<()> {
    if name.as_str() == MAIN_BRANCH {
        return Ok(());
    }
    match refs::stored(head.metadata())?.get(name.as_str()) {
        Some(stored) if !stored.is_branch() => Err(is_tag(head, name.as_str())),
        _ => Ok(()),
    }
}

fn is_tag(head: &Table, name: &str) -> Error {
    let table = head.identifier();
    Error::invalid(format!("`{name}` of table `{table}` is a tag, and tags stay where they are"))
        .with_help(format!("commit to a branch: `icecore table branch {table} NAME --at {name}`"))
}
