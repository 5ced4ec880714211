//! Windows that end at moments which are asked about, straight from a view's events.

mod asks;

use arrow::datatypes::DataType;
use datafusion::dataframe::DataFrame;
use datafusion::logical_expr::{Expr, cast, lit, when};
use datafusion::prelude::ident;
use datafusion::scalar::ScalarValue;
use icecore_core::{
    AggregateFunction, Closed, Emit, Error, FeatureView, PinnedTable, Result, Shape, Span,
    TimeRange, Timestamp, Window,
};
use icecore_engine::{AskedRows, Engine, WindowNode, from_datafusion, window_frame};
use icecore_kernel::{WindowColumn, WindowSpec};

use crate::Definitions;
use crate::document::joined;
use crate::local::{hidden_column, locate, window_columns, with_derived};
use crate::on_demand;
use crate::source::{Inputs, Source};

pub use asks::AskedMoments;

/// How many events the entity had lately; where none, there are no features.
const RECENT: &str = "__recent";
/// Whether a row is a question.
const ASKED: &str = "__asked";

/// What counts at a moment that is asked about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MomentRules {
    /// How long ago an entity's latest event may be; absent means as the view says, else as long as
    /// its widest window.
    pub ttl: Option<Span>,
    /// How long after it was known an event is first seen.
    pub delay: Option<Span>,
    /// Whether events of the very moment stay out.
    pub strict: bool,
    /// Whether an event counts only once it was created, by the view's created timestamp.
    pub by_created: bool,
}

/// The columns of [`features_at`] that are no features.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct MomentColumns;

impl MomentColumns {
    /// The newest event that a row was computed from; null where there are no features.
    pub const NEWEST: &'static str = "__newest";
    /// When the last of the events that a row was computed from was created; there only if that
    /// decides.
    pub const KNOWN: &'static str = "__known";
    /// True in every row.
    pub const ANSWERED: &'static str = "__answered";
}

/// The stored features of a view, as rows at these moments would have them: one row for each moment
/// of an entity, with the join keys, the moment under the name of the view's event timestamp, the
/// features, and the columns of [`MomentColumns`].
///
/// Which events count is decided one by one: none is after the moment, and none was known later. The
/// features are null where the view would have no row at the moment, because the entity had no
/// event lately.
///
/// # Errors
///
/// `InvalidInput` for a view of stored features, which has no windows, and for one without a created
/// timestamp where that is to decide; else what computing the view fails with.
pub async fn features_at(
    engine: &Engine,
    (definitions, view): (&Definitions, &FeatureView),
    pins: &[PinnedTable],
    asked: &AskedMoments,
    rules: MomentRules,
) -> Result<DataFrame> {
    if view.is_stored() {
        let error = format!("feature view `{}` stores features and has no windows", view.name);
        return Err(Error::invalid(error).with_help("leave `windows = \"moment\"` out"));
    }
    if rules.by_created && view.created_timestamp.is_none() {
        let error = format!("feature view `{}` declares no created timestamp", view.name);
        return Err(Error::invalid(error));
    }
    let source = Source::open(engine, definitions, view, pins).await.map_err(joined)?;
    let question = Question { source: &source, inputs: Inputs::of(view), rules };
    let events = question.events(asked)?;
    let frame = window_frame(events, question.node()).map_err(|error| locate(&source, error))?;
    let frame = with_derived(&source, question.strictly(frame)?)?;
    frame.select(question.output()?).map_err(from_datafusion)
}

struct Question<'a> {
    source: &'a Source<'a>,
    inputs: Inputs,
    rules: MomentRules,
}

impl Question<'_> {
    fn view(&self) -> &FeatureView {
        self.source.view
    }

    /// How long ago an entity's latest event may be; absent where a window goes back to the first.
    fn idle(&self) -> Option<Span> {
        let view = self.view();
        let widest = view.widest_window().filter(|_| !view.has_lifetime());
        self.rules.ttl.or(view.ttl).or(widest)
    }

    /// How long before a moment an event lies at most that has a part in it.
    fn reach(&self) -> Option<Span> {
        let view = self.view();
        view.widest_window().max(self.idle()).filter(|_| !view.has_lifetime())
    }

    /// The column with the moment at which an event was created, where that decides.
    fn created(&self) -> Option<usize> {
        let created = self.view().created_timestamp.as_deref().filter(|_| self.rules.by_created);
        created.and_then(|created| self.inputs.column(created))
    }

    /// The events that can have a part in an answer, and the questions.
    fn events(&self, asked: &AskedMoments) -> Result<DataFrame> {
        let from = match (asked.range.from, self.reach()) {
            (Some(from), Some(reach)) => {
                Some(Timestamp::from_micros(from.micros().saturating_sub(reach.micros())))
            }
            _ => None,
        };
        let range = TimeRange { from, to: asked.range.to };
        let events = asked.only_few(self.source.events(range)?)?;
        let schema = events.schema().as_arrow().clone();
        let events = events.with_column(ASKED, lit(false)).map_err(from_datafusion)?;
        let keys = self.source.keys.len();
        let mut columns: Vec<Expr> =
            self.source.keys.iter().map(|key| ident(key).alias(key)).collect();
        columns.push(ident(AskedMoments::MOMENT).alias(&self.view().event_timestamp));
        for (at, field) in schema.fields().iter().enumerate().skip(keys + 1) {
            let value = match at < keys + 1 + self.inputs.columns.len() {
                true => cast(lit(ScalarValue::Null), field.data_type().clone()),
                false => lit(false),
            };
            columns.push(value.alias(field.name()));
        }
        columns.push(lit(true).alias(ASKED));
        let questions = asked.frame.clone().select(columns).map_err(from_datafusion)?;
        events.union(questions).map_err(from_datafusion)
    }

    fn node(&self) -> WindowNode {
        let time = self.view().event_timestamp.clone();
        let mut inputs = self.inputs.column_names();
        let known = self.created().and_then(|at| inputs.get(at).cloned());
        inputs.push(time.clone());
        WindowNode {
            keys: self.source.keys.clone(),
            spec: self.spec(),
            inputs,
            masks: self.inputs.mask_names(),
            range: TimeRange::default(),
            output_time: time.clone(),
            time,
            asked: Some(AskedRows {
                rows: ASKED.to_owned(),
                known,
                delay: self.rules.delay.unwrap_or(Span::from_micros(0)),
            }),
        }
    }

    fn spec(&self) -> WindowSpec {
        let view = self.view();
        let mut columns = window_columns(view, &self.inputs);
        if self.rules.strict {
            let stepped = columns.iter().filter(|column| step(column).is_some());
            let stepped: Vec<WindowColumn> = stepped.map(opened_at_steps).collect();
            let trailing = columns.iter_mut().filter(|column| ends_at_moments(column.window));
            trailing.for_each(|column| column.closed = opened(column.closed));
            columns.extend(stepped);
        }
        // The bounds of a ttl belong to it, whatever those of windows do.
        let closed = if self.rules.strict { Closed::Left } else { Closed::Both };
        let reach = (self.reach().map_or(Window::LIFETIME, Window::last), closed);
        let newest = (AggregateFunction::Max, Some(self.inputs.columns.len()));
        columns.push(hidden_column(MomentColumns::NEWEST, newest, reach));
        if let Some(created) = self.created() {
            let newest = (AggregateFunction::Max, Some(created));
            columns.push(hidden_column(MomentColumns::KNOWN, newest, reach));
        }
        let idle = (self.idle().map_or(Window::LIFETIME, Window::last), closed);
        columns.push(hidden_column(RECENT, (AggregateFunction::Count, None), idle));
        // Rows come out where they are asked for.
        WindowSpec { columns, emit: Emit::EachEvent, idle: None }
    }

    /// Where a step falls on the moment, takes the window without events of that step.
    fn strictly(&self, mut frame: DataFrame) -> Result<DataFrame> {
        if !self.rules.strict {
            return Ok(frame);
        }
        for column in &window_columns(self.view(), &self.inputs) {
            let Some((every, align)) = step(column) else { continue };
            let moment = cast(ident(&self.view().event_timestamp), DataType::Int64);
            let past = (moment - lit(align.micros())) % lit(every.micros());
            let value = when(past.eq(lit(0_i64)), ident(at_steps(column)))
                .otherwise(ident(&column.name))
                .map_err(from_datafusion)?;
            frame = frame.with_column(&column.name, value).map_err(from_datafusion)?;
        }
        Ok(frame)
    }

    fn output(&self) -> Result<Vec<Expr>> {
        let view = self.view();
        let mut columns: Vec<Expr> =
            self.source.keys.iter().map(|key| ident(key).alias(key)).collect();
        columns.push(ident(&view.event_timestamp).alias(&view.event_timestamp));
        let mut shown = on_demand::stored_features(view);
        shown.push(MomentColumns::NEWEST.to_owned());
        shown.extend(self.created().map(|_| MomentColumns::KNOWN.to_owned()));
        for name in shown {
            let known = when(ident(RECENT).gt(lit(0_i64)), ident(&name)).end();
            columns.push(known.map_err(from_datafusion)?.alias(name));
        }
        columns.push(lit(true).alias(MomentColumns::ANSWERED));
        Ok(columns)
    }
}

/// Whether a window ends at each moment that it is asked for. Of the others, only one that ends at
/// steps can have events of the moment, where a step falls on it.
fn ends_at_moments(window: Window) -> bool {
    window.offset.micros() == 0 && !window.is_stepped()
}

/// Of such a window, how far apart its ends are, and how far after the epoch.
fn step(column: &WindowColumn) -> Option<(Span, Span)> {
    let is_closed = matches!(column.closed, Closed::Both | Closed::Right);
    match column.window.shape {
        Shape::Hopping { every, align, .. } if is_closed && column.window.offset.micros() == 0 => {
            Some((every, align))
        }
        _ => None,
    }
}

/// The name of a window's column for moments that a step falls on.
fn at_steps(column: &WindowColumn) -> String {
    format!("__at_steps_{}", column.name)
}

fn opened_at_steps(column: &WindowColumn) -> WindowColumn {
    WindowColumn { name: at_steps(column), closed: opened(column.closed), ..column.clone() }
}

/// Bounds without the moment itself.
const fn opened(closed: Closed) -> Closed {
    match closed {
        Closed::Both | Closed::Left => Closed::Left,
        Closed::Right | Closed::None => Closed::None,
    }
}

#[cfg(test)]
mod tests;
