//! What a run did.

use arrow::array::RecordBatch;
use icecore_core::{Error, PinnedTable, SnapshotId, TableName, Timestamp};

/// What became of a model, a seed or a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It was built and published.
    Success,
    /// A test found nothing.
    Pass,
    /// A test found rows, and that is a warning.
    Warn,
    /// A test found rows.
    Fail,
    /// It could not be built or asked.
    Error,
    /// Something that it needs failed.
    Skipped,
}

impl Status {
    /// What dbt calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "fail",
            Self::Error => "error",
            Self::Skipped => "skipped",
        }
    }

    /// Whether it stands in the way of what comes after.
    #[must_use]
    pub const fn is_bad(self) -> bool {
        matches!(self, Self::Fail | Self::Error | Self::Skipped)
    }
}

/// What became of one model, seed or test.
#[derive(Debug)]
pub struct NodeResult {
    /// Its unique id.
    pub unique_id: String,
    /// Its name.
    pub name: String,
    /// `model`, `seed`, `test` or `unit_test`.
    pub kind: &'static str,
    /// How a model is kept.
    pub materialized: Option<&'static str>,
    /// What became of it.
    pub status: Status,
    /// What was done, in a word: `append 3`, `view`.
    pub message: String,
    /// Its table or view.
    pub table: Option<TableName>,
    /// The state that was published.
    pub snapshot: Option<SnapshotId>,
    /// The rows that were written.
    pub rows: Option<u64>,
    /// The rows that a test found.
    pub failures: Option<u64>,
    /// The first of them.
    pub sample: Option<RecordBatch>,
    /// What the user should know.
    pub warnings: Vec<String>,
    /// The SQL.
    pub compiled: Option<String>,
    /// Whether it ran as an incremental model.
    pub is_incremental: bool,
    /// Why it failed.
    pub error: Option<Error>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it was done.
    pub completed_at: Timestamp,
}

impl NodeResult {
    /// How long it took, in seconds.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        (self.completed_at.micros() - self.started_at.micros()) as f64 / 1e6
    }
}

/// What a run did.
#[derive(Debug)]
pub struct RunReport {
    /// The run's id.
    pub run_id: String,
    /// When it began: what `run_started_at` was.
    pub started_at: Timestamp,
    /// When the first thing was done, by the clock.
    pub began_at: Timestamp,
    /// When the last thing was done.
    pub completed_at: Timestamp,
    /// The states of tables that were read, at one moment.
    pub pins: Vec<PinnedTable>,
    /// What became of each, in the order in which they were done.
    pub results: Vec<NodeResult>,
}

impl RunReport {
    /// Whether nothing failed.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.results.iter().all(|result| !result.status.is_bad())
    }

    /// How many came to this.
    #[must_use]
    pub fn count(&self, status: Status) -> usize {
        self.results.iter().filter(|result| result.status == status).count()
    }
}
