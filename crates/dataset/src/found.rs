//! Where the rows of a training set are: in their table, or in what they are joined from.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use futures::StreamExt;
use icecore_core::{BatchStream, Error, PinnedTable, Result, ScanOptions, SnapshotCatalog};
use icecore_engine::Engine;

use crate::load::{Columns, LoadOptions, RowsFrom};
use crate::lock::{DatasetPlan, Lock};
use crate::rows::{Content, joined};

/// Where the rows of a training set are.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) pin: PinnedTable,
    /// The dataset's table first, then what it was made from.
    pub(crate) provenance: Vec<PinnedTable>,
    pub(crate) columns: Columns,
    /// The types that are other than the lock's.
    pub(crate) types: BTreeMap<String, String>,
    source: Source,
}

#[derive(Debug, Clone)]
enum Source {
    Table,
    Inputs { plan: Box<DatasetPlan>, schema: SchemaRef },
}

/// Rows on their way.
pub(crate) struct Scan {
    pub(crate) rows: BatchStream,
    /// What has passed by when they are read, if they are joined.
    pub(crate) rebuilt: Option<Box<dyn FnOnce() -> Content + Send>>,
}

impl fmt::Debug for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scan").field("is_joined", &self.rebuilt.is_some()).finish_non_exhaustive()
    }
}

impl Found {
    pub(crate) async fn new(engine: &Engine, lock: &Lock, options: &LoadOptions) -> Result<Self> {
        match &options.rows {
            RowsFrom::Table => Self::in_table(engine, lock, options).await,
            RowsFrom::Inputs { types } => Self::in_inputs(engine, lock, (options, types)).await,
        }
    }

    async fn in_table(engine: &Engine, lock: &Lock, options: &LoadOptions) -> Result<Self> {
        let catalog = engine.catalog();
        let (pin, inputs) = match &options.at {
            None => (lock.materialized.clone(), lock.plan.pins()),
            Some(selector) => {
                let pin = catalog.pin(&lock.plan.table, selector).await?;
                // Another state came from other inputs, which its own lock knows.
                let inputs = if pin == lock.materialized { lock.plan.pins() } else { Vec::new() };
                (pin, inputs)
            }
        };
        let schema = catalog.schema(&pin).await?;
        let columns = Columns::find(&lock.plan, &pin, (&schema, options))?;
        let types = other_types(lock, &schema, &columns);
        let provenance = std::iter::once(pin.clone()).chain(inputs).collect();
        Ok(Self { pin, provenance, columns, types, source: Source::Table })
    }

    async fn in_inputs(
        engine: &Engine,
        lock: &Lock,
        (options, types): (&LoadOptions, &BTreeMap<String, String>),
    ) -> Result<Self> {
        let pin = lock.materialized.clone();
        let schema = typed(joined(engine, &lock.plan).await?.rows.schema(), types)?;
        let columns = Columns::find(&lock.plan, &pin, (&schema, options))?;
        let provenance = std::iter::once(pin.clone()).chain(lock.plan.pins()).collect();
        let source = Source::Inputs { plan: Box::new(lock.plan.clone()), schema };
        Ok(Self { pin, provenance, columns, types: types.clone(), source })
    }

    pub(crate) async fn scan(&self, engine: &Engine) -> Result<Scan> {
        let reads = &self.columns.reads;
        let (plan, schema) = match &self.source {
            Source::Table => {
                let scan = ScanOptions::default().with_columns(reads.iter().cloned());
                let rows = engine.catalog().scan(&self.pin, scan).await?;
                return Ok(Scan { rows, rebuilt: None });
            }
            Source::Inputs { plan, schema } => (plan, schema),
        };
        let (rows, content) = joined(engine, plan).await?.observed();
        let places =
            reads.iter().map(|name| schema.index_of(name)).collect::<Result<Vec<_>, _>>()?;
        let schema = Arc::new(schema.project(&places)?);
        let output = Arc::clone(&schema);
        let rows = rows.map(move |batch| projected(&batch?, &places, &output));
        Ok(Scan { rows: BatchStream::new(schema, rows), rebuilt: Some(Box::new(content)) })
    }
}

/// The columns that are read and whose types in the table are other than those in the lock.
fn other_types(lock: &Lock, table: &SchemaRef, columns: &Columns) -> BTreeMap<String, String> {
    let other = |name: &String| {
        let locked = lock.columns.iter().find(|column| column.name == *name)?;
        let now = table.field_with_name(name).ok()?.data_type().to_string();
        (now != locked.data_type).then(|| (name.clone(), now))
    };
    columns.reads.iter().filter_map(other).collect()
}

/// A schema in which these columns have these types.
fn typed(schema: &SchemaRef, types: &BTreeMap<String, String>) -> Result<SchemaRef> {
    let field = |field: &Arc<Field>| -> Result<Arc<Field>> {
        let Some(text) = types.get(field.name()) else { return Ok(Arc::clone(field)) };
        let data_type: DataType = text.parse().map_err(|error| {
            Error::corrupt(format!("column `{}` was of type `{text}`", field.name()))
                .with_note("it is no type of Arrow")
                .with_source(error)
        })?;
        Ok(Arc::new(field.as_ref().clone().with_data_type(data_type)))
    };
    let fields = schema.fields().iter().map(field).collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(Schema::new(fields)))
}

fn projected(batch: &RecordBatch, places: &[usize], schema: &SchemaRef) -> Result<RecordBatch> {
    let batch = batch.project(places)?;
    let columns = batch.columns().iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| match column.data_type() == field.data_type() {
        true => Ok(Arc::clone(column)),
        false => cast(column, field.data_type()),
    });
    Ok(RecordBatch::try_new(Arc::clone(schema), columns.collect::<Result<_, _>>()?)?)
}
