//! Commands and tickets.

use std::collections::BTreeMap;

use icecore_core::{Error, Knowledge, Result, Span};
use serde::{Deserialize, Serialize};

/// A command is at most so long.
const BYTES_MAX: usize = 64 << 10;

/// Asks for the rows of a training set: `{"dataset": "churn", "columns": ["amount"]}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetRequest {
    /// The training set.
    pub dataset: String,
    /// These columns in this order; absent for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<Vec<String>>,
    /// Only this part of a divided set: `training`, `validation` or `test`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<String>,
    /// Only rows for which this SQL condition is true.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// The rows of a batch; absent for as many as are read at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_rows: Option<usize>,
}

/// Asks for features of the rows that are sent: `{"features": ["payments:*"]}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureRequest {
    /// Features as `view:feature`, or `view:*`.
    pub features: Vec<String>,
    /// The rows' column with their moments.
    #[serde(default = "event_timestamp")]
    pub event_timestamp: String,
    /// The rows' columns for join keys, where they have other names.
    #[serde(default)]
    pub keys: BTreeMap<String, String>,
    /// How rows of some views are joined, where not as the views say, and under which other names.
    #[serde(default)]
    pub views: BTreeMap<String, ViewRequest>,
    /// Which clock decides what was known; absent means created where a view declares it.
    #[serde(default)]
    pub knowledge: Option<Knowledge>,
    /// How old feature rows may be; absent means as each view says.
    #[serde(default)]
    pub ttl: Option<Span>,
    /// How long after they were known feature rows can first be seen.
    #[serde(default)]
    pub delay: Option<Span>,
    /// Whether feature rows of exactly a row's moment stay out.
    #[serde(default)]
    pub strict: bool,
    /// Whether windows end at each row's own moment, computed from events.
    #[serde(default)]
    pub at_moments: bool,
    /// Whether features are named `view__feature`.
    #[serde(default)]
    pub full_feature_names: bool,
    /// Whether to add `{view}__event_timestamp`.
    #[serde(default)]
    pub with_event_timestamps: bool,
    /// Whether to add `{view}__age_us`.
    #[serde(default)]
    pub with_ages: bool,
}

/// How the rows of one view are joined: `{"of": "pay", "keys": {"user_token": "seller"}}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ViewRequest {
    /// The feature view, where it is asked for under another name.
    #[serde(default)]
    pub of: Option<String>,
    /// The rows' columns for join keys, where not as for all views.
    #[serde(default)]
    pub keys: BTreeMap<String, String>,
    /// Which clock decides what was known; absent means as for all views.
    #[serde(default)]
    pub knowledge: Option<Knowledge>,
    /// How old feature rows may be; absent means as for all views.
    #[serde(default)]
    pub ttl: Option<Span>,
    /// How long after they were known feature rows can first be seen; absent means as for all views.
    #[serde(default)]
    pub delay: Option<Span>,
    /// Whether feature rows of exactly a row's moment stay out.
    #[serde(default)]
    pub strict: bool,
    /// Whether windows end at each row's own moment, computed from events.
    #[serde(default)]
    pub at_moments: bool,
}

fn event_timestamp() -> String {
    "event_timestamp".to_owned()
}

/// What a descriptor or a ticket asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    Dataset(DatasetRequest),
    Features(FeatureRequest),
}

impl Asked {
    /// Reads a command.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for what is none, `LimitExceeded` for one that is too long.
    pub(crate) fn parse(command: &[u8]) -> Result<Self> {
        if command.len() > BYTES_MAX {
            let message =
                format!("a command of {} bytes is longer than {BYTES_MAX}", command.len());
            return Err(Error::new(icecore_core::ErrorKind::LimitExceeded, message));
        }
        let failed = |error| {
            Error::invalid("the command is not understood").with_source(error).with_help(
                "send `{\"dataset\": \"NAME\"}` or `{\"features\": [\"VIEW:*\"]}` as JSON",
            )
        };
        let value: serde_json::Value = serde_json::from_slice(command).map_err(failed)?;
        match value.get("features") {
            Some(_) => serde_json::from_value(value).map(Self::Features).map_err(failed),
            None => serde_json::from_value(value).map(Self::Dataset).map_err(failed),
        }
    }

    /// Reads a path: `dataset/NAME`, in two parts or in one.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for any other.
    pub(crate) fn of_path(path: &[String]) -> Result<Self> {
        let path = path.join("/");
        let name = path.strip_prefix("dataset/").filter(|name| !name.contains('/'));
        let dataset = name.ok_or_else(|| {
            Error::invalid(format!("`{path}` names nothing")).with_help("write `dataset/NAME`")
        })?;
        Ok(Self::Dataset(DatasetRequest {
            dataset: dataset.to_owned(),
            ..DatasetRequest::default()
        }))
    }
}

impl DatasetRequest {
    /// The ticket for these rows.
    pub(crate) fn ticket(&self) -> Vec<u8> {
        // Names and numbers always serialize.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use icecore_core::ErrorKind;

    use super::*;

    #[test]
    fn a_ticket_is_read_as_the_command_that_it_came_from() {
        let asked =
            Asked::parse(br#"{"dataset":"churn","columns":["b","a"],"where":"a > 1"}"#).unwrap();
        let Asked::Dataset(request) = &asked else { panic!("{asked:?}") };
        assert_eq!(request.columns.as_deref().unwrap(), ["b", "a"]);
        assert_eq!(Asked::parse(&request.ticket()).unwrap(), asked);
        let path = Asked::of_path(&["dataset".into(), "churn".into()]).unwrap();
        assert_eq!(path, Asked::of_path(&["dataset/churn".into()]).unwrap());
    }

    #[test]
    fn features_are_asked_for_as_a_set_asks() {
        let command = br#"{"features":["seller:n_7d"],"knowledge":"event","ttl":"30d",
            "with_ages":true,"views":{"seller":{"of":"pay","keys":{"user":"seller"},
            "delay":"6h","at_moments":true}}}"#;
        let Asked::Features(request) = Asked::parse(command).unwrap() else { panic!() };
        assert_eq!(request.knowledge, Some(Knowledge::Event));
        assert_eq!(request.ttl, Some(Span::from_days(30)));
        assert!(request.with_ages && !request.with_event_timestamps);
        let seller = &request.views["seller"];
        assert_eq!((seller.of.as_deref(), seller.keys["user"].as_str()), (Some("pay"), "seller"));
        assert!(seller.at_moments && seller.delay.is_some() && seller.ttl.is_none());
        let wrong = br#"{"features":["pay:*"],"views":{"pay":{"tll":"3d"}}}"#;
        assert_eq!(Asked::parse(wrong).unwrap_err().kind(), ErrorKind::InvalidInput);
    }

    #[test]
    fn other_commands_are_refused() {
        for command in
            ["", "{}", "[]", "{\"dataset\":3}", "{\"dataset\":\"a\",\"colums\":[]}", "\u{0}"]
        {
            assert_eq!(
                Asked::parse(command.as_bytes()).unwrap_err().kind(),
                ErrorKind::InvalidInput
            );
        }
        let long = format!("{{\"dataset\":\"{}\"}}", "a".repeat(BYTES_MAX));
        assert_eq!(Asked::parse(long.as_bytes()).unwrap_err().kind(), ErrorKind::LimitExceeded);
        for path in ["churn", "dataset", "dataset/a/b", "table/a", ""] {
            assert!(Asked::of_path(&[path.to_owned()]).is_err(), "{path}");
        }
    }
}
