//! Writing rows into data files.
//!
//! A stream of any length is written in bounded memory: rows wait in one buffer per partition, and
//! a buffer is encoded when it fills a row group, when all buffers together hold too much, or at
//! the end. What is written depends on the rows, their order and the commit's uuid alone: not on
//! how the stream was cut into batches, nor on how many cores encode it.

mod buffer;
mod cast;
mod codec;
mod conform;
mod default;
pub(crate) mod deletion_vector;
mod encode;
pub(crate) mod equality_deletes;
mod jobs;
pub(crate) mod lineage;
mod metrics;
mod modes;
mod naming;
mod options;
pub(crate) mod position_deletes;
mod sort;
mod splice;
mod split;
mod spread;
mod stage;
mod transform;

#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::BatchCoalescer;
use futures::StreamExt;
use iceberg::io::FileIO;
use iceberg::spec::{DataFile, Schema, TableMetadata};
use icecore_core::{BatchStream, Result};
use uuid::Uuid;

use crate::schema;
use buffer::Buffers;
pub(crate) use conform::Conform;
use encode::Encoding;
use jobs::Jobs;
use split::{Placed, Splitter};
use stage::Stage;

pub(crate) use options::{check as check_written, target_bytes};
pub(crate) use sort::RowOrder;
pub(crate) use splice::{Copied, Splice, column_leaves};
pub use spread::spread_columns;

/// What waits to be handed to its partitions takes at most this share of what may wait.
const STAGE_SHARE: usize = 8;

/// Rows that are split, sorted and accounted for at a time.
const CHUNK_ROWS: usize = 8192;

/// Where rows go.
#[derive(Debug, Clone)]
pub(crate) struct WriteTarget {
    /// The table: rows take its current schema, partitioning, sort order and properties.
    pub(crate) metadata: Arc<TableMetadata>,
    /// Where its files are.
    pub(crate) io: FileIO,
    /// What the files are named after.
    pub(crate) commit: Uuid,
}

/// What was written. Nothing refers to it yet.
#[derive(Debug, Default)]
pub(crate) struct WrittenFiles {
    /// The files, in the order of their names' numbers.
    pub(crate) files: Vec<DataFile>,
    /// Their rows.
    pub(crate) rows: u64,
}

/// How much may be held in memory at a time.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Bytes of rows that wait to be encoded.
    waiting_bytes: usize,
    /// Bytes of rows that are being encoded.
    encoding_bytes: usize,
    /// Files that are open between two row groups.
    open_files: usize,
    /// Rows of a row group.
    group_rows: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            waiting_bytes: 256 << 20,
            encoding_bytes: 256 << 20,
            open_files: 64,
            group_rows: 128 * CHUNK_ROWS,
        }
    }
}

/// Writes rows into new data files of a table. A column of the table that the rows lack is null.
///
/// On an error nothing that was written remains.
///
/// # Errors
///
/// Those of the stream; `NotFound` for a column that the table lacks; `InvalidInput` for a type or
/// a value that a column cannot hold and for a null in a required column; those of the storage.
pub(crate) async fn write_rows(target: &WriteTarget, rows: BatchStream) -> Result<WrittenFiles> {
    let columns = target.metadata.current_schema();
    write_within(target, columns, rows, Limits::default()).await.map(|(written, _)| written)
}

/// [`write_rows`] of rows that were rows of the table before: their last two columns are those of
/// [`lineage::columns`], and go into the files too.
///
/// # Errors
///
/// As [`write_rows`].
pub(crate) async fn write_moved_rows(
    target: &WriteTarget,
    rows: BatchStream,
) -> Result<WrittenFiles> {
    let columns = lineage::with_table(target.metadata.current_schema())?;
    write_within(target, &columns, rows, Limits::default()).await.map(|(written, _)| written)
}

/// [`write_rows`], which also returns the most bytes of rows that were held at a time.
async fn write_within(
    target: &WriteTarget,
    columns: &Schema,
    rows: BatchStream,
    limits: Limits,
) -> Result<(WrittenFiles, usize)> {
    let mut writer = TableWriter::new(target, columns, &rows, limits)?;
    let written = async {
        writer.consume(rows).await?;
        writer.finish().await
    };
    match written.await {
        Ok(written) => Ok((written, writer.jobs.peak_bytes())),
        Err(error) => {
            writer.jobs.abandon().await;
            Err(error)
        }
    }
}

struct TableWriter {
    conform: Conform,
    chunks: BatchCoalescer,
    splitter: Option<Splitter>,
    stage: Stage,
    buffers: Buffers,
    jobs: Jobs,
    limits: Limits,
    rows: u64,
}

impl TableWriter {
    fn new(
        target: &WriteTarget,
        columns: &Schema,
        rows: &BatchStream,
        limits: Limits,
    ) -> Result<Self> {
        let metadata = &target.metadata;
        let schema = metadata.current_schema();
        let arrow = schema::to_arrow(columns)?;
        let conform = Conform::for_table(rows.schema(), &arrow, columns)?;
        let spec = metadata.default_partition_spec();
        let splitter =
            if spec.is_unpartitioned() { None } else { Some(Splitter::try_new(schema, spec)?) };
        let encoding = Arc::new(Encoding::try_new(target, arrow.clone(), limits.group_rows)?);
        let buffers = match &splitter {
            None => Buffers::unpartitioned(),
            Some(_) => Buffers::default(),
        };
        Ok(Self {
            conform,
            chunks: BatchCoalescer::new(arrow, CHUNK_ROWS),
            splitter,
            stage: Stage::default(),
            buffers,
            jobs: Jobs::new(encoding, limits),
            limits,
            rows: 0,
        })
    }

    async fn consume(&mut self, mut rows: BatchStream) -> Result<()> {
        while let Some(batch) = rows.next().await {
            let batch = self.conform.batch(&batch?)?;
            self.rows += batch.num_rows() as u64;
            self.cut(batch).await?;
        }
        self.chunks.finish_buffered_batch()?;
        while let Some(chunk) = self.chunks.next_completed_batch() {
            self.take_in(chunk).await?;
        }
        self.stage.hand_out(&mut self.buffers)?;
        self.encode_enough().await
    }

    /// Cuts rows into chunks of one size. Without partitions only those at the ends of batches are
    /// copied for it; with partitions a chunk may wait long, and must not hold on to others.
    async fn cut(&mut self, batch: RecordBatch) -> Result<()> {
        let mut start = 0;
        while start < batch.num_rows() {
            let missing = CHUNK_ROWS - self.chunks.get_buffered_rows().min(CHUNK_ROWS - 1);
            let piece = batch.slice(start, missing.min(batch.num_rows() - start));
            start += piece.num_rows();
            if piece.num_rows() == CHUNK_ROWS && self.splitter.is_none() {
                self.take_in(piece).await?;
                continue;
            }
            self.chunks.push_batch(piece)?;
            while let Some(chunk) = self.chunks.next_completed_batch() {
                self.take_in(chunk).await?;
            }
        }
        Ok(())
    }

    async fn take_in(&mut self, chunk: RecordBatch) -> Result<()> {
        match &mut self.splitter {
            None => self.buffers.push(0, chunk)?,
            Some(splitter) => match splitter.place(&chunk, &mut self.buffers)? {
                Placed::Together(partition) => {
                    self.stage.hand_out(&mut self.buffers)?;
                    self.buffers.push(partition, chunk)?;
                }
                Placed::Apart(partitions) => {
                    self.stage.add(chunk, &partitions);
                    if self.stage.is_full(self.limits.waiting_bytes / STAGE_SHARE) {
                        self.stage.hand_out(&mut self.buffers)?;
                    }
                }
            },
        }
        self.encode_enough().await
    }

    /// Encodes what fills a file or a row group, and more where too much waits.
    async fn encode_enough(&mut self) -> Result<()> {
        while let Some(partition) = self.buffers.full(self.jobs.encoding()) {
            self.jobs.encode(self.buffers.take(partition)).await?;
        }
        while self.buffers.bytes() + self.stage.bytes() > self.limits.waiting_bytes {
            let Some(partition) = self.buffers.largest() else { break };
            self.jobs.encode(self.buffers.take(partition)).await?;
        }
        self.jobs.note_waiting(self.buffers.bytes() + self.stage.bytes());
        Ok(())
    }

    async fn finish(&mut self) -> Result<WrittenFiles> {
        for partition in 0..self.buffers.len() {
            self.jobs.complete(self.buffers.take(partition)).await?;
        }
        let files = self.jobs.finish().await?;
        Ok(WrittenFiles { files, rows: self.rows })
    }
}
