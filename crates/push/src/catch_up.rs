//! Writing what the online store did not take before.

use std::sync::atomic::Ordering;
use std::time::Duration;

use icecore_core::{Error, FeatureView, Result};
use icecore_materialize::PushedEvents;
use tokio::time::Instant;

use crate::Pushes;
use crate::queue::{Batch, Queue};
use crate::source::{Lane, Standing};

/// For how long what came before is written at once: commits wait meanwhile.
const CATCH_UP_MAX: Duration = Duration::from_secs(2);
/// For how long a view that cannot be materialized keeps what the table has in the queue.
const FAILS_MAX: Duration = Duration::from_secs(600);
/// For how long, in microseconds, events are tried again that are for the store alone, and that it
/// cannot take as they are.
const ALONE_MAX: i64 = 3_600_000_000;

/// What is still to be done for a batch.
#[derive(Debug)]
struct Need<'a> {
    /// The views that it is to be written to.
    views: Vec<&'a str>,
    /// Whether it is left to the next materialization of another one.
    is_left: bool,
}

impl Pushes {
    /// Writes what the online store did not take before, for a while. What cannot be written is not
    /// in the way of the rest: each has its turn, and what the table has need not stay for it.
    pub(crate) async fn catch_up(&self, lane: &Lane) -> Result<()> {
        let queue = lane.queue()?;
        let (end, begun) = (queue.committed_end(), Instant::now());
        let mut caught_up = Ok(());
        for batch in lane.behind_in_turn() {
            if begun.elapsed() > CATCH_UP_MAX {
                break;
            }
            lane.has_its_turn(&batch);
            let is_in_table = batch.to.is_offline() && batch.position < end;
            match self.write_needed(lane, &queue, (&batch, is_in_table)).await {
                Ok(_) => {}
                Err(error) if error.kind().is_retryable() => {
                    caught_up = Err(error);
                    break;
                }
                Err(error) if self.gives_up(lane, (&batch, is_in_table), &error) => {
                    queue.written(batch.position);
                }
                Err(error) => caught_up = Err(error),
            }
        }
        queue.settle()?;
        caught_up
    }

    /// Writes a batch to the views that get it from the queue; `false` where that is decided later.
    pub(crate) async fn write_needed(
        &self,
        lane: &Lane,
        queue: &Queue,
        (batch, is_in_table): (&Batch, bool),
    ) -> Result<bool> {
        let Some(need) = self.need(lane, (batch, is_in_table)) else { return Ok(false) };
        self.write_again(lane, &queue.name(), batch, &need.views).await?;
        lane.left_to_table.fetch_add(u64::from(need.is_left), Ordering::Relaxed);
        queue.written(batch.position);
        Ok(true)
    }

    /// What is to be done for a batch; nothing for now where that is decided later.
    ///
    /// What the table has it may lose again. So the views that have had a state of the table with
    /// the batch get it from there alone, and those that are about to be brought to one, too.
    fn need<'a>(
        &'a self,
        lane: &'a Lane,
        (batch, is_in_table): (&Batch, bool),
    ) -> Option<Need<'a>> {
        let mut need = Need { views: Vec::new(), is_left: false };
        for view in self.views_at_once(lane) {
            let standing = lane.standing(&view.name).filter(|_| is_in_table);
            match standing {
                Some(Standing::Has(end)) if batch.position < end => {}
                Some(Standing::Fails { since, is_final, is_filled }) => {
                    if !is_final && since.elapsed() < FAILS_MAX {
                        return None;
                    }
                    match is_filled {
                        true => need.is_left = true,
                        false => need.views.push(&view.name),
                    }
                }
                None if is_in_table && self.is_stale(lane) => return None,
                _ => need.views.push(&view.name),
            }
        }
        Some(need)
    }

    /// Whether a batch is not tried again that the store cannot take as it is.
    fn gives_up(&self, lane: &Lane, (batch, is_in_table): (&Batch, bool), error: &Error) -> bool {
        let (source, position) = (&lane.source.name, batch.position);
        if is_in_table {
            tracing::warn!(source, position, %error, "events are left to the next materialization");
            lane.left_to_table.fetch_add(1, Ordering::Relaxed);
            return true;
        }
        let age = self.clock.now().micros().saturating_sub(batch.at.micros());
        if batch.to.is_offline() || age < ALONE_MAX {
            return false;
        }
        tracing::warn!(source, position, %error, "events for the online store alone are dropped");
        lane.dropped.fetch_add(1, Ordering::Relaxed);
        true
    }

    async fn write_again(
        &self,
        lane: &Lane,
        queue: &str,
        batch: &Batch,
        views: &[&str],
    ) -> Result<()> {
        let Some(store) = self.store.as_ref().filter(|_| !views.is_empty()) else { return Ok(()) };
        let plan = lane.plan(&self.engine, &self.definitions).await?;
        let rows = plan.columns.fit(&batch.events()?)?;
        let (position, now) = (batch.position, self.clock.now());
        let events = PushedEvents { queue, position, rows: &rows, now };
        let of = (&self.engine, &*self.definitions);
        Box::pin(plan.views.apply_to(of, store, &events, views)).await?;
        Ok(())
    }

    /// The views that see events of a source at once.
    pub(crate) fn views_at_once<'a>(
        &'a self,
        lane: &'a Lane,
    ) -> impl Iterator<Item = &'a FeatureView> {
        let views = self.definitions.views_of(&lane.source.table);
        views.filter(|view| view.is_stored() || !view.online.is_rows())
    }
}
