//! Whole entities out of a sorted stream of batches.

use std::ops::Range;

use arrow::array::{ArrayRef, RecordBatch, UInt64Array};
use arrow::compute::{concat, concat_batches, partition, take_record_batch};
use datafusion::common::utils::memory::get_record_batch_memory_size;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryReservation};
use icecore_core::{Error, ErrorKind};

use super::logical::external;

/// Events of whole entities.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) rows: RecordBatch,
    pub(super) entities: Vec<Range<usize>>,
}

/// Gathers batches until they hold a block of whole entities.
#[derive(Debug)]
pub(super) struct Blocks {
    /// How many leading columns identify an entity.
    keys: usize,
    /// How many rows make a block.
    rows_wanted: usize,
    batches: Vec<RecordBatch>,
    rows: usize,
    /// The first row of each entity, over all batches.
    starts: Vec<usize>,
    /// A batch that memory has no room for until the whole entities before it are worked off.
    waiting: Option<RecordBatch>,
    memory: MemoryReservation,
    /// What is set aside from the start, so that sorts below leave room.
    floor_bytes: usize,
    /// What batches and the block made of them take.
    bytes: usize,
}

impl Blocks {
    pub(super) fn new(keys: usize, rows_wanted: usize, context: &TaskContext) -> Self {
        let pool = context.memory_pool();
        let memory = MemoryConsumer::new("FeatureWindowExec").register(pool);
        let partitions = context.session_config().target_partitions().max(1);
        let floor_bytes = match pool.memory_limit() {
            MemoryLimit::Finite(bytes) => bytes / (4 * partitions),
            _ => 0,
        };
        // Without it there is as much room as sorts leave.
        let floor_bytes = memory.try_grow(floor_bytes).map_or(0, |()| floor_bytes);
        Self {
            keys,
            rows_wanted,
            batches: Vec::new(),
            rows: 0,
            starts: Vec::new(),
            waiting: None,
            memory,
            floor_bytes,
            bytes: 0,
        }
    }

    pub(super) fn push(&mut self, batch: RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        // Twice: what is gathered is copied once into a block.
        if let Err(error) = self.resize(self.bytes + 2 * get_record_batch_memory_size(&batch)) {
            if self.starts.last().is_none_or(|start| *start == 0) {
                return Err(error);
            }
            self.waiting = Some(batch);
            return Ok(());
        }
        let continues = match self.batches.last() {
            Some(last) => self.is_one_entity(last, &batch)?,
            None => false,
        };
        let starts = self.starts_in(&batch)?.into_iter().skip(usize::from(continues));
        self.starts.extend(starts.map(|start| self.rows + start));
        self.rows += batch.num_rows();
        self.batches.push(batch);
        Ok(())
    }

    /// The next block, if there are rows enough for one or no more will come.
    pub(super) fn take(&mut self, ended: bool) -> Result<Option<Block>> {
        if let Some(batch) = self.waiting.take() {
            // The last block is worked off.
            let held: usize = self.batches.iter().map(get_record_batch_memory_size).sum();
            self.resize(2 * held)?;
            self.push(batch)?;
        }
        let is_hurried = self.waiting.is_some();
        let ended = ended && !is_hurried;
        // The last entity may go on in the next batch.
        let whole = if ended { self.rows } else { self.starts.last().copied().unwrap_or(0) };
        if whole == 0 || !ended && !is_hurried && whole < self.rows_wanted {
            return Ok(None);
        }
        let Some(first) = self.batches.first() else { return Ok(None) };
        let rows = concat_batches(&first.schema(), &self.batches)?;
        self.batches.clear();
        let mut rest = rows.slice(whole, self.rows - whole);
        if is_hurried {
            // A copy of its own, so that the block's memory goes with the block.
            rest = take_record_batch(
                &rest,
                &UInt64Array::from_iter_values(0..rest.num_rows() as u64),
            )?;
        }
        let mut starts = std::mem::take(&mut self.starts);
        self.starts
            .extend(starts.iter().filter(|start| **start >= whole).map(|start| start - whole));
        starts.retain(|start| *start < whole);
        starts.push(whole);
        let entities = starts.windows(2).map(|pair| pair[0]..pair[1]).collect();
        self.rows = rest.num_rows();
        let rows = rows.slice(0, whole);
        // The rest shares the block's memory until the next one is made of it.
        self.resize(2 * get_record_batch_memory_size(&rows))?;
        if self.rows > 0 {
            self.batches.push(rest);
        }
        Ok(Some(Block { rows, entities }))
    }

    fn resize(&mut self, bytes: usize) -> Result<()> {
        self.memory.try_resize(bytes.max(self.floor_bytes)).map_err(too_wide)?;
        self.bytes = bytes;
        Ok(())
    }

    fn key_columns(&self, batch: &RecordBatch) -> Vec<ArrayRef> {
        batch.columns().iter().take(self.keys).cloned().collect()
    }

    fn starts_in(&self, batch: &RecordBatch) -> Result<Vec<usize>> {
        if self.keys == 0 {
            return Ok(vec![0]);
        }
        let entities = partition(&self.key_columns(batch))?.ranges();
        Ok(entities.into_iter().map(|entity| entity.start).collect())
    }

    /// Whether the next batch goes on with the entity that the last one ended with.
    fn is_one_entity(&self, last: &RecordBatch, next: &RecordBatch) -> Result<bool> {
        let pairs = last.columns().iter().zip(next.columns()).take(self.keys);
        let pairs =
            pairs.map(|(last, next)| concat(&[&last.slice(last.len() - 1, 1), &next.slice(0, 1)]));
        let pairs = pairs.collect::<std::result::Result<Vec<_>, _>>()?;
        Ok(self.keys == 0 || partition(&pairs)?.ranges().len() == 1)
    }
}

fn too_wide(error: DataFusionError) -> DataFusionError {
    let message = "the events of one entity do not fit the memory limit";
    external(
        Error::new(ErrorKind::LimitExceeded, message)
            .with_help("raise the memory limit, or leave out entities that are not real")
            .with_source(error),
    )
}
