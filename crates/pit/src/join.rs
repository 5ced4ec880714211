//! The join of a spine with any number of tables, from sorts and merges.

use std::sync::{Arc, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use arrow::row::{RowConverter, SortField};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::common::spawn_buffered;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;
use futures::future::try_join_all;
use icecore_core::{BatchStream, FeatureTable, PitOptions, Result, Spine};
use icecore_engine::from_datafusion;

use crate::check;
use crate::merge::{MergeSpec, merge};
use crate::sorted::Rows;
use crate::source::FeatureRows;
use crate::spine::{Bounds, Prepared, plain_schema};
use crate::table::JoinTable;

/// Joins a spine with feature tables, each with its rows.
pub(crate) async fn join(
    spine: Spine,
    sources: Vec<(FeatureTable, Arc<dyn FeatureRows>)>,
    options: PitOptions,
    context: Arc<TaskContext>,
) -> Result<BatchStream> {
    let visible = plain_schema(spine.rows.schema());
    let mut tables = Vec::with_capacity(sources.len());
    let mut rows = Vec::with_capacity(sources.len());
    for (feature, source) in sources {
        tables.push(JoinTable::new(feature, &visible, source.as_ref(), options)?);
        rows.push(source);
    }
    check::output_names(&visible, &tables)?;
    let output = output_schema(&visible, &tables);
    let tables: Vec<Arc<JoinTable>> = tables.into_iter().map(Arc::new).collect();
    let mut keys: Vec<usize> =
        tables.iter().flat_map(|table| table.keys.iter().map(|(at, _)| *at)).collect();
    keys.sort_unstable();
    keys.dedup();

    let prepared = Prepared::new(spine, keys)?;
    let columns = Columns { row: visible.fields().len(), moment: visible.fields().len() + 1 };
    let mut joined = Rows { schema: prepared.schema, partitions: vec![prepared.rows] };
    let mut bounds = None;
    let mut order: Vec<usize> = Vec::with_capacity(tables.len());
    while let Some(next) = (0..tables.len()).find(|at| !order.contains(at)) {
        let keys: Vec<usize> = key_columns(&tables[next]);
        joined = joined.clustered(&keys, &[columns.moment], &context)?;
        let bounds = match &bounds {
            Some(bounds) => bounds,
            None => {
                // Sorting has read every row when the first one comes out of it.
                joined.partitions = started(joined.partitions).await?;
                let whole = prepared.bounds.lock().unwrap_or_else(PoisonError::into_inner).clone();
                bounds.insert(whole)
            }
        };
        for at in next..tables.len() {
            if !order.contains(&at) && key_columns(&tables[at]) == keys {
                let joining = Joining { table: &tables[at], rows: &rows[at], columns, bounds };
                joined = joining.join(joined, &context).await?;
                order.push(at);
            }
        }
    }
    let projection = projection(visible.fields().len(), &tables, &order);
    let rows = joined.sorted_by(columns.row, &context)?;
    Ok(project(rows, output, projection))
}

fn key_columns(table: &JoinTable) -> Vec<usize> {
    table.keys.iter().map(|(at, _)| *at).collect()
}

/// Where the row's number and its moment are.
#[derive(Debug, Clone, Copy)]
struct Columns {
    row: usize,
    moment: usize,
}

/// One table's turn.
struct Joining<'a> {
    table: &'a Arc<JoinTable>,
    rows: &'a Arc<dyn FeatureRows>,
    columns: Columns,
    bounds: &'a Bounds,
}

impl Joining<'_> {
    /// Joins partitions that are sorted by the table's keys and the moment.
    async fn join(&self, spine: Rows, context: &Arc<TaskContext>) -> Result<Rows> {
        let features = self.rows.read(Arc::clone(self.table), self.bounds).await?;
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
            keys: key_columns(self.table),
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

fn output_schema(spine: &SchemaRef, tables: &[JoinTable]) -> SchemaRef {
    let taken = tables.iter().flat_map(|table| table.output.iter().cloned());
    let fields: Vec<FieldRef> = spine.fields().iter().cloned().chain(taken).collect();
    Arc::new(Schema::new(fields))
}

/// Which joined columns come out: the spine's, then those of each table in the order of the call.
fn projection(spine: usize, tables: &[Arc<JoinTable>], order: &[usize]) -> Vec<usize> {
    let mut starts = vec![0; tables.len()];
    let mut next = spine + 2;
    for &at in order {
        starts[at] = next;
        next += tables[at].output.len();
    }
    let taken =
        tables.iter().zip(starts).flat_map(|(table, start)| start..start + table.output.len());
    (0..spine).chain(taken).collect()
}

fn project(
    rows: SendableRecordBatchStream,
    output: SchemaRef,
    projection: Vec<usize>,
) -> BatchStream {
    let schema = Arc::clone(&output);
    let batches = rows.map(move |batch| {
        let batch = batch.map_err(from_datafusion)?;
        let columns = projection.iter().map(|&at| Arc::clone(batch.column(at))).collect();
        Ok(RecordBatch::try_new(Arc::clone(&schema), columns)?)
    });
    BatchStream::new(output, batches)
}
