//! Removing deleted runs for good: their files, then their rows.

use icecore_core::{ArtifactStore, Result, RunId, Timestamp};
use tracing::info;

use crate::{FileArtifacts, SqlTracker};

/// What removing runs took away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RemovedRuns {
    /// The runs.
    pub runs: Vec<RunId>,
    /// How many files they had.
    pub files: usize,
}

/// Removes the runs that were deleted at this moment or before, with their files.
///
/// It is first written down that a run goes, then its files go, then its row. Whenever a process
/// dies in between, the run is no longer to be seen, and the next removal ends what this one began.
///
/// # Errors
///
/// `Unavailable` or `Denied` if a file cannot be removed; the next removal tries it again.
pub async fn remove_deleted_runs(
    tracker: &SqlTracker,
    artifacts: &FileArtifacts,
    before: Timestamp,
) -> Result<RemovedRuns> {
    let mut removed = RemovedRuns::default();
    for run in tracker.begin_removal(before).await? {
        removed.files += artifacts.remove(&run).await?;
        tracker.end_removal(&run).await?;
        removed.runs.push(run);
    }
    info!(runs = removed.runs.len(), files = removed.files, "removed deleted runs");
    Ok(removed)
}

/// What [`remove_deleted_runs`] would take away now.
///
/// # Errors
///
/// `Unavailable` if runs or files cannot be listed.
pub async fn removable_runs(
    tracker: &SqlTracker,
    artifacts: &FileArtifacts,
    before: Timestamp,
) -> Result<RemovedRuns> {
    // In the order in which they are removed: the oldest first.
    let deleted = tracker.deleted_runs().await?.into_iter().rev();
    let due = deleted.filter(|deleted| deleted.deleted_at <= before).map(|deleted| deleted.run.id);
    let runs: Vec<RunId> = tracker.removing().await?.into_iter().chain(due).collect();
    let mut removable = RemovedRuns { runs, files: 0 };
    for run in &removable.runs {
        removable.files += artifacts.list(run).await?.len();
    }
    Ok(removable)
}
