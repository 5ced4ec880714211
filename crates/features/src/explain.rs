//! Why a feature has its value: the events of one entity, in and out of each window.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use datafusion::logical_expr::{Expr, cast, lit};
use datafusion::prelude::ident;
use icecore_core::{
    AggregateFunction, Closed, Error, FeatureView, PinnedTable, Result, SnapshotSelector,
    TableName, TimeRange, Timestamp, Window,
};
use icecore_engine::{Engine, from_datafusion};

use crate::Definitions;
use crate::document::joined;
use crate::local::pin_sources;
use crate::source::{Inputs, Source, locate_source};

/// Events listed at most, unless told otherwise.
const EVENTS_MAX: usize = 1000;

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
    /// Events to list, the latest first.
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
    /// For each of the events: whether it counts. An event in the window that does not meet the
    /// condition, or whose input is null, does not.
    pub counts: Vec<bool>,
}

/// Lists an entity's events and says which of them are in each window of a view.
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
    let frame = source.explained(entity_condition(&source, &options.entity)?)?;
    let newest_first = ident(&view.event_timestamp).sort(false, true);
    let frame = frame.sort(vec![newest_first]).map_err(from_datafusion)?;
    let frame = frame.limit(0, Some(options.events_max)).map_err(from_datafusion)?;
    let rows = engine.stream(frame).await?.concat().await?;
    let inputs = Inputs::of(view);
    let shown = rows.num_columns() - inputs.masks.len();
    let masks: Vec<&BooleanArray> =
        rows.columns().iter().skip(shown).filter_map(|mask| mask.as_boolean_opt()).collect();
    let events = rows.project(&(0..shown).collect::<Vec<_>>())?;
    let times = events.column_by_name(&view.event_timestamp);
    let times = times.and_then(|times| times.as_primitive_opt::<TimestampMicrosecondType>());
    let times = times.ok_or_else(|| Error::internal("events have no time"))?;
    let times: Vec<Option<i64>> = times.iter().collect();
    let beside = Beside { view, at: options.at, times: &times, events: &events, masks: &masks };
    let windows = beside.windows(&inputs);
    Ok(Explanation { view: view.name.clone(), at: options.at, sources, windows, events })
}

/// Reads an entity as users write it: the value of the only join key, or `key=value,key=value`.
///
/// # Errors
///
/// `InvalidInput` for a key that the view does not have, and if one is missing.
pub fn parse_entity(
    definitions: &Definitions,
    view: &FeatureView,
    text: &str,
) -> Result<BTreeMap<String, String>> {
    let keys = definitions.join_keys(view)?;
    if let [key] = keys.as_slice() {
        let value = text.strip_prefix(key.as_str()).and_then(|rest| rest.strip_prefix('='));
        return Ok(BTreeMap::from([(key.clone(), value.unwrap_or(text).to_owned())]));
    }
    let mut entity = BTreeMap::new();
    for pair in text.split(',') {
        let (key, value) = pair.split_once('=').ok_or_else(|| {
            let form = keys.iter().map(|key| format!("{key}=…")).collect::<Vec<_>>().join(",");
            Error::invalid(format!("`{text}` does not name an entity of `{}`", view.name))
                .with_help(format!("write `{form}`"))
        })?;
        entity.insert(key.trim().to_owned(), value.to_owned());
    }
    check_entity(view, &keys, &entity)?;
    Ok(entity)
}

fn check_entity(
    view: &FeatureView,
    keys: &[String],
    entity: &BTreeMap<String, String>,
) -> Result<()> {
    if let Some(missing) = keys.iter().find(|key| !entity.contains_key(*key)) {
        return Err(Error::invalid(format!("the entity has no `{missing}`")).with_note(format!(
            "join keys of `{}`: {}",
            view.name,
            keys.join(", ")
        )));
    }
    match entity.keys().find(|key| !keys.contains(key)) {
        None => Ok(()),
        Some(unknown) => {
            Err(Error::invalid(format!("`{}` has no join key `{unknown}`", view.name))
                .with_note(format!("join keys: {}", keys.join(", ")))
                .with_candidates(unknown, keys.iter().map(String::as_str)))
        }
    }
}

fn entity_condition(source: &Source<'_>, entity: &BTreeMap<String, String>) -> Result<Expr> {
    check_entity(source.view, &source.keys, entity)?;
    let mut condition = ident(&source.view.event_timestamp).is_not_null();
    for (key, value) in entity {
        let data_type = source.key_type(key)?;
        condition = condition.and(ident(key).eq(cast(lit(value.clone()), data_type)));
    }
    Ok(condition)
}

/// Events beside a moment.
struct Beside<'a> {
    view: &'a FeatureView,
    at: Timestamp,
    times: &'a [Option<i64>],
    events: &'a RecordBatch,
    masks: &'a [&'a BooleanArray],
}

impl Beside<'_> {
    fn windows(&self, inputs: &Inputs) -> Vec<ExplainedWindow> {
        let mut windows = Vec::new();
        for aggregate in &self.view.aggregates {
            let input = aggregate.column.as_ref().and_then(|name| self.events.column_by_name(name));
            let mask = aggregate.filter.as_ref().and_then(|filter| inputs.mask(filter));
            let mask = mask.and_then(|mask| self.masks.get(mask));
            for window in &aggregate.windows {
                let closed = self.view.closed_of(aggregate, *window);
                let range = window.range(closed, self.at);
                let counts = self.times.iter().enumerate().map(|(row, time)| {
                    time.is_some_and(|time| range.contains(Timestamp::from_micros(time)))
                        && input.is_none_or(|input| input.is_valid(row))
                        && mask.is_none_or(|mask| mask.is_valid(row) && mask.value(row))
                });
                windows.push(ExplainedWindow {
                    column: aggregate.column_name(*window),
                    function: aggregate.function.clone(),
                    input: aggregate.column.clone(),
                    filter: aggregate.filter.clone(),
                    window: *window,
                    range,
                    closed,
                    counts: counts.collect(),
                });
            }
        }
        windows
    }
}

#[cfg(test)]
mod tests;
