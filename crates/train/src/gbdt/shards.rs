//! Rows in parts: read from their source, binned, and kept as shards.

use icecore_core::{Error, Result, SignatureColumn, TrainingSet, TrainingSource};
use rayon::prelude::*;

use super::histogram::Layout;
use super::objective::Objective;
use super::rows::{ColumnCodes, RowNumber};
use super::shard::{Shard, ShardShape};
use super::survey::Weighing;
use super::target::Target;
use crate::arithmetic::mix;
use crate::columns::{self, CategoriesByName, Values};
use crate::forest::hardware::{Hardware, Work};
use crate::forest::mask::LANES;
use crate::forest::rank::RankTable;

/// Fewer rows than these are not worth a shard of their own.
const SHARD_ROWS_MIN: usize = 8_192;
/// The most rows of a shard: they have numbers, and the last block is full.
const SHARD_ROWS_MAX: usize = RowNumber::MAX as usize / LANES * LANES;
/// Rows that one task bins.
const TASK_ROWS: usize = 4_096;
/// Tasks that wait for each other.
const TASKS_MAX: usize = 16;

/// How rows are turned into shards.
#[derive(Debug)]
pub(super) struct Sharding<'a> {
    pub(super) objective: Objective,
    pub(super) target: &'a Target,
    pub(super) tables: &'a [RankTable],
    pub(super) layout: &'a Layout,
    pub(super) inputs: &'a [SignatureColumn],
    pub(super) categories: &'a CategoriesByName,
    pub(super) weighing: &'a Weighing,
}

/// Rows in memory: what is kept of them, and the groups that they are ranked in.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) shards: Vec<Shard>,
    pub(super) groups: Vec<u64>,
}

impl Sharding<'_> {
    /// Reads rows to learn from, which are so many.
    pub(super) fn learned(&self, source: &dyn TrainingSource, rows: usize) -> Result<Kept> {
        let threads = rayon::current_num_threads().max(1);
        let tasks = (rows / SHARD_ROWS_MIN).clamp(1, threads);
        // As many for each task.
        let shards = rows.div_ceil(SHARD_ROWS_MAX).next_multiple_of(tasks);
        let shard_rows = rows.div_ceil(shards).next_multiple_of(LANES);
        self.read(source, shard_rows)
    }

    /// Reads rows that are only scored.
    pub(super) fn watched(&self, source: &dyn TrainingSource) -> Result<Kept> {
        self.read(source, 4 * SHARD_ROWS_MIN)
    }

    fn read(&self, source: &dyn TrainingSource, shard_rows: usize) -> Result<Kept> {
        let mut kept = Kept::default();
        let starts = &self.target.starts;
        let has_bytes = self.objective.has_small_labels(starts.len());
        let shape = ShardShape { rows: shard_rows, layout: self.layout, has_bytes };
        source.read(&mut |part| {
            if self.objective.ranking().is_some() {
                kept.groups.extend_from_slice(groups(&part)?);
            }
            for window in (0..part.rows()).step_by(TASK_ROWS * TASKS_MAX) {
                let end = part.rows().min(window + TASK_ROWS * TASKS_MAX);
                let starts: Vec<usize> = (window..end).step_by(TASK_ROWS).collect();
                let binned: Result<Vec<Binned>> = starts
                    .into_par_iter()
                    .map(|start| self.bin(&part, (start, TASK_ROWS.min(end - start))))
                    .collect();
                for binned in binned? {
                    push(&mut kept.shards, binned, shape);
                }
            }
            Ok(())
        })?;
        kept.shards.par_iter_mut().for_each(|shard| shard.finish(starts));
        Ok(kept)
    }

    /// Refuses labels that were not learned.
    fn check(&self, labels: &[f64]) -> Result<()> {
        self.objective.check(labels)?;
        if self.objective.outputs(labels) > self.target.bases.len().max(2) {
            return Err(Error::invalid("the validation rows have classes of their own")
                .with_help("stratify the split"));
        }
        Ok(())
    }

    /// The bins of some rows of a part.
    fn bin(&self, part: &TrainingSet, (start, rows): (usize, usize)) -> Result<Binned> {
        let features = part.features().slice(start, rows);
        let columns = columns::bind(&features, self.inputs, self.categories)?;
        let mut codes: ColumnCodes = columns.iter().map(|_| vec![0; rows]).collect();
        let work = Encode { tables: self.tables, columns: &columns, codes: &mut codes };
        Hardware::best().run(work);
        let labels = &part.labels().values()[start..start + rows];
        self.check(labels)?;
        let given = part.weights().map(|weights| &weights.values()[start..start + rows]);
        let weights = self.weighing.weights(labels, given);
        let weights =
            weights.map(|weights| weights.into_iter().map(|weight| weight as f32).collect());
        let ids = &part.row_ids().values()[start..start + rows];
        let keys = ids.iter().map(|id| (mix(*id) >> 32) as u32).collect();
        Ok(Binned { codes, labels: self.target.encode(labels), weights, keys })
    }
}

/// The groups that rows are ranked in.
fn groups(part: &TrainingSet) -> Result<&[u64]> {
    match part.groups() {
        Some(groups) => Ok(groups.values()),
        None => Err(Error::invalid("`lambdarank` ranks rows in groups, and there are none")
            .with_help(
            "name the column of the query, `group = \"query_id\"`, or give the training set groups",
        )),
    }
}

/// What is kept of some rows.
#[derive(Debug)]
pub(super) struct Binned {
    pub(super) codes: ColumnCodes,
    pub(super) labels: Vec<f32>,
    pub(super) weights: Option<Vec<f32>>,
    /// A hash of each row's id.
    pub(super) keys: Vec<u32>,
}

impl Binned {
    /// Cuts off the first rows.
    fn split_off(&mut self, first: usize) -> Self {
        let rest = Self {
            codes: self.codes.iter_mut().map(|column| column.split_off(first)).collect(),
            labels: self.labels.split_off(first),
            weights: self.weights.as_mut().map(|weights| weights.split_off(first)),
            keys: self.keys.split_off(first),
        };
        std::mem::replace(self, rest)
    }
}

/// Adds rows to the last shard, or to further ones where it is full.
fn push(shards: &mut Vec<Shard>, mut binned: Binned, shape: ShardShape<'_>) {
    while !binned.keys.is_empty() {
        let room = match shards.last() {
            Some(last) if last.rows() < shape.rows => shape.rows - last.rows(),
            _ => {
                shards.push(Shard::new(shape));
                shape.rows
            }
        };
        let first = binned.split_off(room.min(binned.keys.len()));
        if let Some(last) = shards.last_mut() {
            last.push(&first);
        }
    }
}

/// Columns whose values become bins.
struct Encode<'a> {
    tables: &'a [RankTable],
    columns: &'a [Values],
    codes: &'a mut ColumnCodes,
}

impl Work for Encode<'_> {
    #[inline(always)]
    fn run(self) {
        for ((table, values), codes) in self.tables.iter().zip(self.columns).zip(self.codes) {
            for (code, value) in codes.iter_mut().zip(values.iter()) {
                *code = table.code(*value);
            }
        }
    }
}

/// All rows in an order that does not depend on how they came: by the hashes of their ids, then by
/// what training sees of them. Rows that are equal in all of it are interchangeable.
pub(super) fn canonical_order(shards: &[Shard]) -> Vec<usize> {
    let places = shards.iter().enumerate();
    let places = places.flat_map(|(shard, of)| (0..of.rows()).map(move |row| (shard, row)));
    let mut order: Vec<(u32, usize, (usize, usize))> = places
        .enumerate()
        .map(|(at, (shard, row))| (shards[shard].key(row), at, (shard, row)))
        .collect();
    order.par_sort_unstable_by(|a, b| {
        a.0.cmp(&b.0).then_with(|| {
            let ((of_a, a), (of_b, b)) = (a.2, b.2);
            shards[of_a].compare(a, &shards[of_b], b)
        })
    });
    order.into_iter().map(|(_, at, _)| at).collect()
}

#[cfg(test)]
mod tests;
