//! A part of a spine that is kept in memory, so that no row of a feature table has to be sorted.

use arrow::array::{Array, RecordBatch};
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryReservation};
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;
use icecore_core::Result;
use icecore_engine::from_datafusion;

/// Rows are numbered in 32 bits.
const ROWS_MAX: usize = u32::MAX as usize - 1;

/// Batches of a spine that follow each other.
pub(crate) struct Held {
    pub(crate) batches: Vec<RecordBatch>,
    pub(crate) rows: usize,
    memory: MemoryReservation,
}

/// How many bytes of a spine are kept: a quarter of what the engine may use.
pub(crate) fn bytes_max(context: &TaskContext) -> usize {
    match context.memory_pool().memory_limit() {
        MemoryLimit::Finite(bytes) => bytes / 4,
        _ => usize::MAX,
    }
}

/// Reads a spine into memory, as far as it fits, and gives the rest if there may be one. The last
/// batch of a part is the first that did not fit: it was made already.
pub(crate) async fn hold(
    mut rows: SendableRecordBatchStream,
    bytes_max: usize,
    context: &TaskContext,
) -> Result<(Held, Option<SendableRecordBatchStream>)> {
    let memory = MemoryConsumer::new("point-in-time spine").register(context.memory_pool());
    let mut held = Held { batches: Vec::new(), rows: 0, memory };
    while let Some(batch) = rows.next().await.transpose().map_err(from_datafusion)? {
        let bytes = bytes_of(&batch)?;
        let fits = held.rows + batch.num_rows() <= ROWS_MAX
            && held.memory.size().saturating_add(bytes) <= bytes_max
            && held.memory.try_grow(bytes).is_ok();
        held.rows += batch.num_rows();
        held.batches.push(batch);
        if !fits {
            return Ok((held, Some(rows)));
        }
    }
    Ok((held, None))
}

impl Held {
    /// The rows, and what counts the memory that they take.
    pub(crate) fn into_parts(self) -> (Vec<RecordBatch>, MemoryReservation) {
        (self.batches, self.memory)
    }

    /// The rows, and those of `rest` after them. Each batch is let go when it is read.
    pub(crate) fn followed_by(self, rest: SendableRecordBatchStream) -> SendableRecordBatchStream {
        let schema = rest.schema();
        let rows = futures::stream::iter(self.batches.into_iter().map(Ok)).chain(rest);
        Box::pin(RecordBatchStreamAdapter::new(schema, rows))
    }
}

/// What the rows of a batch take, whatever buffers they are slices of.
fn bytes_of(batch: &RecordBatch) -> Result<usize> {
    let bytes = batch.columns().iter().map(|column| column.to_data().get_slice_memory_size());
    Ok(bytes.sum::<Result<usize, _>>()?)
}
