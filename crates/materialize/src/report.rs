//! How to materialize, and what came of it.

use std::fmt;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::{BoxFuture, Either, Shared, select};
use icecore_core::{Error, PinnedTable, Result};
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
    /// Takes the view over from another run that is still on its way, which then ends with an error.
    pub take_over: bool,
    /// Is told how far it is.
    pub progress: Option<ProgressCallback>,
    /// When to leave off.
    stop: Option<Shared<BoxFuture<'static, ()>>>,
}

impl fmt::Debug for MaterializeOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MaterializeOptions")
            .field("full", &self.full)
            .field("dry_run", &self.dry_run)
            .field("take_over", &self.take_over)
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

    /// Takes the view over from another run that is still on its way.
    #[must_use]
    pub const fn with_take_over(mut self, take_over: bool) -> Self {
        self.take_over = take_over;
        self
    }

    /// Leaves off when this is over, with `Unavailable`; nobody has to wait for the run then.
    #[must_use]
    pub fn with_stop(mut self, stop: impl Future<Output = ()> + Send + 'static) -> Self {
        self.stop = Some(stop.boxed().shared());
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

    /// Does the work of a run until it is told to leave off.
    pub(crate) async fn unless_stopped<T>(
        &self,
        work: impl Future<Output = Result<T>> + Unpin,
    ) -> Result<T> {
        let Some(stop) = self.stop.clone() else { return work.await };
        match select(stop, work).await {
            Either::Left(_) => Err(Error::unavailable("the materialization was stopped")
                .with_help("run it again: it goes on from what it has written")),
            Either::Right((done, _)) => done,
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
