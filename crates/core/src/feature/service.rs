//! The features that one model takes.

use serde::{Deserialize, Serialize};

/// A named list of features: what one model takes, asked for by one name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureService {
    /// Its name.
    pub name: String,
    /// The features, as `view:feature`, or `view:*` for all of a view.
    pub features: Vec<String>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}
