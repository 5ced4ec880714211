//! The definition of a scoring job: `scoring/*.toml`.

use std::path::Path;

use icecore_core::{Error, Location, Result, Span, TableName};
use serde::{Deserialize, Serialize};

use crate::{Buckets, ModelUri};

/// A scoring job as its file says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScoringSpec {
    /// The job's name.
    pub name: String,
    /// Which model scores: `models:/NAME/ALIAS`, `models:/NAME/VERSION` or `models:/NAME/latest`.
    pub model: ModelUri,
    /// The feature view whose rows of the scoring date are scored.
    pub view: String,
    /// How far back a row may be when an entity has none of the scoring date itself.
    #[serde(default)]
    pub max_age: Option<Span>,
    /// The table that predictions go to, partitioned by the date column.
    pub table: TableName,
    /// The name of the prediction column.
    #[serde(default = "default_prediction")]
    pub prediction: String,
    /// The name of the column with the scoring date.
    #[serde(default = "default_date_column")]
    pub date_column: String,
    /// The bands of the prediction.
    #[serde(default)]
    pub buckets: Buckets,
    /// What goes to the serving cache.
    #[serde(default)]
    pub materialize: Option<MaterializeSpec>,
    /// How it is served over HTTP.
    #[serde(default)]
    pub serve: Option<ServeSpec>,
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
    /// `NotFound` if there is no such file, `InvalidInput` with line and column for a mistake.
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Error::not_found(format!("cannot read `{}`", path.display())).with_source(error)
        })?;
        Self::parse(&path.display().to_string(), &text)
    }

    /// Parses a definition.
    ///
    /// # Errors
    ///
    /// `InvalidInput` with line and column for a mistake.
    pub fn parse(file: &str, text: &str) -> Result<Self> {
        let spec: Self = toml::from_str(text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            Error::in_document(error.message(), Location::of_offset(file, text, offset))
        })?;
        spec.check()
            .map_err(|error| error.at(Location { file: file.to_owned(), line: 0, column: 0 }))?;
        Ok(spec)
    }

    fn check(&self) -> Result<()> {
        self.buckets.check()?;
        if self.prediction == self.date_column {
            return Err(Error::invalid(format!(
                "`{}` names both the prediction and the date column",
                self.prediction
            )));
        }
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
}
