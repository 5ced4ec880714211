//! The live rows of a data file.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::compute::is_not_null;
use arrow::compute::kernels::zip::zip;
use arrow::datatypes::{DataType, Field, Int64Type, Schema as ArrowSchema, SchemaRef};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use iceberg::metadata_columns::{
    RESERVED_COL_NAME_POS, RESERVED_FIELD_ID_LAST_UPDATED_SEQUENCE_NUMBER, RESERVED_FIELD_ID_ROW_ID,
};
use iceberg::spec::{DataContentType, Literal, NestedFieldRef, PrimitiveLiteral, Transform};
use iceberg::table::Table;
use icecore_core::{BatchStream, Error, ErrorKind, Result};

use super::delete::{Deleted, DeletedKeys, deleted_positions};
use super::file::{Decode, Decoded, decode, names_of};
use super::task::FileTask;
use crate::predicate::Filter;
use crate::storage::KnownFile as _;
use crate::{schema, storage};

/// What is wanted of the rows of a file.
#[derive(Debug, Clone)]
pub(crate) struct TaskRead {
    /// These columns, found by their ids: what a file calls them, in which order and in which
    /// width it has them does not matter, and one that it lacks has its default. `_row_id` and
    /// `_last_updated_sequence_number` are columns like others.
    pub(crate) columns: iceberg::spec::SchemaRef,
    /// Exact: rows that do not pass are not in the result.
    pub(crate) filter: Option<Filter>,
    /// Whether the last column is `_pos`, the row's place in its file.
    pub(crate) positions: bool,
    /// Only rows of these row groups of the file.
    pub(crate) groups: Option<Vec<usize>>,
    /// Rows of a batch at most.
    pub(crate) batch_rows: usize,
}

impl TaskRead {
    /// The schema of the batches.
    pub(crate) fn schema(&self) -> Result<SchemaRef> {
        let columns = schema::to_arrow(&self.columns)?;
        if !self.positions {
            return Ok(columns);
        }
        let place = Arc::new(Field::new(RESERVED_COL_NAME_POS, DataType::Int64, false));
        let fields = columns.fields().iter().cloned().chain(std::iter::once(place));
        Ok(Arc::new(ArrowSchema::new(fields.collect::<Vec<_>>())))
    }
}

/// The live rows of one file, in file order.
pub(crate) fn read_task(table: &Table, task: &FileTask, read: &TaskRead) -> BatchStream {
    let schema = match read.schema() {
        Ok(schema) => schema,
        Err(error) => {
            let none = Arc::new(ArrowSchema::empty());
            return BatchStream::new(none, stream::once(async { Err(error) }));
        }
    };
    let (table, task, read) = (table.clone(), task.clone(), read.clone());
    let output = schema.clone();
    let batches = stream::once(async move { open(&table, task, read, output).await });
    BatchStream::new(schema, batches.try_flatten())
}

async fn open(
    table: &Table,
    task: FileTask,
    read: TaskRead,
    output: SchemaRef,
) -> Result<BoxStream<'static, Result<RecordBatch>>> {
    let is_positional = |content| content == DataContentType::PositionDeletes;
    let deleted = if task.deletes.iter().any(|delete| is_positional(delete.file.content_type())) {
        let deleted = deleted_positions(table, &task).await?;
        (!deleted.is_empty()).then_some(deleted)
    } else {
        None
    };
    let mut columns = read.columns.as_struct().fields().to_vec();
    let wanted = columns.len();
    let keys = keys(table, &task, &mut columns).await?;
    let lineage = Lineage::of(&task, columns.get(..wanted).unwrap_or_default());
    let decode_live = Decode {
        partition: partition(table, &task)?,
        positions: read.positions || lineage.needs_positions(),
        columns,
        names: names_of(table)?,
        filter: read.filter.filter(|filter| !filter.is_always()),
        deleted,
        groups: read.groups,
        batch_rows: read.batch_rows.max(1),
    };
    // Decoders take for granted what a damaged file does not hold.
    let file = task.file.file_path();
    let decoding = decode(table.file_io(), &task.file, decode_live);
    let decoded = AssertUnwindSafe(storage::guarded(file, decoding).await?).catch_unwind();
    let finish = Finish { output, keys, lineage, wanted, positions: read.positions };
    let path = task.file.file_path().to_owned();
    let batches = decoded.map(move |rows| {
        let rows = rows.map_err(|_| Error::corrupt(format!("`{path}` cannot be decoded")))?;
        rows.and_then(|rows| finish.batch(rows)).map_err(|error| {
            if error.to_string().contains(&path) {
                return error;
            }
            Error::new(kind_at_file(&error), format!("cannot read `{path}`")).with_source(error)
        })
    });
    Ok(batches.try_filter(|batch| futures::future::ready(batch.num_rows() > 0)).boxed())
}

/// The values of identity partitions, by the ids of their columns.
fn partition(table: &Table, task: &FileTask) -> Result<Vec<(i32, Option<PrimitiveLiteral>)>> {
    let spec = table.metadata().partition_spec_by_id(task.spec_id).ok_or_else(|| {
        Error::corrupt(format!(
            "`{}` is of partition spec {}, which the table does not have",
            task.file.file_path(),
            task.spec_id
        ))
    })?;
    let values = spec.fields().iter().zip(task.file.partition().fields());
    Ok(values
        .filter(|(field, _)| field.transform == Transform::Identity)
        .filter_map(|(field, value)| match value {
            None => Some((field.source_id, None)),
            Some(Literal::Primitive(value)) => Some((field.source_id, Some(value.clone()))),
            Some(_) => None,
        })
        .collect())
}

/// Equality deletes that look at the same columns.
struct KeyCheck {
    /// Where the columns of the key are among those that are decoded.
    places: Vec<usize>,
    deletes: Vec<Arc<DeletedKeys>>,
}

/// The equality deletes of a file. Columns that they look at are added where they are missing.
async fn keys(
    table: &Table,
    task: &FileTask,
    columns: &mut Vec<NestedFieldRef>,
) -> Result<Vec<KeyCheck>> {
    let mut checks: Vec<KeyCheck> = Vec::new();
    for delete in &task.deletes {
        if delete.file.content_type() != DataContentType::EqualityDeletes {
            continue;
        }
        let Deleted::Keys(keys) = delete.content(table).await? else { continue };
        let mut places = Vec::with_capacity(keys.columns.len());
        for column in &keys.columns {
            let known = columns
                .iter()
                .position(|known| known.id == column.id && known.field_type == column.field_type);
            places.push(known.unwrap_or_else(|| {
                columns.push(column.clone());
                columns.len() - 1
            }));
        }
        match checks.iter_mut().find(|check| check.places == places) {
            Some(check) => check.deletes.push(keys.clone()),
            None => checks.push(KeyCheck { places, deletes: vec![keys.clone()] }),
        }
    }
    Ok(checks)
}

/// Columns of format version 3 that say which row a row is, and since when it is as it is. A null
/// in the file means what the manifest says.
struct Lineage {
    row_id: Option<(usize, i64)>,
    updated: Option<(usize, i64)>,
}

impl Lineage {
    fn of(task: &FileTask, columns: &[NestedFieldRef]) -> Self {
        let place = |id| columns.iter().position(|column| column.id == id);
        let first = task.first_row_id.and_then(|id| i64::try_from(id).ok());
        Self {
            row_id: place(RESERVED_FIELD_ID_ROW_ID).zip(first),
            // Without row ids, nothing is known of a row's past either.
            updated: place(RESERVED_FIELD_ID_LAST_UPDATED_SEQUENCE_NUMBER)
                .zip(first.map(|_| task.sequence)),
        }
    }

    const fn needs_positions(&self) -> bool {
        self.row_id.is_some()
    }

    fn fill(&self, columns: &mut [ArrayRef], places: Option<&ArrayRef>) -> Result<()> {
        if let (Some((at, first)), Some(places)) = (self.row_id, places)
            && let Some(column) = columns.get_mut(at)
        {
            let ids = places.as_primitive::<Int64Type>().unary::<_, Int64Type>(|row| first + row);
            *column = or_else(column, &ids)?;
        }
        if let Some((at, sequence)) = self.updated
            && let Some(column) = columns.get_mut(at)
        {
            let rows = column.len();
            *column = or_else(column, &Int64Array::from(vec![sequence; rows]))?;
        }
        Ok(())
    }
}

fn or_else(stored: &ArrayRef, others: &Int64Array) -> Result<ArrayRef> {
    if stored.null_count() == 0 {
        return Ok(stored.clone());
    }
    Ok(zip(&is_not_null(stored)?, stored, others)?)
}

/// Values that a kernel refuses are not of the types that the metadata says.
pub(super) fn kind_at_file(error: &Error) -> ErrorKind {
    match error.kind() {
        ErrorKind::Internal => ErrorKind::DataCorrupt,
        kind => kind,
    }
}

/// What is done to the rows of a file after they were decoded.
struct Finish {
    output: SchemaRef,
    keys: Vec<KeyCheck>,
    lineage: Lineage,
    /// The columns that are asked for come first.
    wanted: usize,
    positions: bool,
}

impl Finish {
    fn batch(&self, mut rows: Decoded) -> Result<RecordBatch> {
        for check in &self.keys {
            let key: Vec<ArrayRef> =
                check.places.iter().filter_map(|at| rows.columns().get(*at)).cloned().collect();
            rows = rows.filter(&DeletedKeys::live(&check.deletes, &key)?)?;
        }
        let mut columns: Vec<ArrayRef> = rows.columns().iter().take(self.wanted).cloned().collect();
        self.lineage.fill(&mut columns, rows.positions())?;
        if self.positions {
            columns.extend(rows.positions().cloned());
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.rows()));
        Ok(RecordBatch::try_new_with_options(self.output.clone(), columns, &options)?)
    }
}
