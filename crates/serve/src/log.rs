//! What was asked and what was answered, kept as rows.
//!
//! A share of the requests is logged: one row for each entity of a feature service's answer, for
//! each row that a model predicted, for each score. Rows wait in memory, within a bound, and are
//! handed on together; no request waits for that, and a log that cannot be written fails none.

mod others;
mod rows;
mod unite;
mod writer;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use axum::http::HeaderMap;
use icecore_core::{Clock, Error, Result};
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::answer::Answer;
use crate::features::FeatureAnswer;
use crate::models::{Frame, LoadedModel};
use others::OwnNames;
pub use others::{Folded, OTHERS, fold_others};
use rows::{Common, LoggedRows};
use writer::Counts;
pub(crate) use writer::Writer;

/// The header that names a request, in what clients send and in answers that are logged.
pub(crate) const REQUEST_ID: &str = "x-request-id";
/// Bytes of a name that a client may give a request.
const ID_BYTES_MAX: usize = 128;
/// Requests that wait for the writer to take them.
const QUEUE: usize = 4_096;

/// Where logged rows go.
///
/// # Contract
///
/// - A unit is written whole or not at all, and writing a unit of the same id again changes nothing.
/// - Columns may be added to a log as time goes by.
#[async_trait]
pub trait RequestSink: fmt::Debug + Send + Sync + 'static {
    /// Writes rows of one log. `Unavailable`, `Conflict` and `OutcomeUnknown` mean that it is worth
    /// trying again; after any other error the rows are dropped.
    async fn write(&self, unit: &LogUnit) -> Result<()>;
}

/// Rows of one log that are written together.
#[derive(Debug, Clone)]
pub struct LogUnit {
    /// The log: `features_SERVICE`, `model_NAME` or `scores_JOB`.
    pub log: String,
    /// A name for this piece of work.
    pub id: String,
    /// The rows: `request_id`, `event_timestamp` (when it was asked, microseconds in UTC), and what
    /// was asked and answered. [`OTHERS`] has what has no column of its own.
    pub rows: RecordBatch,
    /// The columns that say who a row is about: no statistics should have their values.
    pub keys: BTreeSet<String>,
    /// Those of them that clients made up: there are at most 32 in each log, until the service is
    /// started again.
    pub own: BTreeSet<String>,
}

/// How requests are logged.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LogOptions {
    /// The share of requests that is logged, from 0 to 1.
    pub sample: f64,
    /// How often rows are handed on.
    pub flush_every: Duration,
    /// Rows that wait at most; those beyond are dropped and counted.
    pub rows_max: usize,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { sample: 1.0, flush_every: Duration::from_secs(60), rows_max: 200_000 }
    }
}

impl LogOptions {
    /// Logs this share of the requests.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for what is not between 0 and 1.
    pub fn with_sample(mut self, share: f64) -> Result<Self> {
        if !(0.0..=1.0).contains(&share) {
            return Err(Error::invalid(format!("`{share}` is no share of requests"))
                .with_help("write a number from 0 to 1, such as 0.1"));
        }
        self.sample = share;
        Ok(self)
    }

    /// Hands rows on this often.
    #[must_use]
    pub const fn with_flush_every(mut self, every: Duration) -> Self {
        self.flush_every = every;
        self
    }
}

/// The log of a service.
#[derive(Debug)]
pub(crate) struct RequestLog {
    sample: f64,
    clock: Arc<dyn Clock>,
    sender: mpsc::Sender<Entry>,
    rows_max: usize,
    counts: Arc<Counts>,
    own: OwnNames,
}

/// Rows of one request.
#[derive(Debug)]
struct Entry {
    log: String,
    rows: RecordBatch,
    keys: Vec<String>,
    own: Vec<String>,
}

/// A request that is logged.
#[derive(Debug, Clone)]
pub(crate) struct Sampled {
    pub(crate) id: String,
    common: Common,
}

impl RequestLog {
    pub(crate) fn new(
        sink: Arc<dyn RequestSink>,
        clock: Arc<dyn Clock>,
        options: LogOptions,
    ) -> (Self, Writer) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let counts = Arc::new(Counts::default());
        let (sample, rows_max) = (options.sample, options.rows_max);
        let own = OwnNames::default();
        let log = Self { sample, clock, sender, rows_max, counts: Arc::clone(&counts), own };
        (log, Writer::new(sink, receiver, options, counts))
    }

    /// Whether a request is logged, and as which.
    pub(crate) fn sampled(&self, headers: &HeaderMap) -> Option<Sampled> {
        let drawn = Uuid::new_v4();
        let (high, _) = drawn.as_u64_pair();
        // The version's bits stand in the lower half of it.
        let share = (high >> 32) as f64 / 4_294_967_296.0;
        if share >= self.sample {
            return None;
        }
        let sent = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
        let sent = sent.filter(|id| !id.is_empty() && id.len() <= ID_BYTES_MAX);
        let id = sent.map_or_else(|| drawn.to_string(), str::to_owned);
        let common = Common { id: id.clone(), at: self.clock.now() };
        Some(Sampled { id, common })
    }

    /// Keeps what a feature service answered.
    pub(crate) fn features(&self, sampled: &Sampled, service: &str, answer: &FeatureAnswer) {
        self.keep(format!("features_{service}"), rows::of_features(&sampled.common, answer));
    }

    /// Keeps what a model predicted, and from what.
    pub(crate) fn predictions(
        &self,
        sampled: &Sampled,
        model: &LoadedModel,
        frame: &Frame,
        predictions: &arrow::array::ArrayRef,
    ) {
        let (log, of) = (format!("model_{}", model.name), (frame, predictions));
        let rows = rows::of_predictions(&sampled.common, model, of, (log.as_str(), &self.own));
        self.keep(log, rows);
    }

    /// Keeps a score.
    pub(crate) fn score(&self, sampled: &Sampled, answer: &Answer<'_>) {
        let rows = rows::of_score(&sampled.common, answer);
        self.keep(format!("scores_{}", answer.route.declared.scoring), rows);
    }

    fn keep(&self, log: String, rows: Result<LoggedRows>) {
        let LoggedRows { rows, keys, own, folded } = match rows {
            Ok(rows) => rows,
            Err(error) => {
                tracing::warn!(log, %error, "a request cannot be logged");
                self.counts.dropped.fetch_add(1, Ordering::Relaxed);
                return;
            }
        };
        let count = rows.num_rows();
        let before = self.counts.waiting.fetch_add(count, Ordering::Relaxed);
        let is_in = before.saturating_add(count) <= self.rows_max
            && self.sender.try_send(Entry { log, rows, keys, own }).is_ok();
        if is_in {
            self.counts.folded.fetch_add(folded.kept, Ordering::Relaxed);
            self.counts.left_out.fetch_add(folded.left_out, Ordering::Relaxed);
        } else {
            self.counts.waiting.fetch_sub(count, Ordering::Relaxed);
            self.counts.dropped.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// Rows that were written, and those that were dropped, since the last call.
    pub(crate) fn take_counts(&self) -> (usize, usize) {
        (take(&self.counts.written), take(&self.counts.dropped))
    }

    /// Values that have no column of their own, since the last call.
    pub(crate) fn take_folded(&self) -> Folded {
        let counts = &self.counts;
        Folded { kept: take(&counts.folded), left_out: take(&counts.left_out) }
    }
}

fn take(count: &AtomicUsize) -> usize {
    count.swap(0, Ordering::Relaxed)
}

#[cfg(test)]
mod tests;
