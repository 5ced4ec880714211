//! One view, from its table to the store.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef, SchemaRef};
use icecore_core::{
    Error, ErrorKind, FeatureView, PinnedTable, Result, SnapshotCatalog, SnapshotSelector, Span,
    Timestamp,
};
use icecore_engine::Engine;
use icecore_features::{Definitions, feature_source, feature_table, stored_features};
use icecore_online::{FeatureStore, RowSchema, invalidate_caches};
use tracing::{debug, info};

use crate::changed;
use crate::full;
use crate::marker::{Claim, Marker, ended, keep};
use crate::report::{MaterializeOptions, ViewReport};
use crate::tiles;

/// What materialization works on.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// The tables.
    pub engine: &'a Engine,
    /// The views.
    pub definitions: &'a Definitions,
    /// The store.
    pub store: &'a FeatureStore,
    /// The time of the job.
    pub now: Timestamp,
}

/// What the rows of a view look like in a store.
#[derive(Debug, Clone)]
pub struct ViewShape {
    /// The view's name.
    pub view: String,
    /// The columns of its join keys, in their order.
    pub keys: Vec<FieldRef>,
    /// The column with the moment that a row describes.
    pub event_timestamp: String,
    /// The column with the moment at which it became known.
    pub created_timestamp: Option<String>,
    /// The features.
    pub schema: RowSchema,
    /// The features as the table has them.
    pub features: Vec<FieldRef>,
    /// How old a row may be.
    pub ttl: Option<Span>,
}

impl ViewShape {
    /// The columns that have to be read.
    pub(crate) fn columns(&self) -> Vec<String> {
        let mut columns: Vec<String> = Vec::new();
        let keys = self.keys.iter().map(|key| key.name());
        let times = [Some(&self.event_timestamp), self.created_timestamp.as_ref()];
        let features = self.schema.fields().iter().map(|field| field.name());
        for column in keys.chain(times.into_iter().flatten()).chain(features) {
            if !columns.contains(column) {
                columns.push(column.clone());
            }
        }
        columns
    }

    /// Everything but the schema that decides about rows, as text.
    fn text(&self) -> String {
        let keys: Vec<&str> = self.keys.iter().map(|key| key.name().as_str()).collect();
        let created = self.created_timestamp.as_deref().unwrap_or("-");
        format!("{}|{}|{created}", keys.join(","), self.event_timestamp)
    }
}

/// Finds what the rows of a view look like in a store.
///
/// # Errors
///
/// `NotFound` for an unknown view or a column that its table does not have, `Unsupported` for a
/// feature of a type that a store does not hold.
pub fn view_shape(
    definitions: &Definitions,
    view: &FeatureView,
    pin: &PinnedTable,
    table: &SchemaRef,
) -> Result<ViewShape> {
    let features = stored_features(view);
    let columns: Vec<(String, String)> =
        features.iter().map(|name| (name.clone(), name.clone())).collect();
    let table_of = feature_table(definitions, view, pin.clone(), &columns, &BTreeMap::new())?;
    let find = |name: &str| -> Result<FieldRef> {
        table.fields().find(name).map(|(_, field)| Arc::clone(field)).ok_or_else(|| {
            let names = table.fields().iter().map(|field| field.name().as_str());
            Error::not_found(format!("`{}` has no column `{name}`", pin.table))
                .with_candidates(name, names)
                .with_help(format!("compute it: `icecore features compute {}`", view.name))
        })
    };
    let fields = features.iter().map(|name| find(name)).collect::<Result<Vec<FieldRef>>>()?;
    let schema = RowSchema::try_new(fields.iter().map(|field| -> &Field { field }))?;
    find(&table_of.event_timestamp)?;
    Ok(ViewShape {
        view: view.name.clone(),
        keys: table_of.keys.iter().map(|(key, _)| find(key)).collect::<Result<_>>()?,
        event_timestamp: table_of.event_timestamp,
        created_timestamp: table_of.created_timestamp,
        schema,
        features: fields,
        ttl: view.ttl,
    })
}

/// A view whose table is pinned.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) shape: ViewShape,
    pub(crate) pin: PinnedTable,
}

pub(crate) async fn plan(source: &Source<'_>, view: &str) -> Result<Planned> {
    let view = source.definitions.view(view)?;
    let table = feature_source(view)?;
    let catalog = source.engine.catalog();
    let pin = catalog.pin(table, &SnapshotSelector::Latest).await.map_err(|error| {
        match error.kind() {
            ErrorKind::NotFound => error
                .with_help(format!("compute it first: `icecore features compute {}`", view.name)),
            _ => error,
        }
    })?;
    let shape = view_shape(source.definitions, view, &pin, &catalog.schema(&pin).await?)?;
    Ok(Planned { shape, pin })
}

/// Brings the rows of a view in the store to the newest state of its table.
///
/// Only what changed since the last time is read, unless there was no last time, its snapshot is
/// gone, or the view's columns are others now. A job that was killed is completed by the next one.
///
/// # Errors
///
/// `NotFound` for an unknown view or one without a table yet, `Unavailable` if the store does not
/// answer; what was written before that is right, and a repetition goes on. `Conflict` while another
/// job of the view is on its way, and if one has taken over. A job that was killed less than two
/// minutes ago looks as if it went on.
pub async fn materialize_view(
    source: &Source<'_>,
    view: &str,
    options: MaterializeOptions,
) -> Result<ViewReport> {
    let is_rows = source.definitions.view(view)?.online.is_rows();
    let store = &**source.store.store();
    // What the store has comes first: the state that is pinned after it is not older.
    let (mut claim, marker) = Claim::open(store, view, (source.now, &options)).await?;
    let held = (&mut claim, marker);
    let outcome = match is_rows {
        true => options.unless_stopped(Box::pin(bring(source, held, &options))).await,
        false => options.unless_stopped(Box::pin(tiles::bring(source, held, &options))).await,
    };
    ended(&claim, outcome).await
}

/// Brings the rows of a view whose marker was read to the newest state of its table.
async fn bring(
    source: &Source<'_>,
    (claim, marker): (&mut Claim<'_>, Option<Marker>),
    options: &MaterializeOptions,
) -> Result<ViewReport> {
    let (store, view) = (&**source.store.store(), claim.view());
    let planned = plan(source, view).await?;
    let (shape, pin) = (&planned.shape, &planned.pin);
    let mut report = ViewReport::new(view, pin);
    let (schema, text) = (shape.schema.id(), shape.text());
    let start = start(source, (schema, &text), pin, marker.as_ref(), options).await?;
    let mut next = Marker {
        source: marker.and_then(|marker| marker.source),
        towards: Some(pin.clone()),
        schema,
        shape: text,
        at: source.now,
        alive: None,
        birth: None,
        generation: 0,
        covered: BTreeMap::new(),
    };
    if !options.dry_run {
        source.store.keep_schema(&shape.schema).await?;
    }
    match start {
        Start::Full(reason) => {
            report.full = Some(reason);
            // Until it is done nobody can tell which rows are there.
            next.source = None;
            let claim = begin(claim, &next, options).await?;
            let run = full::run(source, &planned, (options, claim), &mut report);
            keep(claim, Box::pin(run)).await?;
        }
        Start::Changes(steps) => {
            for (from, to) in steps {
                next.towards = Some(to.clone());
                let claim = begin(claim, &next, options).await?;
                let how = (options, claim);
                let run = changed::run(source, shape, (&from, &to), how, &mut report);
                keep(claim, Box::pin(run)).await?;
                next.source = Some(to);
            }
        }
    }
    if !options.dry_run {
        next = Marker { source: Some(pin.clone()), towards: None, ..next };
        claim.end(&next).await?;
        if report.written + report.removed > 0 {
            invalidate_caches(store, source.now).await?;
        }
    }
    info!(view, source = %pin, written = report.written, removed = report.removed, "materialized");
    Ok(report)
}

/// Begins a step; a dry run has none.
async fn begin<'c, 'a>(
    claim: &'c mut Claim<'a>,
    marker: &Marker,
    options: &MaterializeOptions,
) -> Result<Option<&'c Claim<'a>>> {
    if options.dry_run {
        return Ok(None);
    }
    claim.begin(marker).await?;
    Ok(Some(&*claim))
}

/// What has to be read.
#[derive(Debug)]
pub(crate) enum Start {
    /// What changed between these states, one after the other.
    Changes(Vec<(PinnedTable, PinnedTable)>),
    /// Everything, for this reason.
    Full(&'static str),
}

pub(crate) async fn start(
    source: &Source<'_>,
    (schema, shape): (u32, &str),
    pin: &PinnedTable,
    marker: Option<&Marker>,
    options: &MaterializeOptions,
) -> Result<Start> {
    if options.full {
        return Ok(Start::Full("asked for"));
    }
    let Some(marker) = marker else { return Ok(Start::Full("the store has none of it yet")) };
    let Some(from) = &marker.source else {
        return Ok(Start::Full("an earlier job did not come to its end"));
    };
    if from.table != pin.table || from.uuid != pin.uuid {
        return Ok(Start::Full("its table is another one now"));
    }
    if marker.schema != schema || marker.shape != shape {
        return Ok(Start::Full("its columns are others now"));
    }
    // A job that died on its way has written rows of a state that may be gone by now: what came
    // with it and left with the next one shows in no difference but its own.
    let mut steps = Vec::new();
    let mut last = from.clone();
    for to in [marker.towards.as_ref(), Some(pin)].into_iter().flatten() {
        if *to != last {
            steps.push((last, to.clone()));
            last = to.clone();
        }
    }
    for (from, to) in &steps {
        for state in [from, to] {
            match source.engine.catalog().schema(state).await {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    debug!(%state, "the state is gone");
                    return Ok(Start::Full("the state that it had is gone"));
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(Start::Changes(steps))
}

#[cfg(test)]
mod tests;
