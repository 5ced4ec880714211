//! How to materialize, and what came of it.

use std::fmt;
use std::sync::Arc;

use icecore_core::PinnedTable;
use serde::Serialize;

/// Told how far a materialization is.
pub type ProgressCallback = Arc<dyn Fn(MaterializeProgress) + Send + Sync>;

/// How far a materialization is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MaterializeProgress {
    /// Rows that were read so far.
    pub rows: u64,
}

/// How to materialize a view.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct MaterializeOptions {
    /// Reads the whole table, and removes rows that it does not have.
    pub full: bool,
    /// Reports what would be done and does nothing.
    pub dry_run: bool,
    /// Is told how far it is.
    pub progress: Option<ProgressCallback>,
}

impl fmt::Debug for MaterializeOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MaterializeOptions")
            .field("full", &self.full)
            .field("dry_run", &self.dry_run)
            .finish_non_exhaustive()
    }
}

impl MaterializeOptions {
    /// Reads the whole table.
    #[must_use]
    pub const fn with_full(mut self, full: bool) -> Self {
        self.full = full;
        self
    }

    /// Reports what would be done and does nothing.
    #[must_use]
    pub const fn with_dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }

    /// Is told how far it is.
    #[must_use]
    pub fn with_progress(mut self, progress: ProgressCallback) -> Self {
        self.progress = Some(progress);
        self
    }

    pub(crate) fn tell(&self, rows: u64) {
        if let Some(progress) = &self.progress {
            progress(MaterializeProgress { rows });
        }
    }
}

/// What a materialization did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ViewReport {
    /// The view.
    pub view: String,
    /// The state of its table that the store now has.
    pub source: PinnedTable,
    /// Why the whole table was read; absent where what changed was enough.
    pub full: Option<&'static str>,
    /// Rows that were read.
    pub read: u64,
    /// Rows that were written.
    pub written: u64,
    /// Rows that the table has no more and that were removed.
    pub removed: u64,
    /// Rows that were left alone: the store has the same or a newer one.
    pub unchanged: u64,
}

impl ViewReport {
    /// Nothing was done yet.
    pub(crate) fn new(view: &str, source: &PinnedTable) -> Self {
        Self {
            view: view.to_owned(),
            source: source.clone(),
            full: None,
            read: 0,
            written: 0,
            removed: 0,
            unchanged: 0,
        }
    }
}
