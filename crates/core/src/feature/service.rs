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
    /// How an online store keeps it.
    #[serde(default, skip_serializing_if = "ServiceForm::is_views")]
    pub online: ServiceForm,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// How an online store keeps the features of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ServiceForm {
    /// As rows of its views.
    #[default]
    Views,
    /// As one row for each entity beside those of its views, which is read in one go.
    Vector,
}

impl ServiceForm {
    /// Whether it is the default.
    #[must_use]
    pub const fn is_views(&self) -> bool {
        matches!(self, Self::Views)
    }
}
