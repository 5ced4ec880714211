//! A training set of which never more than a few batches are in memory.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::{RecordBatch, UInt64Array};
use arrow::datatypes::SchemaRef;
use futures::TryStreamExt;
use icecore_core::{
    Error, PinnedTable, Result, SnapshotCatalog, Timestamp, TrainingSet, TrainingSource,
};
use icecore_engine::Engine;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::digest::RowsDigest;
use crate::found::{Found, Scan};
use crate::load::{Counts, LoadOptions, Part, RowsFrom};
use crate::lock::Lock;

/// Batches that are read ahead.
const AHEAD: usize = 4;
/// Rows that are kept as an example.
const FIRST_ROWS: usize = 5;

/// Rows to learn from that stay where they are: each reading scans their table anew, or joins them
/// again, at the same pins.
///
/// It is read by [`TrainingSource::read`], which blocks: call it where a thread may wait, such as in
/// `tokio::task::spawn_blocking`.
#[derive(Clone)]
pub struct StreamedSet {
    engine: Engine,
    found: Arc<Found>,
    counts: Counts,
    first_rows: RecordBatch,
    rebuilt: Option<RowsDigest>,
    runtime: Handle,
}

impl fmt::Debug for StreamedSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamedSet")
            .field("pin", &self.found.pin)
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}

/// Finds the rows that [`load`](crate::load()) would, reads them once to count them, and shows the
/// features of every batch to `each`. No row is kept.
///
/// # Errors
///
/// As [`load`](crate::load()), or as `each`.
pub async fn open(
    engine: &Engine,
    lock: &Lock,
    options: &LoadOptions,
    mut each: impl FnMut(&RecordBatch) -> Result<()>,
) -> Result<StreamedSet> {
    let found = Found::new(engine, lock, options).await?;
    let Scan { mut rows, rebuilt } = found.scan(engine).await?;
    let mut counts = Counts::default();
    let mut first_rows = RecordBatch::new_empty(found.columns.feature_schema.clone());
    while let Some(batch) = rows.try_next().await? {
        let part = found.columns.part(&batch)?;
        counts.add(&part);
        let features = part.set.features();
        if first_rows.num_rows() == 0 {
            first_rows = arrow::compute::take_record_batch(
                features,
                &UInt64Array::from_iter_values(0..features.num_rows().min(FIRST_ROWS) as u64),
            )?;
        }
        each(features)?;
    }
    Ok(StreamedSet {
        engine: engine.clone(),
        found: Arc::new(found),
        counts,
        first_rows,
        rebuilt: rebuilt.map(|content| content().into()),
        runtime: Handle::current(),
    })
}

/// How many numbers the features of a training set are, at most, by what the table says of itself,
/// or the lock.
///
/// # Errors
///
/// As [`load`](crate::load()).
pub async fn size(engine: &Engine, lock: &Lock, options: &LoadOptions) -> Result<u64> {
    if let RowsFrom::Inputs { .. } = options.rows {
        return Ok(lock.rows.saturating_mul(lock.plan.features().len() as u64));
    }
    let found = Found::new(engine, lock, options).await?;
    let history = engine.catalog().history(&found.pin.table).await?;
    let snapshot = history.iter().find(|snapshot| snapshot.id == found.pin.snapshot);
    let rows = snapshot.map_or(0, |snapshot| snapshot.count("total-records"));
    let features = found.columns.feature_schema.fields().len() as u64;
    Ok(u64::try_from(rows).unwrap_or(0).saturating_mul(features))
}

impl StreamedSet {
    /// The state of the dataset's table that is read.
    #[must_use]
    pub fn pin(&self) -> &PinnedTable {
        &self.found.pin
    }

    /// How many rows have a label and do not test.
    #[must_use]
    pub const fn rows(&self) -> u64 {
        self.counts.rows
    }

    /// How many of them have a label above one half.
    #[must_use]
    pub const fn positive(&self) -> u64 {
        self.counts.positive
    }

    /// How many rows are left out because they have no label.
    #[must_use]
    pub const fn unlabelled(&self) -> u64 {
        self.counts.unlabelled
    }

    /// The least and the greatest moment of the rows.
    #[must_use]
    pub fn moments(&self) -> (Option<Timestamp>, Option<Timestamp>) {
        self.counts.moments()
    }

    /// The features of some rows.
    #[must_use]
    pub const fn first_rows(&self) -> &RecordBatch {
        &self.first_rows
    }

    /// The types of columns that are other than what the lock's inputs give.
    #[must_use]
    pub fn types(&self) -> &BTreeMap<String, String> {
        &self.found.types
    }

    /// What the rows are that were joined again, all columns of the lock.
    #[must_use]
    pub const fn rebuilt(&self) -> Option<&RowsDigest> {
        self.rebuilt.as_ref()
    }

    /// Whether rows count more or less often than others.
    #[must_use]
    pub fn is_weighed(&self) -> bool {
        self.found.columns.weight.is_some()
    }

    /// Whether the set itself says which rows validate.
    #[must_use]
    pub fn is_divided(&self) -> bool {
        self.found.columns.part.is_some()
    }

    /// The rows that validate, or the others, where the set itself says which.
    #[must_use]
    pub const fn side(&self, validates: bool) -> StreamedSide<'_> {
        StreamedSide { of: self, validates }
    }

    fn read_parts(&self, each: &mut dyn FnMut(Part) -> Result<()>) -> Result<()> {
        let (sender, mut batches) = mpsc::channel::<Result<RecordBatch>>(AHEAD);
        let (engine, found) = (self.engine.clone(), Arc::clone(&self.found));
        let reader = self.runtime.spawn(async move {
            let read = async {
                let mut rows = found.scan(&engine).await?.rows;
                while let Some(batch) = rows.try_next().await? {
                    if sender.send(Ok(batch)).await.is_err() {
                        // Nobody listens any more.
                        break;
                    }
                }
                Ok(())
            };
            if let Err(error) = read.await {
                let _ = sender.send(Err(error)).await;
            }
        });
        let mut rows = 0;
        while let Some(batch) = batches.blocking_recv() {
            let part = self.found.columns.part(&batch?)?;
            rows += part.set.rows() as u64;
            each(part)?;
        }
        // A reading that broke off must not look like one that ended.
        drop(reader);
        if rows != self.counts.rows {
            return Err(Error::unavailable(format!(
                "reading `{}` broke off after {rows} of {} rows",
                self.found.pin, self.counts.rows
            )));
        }
        Ok(())
    }
}

impl TrainingSource for StreamedSet {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.found.columns.feature_schema)
    }

    fn provenance(&self) -> &[PinnedTable] {
        &self.found.provenance
    }

    fn read(&self, each: &mut dyn FnMut(TrainingSet) -> Result<()>) -> Result<()> {
        self.read_parts(&mut |part| if part.set.rows() == 0 { Ok(()) } else { each(part.set) })
    }
}

/// The rows of a [`StreamedSet`] that validate, or the others.
#[derive(Debug, Clone, Copy)]
pub struct StreamedSide<'a> {
    of: &'a StreamedSet,
    validates: bool,
}

impl TrainingSource for StreamedSide<'_> {
    fn schema(&self) -> SchemaRef {
        self.of.schema()
    }

    fn provenance(&self) -> &[PinnedTable] {
        self.of.provenance()
    }

    fn read(&self, each: &mut dyn FnMut(TrainingSet) -> Result<()>) -> Result<()> {
        self.of.read_parts(&mut |part| {
            let validation = part.validation.iter().flatten();
            let rows = (0_u64..).zip(validation).filter(|(_, is)| **is == self.validates);
            let rows = UInt64Array::from_iter_values(rows.map(|(row, _)| row));
            if rows.is_empty() { Ok(()) } else { each(part.set.take(&rows)?) }
        })
    }
}
