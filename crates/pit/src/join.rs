//! The join of a spine with any number of tables, from sorts and merges.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::AsArray;
use arrow::datatypes::{Int64Type, Schema};
use arrow::row::{RowConverter, SortField};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::common::spawn_buffered;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;
use futures::future::try_join_all;
use icecore_core::{BatchStream, Result, Spine};
use icecore_engine::from_datafusion;
use tracing::debug;

use crate::held::{Hold, bytes_max, hold};
use crate::merge::{MergeSpec, merge};
use crate::output::Output;
use crate::probe::{Probe, put_out};
use crate::sorted::Rows;
use crate::source::FeatureRows;
use crate::spine::{Bounds, Prepared};
use crate::table::JoinTable;

/// What is joined, and how.
#[derive(Debug)]
pub(crate) struct Joining {
    pub(crate) tables: Vec<Arc<JoinTable>>,
    pub(crate) output: Output,
    /// The spine's column with its moments.
    pub(crate) event_timestamp: String,
    /// How many bytes of a spine are kept in memory instead of being sorted; absent for a share of
    /// what the engine may use.
    pub(crate) held_bytes_max: Option<usize>,
}

impl Joining {
    /// Joins a spine with the rows of each table.
    pub(crate) async fn join(
        &self,
        spine: BatchStream,
        sources: Vec<Arc<dyn FeatureRows>>,
        context: Arc<TaskContext>,
    ) -> Result<BatchStream> {
        let (tables, output) = (self.tables.clone(), self.output.clone());
        let held_bytes_max = self.held_bytes_max.unwrap_or_else(|| bytes_max(&context));
        let mut keys: Vec<usize> = tables.iter().flat_map(|table| table.spine_keys()).collect();
        keys.sort_unstable();
        keys.dedup();

        let spine = Spine { rows: spine, event_timestamp: self.event_timestamp.clone() };
        let Prepared { schema, mut rows, bounds } = Prepared::new(spine, keys)?;
        // Which state a row sees is compared like a key, and only the merge knows of it.
        if tables.iter().all(|table| table.epochs.is_none()) {
            match hold(rows, held_bytes_max, &context).await? {
                Hold::Whole(held) => {
                    let (bounds, context) = (&read_bounds(&bounds), &context);
                    let probe = Probe { tables: &tables, rows: &sources, bounds, context };
                    if let Some(found) = probe.run(&held, output.spine_columns() + 1).await? {
                        let batch_rows = context.session_config().batch_size();
                        return Ok(put_out(held, found, output, batch_rows));
                    }
                    debug!(rows = held.rows, "memory is short: the spine is sorted");
                    let nothing = futures::stream::empty();
                    let nothing = RecordBatchStreamAdapter::new(Arc::clone(&schema), nothing);
                    rows = held.followed_by(Box::pin(nothing));
                }
                Hold::Streamed(whole) => rows = whole,
            }
        }
        let sorting = Sorting { tables, rows: sources, output, context };
        sorting.join(Prepared { schema, rows, bounds }).await
    }
}

/// What the rows span that were read so far.
fn read_bounds(bounds: &Mutex<Bounds>) -> Bounds {
    bounds.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// The join of a spine that does not fit the memory.
struct Sorting {
    tables: Vec<Arc<JoinTable>>,
    rows: Vec<Arc<dyn FeatureRows>>,
    output: Output,
    context: Arc<TaskContext>,
}

impl Sorting {
    async fn join(self, prepared: Prepared) -> Result<BatchStream> {
        let Self { tables, rows, output, context } = self;
        let columns = Columns { row: output.spine_columns(), moment: output.spine_columns() + 1 };
        let (schema, whole) = (Arc::clone(&prepared.schema), Arc::clone(&prepared.bounds));
        let mut joined = Rows { schema, partitions: vec![prepared.rows] };
        let mut bounds = None;
        let mut order: Vec<usize> = Vec::with_capacity(tables.len());
        while let Some(next) = (0..tables.len()).find(|at| !order.contains(at)) {
            let keys = tables[next].spine_keys();
            joined = joined.clustered(&keys, &[columns.moment], &context)?;
            let bounds = match &bounds {
                Some(bounds) => bounds,
                None => {
                    // Sorting has read every row when the first one comes out of it.
                    joined.partitions = started(joined.partitions).await?;
                    bounds.insert(read_bounds(&whole))
                }
            };
            for at in next..tables.len() {
                if !order.contains(&at) && tables[at].spine_keys() == keys {
                    let joining = OfTable { table: &tables[at], rows: &rows[at], columns, bounds };
                    joined = joining.join(joined, &context).await?;
                    order.push(at);
                }
            }
        }
        let taken = taken_columns(columns.moment + 1, &tables, &order);
        let rows = joined.sorted_by(columns.row, &context)?;
        Ok(project(rows, output, taken))
    }
}

/// Where the row's number and its moment are.
#[derive(Debug, Clone, Copy)]
struct Columns {
    row: usize,
    moment: usize,
}

/// One table's turn.
struct OfTable<'a> {
    table: &'a Arc<JoinTable>,
    rows: &'a Arc<dyn FeatureRows>,
    columns: Columns,
    bounds: &'a Bounds,
}

impl OfTable<'_> {
    /// Joins partitions that are sorted by the table's keys and the moment.
    async fn join(&self, spine: Rows, context: &Arc<TaskContext>) -> Result<Rows> {
        let features = self.rows.read(self.table, self.bounds, context).await?;
        // Partitions go by the keys alone: those of the spine know nothing of states.
        let key_count = self.table.keys.len();
        let keys: Vec<usize> = (0..key_count).collect();
        // Everything that is taken belongs to the order: of equal rows the greatest wins.
        let then: Vec<usize> = (key_count..features.schema.fields().len()).collect();
        let features = features.clustered(&keys, &then, context)?;

        let mut fields = spine.schema.fields().to_vec();
        fields.extend(self.table.output.iter().cloned());
        let output = Arc::new(Schema::new(fields));
        let spec = Arc::new(MergeSpec {
            keys: self.table.spine_keys(),
            moment: self.columns.moment,
            epochs: self.table.epochs.clone(),
            options: self.table.options,
            output: Arc::clone(&output),
        });
        let pairs = spine.partitions.into_iter().zip(features.partitions);
        let partitions = pairs.map(|(spine, features)| {
            let fields = self.table.compared_types().map(SortField::new).collect();
            Ok(merge(Arc::clone(&spec), RowConverter::new(fields)?, spine, features))
        });
        Ok(Rows { schema: output, partitions: partitions.collect::<Result<_>>()? })
    }
}

/// Waits until each partition has its first batch, working on all at once.
async fn started(
    partitions: Vec<SendableRecordBatchStream>,
) -> Result<Vec<SendableRecordBatchStream>> {
    let starting = partitions.into_iter().map(|partition| async {
        let schema = partition.schema();
        let mut rest = spawn_buffered(partition, 1);
        let first = rest.next().await.transpose().map_err(from_datafusion)?;
        let rows = futures::stream::iter(first.map(Ok)).chain(rest);
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)) as SendableRecordBatchStream)
    });
    try_join_all(starting).await
}

/// Where the columns that each table gave are.
fn taken_columns(start: usize, tables: &[Arc<JoinTable>], order: &[usize]) -> Vec<Range<usize>> {
    let mut taken = vec![0..0; tables.len()];
    let mut next = start;
    for &at in order {
        taken[at] = next..next + tables[at].output.len();
        next = taken[at].end;
    }
    taken
}

fn project(
    rows: SendableRecordBatchStream,
    output: Output,
    taken: Vec<Range<usize>>,
) -> BatchStream {
    let schema = Arc::clone(output.schema());
    let spine = output.spine_columns();
    let batches = rows.map(move |batch| {
        let batch = batch.map_err(from_datafusion)?;
        let columns = batch.columns();
        let taken = taken.iter().map(|taken| columns[taken.clone()].to_vec()).collect();
        let moments = batch.column(spine + 1).as_primitive::<Int64Type>();
        output.batch(&columns[..spine], moments, taken)
    });
    BatchStream::new(schema, batches)
}
