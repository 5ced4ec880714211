//! Deleting runs, bringing them back, and removing them for good.

use icecore_core::{Error, ModelVersion, Result, Run, RunId, RunStatus, Timestamp};
use tracing::info;

use super::models::{delete_version, listed, versions_of_run};
use super::runs::{Runs, of_row};
use super::{SqlTracker, moment, unknown_run};
use crate::database::{Tx, cannot_read, cannot_write, commit};

/// How something is deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeleteOptions {
    /// Deletes what needs it as well, instead of refusing: of a run the versions of models that it
    /// made, of a version the aliases that point at it. Runs that have not ended are deleted too.
    pub force: bool,
    /// Says what would go, and changes nothing.
    pub dry_run: bool,
}

impl DeleteOptions {
    /// Sets whether what needs it is deleted as well.
    #[must_use]
    pub const fn with_force(mut self, force: bool) -> Self {
        self.force = force;
        self
    }

    /// Sets whether nothing is changed.
    #[must_use]
    pub const fn with_dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }
}

/// What a deletion of runs took along.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletedRuns {
    /// The runs.
    pub runs: Vec<RunId>,
    /// The versions of models that they made, with the aliases that pointed at them.
    pub versions: Vec<ModelVersion>,
}

/// A run that was deleted and is not removed yet.
#[derive(Debug, Clone, PartialEq)]
pub struct DeletedRun {
    /// The run.
    pub run: Run,
    /// When it was deleted.
    pub deleted_at: Timestamp,
}

impl SqlTracker {
    /// Deletes runs, all of them or none: they are no longer listed and cannot be written to.
    /// [`restore_runs`](Self::restore_runs) brings them back until they are
    /// [removed](crate::remove_deleted_runs).
    ///
    /// # Errors
    ///
    /// `NotFound` for an unknown run. `InvalidInput` for one that has not ended, and for one that
    /// made versions of models, unless forced.
    pub async fn delete_runs(&self, runs: &[RunId], options: DeleteOptions) -> Result<DeletedRuns> {
        let mut tx = self.database.begin_write().await?;
        let now = self.clock.now();
        let mut deleted = DeletedRuns { runs: Vec::new(), versions: Vec::new() };
        for id in runs {
            if deleted.runs.contains(id) {
                continue;
            }
            let Some(run) = Runs::One(id.as_str()).load(&mut tx).await?.pop() else {
                return Err(unknown_run(&mut tx, id).await);
            };
            let versions = versions_of_run(&mut tx, id).await?;
            if !options.force {
                expect_deletable(&run, &versions)?;
            }
            for version in &versions {
                delete_version(&mut tx, version).await?;
            }
            sqlx::query("UPDATE icecore_runs SET deleted_at = ? WHERE run_id = ?")
                .bind(now.micros())
                .bind(id.as_str())
                .execute(&mut *tx)
                .await
                .map_err(cannot_write)?;
            deleted.runs.push(run.id);
            deleted.versions.extend(versions);
        }
        // A dry run did all of it, and does not commit.
        if !options.dry_run {
            commit(tx).await?;
            info!(runs = deleted.runs.len(), versions = deleted.versions.len(), "deleted runs");
        }
        Ok(deleted)
    }

    /// Brings deleted runs back, all of them or none. One that is there already stays.
    ///
    /// # Errors
    ///
    /// `NotFound` for a run that is unknown or being removed.
    pub async fn restore_runs(&self, runs: &[RunId]) -> Result<()> {
        let mut tx = self.database.begin_write().await?;
        for run in runs {
            let restored = sqlx::query(
                "UPDATE icecore_runs SET deleted_at = NULL WHERE run_id = ? AND removing = 0",
            )
            .bind(run.as_str())
            .execute(&mut *tx)
            .await
            .map_err(cannot_write)?;
            if restored.rows_affected() == 0 {
                return Err(unknown_run(&mut tx, run).await);
            }
        }
        commit(tx).await?;
        info!(runs = runs.len(), "brought runs back");
        Ok(())
    }

    /// The runs that can be brought back, newest first.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the tables cannot be read.
    pub async fn deleted_runs(&self) -> Result<Vec<DeletedRun>> {
        let mut tx = self.database.begin_read().await?;
        let rows = Runs::Deleted.rows_of_runs(&mut tx).await?;
        let runs = Runs::Deleted.load(&mut tx).await?;
        let with_time = |(run, row)| Ok(DeletedRun { run, deleted_at: moment(row, "deleted_at")? });
        runs.into_iter().zip(&rows).map(with_time).collect()
    }

    /// Decides that runs which were deleted at this moment or before are removed. Returns all whose
    /// removal is decided, those of an earlier removal that did not come to its end among them.
    pub(crate) async fn begin_removal(&self, before: Timestamp) -> Result<Vec<RunId>> {
        let mut tx = self.database.begin_write().await?;
        sqlx::query("UPDATE icecore_runs SET removing = 1 WHERE deleted_at <= ?")
            .bind(before.micros())
            .execute(&mut *tx)
            .await
            .map_err(cannot_write)?;
        let removing = removing(&mut tx).await?;
        commit(tx).await?;
        Ok(removing)
    }

    /// The runs whose removal is decided.
    pub(crate) async fn removing(&self) -> Result<Vec<RunId>> {
        removing(&mut self.database.begin_read().await?).await
    }

    /// Forgets a run whose files are removed.
    pub(crate) async fn end_removal(&self, run: &RunId) -> Result<()> {
        let mut tx = self.database.begin_write().await?;
        for table in [
            "icecore_run_inputs",
            "icecore_run_params",
            "icecore_run_tags",
            "icecore_run_metrics",
            "icecore_runs",
        ] {
            let query = format!(
                "DELETE FROM {table} WHERE run_id IN
                     (SELECT run_id FROM icecore_runs WHERE run_id = ? AND removing = 1)"
            );
            sqlx::query(&query).bind(run.as_str()).execute(&mut *tx).await.map_err(cannot_write)?;
        }
        commit(tx).await
    }
}

async fn removing(tx: &mut Tx) -> Result<Vec<RunId>> {
    let rows = sqlx::query("SELECT run_id FROM icecore_runs WHERE removing = 1 ORDER BY entry")
        .fetch_all(&mut **tx)
        .await
        .map_err(cannot_read)?;
    rows.iter().map(of_row).collect()
}

/// That nobody needs a run any more.
fn expect_deletable(run: &Run, versions: &[ModelVersion]) -> Result<()> {
    let id = &run.id;
    if let Some(first) = versions.first() {
        return Err(Error::invalid(format!("run `{id}` made models that are registered"))
            .with_note(format!("it made {}", listed(versions)))
            .with_help(format!(
                "`icecore models delete {} {}` deletes a version, `--force` all of them with the \
                 run",
                first.model, first.version
            )));
    }
    if run.status == RunStatus::Running {
        return Err(Error::invalid(format!("run `{id}` has not ended"))
            .with_note(format!("it began at {}", run.started_at))
            .with_help("`--force` deletes it, if the process that wrote it is gone"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
