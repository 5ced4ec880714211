//! Definitions of features, as data. Batch, stream, training and request time read the same one.

mod builder;
mod push;
mod service;

pub use push::{OnlineForm, PushSource};
pub use service::{FeatureService, ServiceForm};

use std::collections::BTreeMap;
use std::fmt;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    AggregateFunction, BatchStream, Closed, PinnedTable, Result, Span, TableName, TimeRange,
    Timestamp, ValueType, Window,
};

/// What features describe: a user, a merchant, a driver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entity {
    /// Its name.
    pub name: String,
    /// The columns that identify it.
    pub join_keys: Vec<JoinKey>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// A column that identifies an entity: `"user_token"`, or `{ name = "user_id", type = "long" }`.
///
/// A key with a type has it in every feature table, whatever source its values are from; a source
/// in which some value might not be of the type is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "JoinKeyForm", into = "JoinKeyForm")]
pub struct JoinKey {
    /// The column's name.
    pub name: String,
    /// The type of its values; absent means the one that they have in the source.
    pub value_type: Option<ValueType>,
}

impl JoinKey {
    /// A key of the type that it has in the source.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), value_type: None }
    }

    /// A key of this type.
    pub fn typed(name: impl Into<String>, value_type: ValueType) -> Self {
        Self { name: name.into(), value_type: Some(value_type) }
    }
}

impl fmt::Display for JoinKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value_type {
            Some(value_type) => write!(f, "{}: {value_type}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

impl From<&str> for JoinKey {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum JoinKeyForm {
    Name(String),
    Typed {
        name: String,
        #[serde(rename = "type")]
        value_type: ValueType,
    },
}

impl From<JoinKeyForm> for JoinKey {
    fn from(form: JoinKeyForm) -> Self {
        match form {
            JoinKeyForm::Name(name) => Self::new(name),
            JoinKeyForm::Typed { name, value_type } => Self::typed(name, value_type),
        }
    }
}

impl From<JoinKey> for JoinKeyForm {
    fn from(key: JoinKey) -> Self {
        match key.value_type {
            Some(value_type) => Self::Typed { name: key.name, value_type },
            None => Self::Name(key.name),
        }
    }
}

/// One aggregate over one or more windows. Its columns are named `{name}_{window}`, and `{name}`
/// for the lifetime: `spend_7d`, `spend_tumbling_1d`, `spend_7d_offset_7d`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Aggregate {
    /// The stem of the columns' names.
    pub name: String,
    /// What is computed.
    pub function: AggregateFunction,
    /// Over which column; only `count` and `days_since_last` do without, and look at rows then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// Only rows for which this SQL expression over the source's columns is true.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Over which windows.
    pub windows: Vec<Window>,
    /// Which ends of the windows belong to them, where the view says otherwise or nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<Closed>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

impl Aggregate {
    /// The name of the column for one window.
    #[must_use]
    pub fn column_name(&self, window: Window) -> String {
        match window.suffix().as_str() {
            "" => self.name.clone(),
            suffix => format!("{}_{suffix}", self.name),
        }
    }
}

/// A feature computed from others of the same view, as a SQL expression. `/` is true division.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Derived {
    /// The column's name.
    pub name: String,
    /// The expression, over other features of the view and what requests bring, in any order.
    /// A feature that looks at a request, itself or through another one, is computed when it is
    /// asked for, and never stored.
    pub expression: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// A value that only a request brings: the amount of the payment that is being made. In training it
/// is the spine's column of this name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestInput {
    /// Its name.
    pub name: String,
    /// The type of its values.
    #[serde(rename = "type")]
    pub value_type: ValueType,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// When a view has a row for an entity.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Emit {
    /// At each event.
    EachEvent,
    /// At the last event of each UTC day.
    #[default]
    LastPerDay,
    /// At every multiple of the span, counted from so long after the epoch, at which the entity's
    /// latest event is no older than the view's ttl (or its widest window, where it has no ttl).
    /// Whether there is a row does not depend on events after it.
    Every {
        /// How far apart the rows are.
        every: Span,
        /// How far after the epoch one of them lies.
        #[serde(default = "no_span", skip_serializing_if = "is_no_span")]
        align: Span,
    },
    /// At each of these moments, for the same entities as with [`Every`](Self::Every).
    At(Vec<Timestamp>),
}

const fn no_span() -> Span {
    Span::from_micros(0)
}

const fn is_no_span(span: &Span) -> bool {
    span.micros() == 0
}

impl Emit {
    /// At every multiple of the span since the epoch.
    #[must_use]
    pub const fn every(span: Span) -> Self {
        Self::Every { every: span, align: Span::from_micros(0) }
    }

    /// Whether rows come out at moments of their own instead of at events.
    #[must_use]
    pub const fn is_scheduled(&self) -> bool {
        matches!(self, Self::Every { .. } | Self::At(_))
    }
}

/// A group of features: one entity (or several), one source, one time column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureView {
    /// The view's name.
    pub name: String,
    /// Names of the entities that the features describe.
    pub entities: Vec<String>,
    /// The table that events come from. Either this or `source_sql`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<TableName>,
    /// The query that events come from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_sql: Option<String>,
    /// The column with the moment that an event happened.
    pub event_timestamp: String,
    /// The column with the moment that an event became known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_timestamp: Option<String>,
    /// Only source rows for which this SQL expression is true.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// How old a feature row may be when it is joined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Span>,
    /// Which ends of the windows belong to them.
    #[serde(default)]
    pub closed: Closed,
    /// When there is a row.
    #[serde(default)]
    pub emit: Emit,
    /// The table that holds the features; absent for stored features, which stay in their source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<TableName>,
    /// Partition fields of that table. `feature_date` is the UTC date of the event timestamp.
    #[serde(default)]
    pub partition_by: Vec<String>,
    /// What writing does with the rows that are there.
    #[serde(default = "overwrite_partitions")]
    pub write: crate::WriteMode,
    /// Stored features: these columns of the source, as they are.
    #[serde(default)]
    pub columns: Vec<String>,
    /// Window features.
    #[serde(default, rename = "aggregate")]
    pub aggregates: Vec<Aggregate>,
    /// Features computed from others.
    #[serde(default)]
    pub derived: Vec<Derived>,
    /// What requests bring.
    #[serde(default, rename = "request", skip_serializing_if = "Vec::is_empty")]
    pub request_inputs: Vec<RequestInput>,
    /// What an online store keeps of it.
    #[serde(default, skip_serializing_if = "OnlineForm::is_rows")]
    pub online: OnlineForm,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// For people.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

const fn overwrite_partitions() -> crate::WriteMode {
    crate::WriteMode::OverwritePartitions
}

impl FeatureView {
    /// Whether the view takes columns of its source as they are instead of computing windows.
    #[must_use]
    pub fn is_stored(&self) -> bool {
        self.aggregates.is_empty()
    }

    /// Which ends of a window of an aggregate belong to it: what the aggregate says, else what the
    /// view says. `both` and `none` would have an event at an edge in two tumbling windows or in
    /// none, so what a view says so holds for its other windows; tumbling and hopping ones are
    /// `left` then.
    #[must_use]
    pub fn closed_of(&self, aggregate: &Aggregate, window: Window) -> Closed {
        match (aggregate.closed, self.closed) {
            (Some(closed), _) => closed,
            (None, Closed::Both | Closed::None) if window.is_stepped() => Closed::Left,
            (None, closed) => closed,
        }
    }

    /// How long before a row an event in a window can lie at most, of all windows that end there.
    #[must_use]
    pub fn widest_window(&self) -> Option<Span> {
        self.windows().filter_map(Window::reach).max()
    }

    /// Whether a window goes back to an entity's first event.
    #[must_use]
    pub fn has_lifetime(&self) -> bool {
        self.windows().any(|window| window.reach().is_none())
    }

    fn windows(&self) -> impl Iterator<Item = Window> {
        self.aggregates.iter().flat_map(|aggregate| aggregate.windows.iter().copied())
    }

    /// The names of the features, in order.
    #[must_use]
    pub fn feature_names(&self) -> Vec<String> {
        let windows =
            self.aggregates.iter().flat_map(|a| a.windows.iter().map(|w| a.column_name(*w)));
        let derived = self.derived.iter().map(|derived| derived.name.clone());
        self.columns.iter().cloned().chain(windows).chain(derived).collect()
    }
}

/// Computes feature rows from events.
///
/// # Contract
///
/// - The output has the join keys, the event timestamp, the created timestamp where the view names
///   one (the latest of all events in the widest window), the features in the order of
///   [`FeatureView::feature_names`], and `feature_date` where the view is partitioned by it.
/// - Events without a join key or a time stay out.
/// - Rows whose event timestamp lies in `range` come out, and each is computed from all events
///   that its windows reach, inside the range or not.
/// - The rows do not depend on the order, the files or the partitions of the source.
#[async_trait]
pub trait FeatureEngine: fmt::Debug + Send + Sync + 'static {
    /// The columns of the output. Checks the whole definition against the source.
    async fn output_schema(&self, view: &FeatureView, pins: &[PinnedTable]) -> Result<SchemaRef>;

    /// Computes the rows of a range, reading tables at these pins.
    async fn compute(
        &self,
        view: &FeatureView,
        pins: &[PinnedTable],
        range: TimeRange,
    ) -> Result<BatchStream>;
}
