//! The join of a spine in memory: feature rows come by as they are read, in any order.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::Int64Type;
use datafusion::common::runtime::JoinSet;
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryReservation};
use datafusion::physical_plan::SendableRecordBatchStream;
use futures::StreamExt;
use icecore_core::{BatchStream, Error, Result};
use icecore_engine::from_datafusion;

use crate::answers::{Answers, Seen};
use crate::held::Held;
use crate::output::Output;
use crate::slots::Slots;
use crate::source::FeatureRows;
use crate::spine::Bounds;
use crate::table::JoinTable;

/// What is looked up, and where.
pub(crate) struct Probe<'a> {
    pub(crate) tables: &'a [Arc<JoinTable>],
    pub(crate) rows: &'a [Arc<dyn FeatureRows>],
    pub(crate) bounds: &'a Bounds,
    pub(crate) context: &'a Arc<TaskContext>,
    /// How often the tables were read before.
    pub(crate) part: usize,
}

/// What every table gave.
pub(crate) struct Found {
    seen: Vec<Seen>,
    /// What they take, until the last row has come out.
    _memory: MemoryReservation,
}

impl Probe<'_> {
    /// Looks at every feature row once. `None` if memory is short.
    pub(crate) async fn run(&self, held: &Held, moment: usize) -> Result<Option<Found>> {
        let consumer = MemoryConsumer::new("point-in-time answers");
        let memory = consumer.register(self.context.memory_pool());
        let mut seen: Vec<Option<Seen>> = self.tables.iter().map(|_| None).collect();
        while let Some(next) = seen.iter().position(Option::is_none) {
            let keys = self.tables[next].spine_keys();
            // Sixteen bytes for a row while slots are made, and twelve for a slot then, and sixteen
            // more for their order in time.
            if memory.try_grow(held.rows * 40).is_err() {
                return Ok(None);
            }
            let slots = Arc::new(Slots::new(held, &keys, moment)?);
            for (at, table) in self.tables.iter().enumerate().skip(next) {
                if seen[at].is_some() || table.spine_keys() != keys {
                    continue;
                }
                let Some(answers) = self.look(at, &slots).await? else { return Ok(None) };
                let found = answers.finish()?;
                if memory.try_grow(found.size_bytes()).is_err() {
                    return Ok(None);
                }
                seen[at] = Some(found);
            }
        }
        Ok(Some(Found { seen: seen.into_iter().flatten().collect(), _memory: memory }))
    }

    /// Looks at the rows of a table, on all threads.
    async fn look(&self, at: usize, slots: &Arc<Slots>) -> Result<Option<Answers>> {
        let table = &self.tables[at];
        let rows = self.rows[at].read(table, (self.bounds, self.part), self.context).await?;
        let partitions = rows.partitions;
        let workers = self.context.session_config().target_partitions().max(1);
        let mut shares: Vec<Vec<SendableRecordBatchStream>> = Vec::new();
        shares.resize_with(workers.min(partitions.len()), Vec::new);
        for (at, partition) in partitions.into_iter().enumerate() {
            let workers = shares.len();
            shares[at % workers].push(partition);
        }
        let mut tasks = JoinSet::new();
        for share in shares {
            let consumer = MemoryConsumer::new("point-in-time answers");
            let memory = consumer.register(self.context.memory_pool());
            let answers = self.nothing(table, slots);
            tasks.spawn(worked(share, answers, memory));
        }
        let mut whole: Option<Answers> = None;
        let mut reservations = Vec::new();
        while let Some(done) = tasks.join_next().await {
            let done = done.map_err(|error| {
                Error::internal("a part of the join stopped").with_source(error)
            })?;
            let Some((answers, memory)) = done? else { return Ok(None) };
            reservations.push(memory);
            match &mut whole {
                Some(whole) => whole.merge(answers)?,
                None => whole = Some(answers),
            }
        }
        Ok(Some(whole.unwrap_or_else(|| self.nothing(table, slots))))
    }

    fn nothing(&self, table: &Arc<JoinTable>, slots: &Arc<Slots>) -> Answers {
        let memory = match self.context.memory_pool().memory_limit() {
            MemoryLimit::Finite(bytes) => bytes,
            MemoryLimit::Infinite | MemoryLimit::Unknown => usize::MAX,
        };
        Answers::new(Arc::clone(table), Arc::clone(slots), memory)
    }
}

/// Looks at the rows of some partitions. `None` if memory is short.
async fn worked(
    partitions: Vec<SendableRecordBatchStream>,
    mut answers: Answers,
    memory: MemoryReservation,
) -> Result<Option<(Answers, MemoryReservation)>> {
    for mut partition in partitions {
        while let Some(batch) = partition.next().await {
            answers.add(&batch.map_err(from_datafusion)?)?;
            if memory.try_resize(answers.size_bytes()).is_err() {
                answers.compact()?;
                match memory.try_resize(answers.size_bytes()) {
                    Ok(()) => {}
                    Err(DataFusionError::ResourcesExhausted(_)) => return Ok(None),
                    Err(error) => return Err(from_datafusion(error)),
                }
            }
        }
    }
    Ok(Some((answers, memory)))
}

/// The rows of the spine, in order, each with what it sees.
pub(crate) fn put_out(held: Held, found: Found, output: Output, batch_rows: usize) -> BatchStream {
    let schema = Arc::clone(output.schema());
    let (batches, memory) = held.into_parts();
    let slices = batches.into_iter().flat_map(move |batch| {
        let starts = (0..batch.num_rows()).step_by(batch_rows.max(1));
        let slices = starts.map(|at| batch.slice(at, batch_rows.min(batch.num_rows() - at)));
        slices.collect::<Vec<_>>()
    });
    let mut start = 0;
    let rows = slices.map(move |batch| {
        let _held = &memory;
        let spine = output.spine_columns();
        let seen = found.seen.iter().map(|seen| seen.rows(start, batch.num_rows()));
        let taken = seen.collect::<Result<Vec<Vec<ArrayRef>>>>()?;
        start += batch.num_rows();
        let moments = batch.column(spine + 1).as_primitive::<Int64Type>();
        output.batch(&batch.columns()[..spine], moments, taken)
    });
    BatchStream::new(schema, futures::stream::iter(rows))
}
