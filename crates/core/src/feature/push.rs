//! Events that clients push.

use serde::{Deserialize, Serialize};

use crate::TableName;

/// A name under which clients push events: they are served at once, and in the table with its next
/// commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PushSource {
    /// Its name.
    pub name: String,
    /// The table that the events go to. Views that are made of this table see them at once.
    pub table: TableName,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

impl PushSource {
    /// In the summary of a snapshot with pushed events: the queue that they came from.
    pub const QUEUE_FIELD: &'static str = "icecore.push-queue";
    /// In the same summary: the last of the queue's batches that the table has.
    pub const POSITION_FIELD: &'static str = "icecore.push-position";
}

/// What an online store keeps of a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OnlineForm {
    /// The newest row of each entity, as its table has it.
    #[default]
    Rows,
    /// Partial aggregates of an entity's events, from which windows are computed up to the moment
    /// of a request.
    Tiles,
}

impl OnlineForm {
    /// Whether it is the default.
    #[must_use]
    pub const fn is_rows(&self) -> bool {
        matches!(self, Self::Rows)
    }
}
