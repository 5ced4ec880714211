//! Rows of a pinned table, through Iceberg's reader.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::SchemaRef;
use futures::{StreamExt, TryStreamExt, stream};
use iceberg::scan::FileScanTask;
use iceberg::spec::{PrimitiveType, Schema, SnapshotRef, Type};
use iceberg::table::Table;
use icecore_core::{BatchStream, Error, Result, ScanOptions};
use tokio::sync::mpsc;

use super::{columns_of, snapshot, steady_columns};
use crate::blocking::cores;
use crate::error::Context as _;
use crate::predicate::Filter;
use crate::schema;

const BATCH_ROWS: usize = 8192;
/// Batches of one file that are decoded before they are asked for.
const AHEAD: usize = 2;

/// Reads the columns that are asked for, in that order, of the rows that pass. Files come in the
/// order of their paths, and rows in that of their file.
///
/// # Errors
///
/// `NotFound` for an unknown snapshot or column, `InvalidInput` for a literal of the wrong kind;
/// the stream fails with what the storage says.
pub(crate) async fn scan(
    table: &Table,
    snapshot_id: Option<i64>,
    options: ScanOptions,
) -> Result<BatchStream> {
    let snapshot = snapshot(table, snapshot_id)?;
    let columns = columns_of(table, snapshot.as_ref())?;
    let filter =
        options.filter.as_ref().map(|filter| Filter::bind(filter, &columns)).transpose()?;
    let output = output_schema(&columns, options.columns.as_deref())?;
    let Some(snapshot) = snapshot.filter(|_| !filter.as_ref().is_some_and(Filter::is_never)) else {
        return Ok(BatchStream::from_batches(output, Vec::new()));
    };
    let tasks = tasks(table, &snapshot, &columns, (&output, filter.as_ref())).await?;
    let finish = Arc::new(Finish { output: output.clone(), filter });
    let files_ahead = cores();
    let batch_rows = options.batch_rows.unwrap_or(BATCH_ROWS).max(1);
    let table = table.clone();
    // Each file is decoded by a task of its own, as far ahead as its channel holds.
    let files = stream::iter(tasks)
        .map(move |task| {
            let (sender, receiver) = mpsc::channel(AHEAD);
            tokio::spawn(read_file(table.clone(), task, batch_rows, (finish.clone(), sender)));
            futures::future::ready(receiver)
        })
        .buffered(files_ahead);
    let batches = files.flat_map(|receiver| {
        stream::unfold(receiver, |mut receiver| async {
            receiver.recv().await.map(|batch| (batch, receiver))
        })
    });
    Ok(BatchStream::new(output, batches))
}

fn output_schema(columns: &Schema, wanted: Option<&[String]>) -> Result<SchemaRef> {
    let all = schema::to_arrow(columns)?;
    let Some(wanted) = wanted else { return Ok(all) };
    let mut indices = Vec::with_capacity(wanted.len());
    for name in wanted {
        let (index, _) =
            all.column_with_name(name).ok_or_else(|| schema::no_such_column(columns, name))?;
        indices.push(index);
    }
    Ok(Arc::new(all.project(&indices)?))
}

/// One task per file, in the order of their paths.
async fn tasks(
    table: &Table,
    snapshot: &SnapshotRef,
    columns: &Schema,
    (output, filter): (&SchemaRef, Option<&Filter>),
) -> Result<Vec<FileScanTask>> {
    let mut needed: BTreeSet<&str> =
        output.fields().iter().map(|field| field.name().as_str()).collect();
    needed.extend(filter.iter().flat_map(|filter| filter.columns()));
    if needed.is_empty() {
        // Rows without columns still have to be counted, so the cheapest column is read.
        let fields = columns.as_struct().fields();
        let cheapest = fields.iter().find(|field| field.field_type.is_primitive());
        needed.extend(cheapest.or_else(|| fields.first()).map(|field| field.name.as_str()));
    }
    let mut scan = table.scan().snapshot_id(snapshot.snapshot_id()).select(needed);
    if let Some(filter) = filter {
        scan = scan.with_filter(filter.to_iceberg(&steady_columns(table, columns)));
    }
    let plan = async { scan.build()?.plan_files().await?.try_collect::<Vec<_>>().await };
    let mut tasks = plan.await.context(|| "cannot plan a read")?;
    if !filter.is_some_and(|filter| may_push(table, columns, filter)) {
        tasks.iter_mut().for_each(|task| task.predicate = None);
    }
    tasks.sort_by(|left, right| {
        (&left.data_file_path, left.start).cmp(&(&right.data_file_path, right.start))
    });
    Ok(tasks)
}

/// Whether Iceberg's reader may drop rows by this filter. It compares floats by their bits, casts
/// literals to the type that a file has, and takes a column that a file lacks for one without
/// nulls; so every file must have the column as the table has it.
fn may_push(table: &Table, columns: &Schema, filter: &Filter) -> bool {
    let steady = steady_columns(table, columns);
    filter.columns().into_iter().all(|name| {
        let Some(field) = columns.field_by_name(name) else { return false };
        let is_float = matches!(
            field.field_type.as_ref(),
            Type::Primitive(PrimitiveType::Float | PrimitiveType::Double)
        );
        let is_everywhere =
            table.metadata().schemas_iter().all(|schema| schema.field_by_id(field.id).is_some());
        steady.contains(name) && !is_float && is_everywhere
    })
}

/// What is done to the rows of every file.
struct Finish {
    output: SchemaRef,
    filter: Option<Filter>,
}

impl Finish {
    fn batch(&self, batch: RecordBatch) -> Result<RecordBatch> {
        let batch = match &self.filter {
            Some(filter) => filter_record_batch(&batch, &filter.evaluate(&batch)?)?,
            None => batch,
        };
        let mut columns = Vec::with_capacity(self.output.fields().len());
        for field in self.output.fields() {
            let column = batch.column_by_name(field.name()).ok_or_else(|| {
                Error::internal(format!("a file was read without its column `{}`", field.name()))
            })?;
            columns.push(if column.data_type() == field.data_type() {
                column.clone()
            } else {
                cast(column, field.data_type())?
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(self.output.clone(), columns, &options)?)
    }
}

/// Decodes a file until it ends, fails, or nobody listens any more.
async fn read_file(
    table: Table,
    task: FileScanTask,
    batch_rows: usize,
    (finish, sender): (Arc<Finish>, mpsc::Sender<Result<RecordBatch>>),
) {
    let path = task.data_file_path.clone();
    let failed = || format!("cannot read `{path}`");
    // A reader of its own: upstream's can lose a wake-up where two files share one.
    let reader = table
        .reader_builder()
        .with_data_file_concurrency_limit(1)
        .with_batch_size(batch_rows)
        .build();
    let mut batches = match reader.read(stream::once(async { Ok(task) }).boxed()).context(failed) {
        Ok(result) => result.stream(),
        Err(error) => {
            let _ = sender.send(Err(error)).await;
            return;
        }
    };
    while let Some(batch) = batches.next().await {
        let batch = batch.context(failed).and_then(|batch| finish.batch(batch));
        let is_over = batch.is_err();
        if matches!(&batch, Ok(batch) if batch.num_rows() == 0) {
            continue;
        }
        if sender.send(batch).await.is_err() || is_over {
            return;
        }
    }
}
