//! What changes of rows have in common.

use std::sync::Arc;

use async_trait::async_trait;
use icecore_core::{BatchStream, PinnedTable, Result};

use super::options::{Operation, RowChanges, RowMode};
use super::patch::NewValues;
use super::target::Target;
use super::writing::{Effect, Fate, Writing};
use crate::commit::OwnedReads;
use crate::write::WrittenFiles;

/// A change of rows, computed from one state of a table.
#[async_trait]
pub(crate) trait RowOperation: Send + Sync {
    /// What of it is left to the table's properties.
    fn kind(&self) -> Operation;

    /// Whether it can be computed again from a newer state and then means the same.
    fn is_repeatable(&self) -> bool;

    /// Finds out what has to change.
    async fn compute(&self, target: &Arc<Target>, mode: RowMode) -> Result<Computed>;
}

/// What has to change.
#[derive(Debug, Default)]
pub(crate) struct Computed {
    pub(super) effects: Vec<Effect>,
    /// What changed rows take where files are written again.
    pub(super) values: Arc<NewValues>,
    /// New rows that have not been written.
    pub(super) inserts: Vec<BatchStream>,
    /// Changed rows that leave their file, with what rows keep when they move.
    pub(super) moved: Vec<BatchStream>,
    /// New rows that have been.
    pub(super) written: WrittenFiles,
    /// Where rows that others added would have changed the outcome.
    pub(super) reads: OwnedReads,
    pub(super) inserted: u64,
    pub(super) updated: u64,
    pub(super) deleted: u64,
}

impl Computed {
    /// What that does to this state.
    pub(crate) fn changes(&self, pinned: PinnedTable) -> RowChanges {
        let removed = self.effects.iter().filter(|effect| matches!(effect.fate, Fate::Removed));
        let files_removed = removed.count() as u64;
        RowChanges {
            inserted: self.inserted,
            updated: self.updated,
            deleted: self.deleted,
            files_removed,
            files_touched: self.effects.len() as u64 - files_removed,
            ..RowChanges::none(pinned)
        }
    }

    /// Writes what it needs.
    pub(crate) async fn write(self, writing: &mut Writing, mode: RowMode) -> Result<OwnedReads> {
        writing.take_in(self.written);
        writing.apply(self.effects, &self.values, mode).await?;
        for rows in self.inserts {
            writing.insert(rows).await?;
        }
        for rows in self.moved {
            writing.insert_moved(rows).await?;
        }
        Ok(self.reads)
    }
}
