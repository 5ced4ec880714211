//! Window features of a table: the plan node around the kernel.

mod arranged;
mod asked;
mod blocks;
mod exec;
mod gather;
mod gathered_exec;
mod logical;
mod moment;
mod numbered;
mod spilled;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::Column;
use datafusion::error::DataFusionError;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::{Expr, Extension, LogicalPlan};
use datafusion::prelude::DataFrame;
use icecore_core::{Emit, Error, Result, Span, TimeRange, Timestamp};
use icecore_kernel::WindowSpec;

use crate::error::from_datafusion;
use crate::files::moment as moment_type;

use logical::FeatureWindow;
pub use logical::window_planner;
pub(crate) use moment::moments_of;
pub use moment::{moment_of, moment_within};

/// Window features over a table of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowNode {
    /// The columns that identify an entity; none makes all events one entity's.
    pub keys: Vec<String>,
    /// The column with the moment of each event. Events without one are left out.
    pub time: String,
    /// What to compute.
    pub spec: WindowSpec,
    /// The columns that the spec's inputs number.
    pub inputs: Vec<String>,
    /// The boolean columns that the spec's masks number.
    pub masks: Vec<String>,
    /// Only rows whose moment lies in here come out, computed from all events that they see.
    pub range: TimeRange,
    /// The name of the moment's column in the output.
    pub output_time: String,
    /// Which rows of the input are questions. Then one row comes out for each of them, computed from
    /// what had been known by its moment, and no others do.
    pub asked: Option<AskedRows>,
}

/// Rows that ask for windows at their moments, among the events.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AskedRows {
    /// The boolean column that is true for questions.
    pub rows: String,
    /// The column with the moment at which each event was known, where that decides. An event
    /// without one was never known.
    pub known: Option<String>,
    /// How long after it was known an event is first seen.
    pub delay: Span,
}

/// Computes window features over a frame of events.
///
/// The output has the keys, the moment as `Timestamp(Microsecond, "+00:00")`, and the columns of
/// the spec, sorted by keys and moment inside each partition. Events may come in any order and any
/// partitions. Those that come sorted by keys and moment are taken as they come, with memory for a
/// block of events or the widest entity. Others are gathered and arranged by entity in memory, and
/// where half of the memory limit does not hold them, distributed by the hash of their keys and
/// sorted, spilling to disk.
///
/// The frame that comes back plans itself; a session that plans it as part of another query needs
/// [`window_planner`] as its query planner.
///
/// # Errors
///
/// [`ErrorKind::NotFound`](icecore_core::ErrorKind::NotFound) for a column that the frame does not
/// have; [`ErrorKind::InvalidInput`](icecore_core::ErrorKind::InvalidInput) for one of the wrong
/// type, and for what [`WindowKernel::try_new`](icecore_kernel::WindowKernel::try_new) refuses.
pub fn window_frame(input: DataFrame, node: WindowNode) -> Result<DataFrame> {
    check_columns(&input, &node)?;
    let prepared = prepare(input, &node).map_err(from_datafusion)?;
    let (state, plan) = prepared.into_parts();
    let extension = Extension { node: Arc::new(FeatureWindow::try_new(plan, node)?) };
    // Rows come in order out of one stream, which dealing them out to others would have to restore.
    let config = state.config().clone().with_round_robin_repartition(false);
    let state = SessionStateBuilder::new_from_existing(state)
        .with_config(config)
        .with_query_planner(window_planner())
        .build();
    Ok(DataFrame::new(state, LogicalPlan::Extension(extension)))
}

fn check_columns(input: &DataFrame, node: &WindowNode) -> Result<()> {
    let schema = input.schema();
    let names = schema.fields().iter().map(|field| field.name().as_str());
    let asked = node.asked.as_ref();
    let known = asked.and_then(|asked| asked.known.as_ref());
    let masks = node.masks.iter().chain(asked.map(|asked| &asked.rows));
    let used = node.keys.iter().chain([&node.time]).chain(&node.inputs).chain(masks.clone());
    for name in used.chain(known) {
        if !names.clone().any(|known| known == name) {
            let known = names.clone().collect::<Vec<_>>().join(", ");
            return Err(Error::not_found(format!("the events have no column `{name}`"))
                .with_note(format!("columns: {known}"))
                .with_candidates(name, names));
        }
    }
    let type_of = |name: &String| schema.field_with_unqualified_name(name).map(|f| f.data_type());
    for name in std::iter::once(&node.time).chain(known) {
        let time = type_of(name).map_err(from_datafusion)?;
        if !matches!(time, DataType::Timestamp(..) | DataType::Date32 | DataType::Date64) {
            let message = format!("`{name}` has the type `{time}`, which is not a time");
            return Err(Error::invalid(message));
        }
    }
    for name in masks {
        let data_type = type_of(name).map_err(from_datafusion)?;
        if data_type != &DataType::Boolean {
            let message = format!("`{name}` has the type `{data_type}`, which is not a condition");
            return Err(Error::invalid(message));
        }
    }
    Ok(())
}

/// Brings the columns into the order that the node reads: keys, moment, inputs, masks, then which
/// rows are questions, and when events were known.
fn prepare(input: DataFrame, node: &WindowNode) -> Result<DataFrame, DataFusionError> {
    let time = column(&node.time);
    let found = input.schema().field_with_unqualified_name(&node.time)?.data_type();
    let seen = moment_within(&time, found, seen_events(node));
    let mut events = seen.into_iter().fold(time.clone().is_not_null(), Expr::and);
    let shown = match found == &moment_type() {
        true => time,
        false => moment_of(time, found),
    };
    let keys = node.keys.iter().map(|key| column(key).alias(key));
    let inputs = (0..).zip(&node.inputs);
    let inputs =
        inputs.map(|(index, name): (usize, _)| column(name).alias(format!("input_{index}")));
    let masks = (0..).zip(&node.masks);
    let masks = masks.map(|(index, name): (usize, _)| column(name).alias(format!("mask_{index}")));
    let mut columns =
        keys.chain([shown.alias("moment")]).chain(inputs).chain(masks).collect::<Vec<_>>();
    if let Some(AskedRows { rows, known, .. }) = &node.asked {
        columns.push(column(rows).alias("asked"));
        if let Some(known) = known {
            let found = input.schema().field_with_unqualified_name(known)?.data_type();
            columns.push(moment_of(column(known), found).alias("known"));
            events = events.and(column(rows).is_true().or(column(known).is_not_null()));
        }
    }
    input.filter(events)?.select(columns)
}

fn column(name: &str) -> Expr {
    Expr::Column(Column::new_unqualified(name))
}

/// The events that rows of the range can depend on, so that the scan need not read others.
fn seen_events(node: &WindowNode) -> TimeRange {
    const DAY_MICROS: i64 = 86_400_000_000;
    let range = moments(node);
    let to = range.to.and_then(|to| match node.spec.emit {
        // A later event of the same day takes the day's row with it, out of the range.
        Emit::LastPerDay => {
            let day = to.micros().checked_sub(1)?.div_euclid(DAY_MICROS);
            day.checked_add(1)?.checked_mul(DAY_MICROS).map(Timestamp::from_micros)
        }
        _ => Some(to),
    });
    TimeRange { from: earliest_seen(node, range.from), to }
}

/// The moments that rows can have.
fn moments(node: &WindowNode) -> TimeRange {
    let TimeRange { from, to } = node.range;
    let Emit::At(moments) = &node.spec.emit else { return node.range };
    let after = moments.iter().max().and_then(|last| last.micros().checked_add(1));
    let after = after.map(Timestamp::from_micros);
    TimeRange {
        from: from.max(moments.iter().min().copied()),
        to: to.into_iter().chain(after).min(),
    }
}

/// The first moment that a row can depend on; absent for a lifetime.
fn earliest_seen(node: &WindowNode, from: Option<Timestamp>) -> Option<Timestamp> {
    let widest = node.spec.reach()?;
    // Scheduled rows go on for a while after an event, seen by windows or not.
    let reach = match node.spec.emit.is_scheduled() {
        true => widest.max(node.spec.idle?),
        false => widest,
    };
    from?.micros().checked_sub(reach.micros()).map(Timestamp::from_micros)
}
