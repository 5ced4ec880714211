//! The definition of a scoring job: `scoring/*.toml`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use icecore_core::{Error, Location, Result, Span, TableName, parse_toml};
use serde::{Deserialize, Serialize};

use crate::{Buckets, FeedbackSpec, ModelUri};

/// The columns of a prediction table that every scoring job writes, whatever it is called.
pub(crate) const OWN_COLUMNS: [&str; 6] = [
    "score_bucket",
    "model_version",
    "feature_snapshot_id",
    "run_id",
    "feature_timestamp",
    "feature_status",
];

/// A scoring job as its file says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScoringSpec {
    /// The job's name.
    pub name: String,
    /// Which model scores: `models:/NAME/ALIAS`, `models:/NAME/VERSION` or `models:/NAME/latest`.
    pub model: ModelUri,
    /// Models that score the same rows beside it, by name. Their columns begin with the name.
    #[serde(default)]
    pub challengers: BTreeMap<String, ModelUri>,
    /// The feature view whose rows of the scoring date are scored. Either this or `features`.
    #[serde(default)]
    pub view: Option<String>,
    /// Features of several views, as `view:feature` or `view:*`, as they are known at the end of
    /// the scoring date.
    #[serde(default)]
    pub features: Vec<String>,
    /// The query that says who is scored; absent means every entity that the view has.
    #[serde(default)]
    pub entities: Option<String>,
    /// The column of that query with the moment at which a row looks; without one, all look at the
    /// end of the scoring date.
    #[serde(default = "event_timestamp")]
    pub event_timestamp: String,
    /// The query's columns for join keys, where they have other names: `user_token = "customer"`.
    #[serde(default)]
    pub keys: BTreeMap<String, String>,
    /// How far before the scoring date a feature row may lie, where an entity has none of the date
    /// itself (D13).
    #[serde(default)]
    pub max_age: Option<Span>,
    /// What becomes of an entity of the query without features, or with ones that are too old.
    #[serde(default)]
    pub missing: Missing,
    /// The table that predictions go to, partitioned by the date column.
    pub table: TableName,
    /// The name of the prediction column.
    #[serde(default = "default_prediction")]
    pub prediction: String,
    /// The name of the column with the scoring date.
    #[serde(default = "default_date_column")]
    pub date_column: String,
    /// Columns of the scored rows that go along with the prediction.
    #[serde(default)]
    pub columns: Vec<String>,
    /// What the classes of a model of several classes are called, in order.
    #[serde(default)]
    pub classes: Vec<String>,
    /// The bands of the prediction; absent means `high` from 0.8, `medium` from 0.5 and `low` for
    /// probabilities, and none for other numbers.
    #[serde(default)]
    pub buckets: Option<Buckets>,
    /// What goes to the serving cache.
    #[serde(default)]
    pub materialize: Option<MaterializeSpec>,
    /// How it is served over HTTP.
    #[serde(default)]
    pub serve: Option<ServeSpec>,
    /// What became of those who were scored.
    #[serde(default)]
    pub feedback: Option<FeedbackSpec>,
}

/// What becomes of an entity whose features are all missing or too old (D13).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Missing {
    /// It gets a row that says so in `feature_status`, without a prediction.
    #[default]
    Status,
    /// It gets what the model makes of missing values, and `feature_status` says so.
    Score,
    /// It gets no row; the report counts it.
    Skip,
}

/// What of a prediction table goes to the serving cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaterializeSpec {
    /// Only rows for which this SQL expression is true.
    #[serde(default, rename = "where")]
    pub filter: Option<String>,
    /// The key, with columns in braces: `churn:{user_token}`.
    pub key: String,
    /// The column whose value is stored.
    pub value: String,
    /// Decimals that a number is rounded to.
    #[serde(default)]
    pub round: Option<u32>,
    /// How long a value lives.
    #[serde(default)]
    pub ttl: Option<Span>,
}

/// How scores are served.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServeSpec {
    /// The path, with the entity's key in braces: `/churn-score/{user_token}`.
    pub route: String,
    /// The answer for an entity without a score.
    pub default: f64,
}

fn event_timestamp() -> String {
    "event_timestamp".to_owned()
}

fn default_prediction() -> String {
    "prediction".to_owned()
}

fn default_date_column() -> String {
    "score_date".to_owned()
}

impl ScoringSpec {
    /// Reads a definition.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is no such file, `Unavailable` if it cannot be read, `InvalidInput` with line and column for a mistake.
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| Error::unreadable(path, error))?;
        Self::parse(&path.display().to_string(), &text)
    }

    /// Parses a definition.
    ///
    /// # Errors
    ///
    /// `InvalidInput` with line and column for a mistake.
    pub fn parse(file: &str, text: &str) -> Result<Self> {
        let spec: Self = parse_toml(file, text)?;
        spec.check().map_err(|error| error.at(Location::of_file(file)))?;
        Ok(spec)
    }

    /// The views whose features are read, in the order in which they are named.
    #[must_use]
    pub fn views(&self) -> Vec<&str> {
        let named = self.features.iter().map(|name| name.split_once(':').map_or("", |(v, _)| v));
        let mut views: Vec<&str> = self.view.as_deref().into_iter().chain(named).collect();
        let mut seen = BTreeSet::new();
        views.retain(|view| seen.insert(*view));
        views
    }

    /// The hash-worthy part of the definition: what decides the rows of the prediction table.
    pub(crate) fn of_rows(&self) -> Self {
        Self { materialize: None, serve: None, feedback: None, ..self.clone() }
    }

    fn check(&self) -> Result<()> {
        if let Some(buckets) = &self.buckets {
            buckets.check()?;
        }
        if let Some(feedback) = &self.feedback {
            feedback.check()?;
        }
        match (&self.view, self.features.is_empty()) {
            (Some(_), true) | (None, false) => {}
            (Some(_), false) => {
                return Err(Error::invalid("both `view` and `features` say what is scored")
                    .with_help("keep `features`, and name the view's as `view:*`"));
            }
            (None, true) => {
                return Err(Error::invalid("nothing says what is scored").with_help(
                    "add `view = \"NAME\"`, or `features = [\"view:feature\"]` for several views",
                ));
            }
        }
        self.check_columns()?;
        if let Some(materialize) = &self.materialize
            && crate::template::columns(&materialize.key)?.is_empty()
        {
            return Err(Error::invalid(format!(
                "the key `{}` is the same for every row",
                materialize.key
            ))
            .with_help("put a column in braces, such as `churn:{user_token}`"));
        }
        Ok(())
    }

    /// Names of columns that do not depend on the model are all different.
    fn check_columns(&self) -> Result<()> {
        let of_challengers = self.challengers.keys().flat_map(|name| {
            [format!("{name}_{}", self.prediction), format!("{name}_model_version")]
        });
        let named = [self.prediction.clone(), self.date_column.clone()];
        let all = OWN_COLUMNS.iter().map(|name| (*name).to_owned());
        let all = all.chain(named).chain(self.columns.iter().cloned()).chain(of_challengers);
        let mut seen = BTreeSet::new();
        for name in all {
            if !seen.insert(name.clone()) {
                return Err(Error::invalid(format!(
                    "two columns of the predictions are named `{name}`"
                )));
            }
        }
        let plain = |name: &str| {
            let mut characters = name.chars();
            characters.next().is_some_and(|c| c.is_ascii_lowercase())
                && characters.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        };
        if let Some(name) = self.challengers.keys().find(|name| !plain(name)) {
            return Err(Error::invalid(format!("`{name}` is no name for a challenger"))
                .with_help("columns begin with it: write lowercase letters, digits and `_`"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
