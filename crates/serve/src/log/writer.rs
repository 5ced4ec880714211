//! Handing rows on, beside the requests.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arrow::array::RecordBatch;
use icecore_core::{Error, ErrorKind};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::warn;
use uuid::Uuid;

use super::unite::unite;
use super::{Entry, LogOptions, LogUnit, RequestSink};

/// Rows that are handed on before their time has come.
const FLUSH_ROWS: usize = 50_000;
/// How long a unit may take.
const WRITE_DEADLINE: Duration = Duration::from_secs(60);

/// What became of rows.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Rows that were taken and are neither written nor dropped yet.
    pub(super) waiting: AtomicUsize,
    pub(super) written: AtomicUsize,
    pub(super) dropped: AtomicUsize,
    /// Values that are in `others`, and those that it has no room for.
    pub(super) folded: AtomicUsize,
    pub(super) left_out: AtomicUsize,
}

/// Rows of a log that were not tried yet.
#[derive(Debug, Default)]
struct Fresh {
    batches: Vec<RecordBatch>,
    keys: BTreeSet<String>,
    own: BTreeSet<String>,
}

/// What takes the rows of requests to their sink.
#[derive(Debug)]
pub(crate) struct Writer {
    sink: Arc<dyn RequestSink>,
    receiver: mpsc::Receiver<Entry>,
    options: LogOptions,
    counts: Arc<Counts>,
    fresh: BTreeMap<String, Fresh>,
    fresh_rows: usize,
    /// What could not be written yet, as it was tried.
    units: VecDeque<LogUnit>,
}

impl Writer {
    pub(super) fn new(
        sink: Arc<dyn RequestSink>,
        receiver: mpsc::Receiver<Entry>,
        options: LogOptions,
        counts: Arc<Counts>,
    ) -> Self {
        let (fresh, units) = (BTreeMap::new(), VecDeque::new());
        Self { sink, receiver, options, counts, fresh, fresh_rows: 0, units }
    }

    /// Hands rows on until it is told to stop, and then those that are left.
    pub(crate) async fn run(mut self, mut stop: oneshot::Receiver<()>) {
        let mut ticks = interval(self.options.flush_every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some(entry) = self.receiver.recv() => {
                    self.take(entry);
                    if self.fresh_rows >= FLUSH_ROWS {
                        self.flush().await;
                    }
                }
                _ = ticks.tick() => self.flush().await,
                _ = &mut stop => break,
            }
        }
        while let Ok(entry) = self.receiver.try_recv() {
            self.take(entry);
        }
        self.flush().await;
        for unit in std::mem::take(&mut self.units) {
            self.drop_rows(&unit, "the service stops before they could be written");
        }
    }

    fn take(&mut self, entry: Entry) {
        self.fresh_rows += entry.rows.num_rows();
        let fresh = self.fresh.entry(entry.log).or_default();
        fresh.batches.push(entry.rows);
        fresh.keys.extend(entry.keys);
        fresh.own.extend(entry.own);
    }

    async fn flush(&mut self) {
        self.fresh_rows = 0;
        for (log, Fresh { batches, keys, own }) in std::mem::take(&mut self.fresh) {
            match unite(&batches) {
                Ok(rows) => {
                    self.units.push_back(LogUnit {
                        log,
                        id: Uuid::now_v7().to_string(),
                        rows,
                        keys,
                        own,
                    });
                }
                Err(error) => {
                    let rows = batches.iter().map(RecordBatch::num_rows).sum();
                    warn!(log, rows, %error, "requests cannot be logged");
                    self.settle(rows);
                    self.counts.dropped.fetch_add(rows, Ordering::Relaxed);
                }
            }
        }
        // What is tried again keeps its id: if it was written after all, it is not written twice.
        for _ in 0..self.units.len() {
            let Some(unit) = self.units.pop_front() else { break };
            let written = timeout(WRITE_DEADLINE, self.sink.write(&unit)).await;
            let late = || Err(Error::unavailable("the log takes too long"));
            match written.unwrap_or_else(|_| late()) {
                Ok(()) => {
                    self.counts.written.fetch_add(unit.rows.num_rows(), Ordering::Relaxed);
                    self.settle(unit.rows.num_rows());
                }
                Err(error) if is_passing(error.kind()) => {
                    warn!(log = unit.log, %error, "requests are not logged yet");
                    self.units.push_back(unit);
                }
                Err(error) => self.drop_rows(&unit, &error.to_string()),
            }
        }
    }

    fn drop_rows(&self, unit: &LogUnit, why: &str) {
        let rows = unit.rows.num_rows();
        warn!(log = unit.log, rows, why, "requests are not logged");
        self.settle(rows);
        self.counts.dropped.fetch_add(rows, Ordering::Relaxed);
    }

    /// These rows wait no longer.
    fn settle(&self, rows: usize) {
        self.counts.waiting.fetch_sub(rows, Ordering::Relaxed);
    }
}

const fn is_passing(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Unavailable | ErrorKind::Conflict | ErrorKind::OutcomeUnknown)
}
