//! A spine that does not fit the memory, from sorts and merges.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{Int64Type, Schema};
use arrow::row::{RowConverter, SortField};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::common::spawn_buffered;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;
use futures::future::try_join_all;
use icecore_core::{BatchStream, Result};
use icecore_engine::from_datafusion;

use crate::merge::{MergeSpec, merge};
use crate::output::Output;
use crate::sorted::Rows;
use crate::source::FeatureRows;
use crate::spine::{Bounds, Prepared};
use crate::table::JoinTable;

/// The join of a spine that does not fit the memory.
pub(crate) struct Sorting {
    pub(crate) tables: Vec<Arc<JoinTable>>,
    pub(crate) rows: Vec<Arc<dyn FeatureRows>>,
    pub(crate) output: Output,
    pub(crate) context: Arc<TaskContext>,
    /// How often the tables were read before.
    pub(crate) part: usize,
}

impl Sorting {
    /// Joins what is left of a spine.
    pub(crate) async fn join(self, prepared: Prepared) -> Result<BatchStream> {
        let Self { tables, rows, output, context, part } = self;
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
                    bounds.insert(Bounds::read(&whole))
                }
            };
            for at in next..tables.len() {
                if !order.contains(&at) && tables[at].spine_keys() == keys {
                    let joining =
                        OfTable { table: &tables[at], rows: &rows[at], columns, bounds, part };
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
    part: usize,
}

impl OfTable<'_> {
    /// Joins partitions that are sorted by the table's keys and the moment.
    async fn join(&self, spine: Rows, context: &Arc<TaskContext>) -> Result<Rows> {
        let features = self.rows.read(self.table, (self.bounds, self.part), context).await?;
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
