//! Whole entities out of a sorted stream of batches, and parts of those that memory has no room for.
//!
//! A row sees events back to the reach of the widest window, so of an entity no more than that is
//! needed: when memory is short, the rows before the newest event are given out, and events that no
//! later row sees are dropped.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, TimestampMicrosecondArray, UInt64Array};
use arrow::compute::{concat, concat_batches, partition, take_record_batch};
use arrow::datatypes::{DataType, TimestampMicrosecondType};
use datafusion::common::utils::memory::get_record_batch_memory_size;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryReservation};
use icecore_core::{Error, ErrorKind, Span, TimeRange, Timestamp};

use super::WindowNode;
use super::logical::external;

/// Events of whole entities, or of a part of one.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) rows: RecordBatch,
    pub(super) entities: Vec<Range<usize>>,
    /// Which rows come out of it: all that are wanted, or those of a part of an entity's time.
    pub(super) range: TimeRange,
}

/// Gathers batches until they hold a block of whole entities.
#[derive(Debug)]
pub(super) struct Blocks {
    /// How many leading columns identify an entity.
    keys: usize,
    /// Which rows are wanted.
    range: TimeRange,
    /// How long before a row an event lies at most; absent for a lifetime.
    reach: Option<Span>,
    /// How many rows make a block.
    rows_wanted: usize,
    batches: Vec<RecordBatch>,
    rows: usize,
    /// The first row of each entity, over all batches.
    starts: Vec<usize>,
    /// Rows of the first entity before this moment have been given out.
    given: Option<Timestamp>,
    /// A batch that memory has no room for until what was there before it is worked off, and why.
    waiting: Option<(RecordBatch, DataFusionError)>,
    memory: MemoryReservation,
    /// What is set aside from the start, so that sorts below leave room.
    floor_bytes: usize,
    /// What batches and the block made of them take.
    bytes: usize,
}

impl Blocks {
    pub(super) fn new(node: &WindowNode, rows_wanted: usize, context: &TaskContext) -> Self {
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
            keys: node.keys.len(),
            range: node.range,
            reach: node.spec.reach(),
            rows_wanted,
            batches: Vec::new(),
            rows: 0,
            starts: Vec::new(),
            given: None,
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
            if self.rows == 0 {
                return Err(error);
            }
            self.waiting = Some((batch, error));
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
        if let Some((batch, _)) = self.waiting.take() {
            // The last block is worked off.
            let held: usize = self.batches.iter().map(get_record_batch_memory_size).sum();
            self.resize(2 * held)?;
            self.push(batch)?;
        }
        let is_hurried = self.waiting.is_some();
        let ended = ended && !is_hurried;
        // The last entity may go on in the next batch.
        let mut whole = if ended { self.rows } else { self.starts.last().copied().unwrap_or(0) };
        if whole == 0 && is_hurried {
            return self.part();
        }
        if self.given.is_some() {
            // What is left of an entity that came in parts: its rows are of another range.
            whole = self.starts.get(1).copied().unwrap_or(whole);
        }
        let is_enough = whole >= self.rows_wanted || self.given.is_some();
        if whole == 0 || !ended && !is_hurried && !is_enough {
            return Ok(None);
        }
        let Some(first) = self.batches.first() else { return Ok(None) };
        let rows = concat_batches(&first.schema(), &self.batches)?;
        self.batches.clear();
        let rest = copied(&rows.slice(whole, self.rows - whole))?;
        let mut starts = std::mem::take(&mut self.starts);
        self.starts
            .extend(starts.iter().filter(|start| **start >= whole).map(|start| start - whole));
        starts.retain(|start| *start < whole);
        starts.push(whole);
        let entities = starts.windows(2).map(|pair| pair[0]..pair[1]).collect();
        self.rows = rest.num_rows();
        let rows = rows.slice(0, whole);
        self.resize(2 * get_record_batch_memory_size(&rows))?;
        if self.rows > 0 {
            self.batches.push(rest);
        }
        let from = self.given.take().max(self.range.from);
        Ok(Some(Block { rows, entities, range: TimeRange { from, ..self.range } }))
    }

    /// The rows of the only entity that is held, before its newest event: others of that moment may
    /// follow. Keeps the events that later rows see.
    fn part(&mut self) -> Result<Option<Block>> {
        let Some(first) = self.batches.first() else { return Ok(None) };
        let rows = concat_batches(&first.schema(), &self.batches)?;
        let moments = moments(&rows, self.keys)?.values();
        let Some(newest) = moments.last().copied() else { return Ok(None) };
        let oldest = self.reach.and_then(|reach| newest.checked_sub(reach.micros()));
        let passed = oldest.map_or(0, |oldest| moments.partition_point(|at| *at < oldest));
        if passed == 0 {
            // The widest window is wider than the memory.
            return self.waiting.take().map_or(Ok(None), |(_, error)| Err(error));
        }
        let rest = copied(&rows.slice(passed, self.rows - passed))?;
        self.rows = rest.num_rows();
        self.batches = vec![rest];
        self.resize(2 * get_record_batch_memory_size(&rows))?;
        let newest = Timestamp::from_micros(newest);
        let from = self.given.replace(newest).max(self.range.from);
        let to = self.range.to.map_or(newest, |to| to.min(newest));
        let entities = std::iter::once(0..rows.num_rows()).collect();
        Ok(Some(Block { rows, entities, range: TimeRange { from, to: Some(to) } }))
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

/// The moments of events.
pub(super) fn moments(rows: &RecordBatch, keys: usize) -> Result<&TimestampMicrosecondArray> {
    let Some(moments) = rows.columns().get(keys) else {
        return Err(DataFusionError::Internal("window events have no time".into()));
    };
    let moments = moments.as_primitive_opt::<TimestampMicrosecondType>();
    moments
        .filter(|moments| moments.null_count() == 0)
        .ok_or_else(|| DataFusionError::Internal("window events have a null time".into()))
}

/// A copy with memory of its own, so that that of the whole goes with the whole.
fn copied(rows: &RecordBatch) -> Result<RecordBatch> {
    let all = UInt64Array::from_iter_values(0..rows.num_rows() as u64);
    let rows = take_record_batch(rows, &all)?;
    // A copy of views keeps all the texts of the whole.
    let columns = rows.columns().iter().map(|column| match column.data_type() {
        DataType::Utf8View => Arc::new(column.as_string_view().gc()) as ArrayRef,
        DataType::BinaryView => Arc::new(column.as_binary_view().gc()),
        _ => Arc::clone(column),
    });
    Ok(RecordBatch::try_new(rows.schema(), columns.collect())?)
}

fn too_wide(error: DataFusionError) -> DataFusionError {
    let message =
        "the events that the widest window sees of one entity do not fit the memory limit";
    external(
        Error::new(ErrorKind::LimitExceeded, message)
            .with_help("raise the memory limit, or leave out entities that are not real")
            .with_source(error),
    )
}
