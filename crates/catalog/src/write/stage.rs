//! Rows of many partitions on their way into the buffers of each.
//!
//! Where rows come in another order than their partitions (by entity, where partitions are days), a
//! chunk holds a few rows of each of many partitions, and handing out so few at a time costs more
//! than the rows do. So chunks wait until there are several, and each partition takes its rows from
//! all of them at once.

use arrow::array::RecordBatch;
use arrow::compute::interleave_record_batch;
use icecore_core::Result;

use super::buffer::{Buffers, bytes_of};

/// So many chunks wait at most.
const CHUNKS_MAX: usize = 64;

/// Chunks that wait.
#[derive(Debug, Default)]
pub(super) struct Stage {
    chunks: Vec<RecordBatch>,
    bytes: usize,
    /// Chunk and row of each partition's rows.
    places: Vec<Vec<(usize, usize)>>,
    /// The partitions that have some, in the order of their first row.
    touched: Vec<usize>,
}

impl Stage {
    /// How many bytes of rows wait.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes a chunk, with the partition of each row.
    pub(super) fn add(&mut self, chunk: RecordBatch, partitions: &[usize]) {
        let number = self.chunks.len();
        for (row, partition) in partitions.iter().enumerate() {
            if self.places.len() <= *partition {
                self.places.resize_with(partition + 1, Vec::new);
            }
            if let Some(places) = self.places.get_mut(*partition) {
                if places.is_empty() {
                    self.touched.push(*partition);
                }
                places.push((number, row));
            }
        }
        self.bytes += bytes_of(&chunk);
        self.chunks.push(chunk);
    }

    /// Whether no more should wait.
    pub(super) fn is_full(&self, bytes_max: usize) -> bool {
        self.chunks.len() >= CHUNKS_MAX || self.bytes >= bytes_max
    }

    /// Hands all rows to the buffers of their partitions, each in the order in which they came.
    pub(super) fn hand_out(&mut self, buffers: &mut Buffers) -> Result<()> {
        let chunks: Vec<&RecordBatch> = self.chunks.iter().collect();
        for partition in self.touched.drain(..) {
            if let Some(places) = self.places.get_mut(partition) {
                buffers.push(partition, interleave_record_batch(&chunks, places)?)?;
                places.clear();
            }
        }
        self.chunks.clear();
        self.bytes = 0;
        Ok(())
    }
}
