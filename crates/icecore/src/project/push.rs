//! Events that clients push into a project.

use std::path::PathBuf;
use std::sync::Arc;

use futures::StreamExt;
use icecore_core::{OnlineStore, Result, SnapshotCatalog, SnapshotSelector};
use icecore_engine::files::{ExtraColumns, FileReadOptions, read_files};
use icecore_online::FeatureStore;
use icecore_push::{CommitReport, OnlineOutcome, Pushes, Target};
use serde::Serialize;

use crate::Project;

/// Events of files that are pushed.
#[derive(Debug, Clone)]
pub struct PushJob {
    /// The push source.
    pub source: String,
    /// The files.
    pub files: Vec<PathBuf>,
    /// Where the events go.
    pub to: Target,
    /// A name for this piece of work: a repetition changes nothing.
    pub key: Option<String>,
    /// Reads and checks everything, and pushes nothing.
    pub dry_run: bool,
}

/// What a push of files did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PushReport {
    /// The push source.
    pub source: String,
    /// Events that were read.
    pub rows: u64,
    /// Of those, such as were pushed before under the same key.
    pub repeated: u64,
    /// Whether the online store has them.
    pub online: OnlineOutcome,
    /// The commit that brought them into the table; absent for a dry run.
    pub committed: Option<CommitReport>,
}

impl Project {
    /// What takes events for the project's push sources. Without the online store, they go to the
    /// tables alone.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a mistake in the definitions or the settings.
    pub fn pushes(&self, store: Option<Arc<dyn OnlineStore>>) -> Result<Pushes> {
        let config = &self.config().push;
        Ok(Pushes::new(
            (self.engine().clone(), Arc::new(self.definitions()?)),
            store.map(FeatureStore::new),
            Arc::clone(self.clock()),
            &self.dir().join(&config.dir),
            config.options()?,
        ))
    }

    /// Pushes the events of files, and commits them.
    ///
    /// # Errors
    ///
    /// As [`Pushes::push`], and those of the files and of the commit.
    pub async fn push(&self, job: PushJob) -> Result<PushReport> {
        let pushes = self.pushes(Some(self.online().await?))?;
        let definitions = self.definitions()?;
        let table = &definitions.push_source(&job.source)?.table;
        let pin = self.catalog().pin(table, &SnapshotSelector::Latest).await?;
        let mut options = FileReadOptions::default();
        options.target = Some(self.catalog().schema(&pin).await?);
        options.extra_columns = ExtraColumns::Drop;
        let mut rows = read_files(&job.files, options).await?.stream;
        let mut report = PushReport {
            source: job.source.clone(),
            rows: 0,
            repeated: 0,
            online: OnlineOutcome::None,
            committed: None,
        };
        let most = self.config().push.rows_max;
        let mut number = 0;
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            let mut at = 0;
            while at < batch.num_rows() {
                let part = batch.slice(at, most.min(batch.num_rows() - at));
                at += part.num_rows();
                report.rows += part.num_rows() as u64;
                if job.dry_run {
                    continue;
                }
                let key = job.key.as_ref().map(|key| format!("{key}-{number}"));
                number += 1;
                let receipt = pushes.push_rows(&job.source, part, job.to, key).await?;
                if receipt.repeated {
                    report.repeated += receipt.rows;
                }
                if report.online != OnlineOutcome::Later {
                    report.online = receipt.online;
                }
            }
        }
        if !job.dry_run {
            report.committed = Some(Box::pin(pushes.commit(&job.source)).await?);
        }
        Ok(report)
    }
}
