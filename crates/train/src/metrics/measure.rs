//! Measures by name, for whatever a model gives.

use arrow::array::{Array, AsArray};
use arrow::datatypes::Float64Type;
use icecore_core::{Error, Model, OutputKind, Result, TrainingSet};

use super::Scored;

/// How many first rows `ndcg` looks at where nobody says.
const NDCG_AT: usize = 10;

/// A measure of a model's predictions.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Measure {
    /// The area under the ROC curve.
    RocAuc,
    /// The area under the precision-recall curve.
    PrAuc,
    /// The log-loss, of two classes or more.
    LogLoss,
    /// The Brier score.
    Brier,
    /// The share of rows that are right, of two classes at one half.
    Accuracy,
    /// The root of the mean square of differences.
    Rmse,
    /// The mean of absolute differences.
    Mae,
    /// The mean pinball loss of this quantile.
    QuantileLoss(f64),
    /// The mean deviance of counts, of Poisson.
    PoissonDeviance,
    /// The normalized discounted cumulative gain of so many first rows of each group.
    Ndcg(usize),
    /// The mean over groups of their average precision.
    Map,
}

impl Measure {
    /// The names of measures, as a user gives them.
    pub const NAMES: [&'static str; 11] = [
        "roc_auc",
        "pr_auc",
        "log_loss",
        "brier",
        "accuracy",
        "rmse",
        "mae",
        "quantile_loss",
        "poisson_deviance",
        "ndcg",
        "map",
    ];

    /// The measure of a name; `alpha` is the quantile.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if there is none of this name.
    pub fn named(name: &str, alpha: f64) -> Result<Self> {
        Ok(match name {
            "roc_auc" => Self::RocAuc,
            "pr_auc" => Self::PrAuc,
            "log_loss" => Self::LogLoss,
            "brier" => Self::Brier,
            "accuracy" => Self::Accuracy,
            "rmse" => Self::Rmse,
            "mae" => Self::Mae,
            "quantile_loss" => Self::QuantileLoss(alpha),
            "poisson_deviance" => Self::PoissonDeviance,
            "ndcg" => Self::Ndcg(NDCG_AT),
            "map" => Self::Map,
            other => {
                return Err(Error::invalid(format!("there is no measure `{other}`"))
                    .with_candidates(other, Self::NAMES)
                    .with_note(format!("measures: {}", Self::NAMES.join(", "))));
            }
        })
    }

    /// The measure that tells most of a model that gives this.
    #[must_use]
    pub const fn usual(output: OutputKind) -> Self {
        match output {
            OutputKind::Classes => Self::LogLoss,
            OutputKind::Value => Self::Rmse,
            _ => Self::RocAuc,
        }
    }

    /// The measure's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RocAuc => "roc_auc",
            Self::PrAuc => "pr_auc",
            Self::LogLoss => "log_loss",
            Self::Brier => "brier",
            Self::Accuracy => "accuracy",
            Self::Rmse => "rmse",
            Self::Mae => "mae",
            Self::QuantileLoss(_) => "quantile_loss",
            Self::PoissonDeviance => "poisson_deviance",
            Self::Ndcg(_) => "ndcg",
            Self::Map => "map",
        }
    }

    /// Whether a greater value is a better one.
    #[must_use]
    pub const fn greater_is_better(self) -> bool {
        matches!(self, Self::RocAuc | Self::PrAuc | Self::Accuracy | Self::Ndcg(_) | Self::Map)
    }

    /// What a model and rows need so that the measure is defined for them.
    pub(crate) fn wants(self, output: OutputKind, set: &TrainingSet) -> &'static str {
        match (self, output) {
            (Self::Ndcg(_) | Self::Map, _) if set.groups().is_none() => {
                "it is of the rows of queries: name the spine's column of them with `group`"
            }
            (Self::LogLoss | Self::Accuracy, _)
            | (_, OutputKind::Probability | OutputKind::Value) => {
                "a fold has rows, of both classes where there are two"
            }
            _ => "of several classes, there are `log_loss` and `accuracy`",
        }
    }

    /// Whether `a` is better than `b`.
    #[must_use]
    pub fn is_better(self, a: f64, b: f64) -> bool {
        if self.greater_is_better() { a > b } else { a < b }
    }

    /// Measures a model on rows; none where the measure is not defined for them.
    ///
    /// # Errors
    ///
    /// As [`Model::predict`].
    pub fn of(self, model: &dyn Model, set: &TrainingSet) -> Result<Option<f64>> {
        self.of_predictions(&model.predict(set.features())?, set)
    }

    /// Measures predictions of a set's rows, each as often as it counts; none where the measure is
    /// not defined for them.
    ///
    /// # Errors
    ///
    /// `Internal` if they are no predictions.
    pub fn of_predictions(self, predictions: &dyn Array, set: &TrainingSet) -> Result<Option<f64>> {
        let labels = set.labels().values();
        let weights = set.weights().map(|weights| &weights.values()[..]);
        if let Some(lists) = predictions.as_fixed_size_list_opt() {
            let classes = usize::try_from(lists.value_length()).unwrap_or(0);
            let values = lists.values().as_primitive_opt::<Float64Type>();
            let values = values.ok_or_else(|| not_numbers(predictions))?.values();
            let scored = Scored::new(labels, values).with_weights(weights);
            return Ok(match self {
                Self::LogLoss => scored.class_log_loss(classes),
                Self::Accuracy => scored.class_accuracy(classes),
                _ => None,
            });
        }
        let values = predictions.as_primitive_opt::<Float64Type>();
        let values = values.ok_or_else(|| not_numbers(predictions))?.values();
        let scored = Scored::new(labels, values).with_weights(weights);
        let groups = set.groups().map(|groups| &groups.values()[..]);
        Ok(match self {
            Self::RocAuc => scored.roc_auc(),
            Self::PrAuc => scored.pr_auc(),
            Self::LogLoss => scored.log_loss(),
            Self::Brier => scored.brier(),
            Self::Accuracy => scored.accuracy(0.5),
            Self::Rmse => scored.rmse(),
            Self::Mae => scored.mae(),
            Self::QuantileLoss(alpha) => scored.quantile_loss(alpha),
            Self::PoissonDeviance => scored.poisson_deviance(),
            Self::Ndcg(at) => groups.and_then(|groups| scored.ndcg(groups, at)),
            Self::Map => groups.and_then(|groups| scored.mean_average_precision(groups)),
        })
    }
}

fn not_numbers(predictions: &dyn Array) -> Error {
    Error::internal(format!("the model gave {}", predictions.data_type()))
}
