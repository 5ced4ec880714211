//! Point-in-time joins: each row sees what was known at its moment, and nothing later.

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{BatchStream, PinnedTable, Result, Span};

/// Rows to enrich, with the moment at which each one looks.
#[derive(Debug)]
pub struct Spine {
    /// The rows.
    pub rows: BatchStream,
    /// The column that holds each row's moment.
    pub event_timestamp: String,
}

/// A table of feature rows, and what to take from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureTable {
    /// The feature view's name.
    pub view: String,
    /// Where the rows are.
    pub table: PinnedTable,
    /// Join keys: the feature table's column and the spine's.
    pub keys: Vec<(String, String)>,
    /// The column with the moment that a row describes.
    pub event_timestamp: String,
    /// The column with the moment at which a row became known.
    pub created_timestamp: Option<String>,
    /// How old a row may be; absent means any age.
    pub ttl: Option<Span>,
    /// How long after its event, or its created timestamp where that decides, a row can first be
    /// seen; absent means at once.
    pub delay: Option<Span>,
    /// Whether a row of exactly the spine's moment stays out, whatever the options say.
    pub strict: bool,
    /// Which clock decides for it; absent means as the options say.
    pub knowledge: Option<Knowledge>,
    /// The columns to take, and their names in the output.
    pub columns: Vec<(String, String)>,
}

/// Which clock decides what was known at the spine's moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Knowledge {
    /// A row counts from its event timestamp.
    #[default]
    Event,
    /// A row counts from its created timestamp.
    Created,
    /// A row counts from the commit that brought it, until the one that took it away: each moment
    /// sees the table as it was then. Right for tables that are written as things happen, wrong for
    /// those that were filled later.
    Snapshot,
}

/// How to join.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PitOptions {
    /// Which clock decides; absent means created where a table declares it, event elsewhere.
    pub knowledge: Option<Knowledge>,
    /// Whether a row of exactly the spine's moment stays out.
    pub strict: bool,
    /// Whether to add `{view}__event_timestamp`: the event timestamp of the row that was joined.
    pub with_event_timestamps: bool,
    /// Whether to add `{view}__age_us`: how many microseconds before the spine's moment the row
    /// that was joined happened.
    pub with_ages: bool,
}

impl PitOptions {
    /// Adds `{view}__event_timestamp` columns.
    #[must_use]
    pub const fn with_event_timestamps(mut self) -> Self {
        self.with_event_timestamps = true;
        self
    }

    /// Adds `{view}__age_us` columns.
    #[must_use]
    pub const fn with_ages(mut self) -> Self {
        self.with_ages = true;
        self
    }

    /// Leaves out rows of exactly the spine's moment.
    #[must_use]
    pub const fn with_strict(mut self) -> Self {
        self.strict = true;
        self
    }

    /// Lets this clock decide.
    #[must_use]
    pub const fn with_knowledge(mut self, knowledge: Option<Knowledge>) -> Self {
        self.knowledge = knowledge;
        self
    }
}

/// Joins a spine with feature tables.
///
/// # Contract
///
/// - Every spine row comes out exactly once, in the spine's order, whatever joins to it; the output
///   has the spine's columns, then the features in the order of the tables.
/// - A feature row joins when `event_timestamp <= moment` (`<` when strict) and
///   `event_timestamp >= moment - ttl`, and when it was known by then: its event timestamp, or its
///   created timestamp where that decides, lies at least the table's delay before the moment.
/// - Of several candidates the one with the greatest (event timestamp, created timestamp) wins; of
///   equal ones, the one whose taken values are greatest, so that the result does not depend on
///   the order of rows.
/// - Keys compare by value; a null key or moment joins nothing.
#[async_trait]
pub trait PointInTimeJoin: fmt::Debug + Send + Sync + 'static {
    /// Joins.
    async fn join(
        &self,
        spine: Spine,
        tables: Vec<FeatureTable>,
        options: PitOptions,
    ) -> Result<BatchStream>;
}
