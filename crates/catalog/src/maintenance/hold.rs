//! Who needs a snapshot.

use std::fmt;

use async_trait::async_trait;
use icecore_core::{PinnedTable, Result, SnapshotId, TableName};

/// That somebody needs a snapshot of a table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Hold {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// The table's uuid, where it is known: a table that was dropped and created again is another.
    pub uuid: Option<String>,
    /// Who, in words: ``run `3f2a` ``.
    pub by: String,
}

impl Hold {
    /// Of a snapshot, by somebody.
    pub fn new(snapshot: SnapshotId, by: impl Into<String>) -> Self {
        Self { snapshot, uuid: None, by: by.into() }
    }

    /// Of what a pin reads, by somebody.
    pub fn of_pin(pinned: &PinnedTable, by: impl Into<String>) -> Self {
        Self { snapshot: pinned.snapshot, uuid: Some(pinned.uuid.clone()), by: by.into() }
    }

    /// Whether it is about this table.
    pub(super) fn is_of(&self, uuid: &str) -> bool {
        self.uuid.as_deref().is_none_or(|of| of == uuid)
    }
}

/// Somebody who may need snapshots: a store of runs, the lockfiles of a project.
///
/// # Contract
///
/// - It is asked again each time that an expiry is planned, so it answers with what holds now.
/// - If it fails, nothing is expired.
#[async_trait]
pub trait SnapshotHolder: fmt::Debug + Send + Sync {
    /// The snapshots of a table that are needed.
    async fn holds(&self, table: &TableName) -> Result<Vec<Hold>>;
}

#[async_trait]
impl SnapshotHolder for Vec<Hold> {
    async fn holds(&self, _table: &TableName) -> Result<Self> {
        Ok(self.clone())
    }
}
