//! What is published, and what is taken back.

use icecore_catalog::{RefKind, Retention, TableLayout};
use icecore_core::{
    CommitOptions, Error, ErrorKind, PinnedTable, Result, SnapshotCatalog as _, TableName,
};

use super::write::Written;
use super::{BRANCH, Runner};
use crate::project::{Node, sha256};

/// How long a branch of a run that died is left alone: it could still be running.
const STALE_HOURS: i64 = 24;
/// How long `table expire` keeps such a branch where the model is never run again.
const KEPT_DAYS: i64 = 7;

/// A table that is about to be written.
#[derive(Debug)]
pub(super) struct Draft {
    /// Whether it was made for this.
    pub(super) created: bool,
    /// Its layout before and after, where it was changed.
    pub(super) layouts: Option<(TableLayout, TableLayout)>,
    /// The columns that are written, where they are not all of the query's.
    pub(super) columns: Option<Vec<String>>,
}

impl Runner<'_> {
    /// Moves `main` along to what was written.
    pub(super) async fn publish(&self, table: &TableName, written: &Written) -> Result<()> {
        let catalog = self.engine.catalog();
        if written.changed {
            catalog.publish(table, &self.branch).await?;
        }
        self.drop_branch(table).await
    }

    /// Begins the run's branch where the table was when it was read: whatever others commit after
    /// that is a conflict when it is published.
    pub(super) async fn branch_off(&self, pin: &PinnedTable) -> Result<()> {
        if pin.snapshot == PinnedTable::EMPTY {
            return Ok(());
        }
        let retention = Retention::default().with_max_ref_age_ms(KEPT_DAYS * 24 * 3600 * 1000);
        self.engine.catalog().branch_with(pin, &self.branch, retention).await
    }

    async fn drop_branch(&self, table: &TableName) -> Result<()> {
        match self.engine.catalog().drop_ref(table, &self.branch).await {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Takes back what was not published. What cannot be taken back now is harmless: `main` never
    /// saw it.
    pub(super) async fn abandon(&self, table: &TableName, draft: &Draft) {
        let catalog = self.engine.catalog();
        let result = async {
            if draft.created {
                let found = catalog.describe(table).await?;
                // Unless somebody else gives it rows in this moment.
                let at = &found.metadata_location;
                if found.head.is_none() && catalog.drop_table_at(table, at).await? {
                    return Ok::<_, Error>(());
                }
            }
            self.drop_branch(table).await?;
            if let Some((before, made)) = draft.layouts {
                catalog.restore_layout(table, made, before).await?;
            }
            Ok(())
        };
        if let Err(error) = result.await {
            tracing::warn!(%table, %error, "what was not published is left on a branch");
        }
    }

    /// Drops the branches of runs that died long ago.
    pub(super) async fn sweep(&self, table: &TableName) -> Result<()> {
        let catalog = self.engine.catalog();
        let refs = catalog.refs(table).await?;
        let of_runs: Vec<_> = refs
            .into_iter()
            .filter(|found| found.kind == RefKind::Branch && found.name != self.branch)
            .filter(|found| found.name.as_str().starts_with(BRANCH))
            .collect();
        if of_runs.is_empty() {
            return Ok(());
        }
        let history = catalog.history(table).await?;
        let now = self.now().micros();
        let limit = STALE_HOURS * 3600 * 1_000_000;
        for found in of_runs {
            let tip = history.iter().find(|snapshot| snapshot.id == found.snapshot);
            if tip.is_none_or(|tip| now - tip.committed_at.micros() > limit) {
                match catalog.drop_ref(table, &found.name).await {
                    Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
                tracing::info!(%table, branch = %found.name, "dropped what a dead run left");
            }
        }
        Ok(())
    }

    /// How to commit to the run's branch: the summary says what the rows are and where they are
    /// from.
    pub(super) fn described(
        &self,
        commit: CommitOptions,
        node: &Node,
        sql: &str,
        pins: &[PinnedTable],
    ) -> CommitOptions {
        commit
            .with_summary("icecore.model", node.unique_id.clone())
            .with_summary("icecore.model-hash", node.hash.clone())
            .with_summary("icecore.compiled-hash", sha256(sql.as_bytes()))
            // Pins are text and numbers, which always serialize.
            .with_summary("icecore.sources", serde_json::to_string(pins).unwrap_or_default())
            .with_summary("icecore.run-id", self.project.run_id())
            .with_summary("icecore.run-started-at", self.project.started_at().to_string())
    }

    /// The branch that is committed to, made where it is not there.
    pub(super) fn on_branch(&self, commit: CommitOptions) -> CommitOptions {
        commit.with_branch(self.branch.clone()).with_new_branch()
    }
}
