//! Features on this machine, in one pass over the events.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use async_trait::async_trait;
use datafusion::common::{DFSchema, DataFusionError};
use datafusion::dataframe::DataFrame;
use datafusion::logical_expr::{Expr, ExprSchemable, cast, when};
use datafusion::prelude::ident;
use futures::StreamExt;
use icecore_core::{
    Aggregate, AggregateFunction, BatchStream, Closed, Derived, Error, FeatureEngine, FeatureView,
    PinnedTable, Result, SnapshotCatalog, SnapshotSelector, Span, TableName, TimeRange, Window,
};
use icecore_engine::{Engine, WindowNode, from_datafusion, window_frame};
use icecore_kernel::{WindowColumn, WindowSpec};

use crate::Definitions;
use crate::affected::Affected;
use crate::counted::Counts;
use crate::document::{all_or_none, joined};
use crate::expression::Expression;
use crate::on_demand::{self, OnDemandPlan, select_features};
use crate::order;
use crate::partition::{FEATURE_DATE, has_feature_date};
use crate::placed::Place;
use crate::source::{Inputs, Source, events_range, idle, locate_source};

/// When the last of the events in a row's windows was known.
const KNOWN: &str = "__known";
/// How many events are in its windows.
const COUNTED: &str = "__counted";
/// How many of those say when they were known.
const DATED: &str = "__dated";
/// When the first of the events was known that the row is there for.
const FOUND: &str = "__found";

/// Computes feature rows with the local query engine.
///
/// Each computation reads its source once, whatever number of windows it has.
#[derive(Debug, Clone)]
pub struct LocalFeatureEngine {
    engine: Engine,
    definitions: Arc<Definitions>,
}

impl LocalFeatureEngine {
    /// Computes views over these entities.
    #[must_use]
    pub const fn new(engine: Engine, definitions: Arc<Definitions>) -> Self {
        Self { engine, definitions }
    }
}

#[async_trait]
impl FeatureEngine for LocalFeatureEngine {
    async fn output_schema(&self, view: &FeatureView, pins: &[PinnedTable]) -> Result<SchemaRef> {
        output_schema(&self.engine, &self.definitions, view, pins).await
    }

    async fn compute(
        &self,
        view: &FeatureView,
        pins: &[PinnedTable],
        range: TimeRange,
    ) -> Result<BatchStream> {
        let source =
            Source::open(&self.engine, &self.definitions, view, pins).await.map_err(joined)?;
        let counts = Arc::new(Counts::default());
        compute(&self.engine, &source, range, &counts, None).await
    }
}

/// Checks every view against its source as it is now.
///
/// # Errors
///
/// All disagreements of all views, each with its place in the user's file: columns that do not
/// exist, times that are not times, conditions that are not boolean, functions that their column
/// does not have.
pub async fn check(engine: &Engine, definitions: &Definitions) -> Result<()> {
    let (mut errors, mut reads) = (Vec::new(), BTreeMap::new());
    for view in &definitions.views {
        let checked = async {
            let pins = pin_sources(engine, view, &[])
                .await
                .map_err(|error| vec![locate_source(definitions, view, error)])?;
            reads.insert(view.name.as_str(), pins.clone());
            let source = Source::open(engine, definitions, view, &pins).await?;
            let schema = source_schema(engine, &source).await.map_err(|error| vec![error])?;
            check_on_demand(engine, definitions, view, &schema).await
        };
        if let Err(found) = checked.await {
            errors.extend(found);
        }
    }
    errors.extend(circles(definitions, &reads));
    all_or_none(errors)
}

/// Whether the features that are computed on demand can be, from the columns that a view stores.
async fn check_on_demand(
    engine: &Engine,
    definitions: &Definitions,
    view: &FeatureView,
    stored: &SchemaRef,
) -> Result<(), Vec<Error>> {
    let requests = view.request_inputs.iter();
    let requests = requests.map(|input| Field::new(&input.name, input.value_type.arrow(), true));
    let fields = stored.fields().iter().map(|field| field.as_ref().clone()).chain(requests);
    let schema = Schema::new(fields.collect::<Vec<_>>());
    let mut errors = Vec::new();
    for (index, derived) in view.derived.iter().enumerate() {
        let planned = async {
            let selected = select_features(view, std::slice::from_ref(&derived.name))?;
            OnDemandPlan::new(engine, &selected.on_demand, &schema).await
        };
        if let Err(error) = planned.await {
            errors.push(definitions.locate(view, &format!("derived.{index}.expression"), error));
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// Pins every table that a view reads: at the state named for it, or at its latest.
///
/// # Errors
///
/// `NotFound` for a table or state that does not exist; `InvalidInput` for a query that reads the
/// table of the view itself.
pub async fn pin_sources(
    engine: &Engine,
    view: &FeatureView,
    at: &[(TableName, SnapshotSelector)],
) -> Result<Vec<PinnedTable>> {
    let mut pins = match (&view.source, &view.source_sql) {
        (Some(source), _) => {
            let named = at.iter().find(|(table, _)| table == source);
            let selector = named.map_or(&SnapshotSelector::Latest, |(_, selector)| selector);
            vec![engine.catalog().pin(source, selector).await?]
        }
        (None, Some(query)) => {
            let pins = engine.pin_query_with_views(query, at).await?;
            check_not_own(view, &pins)?;
            pins
        }
        (None, None) => Vec::new(),
    };
    pins.sort();
    Ok(pins)
}

/// A query that reads the features which it gives would give others each time they are computed.
fn check_not_own(view: &FeatureView, pins: &[PinnedTable]) -> Result<()> {
    match pins.iter().find(|pin| view.table.as_ref() == Some(&pin.table)) {
        None => Ok(()),
        Some(pin) => Err(Error::invalid(format!(
            "the query of `{}` reads `{}`, the table of its own features",
            view.name, pin.table
        ))
        .with_note("each computation would start from the features of the one before it")
        .with_help("read the events, or name another `table` for the features")),
    }
}

/// The errors of views whose tables are made from each other: what one computation of them gives is
/// not decided by the events. `reads` has what each view reads.
fn circles(definitions: &Definitions, reads: &BTreeMap<&str, Vec<PinnedTable>>) -> Vec<Error> {
    let feeders = |view: &FeatureView| -> Vec<&FeatureView> {
        let pins = reads.get(view.name.as_str()).map(Vec::as_slice).unwrap_or_default();
        let is_read = |table: &TableName| pins.iter().any(|pin| pin.table == *table);
        let views = definitions.views.iter();
        views.filter(|other| other.table.as_ref().is_some_and(is_read)).collect()
    };
    let mut errors = Vec::new();
    for view in &definitions.views {
        let (mut open, mut seen) = (feeders(view), BTreeSet::new());
        while let Some(next) = open.pop() {
            if next.name == view.name {
                let error = format!("`{}` is computed from its own features", view.name);
                let others = seen.iter().copied().collect::<Vec<&str>>().join(", ");
                let error = Error::invalid(error).with_note(format!("by way of {others}"));
                errors.push(locate_source(definitions, view, error));
                break;
            }
            if seen.insert(next.name.as_str()) {
                open.extend(feeders(next));
            }
        }
    }
    errors
}

async fn output_schema(
    engine: &Engine,
    definitions: &Definitions,
    view: &FeatureView,
    pins: &[PinnedTable],
) -> Result<SchemaRef> {
    let source = Source::open(engine, definitions, view, pins).await.map_err(joined)?;
    source_schema(engine, &source).await
}

/// The columns that a view over this source has.
pub(crate) async fn source_schema(engine: &Engine, source: &Source<'_>) -> Result<SchemaRef> {
    // Nothing runs: the range only has to be one that windows accept.
    let range = TimeRange { from: None, to: Some(icecore_core::Timestamp::from_micros(0)) };
    let frame = if source.view.is_stored() {
        source.stored(range)?
    } else {
        features(source, source.events(range)?, range)?
    };
    Ok(engine.stream(frame).await?.schema().clone())
}

/// The rows of a range; of those, only the affected ones where some are named.
pub(crate) async fn compute(
    engine: &Engine,
    source: &Source<'_>,
    range: TimeRange,
    counts: &Arc<Counts>,
    affected: Option<&Arc<Affected>>,
) -> Result<BatchStream> {
    let reach = events_range(source.view, range);
    let frame = if source.view.is_stored() {
        source.counted(source.stored(reach)?, counts, affected).await?
    } else {
        let events = source.events(reach)?;
        let events = match affected {
            Some(affected) => source.of_few(events, affected)?,
            None => events,
        };
        let events = source.counted(events, counts, affected).await?;
        features(source, events, range)?
    };
    let rows = engine.stream(frame).await?;
    Ok(match affected {
        None => rows,
        Some(affected) => only(rows, Arc::clone(affected)),
    })
}

fn only(rows: BatchStream, affected: Arc<Affected>) -> BatchStream {
    let schema = rows.schema().clone();
    let rows = rows.map(move |batch| {
        let batch = batch?;
        Ok(filter_record_batch(&batch, &affected.is_affected(batch.columns())?)?)
    });
    BatchStream::new(schema, rows)
}

/// From events to feature rows.
fn features(source: &Source<'_>, events: DataFrame, range: TimeRange) -> Result<DataFrame> {
    let view = source.view;
    let inputs = Inputs::of(view);
    let node = WindowNode {
        keys: source.keys.clone(),
        time: view.event_timestamp.clone(),
        spec: window_spec(view, &inputs)?,
        inputs: inputs.column_names(),
        masks: inputs.mask_names(),
        range,
        output_time: view.event_timestamp.clone(),
        asked: None,
    };
    let frame = window_frame(events, node).map_err(|error| locate(source, error))?;
    with_derived(source, frame)?.select(output(source)?).map_err(from_datafusion)
}

/// Adds the derived features that are stored.
pub(crate) fn with_derived(source: &Source<'_>, mut frame: DataFrame) -> Result<DataFrame> {
    let view = source.view;
    let order = order::derived(view).map_err(|(_, error)| error)?;
    let on_demand = on_demand::names(view);
    let stored = order.iter().filter_map(|at| Some((at, view.derived.get(*at)?)));
    for (index, derived) in stored.filter(|(_, derived)| !on_demand.contains(&derived.name)) {
        let part = format!("derived.{index}.expression");
        let expr = derived_value(source, derived, (&part, frame.schema()));
        let expr = expr.map_err(|error| source.definitions.locate(view, &part, error))?;
        frame = frame.with_column(&derived.name, expr).map_err(from_datafusion)?;
    }
    Ok(frame)
}

/// A derived feature over these columns, whose errors say which one it is.
fn derived_value(
    source: &Source<'_>,
    derived: &Derived,
    (part, schema): (&str, &DFSchema),
) -> Result<Expr> {
    let expression = Expression::parse(&derived.expression)?;
    let planned = expression.plan(&source.context, schema)?;
    expression.check_type(&planned.get_type(schema).map_err(from_datafusion)?)?;
    let place = Place {
        what: format!("derived feature `{}` of `{}`", derived.name, source.view.name),
        text: derived.expression.clone(),
        location: source.definitions.location(source.view, part).cloned(),
    };
    place.of(planned, schema, &source.context).map_err(from_datafusion)
}

/// Keys, times, features, and the date to partition by.
fn output(source: &Source<'_>) -> Result<Vec<Expr>> {
    let view = source.view;
    let same = |name: &String| ident(name).alias(name);
    let mut columns: Vec<Expr> = source.keys.iter().map(same).collect();
    columns.push(same(&view.event_timestamp));
    if let Some(created) = &view.created_timestamp {
        columns.push(known().map_err(from_datafusion)?.alias(created));
    }
    columns.extend(on_demand::stored_features(view).iter().map(same));
    if has_feature_date(view) {
        let plain = DataType::Timestamp(TimeUnit::Microsecond, None);
        let date = cast(cast(ident(&view.event_timestamp), plain), DataType::Date32);
        columns.push(date.alias(FEATURE_DATE));
    }
    Ok(columns)
}

/// When a row was known: once all events in its windows were, and one that it is there for. Null
/// where one of them does not say when, for a join that goes by this column never sees such events.
fn known() -> Result<Expr, DataFusionError> {
    let later = when(ident(KNOWN).gt(ident(FOUND)), ident(KNOWN)).otherwise(ident(FOUND))?;
    when(ident(DATED).eq(ident(COUNTED)), later).end()
}

/// The windows of a view's aggregates.
pub(crate) fn window_columns(view: &FeatureView, inputs: &Inputs) -> Vec<WindowColumn> {
    let of = |aggregate: &Aggregate, window: Window| WindowColumn {
        name: aggregate.column_name(window),
        function: aggregate.function.clone(),
        input: aggregate.column.as_deref().and_then(|column| inputs.column(column)),
        mask: aggregate.filter.as_deref().and_then(|filter| inputs.mask(filter)),
        window,
        closed: view.closed_of(aggregate, window),
    };
    let aggregates = view.aggregates.iter();
    aggregates.flat_map(|all| all.windows.iter().map(|window| of(all, *window))).collect()
}

/// A window of all events, under a name that no feature has.
pub(crate) fn hidden_column(
    name: &str,
    (function, input): (AggregateFunction, Option<usize>),
    (window, closed): (Window, Closed),
) -> WindowColumn {
    WindowColumn { name: name.to_owned(), function, input, mask: None, window, closed }
}

/// The bounds that all windows share; those that they do not are no bounds for all of them.
fn shared_bounds(view: &FeatureView, columns: &[WindowColumn]) -> Closed {
    let mut all = columns.iter().map(|column| column.closed);
    let closed = all.next().unwrap_or(view.closed);
    if all.all(|other| other == closed) { closed } else { Closed::Both }
}

fn window_spec(view: &FeatureView, inputs: &Inputs) -> Result<WindowSpec> {
    let mut columns = window_columns(view, inputs);
    let idle = idle(view);
    if view.emit.is_scheduled() && idle.is_none() {
        return Err(Error::invalid(format!("`{}` would have rows for ever", view.name))
            .with_help("add `ttl = \"90d\"`, or a window of finite length"));
    }
    if let Some(created) = &view.created_timestamp {
        let created = inputs.column(created);
        let widest = view.widest_window().filter(|_| !view.has_lifetime());
        let widest = widest.map_or(Window::LIFETIME, Window::last);
        let counting = (widest, shared_bounds(view, &columns));
        // What a row is there for may lie in none of its windows: an event of its own moment, or
        // one that is not too old. Any of them is enough.
        let there = match idle.filter(|_| view.emit.is_scheduled()) {
            Some(idle) => (Window::last(idle), Closed::Both),
            None => (Window::last(Span::from_micros(1)), Closed::Right),
        };
        columns.extend([
            hidden_column(KNOWN, (AggregateFunction::Max, created), counting),
            hidden_column(COUNTED, (AggregateFunction::Count, None), counting),
            hidden_column(DATED, (AggregateFunction::Count, created), counting),
            hidden_column(FOUND, (AggregateFunction::Min, created), there),
        ]);
    }
    Ok(WindowSpec { columns, emit: view.emit.clone(), idle })
}

/// An error about a window column, at the aggregate that it belongs to.
pub(crate) fn locate(source: &Source<'_>, error: Error) -> Error {
    let message = error.to_string();
    let aggregates = source.view.aggregates.iter().enumerate();
    let named = aggregates.filter(|(_, aggregate)| {
        let mut windows = aggregate.windows.iter();
        windows.any(|window| message.contains(&format!("`{}`", aggregate.column_name(*window))))
    });
    let part = match named.map(|(index, _)| index).next() {
        Some(index) => format!("aggregate.{index}.function"),
        None => String::new(),
    };
    source.definitions.locate(source.view, &part, error)
}

#[cfg(test)]
mod tests;
