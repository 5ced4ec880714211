//! How events are taken.

use std::time::Duration;

/// How events are taken.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PushOptions {
    /// Rows of one push.
    pub rows_max: usize,
    /// Bytes of events that may wait for their commit or for the online store, of each source;
    /// beyond it pushes are refused.
    pub queue_bytes: u64,
    /// How often what has come is committed.
    pub commit_every: Duration,
    /// Whether views of the table are materialized after each commit, those that have been before.
    pub materialize: bool,
}

impl Default for PushOptions {
    fn default() -> Self {
        Self {
            rows_max: 10_000,
            queue_bytes: 64 << 20,
            commit_every: Duration::from_secs(10),
            materialize: true,
        }
    }
}
