//! How events are taken that clients push.

use std::time::Duration;

use icecore_core::{Error, Result, Span};
use icecore_push::PushOptions;
use serde::{Deserialize, Serialize};

/// How events are taken that clients push.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PushConfig {
    /// Where events wait for their commit: a directory relative to the project, on a disk of this
    /// machine.
    pub dir: String,
    /// How often what has come is committed.
    pub commit_every: Span,
    /// How many events of a source may wait, such as `64MiB`.
    pub queue: String,
    /// Rows of one push.
    pub rows_max: usize,
    /// Whether views are materialized after each commit, those that have been before.
    pub materialize: bool,
}

impl Default for PushConfig {
    fn default() -> Self {
        Self {
            dir: ".icecore/push".to_owned(),
            commit_every: Span::from_micros(10_000_000),
            queue: "64MiB".to_owned(),
            rows_max: 10_000,
            materialize: true,
        }
    }
}

impl PushConfig {
    /// The same as the library takes it.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a size or a time that is none.
    pub fn options(&self) -> Result<PushOptions> {
        let every = self.commit_every.micros();
        if every <= 0 || self.rows_max == 0 {
            return Err(Error::invalid(
                "`push.commit_every` and `push.rows_max` are above nothing",
            ));
        }
        let mut options = PushOptions::default();
        options.queue_bytes = super::size(&self.queue)?;
        options.commit_every = Duration::from_micros(every.unsigned_abs());
        options.rows_max = self.rows_max;
        options.materialize = self.materialize;
        Ok(options)
    }
}
