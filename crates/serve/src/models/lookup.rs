//! What became of the features that were looked up for a request of a model.

use arrow::array::{Array, ArrayRef, UInt32Array};
use arrow::compute::take;
use icecore_core::{Error, Result};
use icecore_online::FeatureStatus;
use serde_json::{Map, Value, json};

use crate::features::{FeatureAnswer, FeatureSource};

/// What becomes of a row of which no view knows anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Missing {
    /// It gets what the model makes of missing values, and its status says so.
    #[default]
    Score,
    /// It gets no prediction, and its status says so.
    Status,
}

impl Missing {
    /// What a request says by this word.
    pub(crate) fn parse(word: &str) -> Result<Self> {
        match word {
            "score" => Ok(Self::Score),
            "status" => Ok(Self::Status),
            other => {
                let message = format!("`missing` cannot be `{}`", other.escape_debug());
                Err(Error::invalid(message).with_help(
                    "send \"score\" for what the model makes of missing values, or \"status\" for \
                     no prediction of a row of which nothing is known",
                ))
            }
        }
    }
}

/// Where features are from, and what became of each row's.
#[derive(Debug, Clone)]
pub(crate) struct Lookup {
    pub(crate) source: FeatureSource,
    /// The worst of each row's views.
    pub(crate) statuses: Vec<FeatureStatus>,
    /// Whether any of them knows a row.
    known: Vec<bool>,
    missing: Missing,
}

impl Lookup {
    pub(crate) fn new(answer: &FeatureAnswer, missing: Missing) -> Self {
        let (statuses, known) = (answer.row_statuses(), answer.known_rows());
        Self { source: answer.source, statuses, known, missing }
    }

    /// Predictions without those that are not to be made.
    pub(crate) fn predicted(&self, predictions: &ArrayRef) -> Result<ArrayRef> {
        if self.missing == Missing::Score || self.known.iter().all(|known| *known) {
            return Ok(predictions.clone());
        }
        let place = |(row, known): (u32, &bool)| known.then_some(row);
        let places: UInt32Array = (0_u32..).zip(&self.known).map(place).collect();
        if places.len() != predictions.len() {
            return Err(Error::internal("features of other rows than those that were sent"));
        }
        Ok(take(predictions, &places, None)?)
    }

    /// The word for each row.
    pub(crate) fn codes(&self) -> Vec<&'static str> {
        self.statuses.iter().map(|status| status.code()).collect()
    }

    /// For all rows together: the source, why it is not the usual one, and the worst status.
    pub(crate) fn parameters(&self) -> Value {
        use FeatureStatus::{NotFound, OutsideMaxAge, Present};
        let has = |status: &&FeatureStatus| self.statuses.contains(status);
        let worst = [OutsideMaxAge, NotFound].iter().find(has).unwrap_or(&Present);
        self.said(json!(worst.code()))
    }

    /// The source, why it is not the usual one, and the status of each row.
    pub(crate) fn metadata(&self) -> Value {
        self.said(json!(self.codes()))
    }

    fn said(&self, status: Value) -> Value {
        let mut said = Map::new();
        said.insert("source".to_owned(), json!(self.source.code()));
        if let Some(reason) = self.source.reason() {
            said.insert("reason".to_owned(), json!(reason));
        }
        said.insert("feature_status".to_owned(), status);
        Value::Object(said)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{FixedSizeListArray, Float64Array};
    use arrow::datatypes::Float64Type;
    use icecore_online::RowStatus::{self, Found, NotFound, OutsideMaxAge};

    use super::*;

    fn lookup(rows: Vec<RowStatus>, missing: Missing) -> Lookup {
        let answer = FeatureAnswer {
            columns: Vec::new(),
            join_keys: 0,
            views: Vec::new(),
            rows: vec![rows],
            source: FeatureSource::Lakehouse("online_store_timeout"),
        };
        Lookup::new(&answer, missing)
    }

    #[test]
    fn a_row_of_which_nothing_is_known_gets_no_prediction_where_that_is_asked_for() {
        let rows = vec![Found, NotFound, OutsideMaxAge];
        let numbers: ArrayRef = Arc::new(Float64Array::from(vec![0.5, 0.25, 0.75]));
        let classes = [[0.5, 0.5], [0.0, 1.0], [1.0, 0.0]].map(|row| Some(row.map(Some)));
        let classes = FixedSizeListArray::from_iter_primitive::<Float64Type, _, _>(classes, 2);
        let classes: ArrayRef = Arc::new(classes);
        for predictions in [&numbers, &classes] {
            let guessed = lookup(rows.clone(), Missing::Score).predicted(predictions).unwrap();
            assert_eq!(&guessed, predictions);
            let told = lookup(rows.clone(), Missing::Status).predicted(predictions).unwrap();
            assert_eq!(&told.slice(0, 1), &predictions.slice(0, 1));
            assert!(
                told.is_null(1) && told.is_null(2) && told.data_type() == predictions.data_type()
            );
            let all = lookup(vec![Found; 3], Missing::Status).predicted(predictions).unwrap();
            assert_eq!(&all, predictions);
        }
    }

    #[test]
    fn rows_are_told_apart_and_all_together_are_as_the_worst() {
        let lookup = lookup(vec![Found, OutsideMaxAge], Missing::default());
        let metadata = json!({ "source": "lakehouse", "reason": "online_store_timeout",
            "feature_status": ["PRESENT", "OUTSIDE_MAX_AGE"] });
        assert_eq!(lookup.metadata(), metadata);
        assert_eq!(lookup.parameters()["feature_status"], "OUTSIDE_MAX_AGE");
        assert_eq!(Missing::parse("status").unwrap(), Missing::Status);
        assert!(Missing::parse("skip").unwrap_err().help().is_some());
    }
}
