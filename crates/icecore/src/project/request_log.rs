//! What was asked and answered, as tables.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, new_null_array};
use arrow::compute::kernels::cmp::not_distinct;
use arrow::compute::{and, cast, is_not_null, not, nullif};
use arrow::datatypes::{DataType, Field, Float64Type, Schema, SchemaRef};
use async_trait::async_trait;
use icecore_catalog::IcebergCatalog;
use icecore_core::{
    BatchStream, CommitOptions, ErrorKind, NewTable, Result, SnapshotCatalog, TableName, WriteMode,
};
use icecore_monitor::{ProfileOptions, TableWriteMode, TableWriter};
use icecore_serve::{LogUnit, OTHERS, RequestSink, fold_others};
use tracing::{debug, warn};

/// A table for each log, partitioned by the hour of the request: `NAMESPACE.features_SERVICE`,
/// `NAMESPACE.model_NAME`, `NAMESPACE.scores_JOB`.
#[derive(Debug)]
pub(crate) struct LogTables {
    catalog: IcebergCatalog,
    namespace: String,
    said: Said,
}

/// Why a value has no column of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Cause {
    /// The table has as many columns of clients as it may have.
    NoRoom,
    /// The column that it should have is another one.
    NoColumn,
    /// The object of a row has no room for it either.
    TooMuch,
}

impl Cause {
    const fn words(self) -> &'static str {
        match self {
            Self::NoRoom => "the table has as many columns as clients may have",
            Self::NoColumn => "the columns that they should have are others",
            Self::TooMuch => "an object of `others` has no room for them",
        }
    }
}

/// What was said of which log: every flush would say the same again.
#[derive(Debug, Default)]
struct Said(Mutex<HashSet<(String, Cause)>>);

impl Said {
    /// Whether nobody was told of it yet.
    fn is_news(&self, log: &str, cause: Cause) -> bool {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        said.insert((log.to_owned(), cause))
    }
}

#[async_trait]
impl RequestSink for LogTables {
    async fn write(&self, unit: &LogUnit) -> Result<()> {
        let table = TableName::parse(&format!("{}.{}", self.namespace, unit.log))?;
        let known = match self.catalog.describe(&table).await {
            Err(error) if error.kind() == ErrorKind::NotFound => self.begin(&table, unit).await?,
            found => found?.schema,
        };
        let rows = Fitted::new(&unit.rows, &known)?.narrowed((unit, &self.said), &known)?;
        self.catalog.evolve(&table, &rows.schema()).await?;
        self.append(&table, unit, rows).await
    }
}

impl LogTables {
    pub(crate) fn new(catalog: IcebergCatalog, namespace: String) -> Self {
        Self { catalog, namespace, said: Said::default() }
    }

    /// Makes the table with the columns of its first rows, unless another service does so first, and
    /// says which columns it has.
    async fn begin(&self, table: &TableName, unit: &LogUnit) -> Result<SchemaRef> {
        let first = Fitted { rows: unit.rows.clone(), homeless: Vec::new() };
        let first = first.narrowed((unit, &self.said), &Schema::empty())?;
        let new = NewTable::new(first.schema()).with_partition_by(["hour(event_timestamp)"]);
        match self.catalog.ensure_table(table, &new).await {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            made => drop(made?),
        }
        Ok(self.catalog.describe(table).await?.schema)
    }

    async fn append(&self, table: &TableName, unit: &LogUnit, rows: RecordBatch) -> Result<()> {
        // What was made of columns here may have the values of keys.
        let schema = rows.schema();
        let made = schema.fields().iter().map(|field| field.name());
        let made = made.filter(|name| unit.rows.column_by_name(name).is_none());
        let private = unit.keys.iter().chain(made).cloned();
        let private = ProfileOptions::default().with_private(private);
        let statistics = TableWriter::new(&self.catalog, table, private).await?;
        let stream = BatchStream::from_batches(rows.schema(), vec![rows]);
        let options = CommitOptions::new(WriteMode::Append).with_job_id(&unit.id);
        let committed = self.catalog.commit(table, statistics.observe(stream), options).await?;
        if committed.changed {
            // What is drift of an hour, is told from these (C105).
            let mode = TableWriteMode::Append;
            statistics.store_or_warn(&self.catalog, &committed.pinned, mode).await;
        }
        Ok(())
    }
}

/// Behind the name of a column: the column with what was sent and is not of its type.
const AS_SENT: &str = "_as_sent";
/// Columns of a table for which clients get more of their own.
const COLUMNS_MAX: usize = 500;
/// Up to here, a double stands for one whole number.
const WHOLE_DOUBLES: f64 = 9_007_199_254_740_992.0;

/// Rows with the types that a table has its columns in.
struct Fitted {
    rows: RecordBatch,
    /// What was sent and has no column, by the name that it should have.
    homeless: Vec<(String, ArrayRef)>,
}

impl Fitted {
    /// A value of another type is logged as text in a column of its own: what one client sends is
    /// no reason not to log the others.
    fn new(rows: &RecordBatch, table: &Schema) -> Result<Self> {
        let (mut fields, mut columns) = (Vec::new(), Vec::new());
        let mut misfits: Vec<(String, ArrayRef)> = Vec::new();
        for (field, column) in rows.schema_ref().fields().iter().zip(rows.columns()) {
            let known = table.field_with_name(field.name()).map(Field::data_type).ok();
            // The table widens its own.
            let known = known.filter(|known| !is_wider(field.data_type(), known));
            let wanted = known.unwrap_or_else(|| field.data_type());
            let fits = same_or_null(column, wanted)?;
            if fits.null_count() > column.null_count() {
                let sent = cast_or_null(column, &DataType::Utf8);
                let sent = nullif(&sent, &is_not_null(&fits)?)?;
                misfits.push((format!("{}{AS_SENT}", field.name()), sent));
            }
            fields.push(Field::new(field.name(), wanted.clone(), true));
            columns.push(fits);
        }
        let mut homeless = Vec::new();
        for (name, sent) in misfits {
            let is_taken = rows.column_by_name(&name).is_some() || !may_be_text(table, &name);
            if is_taken {
                homeless.push((name, sent));
            } else {
                fields.push(Field::new(name, DataType::Utf8, true));
                columns.push(sent);
            }
        }
        let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?;
        Ok(Self { rows, homeless })
    }

    /// The rows with no more new columns than the table has room for. What the service logs by
    /// itself always has room; what clients make up beyond it is in `others`.
    fn narrowed(self, (unit, said): (&LogUnit, &Said), table: &Schema) -> Result<RecordBatch> {
        let is_new = |name: &str| table.field_with_name(name).is_err();
        // What was not in the rows is what somebody sent in another type.
        let is_of_clients =
            |name: &str| unit.own.contains(name) || unit.rows.column_by_name(name).is_none();
        let schema = self.rows.schema();
        let new: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let new: Vec<&str> = new.into_iter().filter(|name| is_new(name)).collect();
        let asked = new.iter().filter(|name| is_of_clients(name)).count();
        let taken = table.fields().len() + new.len() - asked;
        let mut room = COLUMNS_MAX.saturating_sub(taken);
        if asked <= room && self.homeless.is_empty() {
            return Ok(self.rows);
        }
        let others = others_of(table);
        if others.is_some_and(|name| is_new(name) && self.rows.column_by_name(name).is_none()) {
            room = room.saturating_sub(1);
        }
        let (mut fields, mut columns) = (Vec::new(), Vec::new());
        let (mut before, mut folded) = (None, Vec::new());
        for (field, column) in schema.fields().iter().zip(self.rows.columns()) {
            let name = field.name().as_str();
            if others == Some(name) {
                before = Some(column);
                continue;
            }
            if is_new(name) && is_of_clients(name) {
                if room == 0 {
                    folded.push((name, column));
                    continue;
                }
                room -= 1;
            }
            fields.push(Arc::clone(field));
            columns.push(Arc::clone(column));
        }
        folded.extend(self.homeless.iter().map(|(name, sent)| (name.as_str(), sent)));
        if let Some(others) = others {
            let (objects, counts) = fold_others(self.rows.num_rows(), before, &folded)?;
            fields.push(Arc::new(Field::new(others, DataType::Utf8, true)));
            columns.push(objects);
            let (log, values, left_out) = (&unit.log, counts.kept, counts.left_out);
            let causes = [
                (Cause::NoRoom, !folded.is_empty() && self.homeless.len() < folded.len()),
                (Cause::NoColumn, !self.homeless.is_empty()),
                (Cause::TooMuch, left_out > 0),
            ];
            for (cause, _) in causes.iter().filter(|(_, is_one)| *is_one) {
                if said.is_news(log, *cause) {
                    warn!(
                        log,
                        values,
                        left_out,
                        why = cause.words(),
                        "values without a column of their own are in `{others}`; this is said once"
                    );
                }
            }
            debug!(log, values, left_out, "values are in `{others}`");
        }
        Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
    }
}

/// The column for what has none of its own, unless clients have taken both of its names.
fn others_of(table: &Schema) -> Option<&'static str> {
    [OTHERS, "others_as_sent"].into_iter().find(|name| may_be_text(table, name))
}

/// Whether a column of this name is text, or will be.
fn may_be_text(table: &Schema, name: &str) -> bool {
    let known = table.field_with_name(name).ok();
    known.is_none_or(|known| *known.data_type() == DataType::Utf8)
}

/// Whether a table whose column is of a type takes all values of this one by widening it.
const fn is_wider(this: &DataType, known: &DataType) -> bool {
    matches!(
        (known, this),
        (DataType::Int32, DataType::Int64) | (DataType::Float32, DataType::Float64)
    )
}

/// The values that are the same in this type; the others are null. No number is rounded.
fn same_or_null(column: &ArrayRef, wanted: &DataType) -> Result<ArrayRef> {
    let fits = cast_or_null(column, wanted);
    let sent = column.data_type();
    if sent == wanted || !sent.is_numeric() || !wanted.is_numeric() {
        return Ok(fits);
    }
    let mut is_same = not_distinct(&cast_or_null(&fits, sent), column)?;
    if sent.is_floating() && wanted.is_integer() {
        // A larger one may have been rounded before it came here.
        let numbers = cast_or_null(column, &DataType::Float64);
        let numbers = numbers.as_primitive::<Float64Type>();
        let is_whole = BooleanArray::from_unary(numbers, |number| number.abs() < WHOLE_DOUBLES);
        is_same = and(&is_same, &is_whole)?;
    }
    Ok(nullif(&fits, &not(&is_same)?)?)
}

/// The values that have this type; the others are null.
fn cast_or_null(column: &ArrayRef, data_type: &DataType) -> ArrayRef {
    cast(column, data_type).unwrap_or_else(|_| new_null_array(data_type, column.len()))
}

#[cfg(test)]
mod tests;
