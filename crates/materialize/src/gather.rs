//! Rows of a table on their way to the store, those of an entity together.
//!
//! A table with a history has an entity in most of its batches. What is gathered before it is sent
//! leaves the newest of them, within a bound of memory.

use std::vec::IntoIter;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use icecore_core::{
    BatchStream, DigestMap, DigestSet, GatheredRows, KeyDigest, NewestRows, OnlineChange, Result,
    RowVersion,
};

use crate::reader::Reader;
use crate::report::MaterializeOptions;
use crate::send::Batch;

/// Entities that are gathered at most, and what their rows take.
const ENTITIES_MAX: usize = 1 << 16;
const BYTES_MAX: usize = 32 << 20;
/// Rows that are sent together.
const PART: usize = 1 << 13;
/// Entities that are told apart for the count of them where nothing else has to be kept of them.
const COUNTED_MAX: usize = 1 << 20;

/// The newest version of each entity that was read.
pub(crate) type Seen = DigestMap<RowVersion>;

/// What is known of the store, and kept of what it is sent.
#[derive(Debug)]
pub(crate) enum Known {
    /// It has none of the view's rows: who was sent is kept for the count, up to a bound.
    None(DigestSet),
    /// It may have any: what was seen of each entity is kept.
    Any(Seen),
}

/// Reads a table's rows, and hands the newest of each entity on.
#[derive(Debug)]
pub(crate) struct Gathering<'a> {
    rows: BatchStream,
    reader: Reader<'a>,
    options: &'a MaterializeOptions,
    known: Known,
    gathered: GatheredRows,
    waiting: IntoIter<NewestRows>,
    read: u64,
    /// Entities beyond those that are told apart; some may be among them twice.
    uncounted: u64,
}

impl<'a> Gathering<'a> {
    pub(crate) fn new(
        rows: BatchStream,
        reader: Reader<'a>,
        options: &'a MaterializeOptions,
        known: Known,
    ) -> Self {
        let (gathered, waiting) = (GatheredRows::default(), Vec::new().into_iter());
        Self { rows, reader, options, known, gathered, waiting, read: 0, uncounted: 0 }
    }

    /// The rows to send, as they come.
    pub(crate) fn batches(&mut self) -> BoxStream<'_, Result<Batch>> {
        stream::try_unfold(self, |gathering| async move {
            gathering.next().await.map(|next| next.map(|batch| (batch, gathering)))
        })
        .boxed()
    }

    /// The next rows to send; nothing at the end.
    async fn next(&mut self) -> Result<Option<Batch>> {
        loop {
            for mut part in self.waiting.by_ref() {
                part.retain(|row| self.known.is_to_be_sent(row, &mut self.uncounted));
                if !part.is_empty() {
                    return Ok(Some(match self.known {
                        Known::None(_) => Batch::New(part),
                        Known::Any(_) => Batch::Changes(part.into_changes()),
                    }));
                }
            }
            while self.gathered.len() < ENTITIES_MAX && self.gathered.bytes() < BYTES_MAX {
                let Some(batch) = self.rows.next().await else { break };
                let batch = batch?;
                self.read += batch.num_rows() as u64;
                self.options.tell(self.read);
                self.reader.read(&batch)?.gather_into(&mut self.gathered);
            }
            if self.gathered.is_empty() {
                return Ok(None);
            }
            self.waiting = self.gathered.take().into_parts(PART).into_iter();
        }
    }

    /// Rows that were read.
    pub(crate) const fn read(&self) -> u64 {
        self.read
    }

    /// Entities that were handed on.
    pub(crate) fn entities(&self) -> u64 {
        let told_apart = match &self.known {
            Known::None(sent) => sent.len(),
            Known::Any(seen) => seen.len(),
        };
        self.uncounted.saturating_add(told_apart as u64)
    }

    /// What was seen of each entity, if that was to be kept.
    pub(crate) fn into_seen(self) -> Option<Seen> {
        match self.known {
            Known::None(_) => None,
            Known::Any(seen) => Some(seen),
        }
    }
}

impl Known {
    /// Whether a row is worth sending: one that is not older than what was sent before.
    fn is_to_be_sent(&mut self, row: &OnlineChange, uncounted: &mut u64) -> bool {
        let digest = KeyDigest::of(&row.key);
        match self {
            Self::None(sent) if sent.len() < COUNTED_MAX => {
                sent.insert(digest);
                true
            }
            Self::None(sent) => {
                *uncounted += u64::from(!sent.contains(&digest));
                true
            }
            Self::Any(seen) => {
                let newest = seen.entry(digest).or_insert(row.until);
                *newest = row.until.max(*newest);
                row.until >= *newest
            }
        }
    }
}
