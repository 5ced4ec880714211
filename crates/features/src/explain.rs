//! Why a feature has its value: the events of one entity, in and out of each window.

mod entity;
mod standing;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch, UInt64Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::TimestampMicrosecondType;
use datafusion::logical_expr::Expr;
use datafusion::prelude::ident;
use icecore_core::{
    AggregateFunction, Closed, Emit, Error, FeatureView, PinnedTable, Result, SnapshotSelector,
    Span, TableName, TimeRange, Timestamp, Window,
};
use icecore_engine::{Engine, from_datafusion};

use crate::Definitions;
use crate::counted::Counts;
use crate::document::joined;
use crate::local::{self, pin_sources};
use crate::on_demand::stored_features;
use crate::source::{Inputs, Source, locate_source};

pub use entity::parse_entity;
pub use standing::Standing;

use entity::entity_condition;
use standing::Beside;

/// Events listed at most, unless told otherwise.
const EVENTS_MAX: usize = 1000;
/// Longer ago than any event lies that somebody asks about.
const LONG_AGO_DAYS: i64 = 100_000;

/// What to explain.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ExplainOptions {
    /// The entity: join keys and their values as text.
    pub entity: BTreeMap<String, String>,
    /// The moment that windows end at.
    pub at: Timestamp,
    /// The states to read; tables not named are read at their latest.
    pub sources: Vec<(TableName, SnapshotSelector)>,
    /// Events up to the moment to list, the latest first; and as many later ones, those nearest to
    /// it.
    pub events_max: usize,
}

impl ExplainOptions {
    /// Explains an entity at a moment.
    #[must_use]
    pub const fn new(entity: BTreeMap<String, String>, at: Timestamp) -> Self {
        Self { entity, at, sources: Vec::new(), events_max: EVENTS_MAX }
    }
}

/// The events of an entity beside the windows that end at a moment.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Explanation {
    /// The view.
    pub view: String,
    /// The moment.
    pub at: Timestamp,
    /// What was read.
    pub sources: Vec<PinnedTable>,
    /// The windows.
    pub windows: Vec<ExplainedWindow>,
    /// Join keys, event timestamp and the columns that aggregates look at, latest event first.
    pub events: RecordBatch,
    /// How many of the first of them are later than the moment: no window looks at those.
    pub later_events: usize,
    /// Whether the entity has more events up to the moment than are listed.
    pub has_more_events: bool,
    /// Whether it has more later ones.
    pub has_more_later_events: bool,
    /// The stored features at that moment, as computing the view gives them: one row, or none
    /// where the entity has no event up to then.
    pub values: RecordBatch,
}

/// One window feature.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ExplainedWindow {
    /// The feature's column.
    pub column: String,
    /// What it computes.
    pub function: AggregateFunction,
    /// Over which column.
    pub input: Option<String>,
    /// Under which condition.
    pub filter: Option<String>,
    /// Over which window.
    pub window: Window,
    /// The moments in the window, the second of which is the first one after it; no first one for
    /// the lifetime.
    pub range: TimeRange,
    /// Which of its ends belong to it.
    pub closed: Closed,
    /// For each of the events: whether it counts, and if not, why.
    pub standings: Vec<Standing>,
}

/// Lists an entity's events and says which of them are in each window of a view, and why the others
/// are not; and computes the features of the moment.
///
/// # Errors
///
/// `InvalidInput` if the entity lacks a join key or names another column, or a value does not
/// have the key's type.
pub async fn explain(
    engine: &Engine,
    definitions: &Definitions,
    view: &str,
    options: ExplainOptions,
) -> Result<Explanation> {
    let view = definitions.view(view)?;
    if view.is_stored() {
        return Err(Error::invalid(format!("`{}` has stored features, no windows", view.name)));
    }
    let sources = pin_sources(engine, view, &options.sources)
        .await
        .map_err(|error| locate_source(definitions, view, error))?;
    let source = Source::open(engine, definitions, view, &sources).await.map_err(joined)?;
    let condition = entity_condition(&source, &options.entity)?;
    let values = values(engine, &source, condition.clone(), options.at).await?;
    let after = Timestamp::from_micros(options.at.micros().saturating_add(1));
    let of = |range| (engine, &source, condition.clone(), range, options.events_max);
    let (later, has_more_later_events) =
        nearest(of(TimeRange { from: Some(after), to: None })).await?;
    let (until, has_more_events) = nearest(of(TimeRange { from: None, to: Some(after) })).await?;
    let later_events = later.num_rows();
    let rows = concat_batches(&until.schema(), [&later, &until])?;
    let inputs = Inputs::of(view);
    let shown = rows.num_columns() - inputs.masks.len() - 1;
    let masks: Vec<&BooleanArray> =
        rows.columns().iter().skip(shown).filter_map(|mask| mask.as_boolean_opt()).collect();
    let (in_view, masks) =
        masks.split_first().ok_or_else(|| Error::internal("events do not say if they pass"))?;
    let events = rows.project(&(0..shown).collect::<Vec<_>>())?;
    let times = events.column_by_name(&view.event_timestamp);
    let times = times.and_then(|times| times.as_primitive_opt::<TimestampMicrosecondType>());
    let times = times.ok_or_else(|| Error::internal("events have no time"))?;
    let times: Vec<Option<i64>> = times.iter().collect();
    let beside = Beside { view, at: options.at, times: &times, events: &events, in_view, masks };
    let windows = beside.windows(&inputs);
    let (view, at) = (view.name.clone(), options.at);
    Ok(Explanation {
        view,
        at,
        sources,
        windows,
        events,
        later_events,
        has_more_events,
        has_more_later_events,
        values,
    })
}

/// The events of a range that has one end, nearest to that, the latest first; and whether there are
/// more.
async fn nearest(
    (engine, source, entity, range, most): (&Engine, &Source<'_>, Expr, TimeRange, usize),
) -> Result<(RecordBatch, bool)> {
    let condition = source.is_within(range).map_or(entity.clone(), |within| entity.and(within));
    let oldest_first = range.from.is_some();
    let order = ident(&source.view.event_timestamp).sort(oldest_first, true);
    let frame = source.explained(condition)?.sort(vec![order]).map_err(from_datafusion)?;
    let frame = frame.limit(0, Some(most.saturating_add(1))).map_err(from_datafusion)?;
    let rows = engine.stream(frame).await?.concat().await?;
    let has_more = rows.num_rows() > most;
    let rows = rows.slice(0, rows.num_rows().min(most));
    if !oldest_first {
        return Ok((rows, has_more));
    }
    let newest_first = UInt64Array::from_iter_values((0..rows.num_rows() as u64).rev());
    Ok((take_record_batch(&rows, &newest_first)?, has_more))
}

/// The features of the entity at the moment, by the code that computes the view.
async fn values(
    engine: &Engine,
    source: &Source<'_>,
    entity: Expr,
    at: Timestamp,
) -> Result<RecordBatch> {
    // A row at the moment, whatever the view emits, and however long ago the latest event was.
    let view = FeatureView {
        emit: Emit::At(vec![at]),
        ttl: Some(Span::from_days(LONG_AGO_DAYS)),
        ..source.view.clone()
    };
    let frame = source.unfiltered().filter(entity).map_err(from_datafusion)?;
    let own = Source::over(source.definitions, &view, source.context.clone(), frame);
    let own = own.map_err(joined)?;
    let range = TimeRange {
        from: Some(at),
        to: Some(Timestamp::from_micros(at.micros().saturating_add(1))),
    };
    let counts = Arc::new(Counts::default());
    let row = local::compute(engine, &own, range, &counts, None).await?.concat().await?;
    let names = stored_features(&view);
    let columns = names.iter().filter_map(|name| row.schema().index_of(name).ok());
    Ok(row.project(&columns.collect::<Vec<_>>())?)
}

#[cfg(test)]
mod tests;
