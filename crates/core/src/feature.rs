//! Definitions of features, as data. Batch, stream, training and request time read the same one.

use std::collections::BTreeMap;
use std::fmt;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{BatchStream, PinnedTable, Result, Span, TableName, TimeRange};

/// What features describe: a user, a merchant, a driver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entity {
    /// Its name.
    pub name: String,
    /// The columns that identify it.
    pub join_keys: Vec<String>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// Which ends of a window `[t - w, t]` belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Closed {
    /// `[t - w, t]`
    #[default]
    Both,
    /// `[t - w, t)`
    Left,
    /// `(t - w, t]`
    Right,
    /// `(t - w, t)`
    None,
}

/// A trailing window: a length, or everything since the entity's first event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Window {
    /// The last so-long.
    Last(Span),
    /// Everything so far.
    Lifetime,
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Last(span) => span.fmt(f),
            Self::Lifetime => f.write_str("lifetime"),
        }
    }
}

impl Serialize for Window {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Window {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "lifetime" {
            return Ok(Self::Lifetime);
        }
        Span::parse(&text).map(Self::Last).map_err(serde::de::Error::custom)
    }
}

/// What is computed over a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AggregateFunction {
    /// Rows whose column is not null; all rows where no column is named. Never null.
    Count,
    /// The sum. Integers exactly (overflow is an error), floats correctly rounded; null over no value.
    Sum,
    /// The mean: the exact sum, rounded, divided by the count; null over no value.
    Mean,
    /// The sample variance (divided by `n - 1`), from exact moments; null over fewer than two
    /// values, NaN where one of them is not finite.
    Variance,
    /// The sample standard deviation: the root of the variance.
    Stddev,
    /// The skewness of the values as a population, from exact moments; null where no two differ.
    Skewness,
    /// The excess kurtosis of the values as a population, from exact moments (zero for a normal
    /// distribution); null where no two differ.
    Kurtosis,
    /// The least value; null over no value. NaN is greater than every number.
    Min,
    /// The greatest value; null over no value. NaN is greater than every number.
    Max,
    /// How many different values, exactly. Never null.
    CountDistinct,
    /// How many different values, by a sketch with a relative standard error of 1.63 %. Never null.
    ApproxCountDistinct,
    /// The value of the earliest event that has one (ties: the least value).
    First,
    /// The value of the latest event that has one (ties: the greatest value).
    Last,
    /// Whole days (rounded down) from the latest event with a value to the row's time.
    DaysSinceLast,
}

/// One aggregate over one or more windows. Its columns are named `{name}_{window}`, and `{name}`
/// for the lifetime.
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
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

impl Aggregate {
    /// The name of the column for one window.
    #[must_use]
    pub fn column_name(&self, window: Window) -> String {
        match window {
            Window::Last(span) => format!("{}_{span}", self.name),
            Window::Lifetime => self.name.clone(),
        }
    }
}

/// A feature computed from others of the same view, as a SQL expression. `/` is true division.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Derived {
    /// The column's name.
    pub name: String,
    /// The expression, over aggregates' columns and derived features before it.
    pub expression: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// When a view has a row for an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Emit {
    /// At each event.
    EachEvent,
    /// At the last event of each UTC day.
    #[default]
    LastPerDay,
    /// At every multiple of the span since the epoch at which the entity's latest event is no
    /// older than the view's ttl (or its widest window, where it has no ttl). Whether there is a
    /// row does not depend on events after it.
    Every(Span),
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

    /// The widest finite window of all aggregates.
    #[must_use]
    pub fn widest_window(&self) -> Option<Span> {
        let spans = self.aggregates.iter().flat_map(|aggregate| &aggregate.windows);
        spans.filter_map(|w| if let Window::Last(span) = w { Some(*span) } else { None }).max()
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
