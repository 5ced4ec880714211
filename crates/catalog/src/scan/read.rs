//! Rows of a pinned table.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use futures::{StreamExt, stream};
use iceberg::spec::{Schema, SnapshotRef};
use iceberg::table::Table;
use icecore_core::{BatchStream, Error, Result, ScanOptions};
use tokio::sync::mpsc;

use super::file::BATCH_ROWS;
use super::plan::PlannedFile;
use super::rows::{TaskRead, read_task};
use super::task::{FileFacts, FileTask, plan};
use super::{columns_of, snapshot};
use crate::blocking::cores;
use crate::error::Context as _;
use crate::predicate::Filter;
use crate::schema;
use crate::storage::KnownFile as _;

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
    let (snapshot, read, output) = prepare(table, snapshot_id, &options)?;
    let schema = output.schema.clone();
    let Some(snapshot) = snapshot else {
        return Ok(BatchStream::from_batches(schema, Vec::new()));
    };
    let planned = plan(table, &snapshot, read.filter.as_ref()).await?;
    Ok(BatchStream::new(schema, read_all(table, planned.tasks, read, output)))
}

/// Reads some files of a plan, one after the other.
///
/// # Errors
///
/// As [`scan`].
pub(crate) fn scan_files(
    table: &Table,
    snapshot_id: Option<i64>,
    files: &[PlannedFile],
    options: &ScanOptions,
) -> Result<BatchStream> {
    let (_, read, output) = prepare(table, snapshot_id, options)?;
    let schema = output.schema.clone();
    // The filter may know more than the one that the files were planned by.
    let may_pass = |task: &&FileTask| {
        read.filter.as_ref().is_none_or(|filter| filter.may_pass(&FileFacts(&*task.file)))
    };
    let tasks: Vec<FileTask> =
        files.iter().map(PlannedFile::task).filter(may_pass).cloned().collect();
    let table = table.clone();
    let batches = stream::iter(tasks).flat_map(move |task| read_task(&table, &task, &read));
    Ok(BatchStream::new(schema, batches.map(move |batch| output.batch(&batch?))))
}

/// Binds what is wanted to the columns of a snapshot.
fn prepare(
    table: &Table,
    snapshot_id: Option<i64>,
    options: &ScanOptions,
) -> Result<(Option<SnapshotRef>, TaskRead, Output)> {
    let snapshot = snapshot(table, snapshot_id)?;
    let columns = columns_of(table, snapshot.as_ref())?;
    let filter =
        options.filter.as_ref().map(|filter| Filter::bind(filter, &columns)).transpose()?;
    let output = Output::new(&columns, options.columns.as_deref())?;
    let read = TaskRead {
        columns: output.columns.clone(),
        filter,
        positions: false,
        groups: None,
        batch_rows: options.batch_rows.unwrap_or(BATCH_ROWS).max(1),
    };
    Ok((snapshot, read, output))
}

/// The columns that are wanted; one may be wanted twice.
struct Output {
    columns: iceberg::spec::SchemaRef,
    /// Where each is among the columns that are read.
    places: Vec<usize>,
    schema: SchemaRef,
}

impl Output {
    fn new(columns: &Schema, wanted: Option<&[String]>) -> Result<Self> {
        let all = schema::to_arrow(columns)?;
        let fields = columns.as_struct().fields();
        let indices: Vec<usize> = match wanted {
            None => (0..fields.len()).collect(),
            Some(wanted) => wanted
                .iter()
                .map(|name| {
                    let found = all.column_with_name(name).map(|(index, _)| index);
                    found.ok_or_else(|| schema::no_such_column(columns, name))
                })
                .collect::<Result<_>>()?,
        };
        let mut unique = Vec::new();
        let mut places = Vec::with_capacity(indices.len());
        for index in &indices {
            let known = unique.iter().position(|known| known == index);
            places.push(known.unwrap_or_else(|| {
                unique.push(*index);
                unique.len() - 1
            }));
        }
        let fields = unique.iter().filter_map(|index| fields.get(*index)).cloned();
        let read = Schema::builder().with_fields(fields).build();
        let columns = Arc::new(read.context(|| "cannot describe the columns of a read")?);
        Ok(Self { columns, places, schema: Arc::new(all.project(&indices)?) })
    }

    fn batch(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let columns = self.places.iter().filter_map(|at| batch.columns().get(*at)).cloned();
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(self.schema.clone(), columns.collect(), &options)?)
    }
}

/// Decodes several files at once, each by a task of its own, as far ahead as its channel holds.
fn read_all(
    table: &Table,
    tasks: Vec<FileTask>,
    read: TaskRead,
    output: Output,
) -> impl futures::Stream<Item = Result<RecordBatch>> + Send + 'static {
    let files_ahead = cores();
    let (table, output) = (table.clone(), Arc::new(output));
    let files = stream::iter(tasks)
        .map(move |task| {
            let (sender, receiver) = mpsc::channel(AHEAD);
            let path = task.file.file_path().to_owned();
            let batches = read_task(&table, &task, &read);
            tokio::spawn(decode(batches, output.clone(), sender));
            futures::future::ready((path, receiver))
        })
        .buffered(files_ahead);
    files.flat_map(|(path, receiver)| {
        stream::unfold(Some((path, receiver)), |state| async {
            let (path, mut receiver) = state?;
            match receiver.recv().await {
                Some(Step::Rows(batch)) => Some((Ok(batch), Some((path, receiver)))),
                Some(Step::Failed(error)) => Some((Err(error), None)),
                Some(Step::End) => None,
                // A file that broke off must not look like one that ended: what decodes it takes for
                // granted what a damaged file does not hold.
                None => Some((Err(Error::corrupt(format!("reading `{path}` broke off"))), None)),
            }
        })
    })
}

enum Step {
    Rows(RecordBatch),
    Failed(Error),
    End,
}

/// Decodes a file until it ends, fails, or nobody listens any more.
async fn decode(mut batches: BatchStream, output: Arc<Output>, sender: mpsc::Sender<Step>) {
    while let Some(batch) = batches.next().await {
        let step = match batch.and_then(|batch| output.batch(&batch)) {
            Ok(batch) => Step::Rows(batch),
            Err(error) => Step::Failed(error),
        };
        let is_over = matches!(step, Step::Failed(_));
        if sender.send(step).await.is_err() || is_over {
            return;
        }
    }
    let _ = sender.send(Step::End).await;
}
