//! Learning and scoring: synchronous, deterministic, Arrow in and Arrow out.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, UInt64Array};
use serde::{Deserialize, Serialize};

use crate::{Error, PinnedTable, Result, TrainingSource};

/// Rows to learn from.
///
/// Feature columns are numbers, booleans or text; nulls and NaN are missing values. A row's id is a
/// hash of its identifying columns: sampling and splitting go by it, never by the row's position,
/// so that a model does not depend on the order of rows. A row's weight says how often it counts.
#[derive(Debug, Clone)]
pub struct TrainingSet {
    features: RecordBatch,
    labels: Float64Array,
    row_ids: UInt64Array,
    weights: Option<Float64Array>,
    groups: Option<UInt64Array>,
    provenance: Vec<PinnedTable>,
}

impl TrainingSet {
    /// Puts together columns of equal length.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if the lengths differ, a label
    /// is null, or a feature column is neither a number, a boolean nor text.
    pub fn new(features: RecordBatch, labels: Float64Array, row_ids: UInt64Array) -> Result<Self> {
        use arrow::array::Array;
        let rows = features.num_rows();
        if labels.len() != rows || row_ids.len() != rows {
            return Err(Error::invalid(format!(
                "a training set of {rows} rows has {} labels and {} row ids",
                labels.len(),
                row_ids.len()
            )));
        }
        if labels.null_count() > 0 {
            return Err(Error::invalid(format!("{} labels are null", labels.null_count()))
                .with_help("filter them in the spine: `WHERE label IS NOT NULL`"));
        }
        for field in features.schema().fields() {
            if !is_feature_type(field.data_type()) {
                return Err(Error::invalid(format!(
                    "feature `{}` has type {}, which is neither a number, a boolean nor text",
                    field.name(),
                    field.data_type()
                )));
            }
        }
        Ok(Self { features, labels, row_ids, weights: None, groups: None, provenance: Vec::new() })
    }

    /// Says how often each row counts: a row of weight two counts as two rows do, one of weight
    /// zero does not count.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if there is not one weight a
    /// row, or one is null, negative or not finite.
    pub fn with_weights(mut self, weights: Float64Array) -> Result<Self> {
        use arrow::array::Array;
        if weights.len() != self.rows() {
            return Err(Error::invalid(format!(
                "a training set of {} rows has {} weights",
                self.rows(),
                weights.len()
            )));
        }
        let usable = |weight: &f64| weight.is_finite() && *weight >= 0.0;
        if weights.null_count() > 0 {
            return Err(Error::invalid(format!("{} weights are null", weights.null_count()))
                .with_help("give rows that should count once the weight 1"));
        }
        if let Some(weight) = weights.values().iter().find(|weight| !usable(weight)) {
            return Err(Error::invalid(format!("weight `{weight}` is none"))
                .with_help("a weight is finite and at least 0"));
        }
        self.weights = Some(weights);
        Ok(self)
    }

    /// Says which rows belong together: a hash of the query, or of whatever else rows are ranked in.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if there is not one group a row.
    pub fn with_groups(mut self, groups: UInt64Array) -> Result<Self> {
        use arrow::array::Array;
        if groups.len() != self.rows() || groups.null_count() > 0 {
            return Err(Error::invalid(format!(
                "a training set of {} rows has the groups of {}",
                self.rows(),
                groups.len() - groups.null_count()
            )));
        }
        self.groups = Some(groups);
        Ok(self)
    }

    /// Names the pins that the rows come from.
    #[must_use]
    pub fn with_provenance(mut self, provenance: Vec<PinnedTable>) -> Self {
        self.provenance = provenance;
        self
    }

    /// The feature columns.
    #[must_use]
    pub const fn features(&self) -> &RecordBatch {
        &self.features
    }

    /// What to predict, one number a row.
    #[must_use]
    pub const fn labels(&self) -> &Float64Array {
        &self.labels
    }

    /// One hash a row.
    #[must_use]
    pub const fn row_ids(&self) -> &UInt64Array {
        &self.row_ids
    }

    /// How often each row counts; once each where it is absent.
    #[must_use]
    pub const fn weights(&self) -> Option<&Float64Array> {
        self.weights.as_ref()
    }

    /// Which rows belong together, where that is known.
    #[must_use]
    pub const fn groups(&self) -> Option<&UInt64Array> {
        self.groups.as_ref()
    }

    /// The pins that the rows come from.
    #[must_use]
    pub fn provenance(&self) -> &[PinnedTable] {
        &self.provenance
    }

    /// The number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.features.num_rows()
    }

    /// The rows at these positions, in this order.
    ///
    /// # Errors
    ///
    /// Fails if a position is outside.
    pub fn take(&self, rows: &UInt64Array) -> Result<Self> {
        use arrow::array::{AsArray, RecordBatchOptions};
        use arrow::compute::{TakeOptions, take, take_arrays};
        let checked = || Some(TakeOptions { check_bounds: true });
        // Without columns, nothing but the options tells how many rows there are.
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        let columns = take_arrays(self.features.columns(), rows, checked())?;
        let schema = self.features.schema();
        let weights = match &self.weights {
            None => None,
            Some(weights) => Some(take(weights, rows, checked())?.as_primitive().clone()),
        };
        let groups = match &self.groups {
            None => None,
            Some(groups) => Some(take(groups, rows, checked())?.as_primitive().clone()),
        };
        Ok(Self {
            features: RecordBatch::try_new_with_options(schema, columns, &options)?,
            labels: take(&self.labels, rows, checked())?.as_primitive().clone(),
            row_ids: take(&self.row_ids, rows, checked())?.as_primitive().clone(),
            weights,
            groups,
            provenance: self.provenance.clone(),
        })
    }
}

/// Whether a column of this type can be a feature: numbers, booleans, and text, whose values are
/// categories.
#[must_use]
pub fn is_feature_type(data_type: &arrow::datatypes::DataType) -> bool {
    use arrow::datatypes::DataType;
    data_type.is_numeric() || *data_type == DataType::Boolean || is_text_type(data_type)
}

/// Whether a column of this type holds text, as it is or by a dictionary.
#[must_use]
pub fn is_text_type(data_type: &arrow::datatypes::DataType) -> bool {
    use arrow::datatypes::DataType;
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => is_text_type(values),
        _ => false,
    }
}

/// What a model's output means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OutputKind {
    /// The probability of the positive class, in [0, 1].
    Probability,
    /// A number.
    Value,
    /// The probability of each class, a list of them a row, summing to one.
    Classes,
}

/// What to ask a model for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Prediction {
    /// What [`Model::predict`] gives: a probability, a number, or the probabilities of classes.
    Response,
    /// The raw score before it becomes that: log odds, a logarithm, or one score of each class.
    Margin,
    /// The number of the leaf that a row falls into, for each tree.
    Leaves,
    /// What each input adds to the raw score: exact Shapley values, and what they are added to
    /// at the end. With classes, those of one after the other.
    Contributions,
}

/// What makes an input important.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Importance {
    /// What the questions about it gained, or the size of its weights.
    Gain,
    /// How many questions are about it.
    Splits,
}

/// A column that a model reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignatureColumn {
    /// Its name: columns are bound by name, never by position.
    pub name: String,
    /// The Arrow type it was trained with, such as `Int64`.
    pub data_type: String,
}

/// What a model reads and gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelSignature {
    /// The columns that it reads.
    pub inputs: Vec<SignatureColumn>,
    /// What its output means.
    pub output: OutputKind,
}

/// A fitted model.
///
/// # Contract
///
/// - `predict` binds columns by name; a missing column or one that is no number is `InvalidInput`,
///   named, before any row is scored. Extra columns are ignored.
/// - Missing values are the model's business: what to do with them was fitted with it.
/// - The output has one non-null `Float64` a row, or with [`OutputKind::Classes`] a list of as many
///   as there are classes; a probability is in [0, 1].
/// - The same row gets the same bits in any batch, at any position, on any number of threads.
/// - `encode` is a function of the model: equal models have equal bytes.
pub trait Model: fmt::Debug + Send + Sync + 'static {
    /// What the model reads and gives.
    fn signature(&self) -> &ModelSignature;

    /// Scores rows.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if a column is missing or wrongly typed.
    fn predict(&self, rows: &RecordBatch) -> Result<ArrayRef>;

    /// The model's file.
    ///
    /// # Errors
    ///
    /// `Internal` if it cannot be written.
    fn encode(&self) -> Result<Vec<u8>>;

    /// How much each input counts, summing to one, in the order of the signature. All are zero where
    /// none counts, because the model gives every row the same; empty where the algorithm does not
    /// tell.
    fn importance(&self) -> Vec<f64> {
        Vec::new()
    }

    /// The importance of this kind, as [`Self::importance`] gives it.
    fn importance_by(&self, importance: Importance) -> Vec<f64> {
        match importance {
            Importance::Gain => self.importance(),
            Importance::Splits => Vec::new(),
        }
    }

    /// Gives something else about rows than their prediction.
    ///
    /// # Errors
    ///
    /// `Unsupported` if the model has no such thing; else as `predict`.
    fn predict_as(&self, rows: &RecordBatch, what: Prediction) -> Result<ArrayRef> {
        match what {
            Prediction::Response => self.predict(rows),
            other => Err(Error::new(
                crate::ErrorKind::Unsupported,
                format!("the model has no {other:?} to give").to_lowercase(),
            )),
        }
    }

    /// How many rounds of learning are in the model, where it learned in rounds.
    fn rounds(&self) -> Option<usize> {
        None
    }
}

/// Learns a model from rows.
///
/// # Contract
///
/// - The model's bytes are a function of the multiset of rows, the parameters and the seed: not of
///   the order of rows, of batches, or of threads.
/// - Degenerate input (no rows, one class, constant or all-missing columns) gives a defined model
///   or `InvalidInput`, never a panic.
pub trait Trainer: fmt::Debug + Send + Sync + 'static {
    /// The algorithm's name, such as `gbdt`.
    fn algorithm(&self) -> &'static str;

    /// Every parameter with its value, defaults included.
    fn params(&self) -> std::collections::BTreeMap<String, String>;

    /// Fits a model.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for rows that the algorithm cannot learn from.
    fn fit(&self, set: &TrainingSet) -> Result<Arc<dyn Model>>;

    /// Fits a model and stops learning where it no longer gets better on other rows, if the
    /// parameters say so and the algorithm can.
    ///
    /// # Errors
    ///
    /// As `fit`.
    fn fit_watching(&self, set: &TrainingSet, validation: &TrainingSet) -> Result<Arc<dyn Model>> {
        let _ = validation;
        self.fit(set)
    }

    /// Fits a model to rows that are read part by part, as `fit` or `fit_watching` would to all of
    /// them at once. An algorithm that needs them all at once collects them.
    ///
    /// # Errors
    ///
    /// As `fit`, or if the rows cannot be read.
    fn fit_source(
        &self,
        source: &dyn TrainingSource,
        validation: Option<&dyn TrainingSource>,
    ) -> Result<Arc<dyn Model>> {
        let set = TrainingSet::collect(source)?;
        match validation {
            None => self.fit(&set),
            Some(validation) => self.fit_watching(&set, &TrainingSet::collect(validation)?),
        }
    }
}
