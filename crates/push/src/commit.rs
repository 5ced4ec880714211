//! From the queue to the table.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::FutureExt;
use icecore_core::{
    CommitOptions, PushSource, Result, SnapshotCatalog, SnapshotId, TableName, WriteMode,
};
use icecore_materialize::{MaterializeOptions, Source, fillings, materialize_view, view_status};
use serde::Serialize;
use tokio::time::Instant;

use crate::Pushes;
use crate::columns::Columns;
use crate::queue::Batch;
use crate::source::{Lane, Standing};

/// How often it is looked whether something has to be done.
const TICK: Duration = Duration::from_millis(200);
/// How long a commit that failed is left alone at most.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// How long an online store that failed is left alone.
const STORE_PAUSE: Duration = Duration::from_secs(1);
/// How long the end waits for a commit that is under way, and for the views that it fills.
const LET_GO_MAX: Duration = Duration::from_secs(2);

/// What a commit of pushed events did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CommitReport {
    /// The push source.
    pub source: String,
    /// The table.
    pub table: TableName,
    /// Its new state; absent where there was nothing to commit.
    pub snapshot_id: Option<SnapshotId>,
    /// Rows that it has now and did not have before.
    pub rows: u64,
    /// Batches that left the queue.
    pub batches: u64,
}

impl Pushes {
    /// Commits what comes, until `stop` is over; then everything that is there, once more.
    pub async fn run(&self, stop: impl Future<Output = ()>) {
        let lanes = self.lanes.iter().map(|lane| self.run_lane(lane));
        let mut lanes = Box::pin(futures::future::join_all(lanes));
        let is_stopped = tokio::select! {
            () = stop => true,
            _ = &mut lanes => false,
        };
        if is_stopped {
            // A view that is being filled is let go: else every other job waits for it for minutes.
            self.stopping.send_replace(true);
            tokio::select! {
                () = self.until_idle() => {}
                _ = &mut lanes => {}
                () = tokio::time::sleep(LET_GO_MAX) => {}
            }
        }
        // What is still under way holds what the last commits need.
        drop(lanes);
        self.stopping.send_replace(false);
        self.drain().await;
    }

    /// Waits until no commit is under way.
    async fn until_idle(&self) {
        for lane in &self.lanes {
            drop(lane.committing.lock().await);
        }
    }

    /// Commits everything that is there.
    pub async fn drain(&self) {
        for lane in &self.lanes {
            // What a process left that was killed may not have been looked at yet.
            if lane.queue().is_ok()
                && lane.waits_since().is_some()
                && let Err(error) = self.commit(&lane.source.name).await
            {
                tracing::warn!(source = lane.source.name, %error, "events stay in the queue");
            }
        }
    }

    async fn run_lane(&self, lane: &Lane) {
        let mut pause = self.options.commit_every;
        let mut last = Instant::now();
        let mut catch_up_at = last;
        loop {
            tokio::time::sleep(TICK.min(self.options.commit_every)).await;
            if *self.stopping.borrow() {
                return;
            }
            let Ok(queue) = lane.queue() else {
                tokio::time::sleep(PAUSE_MAX).await;
                continue;
            };
            if self.store.is_some()
                && catch_up_at <= Instant::now()
                && let Err(error) = self.catch_up(lane).await
            {
                tracing::debug!(%error, "events are not online yet");
                catch_up_at = Instant::now() + STORE_PAUSE.min(self.options.commit_every);
            }
            let is_full = queue.bytes_waiting() > self.options.queue_bytes / 2;
            let wait = match (lane.waits_since(), self.is_stale(lane)) {
                (None, false) => continue,
                (Some(_), false) => pause,
                // Views that could not be materialized do not wait for the next event.
                (_, true) => pause.min(PAUSE_MAX),
            };
            if last.elapsed() < wait && !is_full {
                continue;
            }
            pause = match self.commit(&lane.source.name).await {
                Ok(_) => self.options.commit_every,
                Err(error) => {
                    tracing::warn!(source = lane.source.name, %error, "events wait");
                    (pause * 2).clamp(TICK, PAUSE_MAX)
                }
            };
            last = Instant::now();
        }
    }

    /// Commits the events of a source that the table does not have. Then views are materialized,
    /// and what the online store did not take before is written.
    ///
    /// # Errors
    ///
    /// Those of the catalog. The events stay in the queue.
    pub async fn commit(&self, source: &str) -> Result<CommitReport> {
        let lane = self.lane(source)?;
        let _alone = lane.committing.lock().await;
        let committed = self.commit_all(lane).await;
        lane.note(&committed);
        if self.options.materialize
            && let Ok(report) = &committed
            && (report.snapshot_id.is_some() || self.is_stale(lane))
        {
            self.materialize(lane).await;
        }
        if self.store.is_some()
            && committed.is_ok()
            && let Err(error) = Box::pin(self.catch_up(lane)).await
        {
            tracing::warn!(source = lane.source.name, %error, "events are not online yet");
        }
        committed
    }

    /// A commit that was begun before is repeated as it was, and then comes what came since.
    async fn commit_all(&self, lane: &Lane) -> Result<CommitReport> {
        let is_repeated = lane.queue()?.attempt().is_some();
        let mut report = self.commit_lane(lane).await?;
        if is_repeated {
            let next = self.commit_lane(lane).await?;
            report.snapshot_id = next.snapshot_id.or(report.snapshot_id);
            report.rows += next.rows;
            report.batches += next.batches;
        }
        Ok(report)
    }

    async fn commit_lane(&self, lane: &Lane) -> Result<CommitReport> {
        let queue = lane.queue()?;
        let table = &lane.source.table;
        let mut report = CommitReport {
            source: lane.source.name.clone(),
            table: table.clone(),
            snapshot_id: None,
            rows: 0,
            batches: 0,
        };
        // A commit that was begun may have arrived, whatever was said of it. The table knows.
        if let Some(attempt) = queue.attempt()
            && self.position(table, &queue.name()).await?.is_some_and(|at| at >= attempt)
        {
            self.is_committed(lane, attempt)?;
        }
        let mut pending = queue.pending();
        if let Some(attempt) = queue.attempt() {
            pending.retain(|batch| batch.position < attempt);
        }
        let Some(end) = pending.last().map(|batch| batch.position + 1) else { return Ok(report) };
        report.batches = pending.len() as u64;
        let offline: Vec<Arc<Batch>> =
            pending.into_iter().filter(|batch| batch.to.is_offline()).collect();
        if !offline.is_empty() {
            queue.begin(end)?;
            let batches = offline.iter().map(|batch| batch.events()).collect::<Result<Vec<_>>>()?;
            report.rows = batches.iter().map(|batch| batch.num_rows() as u64).sum();
            let columns = self.columns(table).await?;
            let left_out = columns.left_out(&batches);
            if !left_out.is_empty() {
                // Later events are not to be accepted with columns that the table does not have.
                lane.forget_plan();
            }
            let rows = columns.fit_all(&batches)?;
            let options = CommitOptions::new(WriteMode::Append)
                .with_job_id(format!("push-{}-{end}", queue.name()))
                .with_summary(PushSource::QUEUE_FIELD, queue.name())
                .with_summary(PushSource::POSITION_FIELD, end.to_string());
            let committed = self.engine.catalog().commit(table, rows, options).await?;
            report.snapshot_id = Some(committed.pinned.snapshot);
            lane.leaves_out(&left_out);
        }
        self.is_committed(lane, end)?;
        Ok(report)
    }

    /// The columns that a table has now. Events that came before a change of them fit all the same:
    /// one column that is gone would keep whatever comes out of the table for good.
    async fn columns(&self, table: &TableName) -> Result<Columns> {
        let now = self.engine.catalog().describe(table).await?;
        Ok(Columns { schema: now.schema, uuid: now.uuid })
    }

    fn is_committed(&self, lane: &Lane, end: u64) -> Result<()> {
        let queue = lane.queue()?;
        queue.committed(end)?;
        if self.store.is_none() {
            // Without a store nobody catches up here: what can come from the table shall.
            queue.leave_to_table(end);
        }
        Ok(())
    }

    /// How far in a queue the table is, by its history.
    async fn position(&self, table: &TableName, queue: &str) -> Result<Option<u64>> {
        let history = self.engine.catalog().history(table).await?;
        let of_queue = history.iter().filter(|snapshot| {
            snapshot.summary.get(PushSource::QUEUE_FIELD).is_some_and(|name| name == queue)
        });
        let positions = of_queue
            .filter_map(|snapshot| snapshot.summary.get(PushSource::POSITION_FIELD)?.parse().ok());
        Ok(positions.max())
    }

    /// Whether views are still to be brought to a state that the table has.
    pub(crate) fn is_stale(&self, lane: &Lane) -> bool {
        self.options.materialize && self.store.is_some() && lane.stale.load(Ordering::Relaxed)
    }

    /// Brings the views to the newest state of the table. Where that fails it is tried again.
    async fn materialize(&self, lane: &Lane) {
        let (Some(store), Ok(queue)) = (&self.store, lane.queue()) else { return };
        let end = queue.committed_end();
        let source = Source {
            engine: &self.engine,
            definitions: &self.definitions,
            store,
            now: self.clock.now(),
        };
        let views: Vec<&str> = self.views_at_once(lane).map(|view| view.name.as_str()).collect();
        let mut is_stale = false;
        for view in &views {
            if let Err(error) = self.bring(lane, &source, (*view, end)).await {
                is_stale = true;
                tracing::warn!(view, %error, "the view was not materialized");
            }
        }
        lane.stale.store(is_stale, Ordering::Relaxed);
        // A view that was never materialized has its rows from pushes alone.
        if !is_stale
            && let Ok(filled) = fillings(&**store.store(), &views).await
            && filled.iter().all(Option::is_some)
        {
            queue.leave_to_table(end);
        }
    }

    /// Brings a view that was materialized before to the newest state of its table, which has what
    /// the queue has before `end`.
    async fn bring(
        &self,
        lane: &Lane,
        source: &Source<'_>,
        (view, end): (&str, u64),
    ) -> Result<()> {
        let state = match view_status(source, view).boxed().await {
            Ok(status) => status.state,
            Err(error) => {
                lane.fails(view, false, &error);
                return Err(error);
            }
        };
        if state == "never" {
            lane.stands(view, Standing::Unfilled);
            return Ok(());
        }
        let mut stopping = self.stopping.subscribe();
        let options = MaterializeOptions::default().with_stop(async move {
            drop(stopping.wait_for(|is_stopping| *is_stopping).await);
        });
        match materialize_view(source, view, options).boxed().await {
            Ok(_) => {
                lane.stands(view, Standing::Has(end));
                Ok(())
            }
            // Another job of the view may have begun before the newest commit, so it is tried again.
            Err(error) => {
                lane.fails(view, true, &error);
                Err(error)
            }
        }
    }
}
