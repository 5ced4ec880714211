//! Computing sampled entities again and comparing with what the table holds.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::{cast, concat_batches, filter_record_batch};
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, SortField};
use arrow::util::display::array_value_to_string;
use futures::TryStreamExt;
use icecore_core::{
    Error, ErrorKind, PinnedTable, Result, ScanOptions, SnapshotCatalog, SnapshotSelector,
    TimeRange,
};
use icecore_engine::{Engine, from_datafusion};
use sha2::{Digest, Sha256};

use crate::Definitions;
use crate::affected::Affected;
use crate::base::{self, Base};
use crate::compute::{ComputeOptions, Run, effective_range};
use crate::counted::Counts;
use crate::local::{compute, source_schema};
use crate::output::head;

/// What to verify.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct VerifyOptions {
    /// Which part of the entities to look at, from 0 to 1. At 1, all.
    pub sample: f64,
    /// Other seeds choose other entities.
    pub seed: u64,
}

impl VerifyOptions {
    /// Looks at this part of the entities.
    #[must_use]
    pub const fn new(sample: f64) -> Self {
        Self { sample, seed: 0 }
    }

    /// Chooses others.
    #[must_use]
    pub const fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }
}

/// What was compared.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifyReport {
    /// The view.
    pub view: String,
    /// Its table, at the state that was looked at.
    pub table: PinnedTable,
    /// The states of the sources that its rows were computed from, and were computed again from.
    pub sources: Vec<PinnedTable>,
    /// Entities that were looked at.
    pub entities: u64,
    /// Rows that are equal.
    pub rows: u64,
}

/// Computes the features of sampled entities again, from the sources that the table's rows were
/// computed from, and compares every row and value, to the last bit.
///
/// # Errors
///
/// `DataCorrupt` with the first row that differs; `InvalidInput` if the table has no rows, or
/// nobody knows what they were computed from, or only some were computed since.
pub async fn verify_view(
    engine: &Engine,
    definitions: &Definitions,
    view: &str,
    options: VerifyOptions,
) -> Result<VerifyReport> {
    if !(options.sample > 0.0 && options.sample <= 1.0) {
        return Err(Error::invalid(format!("a sample of {} is none", options.sample))
            .with_help("write a part of the entities, above 0 and up to 1, such as 0.01"));
    }
    let view = definitions.view(view)?;
    let hash = definitions.definition_hash(view);
    let latest = ComputeOptions::default();
    let run = Run::begin(engine, (definitions, view), &latest, None).await?;
    let found = base::find(engine, run.table, view, &hash, &run.history).await?;
    let (sources, to) = match found {
        Base::Found(standing) => match standing.sources.as_slice() {
            [sources] => (sources.clone(), standing.to),
            _ => return Err(mixed(&view.name)),
        },
        Base::Nothing => {
            return Err(Error::invalid(format!("`{}` has no rows", run.table))
                .with_help(format!("compute them: `icecore features compute {}`", view.name)));
        }
        Base::No(error) => return Err(error),
    };
    let then = Run::begin(engine, (definitions, view), &latest, Some(&sources)).await?;
    let mut range = effective_range(engine, &then.source, &latest, &mut Vec::new()).await?;
    range.to = range.to.and(to.or(range.to));
    let state = SnapshotSelector::Id(head(&run.history));
    let table = engine.catalog().pin(run.table, &state).await?;
    let sample = Sample { part: options.sample, seed: options.seed };
    let sampled = Arc::new(sampled(&then, &table, sample).await?);
    let (entities, rows) = compare(&then, &table, range, &sampled).await?;
    Ok(VerifyReport { view: view.name.clone(), table, sources, entities, rows })
}

fn mixed(view: &str) -> Error {
    Error::invalid(format!("the rows of `{view}` were not all computed from the same sources"))
        .with_note("ranges of it were computed since everything was")
        .with_help(format!("`icecore features compute {view}` makes them agree"))
}

/// Which entities are looked at: as good as chance, and the same every time.
#[derive(Debug, Clone, Copy)]
struct Sample {
    part: f64,
    seed: u64,
}

impl Sample {
    fn chooses(self, key: &[u8]) -> bool {
        if self.part >= 1.0 {
            return true;
        }
        let digest = Sha256::new().chain_update(self.seed.to_be_bytes()).chain_update(key);
        let digest = digest.finalize();
        let head: [u8; 4] = [digest[0], digest[1], digest[2], digest[3]];
        f64::from(u32::from_be_bytes(head)) / (f64::from(u32::MAX) + 1.0) < self.part
    }
}

/// The chosen ones of all entities that have events or rows.
async fn sampled(run: &Run<'_>, table: &PinnedTable, sample: Sample) -> Result<Affected> {
    let source = &run.source;
    let mut sampled = Affected::new(run.view(), source.keys.clone(), source.key_types()?)?;
    let keys: Vec<&str> = source.keys.iter().map(String::as_str).collect();
    let events = source.events(TimeRange::default())?.select_columns(&keys);
    let events = run.engine.stream(events.map_err(from_datafusion)?).await?;
    let columns = ScanOptions::default().with_columns(keys);
    let rows = run.engine.catalog().scan(table, columns).await?;
    for mut batches in [events, rows] {
        while let Some(batch) = batches.try_next().await? {
            sampled.add_entities(&batch, |key| sample.chooses(key))?;
        }
    }
    Ok(sampled)
}

async fn compare(
    run: &Run<'_>,
    table: &PinnedTable,
    range: TimeRange,
    sampled: &Arc<Affected>,
) -> Result<(u64, u64)> {
    if sampled.is_empty() {
        return Ok((0, 0));
    }
    let schema = source_schema(run.engine, &run.source).await?;
    let counts = Arc::new(Counts::default());
    let again = compute(run.engine, &run.source, range, &counts, Some(sampled)).await?;
    let again = again.concat().await?;
    let names: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
    let columns = ScanOptions::default().with_columns(names);
    let mut rows = run.engine.catalog().scan(table, columns).await?;
    let mut kept = Vec::new();
    while let Some(batch) = rows.try_next().await? {
        kept.push(filter_record_batch(&batch, &sampled.is_affected(batch.columns())?)?);
    }
    let stored = concat_batches(rows.schema(), &kept)?;
    let pair = Pair { keys: run.source.keys.len() + 1, again: &again, stored: &stored };
    pair.check(&run.view().name)?;
    Ok((sampled.entities() as u64, stored.num_rows() as u64))
}

/// The same rows twice, as they should be.
struct Pair<'a> {
    /// How many columns name a row.
    keys: usize,
    again: &'a RecordBatch,
    stored: &'a RecordBatch,
}

impl Pair<'_> {
    fn check(&self, view: &str) -> Result<()> {
        let types: Vec<DataType> =
            self.stored.schema().fields().iter().map(|field| field.data_type().clone()).collect();
        let fields = types.iter().cloned().map(SortField::new).collect();
        let converter = RowConverter::new(fields)?;
        let encoded = |batch: &RecordBatch| -> Result<BTreeMap<Vec<u8>, (usize, i64)>> {
            let same = |(column, data_type): (&ArrayRef, &DataType)| cast(column, data_type);
            let columns: Vec<ArrayRef> =
                batch.columns().iter().zip(&types).map(same).collect::<Result<_, _>>()?;
            let rows = converter.convert_columns(&columns)?;
            let mut counted = BTreeMap::new();
            for row in 0..batch.num_rows() {
                let entry = counted.entry(rows.row(row).as_ref().to_vec()).or_insert((row, 0_i64));
                entry.1 += 1;
            }
            Ok(counted)
        };
        let (again, stored) = (encoded(self.again)?, encoded(self.stored)?);
        let missing = again
            .iter()
            .find(|(row, (_, count))| stored.get(*row).map_or(0, |(_, count)| *count) != *count);
        let extra = stored.iter().find(|(row, _)| !again.contains_key(*row));
        match (missing, extra) {
            (None, None) => Ok(()),
            (Some((key, (row, _))), extra) => {
                // Of the two, the one that comes first in the order of keys.
                match extra.filter(|(other, _)| *other < key) {
                    Some((_, (row, _))) => Err(self.difference(view, None, Some(*row))),
                    None => Err(self.difference(view, Some(*row), None)),
                }
            }
            (None, Some((_, (row, _)))) => Err(self.difference(view, None, Some(*row))),
        }
    }

    /// The error for a row that the other side does not have so.
    fn difference(&self, view: &str, again: Option<usize>, stored: Option<usize>) -> Error {
        let (batch, row, other) = match (again, stored) {
            (Some(row), _) => (self.again, row, self.stored),
            (None, row) => (self.stored, row.unwrap_or_default(), self.again),
        };
        let name = self.name(batch, row);
        let twin = (0..other.num_rows()).find(|twin| self.name(other, *twin) == name);
        let message = format!("the features of `{view}` are not what their events give");
        let error = Error::new(ErrorKind::DataCorrupt, message).with_note(format!("at {name}"));
        let error = match (twin, again) {
            (Some(twin), Some(row)) => self.values(error, row, twin),
            (Some(twin), None) => self.values(error, twin, row),
            (None, Some(_)) => error.with_note("the table lacks this row"),
            (None, None) => error.with_note("the table has this row, and it should not"),
        };
        error.with_help(format!("compute it again: `icecore features compute {view} --full`"))
    }

    fn values(&self, mut error: Error, again: usize, stored: usize) -> Error {
        let schema = self.stored.schema();
        for (index, field) in schema.fields().iter().enumerate().skip(self.keys) {
            let (ours, theirs) = (cell(self.again, index, again), cell(self.stored, index, stored));
            if ours != theirs {
                error = error.with_note(format!(
                    "`{}` is {theirs} in the table and {ours} computed again",
                    field.name()
                ));
            }
        }
        error
    }

    fn name(&self, batch: &RecordBatch, row: usize) -> String {
        let schema = batch.schema();
        let fields = schema.fields().iter().enumerate().take(self.keys);
        let parts = fields
            .map(|(index, field)| format!("`{}` = `{}`", field.name(), cell(batch, index, row)));
        parts.collect::<Vec<_>>().join(", ")
    }
}

fn cell(batch: &RecordBatch, column: usize, row: usize) -> String {
    let Some(column) = batch.columns().get(column) else { return String::new() };
    if column.is_null(row) {
        return "null".to_owned();
    }
    array_value_to_string(column, row).unwrap_or_else(|_| "?".to_owned())
}

#[cfg(test)]
mod tests;
