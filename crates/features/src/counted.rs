//! Events on their way into the windows: counted, and freed of those that belong to nobody.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{Array, BooleanArray, RecordBatch};
use arrow::compute::{and, filter_record_batch, is_not_null};
use arrow::datatypes::SchemaRef;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::physical_plan::{ExecutionPlan, SendableRecordBatchStream};
use futures::TryStreamExt;

use crate::affected::Affected;

/// How far a computation has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Events read so far.
    pub rows_in: u64,
    /// Feature rows that came out so far.
    pub rows_out: u64,
}

/// Something to call with the progress of a computation, from any thread.
#[derive(Clone)]
pub struct ProgressCallback(Arc<dyn Fn(Progress) + Send + Sync>);

impl ProgressCallback {
    /// Calls this for each batch.
    pub fn new(callback: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        Self(Arc::new(callback))
    }
}

impl fmt::Debug for ProgressCallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProgressCallback")
    }
}

/// What went in, what stayed out, what came out.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    rows_in: AtomicU64,
    excluded: AtomicU64,
    rows_out: AtomicU64,
    callback: Option<ProgressCallback>,
}

impl Counts {
    pub(crate) fn new(callback: Option<ProgressCallback>) -> Self {
        Self { callback, ..Self::default() }
    }

    /// Events that were read, the excluded ones among them.
    pub(crate) fn rows_in(&self) -> u64 {
        self.rows_in.load(Ordering::Relaxed)
    }

    /// Events without a key or a time.
    pub(crate) fn excluded(&self) -> u64 {
        self.excluded.load(Ordering::Relaxed)
    }

    /// Feature rows.
    pub(crate) fn rows_out(&self) -> u64 {
        self.rows_out.load(Ordering::Relaxed)
    }

    pub(crate) fn add_out(&self, rows: usize) {
        self.rows_out.fetch_add(rows as u64, Ordering::Relaxed);
        self.report();
    }

    fn add_in(&self, rows: usize, excluded: usize) {
        self.rows_in.fetch_add(rows as u64, Ordering::Relaxed);
        self.excluded.fetch_add(excluded as u64, Ordering::Relaxed);
        self.report();
    }

    fn report(&self) {
        if let Some(ProgressCallback(callback)) = &self.callback {
            callback(Progress { rows_in: self.rows_in(), rows_out: self.rows_out() });
        }
    }
}

/// Which rows pass.
#[derive(Debug, Clone)]
pub(crate) struct Needed {
    /// Those that have no null in the first so many columns.
    pub(crate) columns: usize,
    /// Those that decide one of these feature rows; absent means all.
    pub(crate) affected: Option<Arc<Affected>>,
}

/// A plan as a table whose rows are counted as they pass, without those that nobody needs.
pub(crate) fn counted_table(
    plan: &Arc<dyn ExecutionPlan>,
    needed: &Needed,
    counts: &Arc<Counts>,
) -> Result<StreamingTable, DataFusionError> {
    let partitions = plan.properties().partitioning.partition_count();
    let partition = |partition| {
        let (plan, counts) = (Arc::clone(plan), Arc::clone(counts));
        let (schema, needed) = (plan.schema(), needed.clone());
        Arc::new(CountedPartition { plan, partition, schema, needed, counts })
            as Arc<dyn PartitionStream>
    };
    StreamingTable::try_new(plan.schema(), (0..partitions).map(partition).collect())
}

#[derive(Debug)]
struct CountedPartition {
    plan: Arc<dyn ExecutionPlan>,
    partition: usize,
    schema: SchemaRef,
    needed: Needed,
    counts: Arc<Counts>,
}

impl PartitionStream for CountedPartition {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let schema = Arc::clone(&self.schema);
        let (needed, counts) = (self.needed.clone(), Arc::clone(&self.counts));
        match self.plan.execute(self.partition, context) {
            Ok(batches) => {
                let batches = batches.and_then(move |batch| {
                    let complete = needed.of(&batch, &counts);
                    futures::future::ready(complete)
                });
                Box::pin(RecordBatchStreamAdapter::new(schema, batches))
            }
            Err(error) => {
                let failed = futures::stream::once(futures::future::ready(Err(error)));
                Box::pin(RecordBatchStreamAdapter::new(schema, failed))
            }
        }
    }
}

impl Needed {
    fn of(&self, batch: &RecordBatch, counts: &Counts) -> Result<RecordBatch, DataFusionError> {
        let mut complete: Option<BooleanArray> = None;
        let required = batch.columns().iter().take(self.columns);
        for column in required.filter(|column| column.logical_null_count() > 0) {
            let present = is_not_null(column)?;
            complete = Some(match complete {
                Some(so_far) => and(&so_far, &present)?,
                None => present,
            });
        }
        let kept = match complete {
            Some(complete) => filter_record_batch(batch, &complete)?,
            None => batch.clone(),
        };
        counts.add_in(batch.num_rows(), batch.num_rows() - kept.num_rows());
        let Some(affected) = &self.affected else { return Ok(kept) };
        let decides = affected.decides(&kept);
        let decides = decides.map_err(|error| DataFusionError::External(Box::new(error)))?;
        Ok(filter_record_batch(&kept, &decides)?)
    }
}
