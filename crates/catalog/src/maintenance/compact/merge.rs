//! Merging streams of rows that are in order.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::row::Rows;
use futures::{StreamExt, stream};
use icecore_core::{BatchStream, Result};

use crate::write::RowOrder;

/// The rows of all streams, in order; of equal rows those of the earlier stream come first. One
/// batch of each stream is held at a time.
pub(super) fn merge(
    streams: Vec<BatchStream>,
    order: Arc<RowOrder>,
    schema: SchemaRef,
) -> BatchStream {
    let merged = stream::once(async move { Merge::open(streams, order).await }).flat_map(|merge| {
        let state = Some(merge);
        stream::unfold(state, |state| async move {
            match state? {
                Err(error) => Some((Err(error), None)),
                Ok(mut merge) => match merge.next().await {
                    Ok(Some(rows)) => Some((Ok(rows), Some(Ok(merge)))),
                    Ok(None) => None,
                    Err(error) => Some((Err(error), None)),
                },
            }
        })
    });
    BatchStream::new(schema, merged)
}

struct Merge {
    order: Arc<RowOrder>,
    /// Those with rows left, in the order of their next rows.
    cursors: Vec<Cursor>,
}

/// A stream, and what is left of its present batch.
struct Cursor {
    number: usize,
    stream: BatchStream,
    batch: RecordBatch,
    keys: Rows,
    at: usize,
}

impl Cursor {
    /// Turns to the next batch that has rows; whether there is one.
    async fn turn(&mut self, order: &RowOrder) -> Result<bool> {
        while let Some(batch) = self.stream.next().await {
            let batch = batch?;
            if batch.num_rows() > 0 {
                self.keys = order.sort_keys(std::slice::from_ref(&batch))?;
                (self.batch, self.at) = (batch, 0);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// How many of the rows that are left come before the next row of another stream.
    fn before(&self, other: &Self) -> usize {
        let bound = other.keys.row(other.at);
        let comes_before = |row: usize| match self.keys.row(row).cmp(&bound) {
            std::cmp::Ordering::Equal => self.number < other.number,
            order => order.is_lt(),
        };
        let (mut low, mut high) = (self.at, self.batch.num_rows());
        while low < high {
            let middle = low + (high - low) / 2;
            if comes_before(middle) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low - self.at
    }

    /// Whether its next row comes before that of another.
    fn is_before(&self, other: &Self) -> bool {
        match self.keys.row(self.at).cmp(&other.keys.row(other.at)) {
            std::cmp::Ordering::Equal => self.number < other.number,
            order => order.is_lt(),
        }
    }
}

impl Merge {
    async fn open(streams: Vec<BatchStream>, order: Arc<RowOrder>) -> Result<Self> {
        let mut merge = Self { cursors: Vec::with_capacity(streams.len()), order };
        for (number, stream) in streams.into_iter().enumerate() {
            let batch = RecordBatch::new_empty(stream.schema().clone());
            let keys = merge.order.sort_keys(std::slice::from_ref(&batch))?;
            let mut cursor = Cursor { number, stream, batch, keys, at: 0 };
            if cursor.turn(&merge.order).await? {
                merge.enter(cursor);
            }
        }
        Ok(merge)
    }

    fn enter(&mut self, cursor: Cursor) {
        let place = self.cursors.partition_point(|other| other.is_before(&cursor));
        self.cursors.insert(place, cursor);
    }

    /// Some of the rows that come next.
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        if self.cursors.is_empty() {
            return Ok(None);
        }
        let mut first = self.cursors.remove(0);
        let left = first.batch.num_rows() - first.at;
        let take = match self.cursors.first() {
            Some(second) => first.before(second).clamp(1, left),
            None => left,
        };
        let rows = first.batch.slice(first.at, take);
        first.at += take;
        if first.at < first.batch.num_rows() || first.turn(&self.order).await? {
            self.enter(first);
        }
        Ok(Some(rows))
    }
}
