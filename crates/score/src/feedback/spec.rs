//! `[feedback]` in a scoring definition.

use std::collections::BTreeMap;

use icecore_core::{Error, Result, Span, TableName};
use serde::{Deserialize, Serialize};

/// Where outcomes come from, and when a label is settled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeedbackSpec {
    /// The query that gives outcomes: keys, moments, and what happened.
    pub outcomes: String,
    /// Its column with the moment of an outcome.
    #[serde(default = "event_timestamp")]
    pub outcome_timestamp: String,
    /// Its column with what happened; absent means that an outcome is one of itself.
    #[serde(default)]
    pub label: Option<String>,
    /// Its columns for keys, where they have other names: `user_token = "customer"`.
    #[serde(default)]
    pub keys: BTreeMap<String, String>,
    /// How long after the scoring date an outcome counts.
    pub window: Span,
    /// How long after the scoring date a label is settled; absent means the window (C170).
    #[serde(default)]
    pub maturity: Option<Span>,
    /// Which of several outcomes counts.
    #[serde(default)]
    pub pick: Pick,
    /// What a settled prediction without an outcome is labelled; absent means `negative` where an
    /// outcome is one of itself, and `unknown` where outcomes say what happened.
    #[serde(default)]
    pub absent: Option<Absent>,
    /// The name of the label's column; absent means that of the outcomes, or `label`.
    #[serde(default)]
    pub name: Option<String>,
    /// The labelled table; absent means `labels.{scoring job}`.
    #[serde(default)]
    pub table: Option<TableName>,
    /// Columns of the predictions whose values are evaluated one by one.
    #[serde(default)]
    pub segments: Vec<String>,
}

/// Which of several outcomes in the window counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Pick {
    /// The greatest: whether it ever happened.
    #[default]
    Max,
    /// The least.
    Min,
    /// The earliest.
    First,
    /// The latest.
    Last,
    /// All of them, added up.
    Sum,
    /// Their mean.
    Mean,
}

/// What a settled prediction without an outcome is labelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Absent {
    /// Zero: it did not happen.
    Negative,
    /// Nothing: the row stays out of the labelled table.
    Unknown,
}

fn event_timestamp() -> String {
    "event_timestamp".to_owned()
}

impl FeedbackSpec {
    /// How long after the scoring date a label is settled.
    #[must_use]
    pub fn maturity(&self) -> Span {
        self.maturity.unwrap_or(self.window)
    }

    /// The name of the label's column.
    #[must_use]
    pub fn label_name(&self) -> &str {
        self.name.as_deref().or(self.label.as_deref()).unwrap_or("label")
    }

    /// What a settled prediction without an outcome is labelled.
    #[must_use]
    pub fn absent(&self) -> Absent {
        self.absent.unwrap_or(match self.label {
            None => Absent::Negative,
            Some(_) => Absent::Unknown,
        })
    }

    pub(crate) fn table(&self, scoring: &str) -> Result<TableName> {
        match &self.table {
            Some(table) => Ok(table.clone()),
            None => TableName::parse(&format!("labels.{scoring}")),
        }
    }

    pub(crate) fn check(&self) -> Result<()> {
        if self.maturity() < self.window {
            return Err(Error::invalid("a label is settled before its window is over")
                .with_help("let `maturity` be as long as `window`, or leave it out"));
        }
        Ok(())
    }
}
