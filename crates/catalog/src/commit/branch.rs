//! The branch that a commit goes to.

use iceberg::spec::{MAIN_BRANCH, SnapshotRef, SnapshotReference, SnapshotRetention};
use iceberg::table::Table;
use iceberg::{TableRequirement, TableUpdate};
use icecore_core::{Error, RefName, Result, TableName};

use crate::refs;

/// Where a branch is.
#[derive(Debug)]
pub(crate) struct Tip<'t> {
    /// The snapshot that the next one follows.
    pub(crate) snapshot: Option<&'t SnapshotRef>,
    /// What the branch points at: nothing if it does not exist yet.
    now: Option<i64>,
    retention: SnapshotRetention,
    name: &'t str,
}

impl<'t> Tip<'t> {
    /// Finds a branch. One that does not exist begins at the head of `main` if it may.
    ///
    /// # Errors
    ///
    /// `NotFound` for an unknown branch, `InvalidInput` for a tag.
    pub(crate) fn of(head: &'t Table, branch: &'t RefName, create: bool) -> Result<Self> {
        let tip = Self::at(head, branch.as_str())?;
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
    pub(super) fn at(head: &'t Table, name: &'t str) -> Result<Self> {
        let metadata = head.metadata();
        let now = metadata.snapshot_for_ref(name);
        let retention = match now {
            Some(_) => refs::retention(metadata, name)?,
            None => SnapshotRetention::branch(None, None, None),
        };
        if let SnapshotRetention::Tag { .. } = retention {
            return Err(Error::invalid(format!(
                "`{name}` of table `{}` is a tag, and tags stay where they are",
                head.identifier()
            ))
            .with_help("commit to a branch"));
        }
        let snapshot = now.or_else(|| metadata.current_snapshot());
        Ok(Self { snapshot, now: now.map(|now| now.snapshot_id()), retention, name })
    }

    /// That the branch is still where it was.
    pub(super) fn unmoved(&self) -> TableRequirement {
        TableRequirement::RefSnapshotIdMatch { r#ref: self.name.to_owned(), snapshot_id: self.now }
    }

    /// Moves it to this snapshot; how long it keeps its snapshots stays as it is.
    pub(super) fn moved(&self, snapshot: i64) -> TableUpdate {
        TableUpdate::SetSnapshotRef {
            ref_name: self.name.to_owned(),
            reference: SnapshotReference::new(snapshot, self.retention.clone()),
        }
    }
}
