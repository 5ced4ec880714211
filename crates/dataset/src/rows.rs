//! The rows of a training set, joined from the plan's pins, and what passed by.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::{CastOptions, cast_with_options, concat_batches};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use futures::{StreamExt, TryStreamExt};
use icecore_core::{
    BatchStream, Error, ErrorKind, FeatureTable, Knowledge, Location, PitOptions, Result, Spine,
};
use icecore_engine::{DataFrame, Engine};
use icecore_features::MomentColumns;
use icecore_kernel::ContentHash;
use icecore_pit::{MergeJoin, MomentRows};

use crate::leak::{LeakCheck, LeakChecker, created_column, event_column};
use crate::lock::{DatasetPlan, LockedView};
use crate::moment::{all_answered, answered_column, moment_rows};
use crate::on_demand::{helper_column, with_on_demand};
use crate::shape::Shaping;
use crate::statistics::{ColumnObserver, ColumnStatistics, observe};

/// Rows that pass by once are kept up to here, where they are needed twice.
const KEPT_BYTES_MAX: usize = 1 << 30;

/// What the rows of a training set are, counted as they passed by.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Content {
    pub(crate) rows: u64,
    pub(crate) content_hash: String,
    pub(crate) columns: Vec<ColumnStatistics>,
    pub(crate) leak_check: LeakCheck,
}

/// Rows on their way, and what has passed by.
pub(crate) struct Joined {
    pub(crate) rows: BatchStream,
    observer: Arc<Mutex<Observer>>,
}

#[derive(Debug)]
struct Observer {
    hash: ContentHash,
    columns: Vec<ColumnObserver>,
    leaks: LeakChecker,
}

impl Joined {
    /// Reads every row and keeps none.
    pub(crate) async fn drain(self) -> Result<Content> {
        let Self { mut rows, observer } = self;
        while rows.try_next().await?.is_some() {}
        Ok(content(&observer))
    }

    /// The rows, and a look at what has passed by when they are read.
    pub(crate) fn observed(self) -> (BatchStream, impl FnOnce() -> Content) {
        let Self { rows, observer } = self;
        (rows, move || content(&observer))
    }
}

fn content(observer: &Mutex<Observer>) -> Content {
    let observer = observer.lock().unwrap_or_else(PoisonError::into_inner);
    Content {
        rows: observer.hash.rows(),
        content_hash: observer.hash.to_hex(),
        columns: observer.columns.iter().map(ColumnObserver::finish).collect(),
        leak_check: observer.leaks.found().clone(),
    }
}

/// Joins the rows of a plan, reading only its pins.
///
/// # Errors
///
/// `InvalidInput` if the spine lacks a column that the plan names. The stream fails when a row saw
/// its future.
pub(crate) async fn joined(engine: &Engine, plan: &DatasetPlan) -> Result<Joined> {
    joined_at(engine, plan, None).await
}

/// The same for a definition that is at hand: errors of its `where` have a place in it.
pub(crate) async fn joined_at(
    engine: &Engine,
    plan: &DatasetPlan,
    filter: Option<Location>,
) -> Result<Joined> {
    let spine = SpineRows::Query(plan.spine.sql.clone());
    let joined = with_features(engine, plan, spine, options(plan)).await?;
    check_spine(plan, joined.schema())?;

    let mut hidden = hidden_columns(plan);
    if !plan.with_event_timestamps {
        hidden.extend(plan.views.iter().map(|view| event_column(&view.name)));
    }
    let shaping = Shaping::new(engine, plan, (joined.schema(), &hidden), filter)?;
    let shaped = shaping.schema(joined.schema());
    let (visible, schema) = visible(&hidden, &shaped)?;
    let observer = Observer {
        hash: ContentHash::default(),
        columns: schema.fields().iter().map(|field| ColumnObserver::new(field)).collect(),
        leaks: LeakChecker::new(&plan.event_timestamp, &plan.views),
    };
    let observer = Arc::new(Mutex::new(observer));
    let (watching, output) = (Arc::clone(&observer), Arc::clone(&schema));
    let rows = joined.map(move |batch| {
        let batch = shaping.apply(batch?, &shaped)?;
        let mut observer = watching.lock().unwrap_or_else(PoisonError::into_inner);
        observer.leaks.check(&batch)?;
        let batch = stored(&batch, &visible, &output)?;
        observer.hash.add_batch(&batch)?;
        observe(&mut observer.columns, &batch)?;
        Ok(batch)
    });
    Ok(Joined { rows: BatchStream::new(schema, rows), observer })
}

/// How the rows of a set are joined: the leak check looks at event timestamps, whoever else does.
fn options(plan: &DatasetPlan) -> PitOptions {
    let mut options = PitOptions::default().with_event_timestamps().with_knowledge(plan.knowledge);
    options.with_ages = plan.with_ages;
    options
}

/// Where the rows of a spine come from.
pub(crate) enum SpineRows {
    /// A query, which is asked as often as needed.
    Query(String),
    /// Rows that pass by once.
    Stream(BatchStream),
}

impl SpineRows {
    /// The rows, and the same as a frame if it is needed.
    async fn open(
        self,
        engine: &Engine,
        plan: &DatasetPlan,
        twice: bool,
    ) -> Result<(BatchStream, Option<DataFrame>)> {
        match self {
            Self::Query(sql) => {
                let pins = plan.pins();
                let frame = if twice { Some(engine.query(&sql, &pins).await?) } else { None };
                Ok((engine.sql(&sql, &pins).await?, frame))
            }
            Self::Stream(rows) if !twice => Ok((rows, None)),
            Self::Stream(rows) => {
                let (schema, batches) = (Arc::clone(rows.schema()), kept(rows).await?);
                let frame = engine.rows(concat_batches(&schema, &batches)?).await?;
                Ok((BatchStream::from_batches(schema, batches), Some(frame)))
            }
        }
    }
}

/// The rows of a stream, as many as memory is spent on.
async fn kept(mut rows: BatchStream) -> Result<Vec<RecordBatch>> {
    let (mut batches, mut bytes) = (Vec::new(), 0);
    while let Some(batch) = rows.try_next().await? {
        bytes += batch.get_array_memory_size();
        if bytes > KEPT_BYTES_MAX {
            return Err(Error::new(
                ErrorKind::LimitExceeded,
                "the rows are too many to look at twice, as windows that end at them need",
            )
            .with_help("write them to a table, and name that"));
        }
        batches.push(batch);
    }
    Ok(batches)
}

/// Joins what a plan says to a spine, with what only the leak check and other features look at.
pub(crate) async fn with_features(
    engine: &Engine,
    plan: &DatasetPlan,
    spine: SpineRows,
    options: PitOptions,
) -> Result<BatchStream> {
    let (rows, frame) = spine.open(engine, plan, at_moments(plan)).await?;
    let spine = Spine { rows, event_timestamp: plan.event_timestamp.clone() };
    let tables = tables(engine, plan, frame.as_ref(), options).await?;
    let joined = MergeJoin::new(engine.clone()).join_with(spine, tables, options).await?;
    with_on_demand(engine, plan, all_answered(plan, joined)?).await
}

/// Whether some windows end at the spine's moments.
fn at_moments(plan: &DatasetPlan) -> bool {
    plan.views.iter().any(|view| view.windows.is_some())
}

/// What the spine is joined with; `spine` is looked at for windows that end at its moments.
async fn tables(
    engine: &Engine,
    plan: &DatasetPlan,
    spine: Option<&DataFrame>,
    options: PitOptions,
) -> Result<Vec<(FeatureTable, Option<MomentRows>)>> {
    let mut tables = Vec::with_capacity(plan.views.len());
    for view in &plan.views {
        let made = match (&view.windows, spine) {
            (Some(windows), Some(spine)) => {
                let of_view = (plan, view, windows);
                Some(moment_rows(engine, of_view, spine.clone(), options).await?)
            }
            _ => None,
        };
        tables.push((feature_table(plan, view)?, made));
    }
    Ok(tables)
}

/// How the rows of a plan are joined: its operators, one a line, with the statistics that they have.
///
/// # Errors
///
/// As [`plan`](crate::plan()).
pub async fn explain(engine: &Engine, plan: &DatasetPlan) -> Result<String> {
    let spine = engine.query(&plan.spine.sql, &plan.pins()).await?;
    let options = options(plan);
    let looked_at = at_moments(plan).then_some(&spine);
    let tables = tables(engine, plan, looked_at, options).await?;
    let join = MergeJoin::new(engine.clone());
    join.explain(spine.clone(), &plan.event_timestamp, tables, options).await
}

/// The columns that are only looked at.
pub(crate) fn hidden_columns(plan: &DatasetPlan) -> Vec<String> {
    let hidden = plan.views.iter().flat_map(|view| {
        let helpers = view.on_demand.iter().flat_map(|on_demand| &on_demand.helpers);
        let helpers = helpers.map(|helper| helper_column(&view.name, helper));
        helpers.chain([created_column(&view.name)])
    });
    hidden.collect()
}

/// That the columns of a spine have what the plan names.
pub(crate) fn check_spine(plan: &DatasetPlan, schema: &Schema) -> Result<()> {
    let label = plan.label.iter().map(|label| (label, "label"));
    for (name, what) in label.chain([(&plan.event_timestamp, "event timestamp")]) {
        if schema.column_with_name(name).is_none() {
            let names: Vec<&str> =
                schema.fields().iter().map(|field| field.name().as_str()).collect();
            return Err(Error::invalid(format!("the spine has no column `{name}`, the {what}"))
                .with_note(format!("columns of the spine: {}", names.join(", ")))
                .with_candidates(name, names));
        }
    }
    Ok(())
}

fn feature_table(plan: &DatasetPlan, view: &LockedView) -> Result<FeatureTable> {
    let input = plan.inputs.iter().find(|input| input.pin.table == view.table);
    let Some(input) = input else {
        return Err(Error::corrupt(format!(
            "the lock has no pin for `{}`, which feature view `{}` reads",
            view.table, view.name
        )));
    };
    let mut columns = view.columns.clone();
    for helper in view.on_demand.iter().flat_map(|on_demand| &on_demand.helpers) {
        columns.push((helper.clone(), helper_column(&view.name, helper)));
    }
    if let (Knowledge::Created, Some(created)) = (view.knowledge, &view.created_timestamp) {
        // The leak check looks at it; it does not come out.
        let known = match view.windows {
            Some(_) => MomentColumns::KNOWN,
            None => created,
        };
        columns.push((known.to_owned(), created_column(&view.name)));
    }
    if view.windows.is_some() {
        columns.push((MomentColumns::ANSWERED.to_owned(), answered_column(&view.name)));
    }
    Ok(FeatureTable {
        view: view.name.clone(),
        table: input.pin.clone(),
        keys: view.keys.clone(),
        event_timestamp: view.event_timestamp.clone(),
        created_timestamp: view.created_timestamp.clone(),
        ttl: view.ttl,
        delay: view.delay,
        strict: view.strict,
        knowledge: Some(view.knowledge),
        columns,
    })
}

/// Which joined columns the set has, and as which types they are stored.
fn visible(hidden: &[String], joined: &SchemaRef) -> Result<(Vec<usize>, SchemaRef)> {
    let (mut columns, mut fields) = (Vec::new(), Vec::<FieldRef>::new());
    for (at, field) in joined.fields().iter().enumerate() {
        if hidden.contains(field.name()) {
            continue;
        }
        let data_type = match field.data_type() {
            DataType::UInt32 | DataType::UInt64 => DataType::Int64,
            DataType::Int8 | DataType::Int16 | DataType::UInt8 | DataType::UInt16 => {
                DataType::Int32
            }
            DataType::Timestamp(_, zone) => {
                let zone = zone.as_ref().map(|_| "+00:00".into());
                DataType::Timestamp(TimeUnit::Microsecond, zone)
            }
            other => other.clone(),
        };
        columns.push(at);
        fields.push(Arc::new(Field::new(field.name(), data_type, true)));
    }
    if fields.iter().any(|field| *field.data_type() == DataType::Null) {
        return Err(Error::invalid("a column of the spine is always null and has no type")
            .with_help("cast it in the spine: `CAST(NULL AS DOUBLE) AS name`"));
    }
    Ok((columns, Arc::new(Schema::new(fields))))
}

/// A batch as the table stores it.
fn stored(batch: &RecordBatch, columns: &[usize], schema: &SchemaRef) -> Result<RecordBatch> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let columns = columns.iter().zip(schema.fields()).map(|(&at, field)| {
        let column: &ArrayRef = batch.column(at);
        if column.data_type() == field.data_type() {
            return Ok(Arc::clone(column));
        }
        cast_with_options(column, field.data_type(), &options).map_err(|error| {
            Error::invalid(format!("a value of column `{}` is too large to store", field.name()))
                .with_source(error)
        })
    });
    Ok(RecordBatch::try_new(Arc::clone(schema), columns.collect::<Result<_>>()?)?)
}
