//! How the rows of one view are joined, where a set or a request says so.

use std::collections::BTreeMap;

use icecore_core::{Knowledge, Span};
use serde::{Deserialize, Serialize};

/// How the rows of a view are joined.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ViewRules {
    /// The feature view that is joined under this name; absent means the one that has the name. So
    /// a view is joined more than once, by other columns or other rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// The spine's columns for join keys, where they have other names than the set says for all
    /// views: `user_token = "seller"`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub keys: BTreeMap<String, String>,
    /// Which clock decides what was known; absent means as the set says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub knowledge: Option<Knowledge>,
    /// How old a row may be; absent means as the view says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Span>,
    /// How long after it was known a row can first be seen: what a pipeline takes to publish it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<Span>,
    /// Whether a row of exactly the spine's moment stays out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub strict: bool,
    /// Where the windows of the view end.
    #[serde(default, skip_serializing_if = "Windows::is_stored")]
    pub windows: Windows,
}

/// Where the windows of a view end that a row sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Windows {
    /// Where the view says: the newest of its stored rows is seen.
    #[default]
    Stored,
    /// At the row's own moment: the features are computed from the view's events, of which those
    /// count that were known by then.
    Moment,
}

impl Windows {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    fn is_stored(&self) -> bool {
        *self == Self::Stored
    }
}
