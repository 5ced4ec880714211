//! Naive Bayes of two classes: every feature speaks for itself, and a missing one not at all.
//!
//! Fits are counts and statistics of sorted values, so that they are the same everywhere. smartcore's
//! have no probabilities and know no missing values, which leaves nothing of them to use.

use std::collections::BTreeMap;

use icecore_core::{Result, TrainingSet};

use crate::ParamValue;
use crate::arithmetic::{ln, sigmoid};
use crate::columns::{self, Values};
use crate::fit::{Fit, Learned, Learner};
use crate::logistic::log_odds;
use crate::params::ParamReader;
use crate::scorer::Scorer;
use crate::statistics::Sorted;

/// The algorithms' names.
pub(crate) const GAUSSIAN: &str = "gaussian_nb";
pub(crate) const BERNOULLI: &str = "bernoulli_nb";

/// The most that one feature speaks for a class.
pub(crate) const EVIDENCE_MAX: f64 = 1e12;

/// What a value says about the classes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Evidence {
    /// Nothing.
    Silent,
    /// By the densities of normal distributions: the mean and the variance of each class.
    Normal([(f64, f64); 2]),
    /// Log odds of values up to the threshold and of those above it.
    Threshold { threshold: f64, odds: [f64; 2] },
}

impl Evidence {
    /// What a value adds to the log odds.
    fn odds(self, value: f64) -> f64 {
        if value.is_nan() {
            return 0.0;
        }
        match self {
            Self::Silent => 0.0,
            Self::Normal(classes) => {
                let value = value.clamp(-f64::MAX, f64::MAX);
                let density = |(mean, variance): (f64, f64)| {
                    let distance = (value - mean) / variance.sqrt();
                    -0.5 * (distance * distance).min(EVIDENCE_MAX) - 0.5 * ln(variance)
                };
                density(classes[1]) - density(classes[0])
            }
            Self::Threshold { threshold, odds } => odds[usize::from(value > threshold)],
        }
    }
}

/// A naive Bayes model.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct BayesScorer {
    pub(crate) prior: f64,
    pub(crate) evidence: Vec<Evidence>,
}

impl BayesScorer {
    pub(crate) fn margins(&self, columns: &[Values], start: usize, out: &mut [f64]) {
        out.fill(self.prior);
        for (evidence, column) in self.evidence.iter().zip(columns) {
            for (odds, value) in out.iter_mut().zip(&column[start..]) {
                *odds += evidence.odds(*value);
            }
        }
    }

    pub(crate) fn score(&self, columns: &[Values], start: usize, out: &mut [f64]) {
        self.margins(columns, start, out);
        for odds in out {
            *odds = sigmoid(*odds);
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum NaiveBayes {
    /// The share of the greatest variance that is added to all.
    Gaussian {
        smoothing: f64,
    },
    Bernoulli {
        alpha: f64,
        threshold: f64,
    },
}

/// A trainer of one of the two.
pub(crate) fn trainer(
    algorithm: &'static str,
    given: &BTreeMap<String, ParamValue>,
) -> Result<Fit> {
    let mut read = ParamReader::new(algorithm, given);
    let learner = if algorithm == GAUSSIAN {
        NaiveBayes::Gaussian { smoothing: read.float("var_smoothing", 1e-9, 1e-15..=1.0) }
    } else {
        NaiveBayes::Bernoulli {
            alpha: read.float("alpha", 1.0, 1e-10..=1e9),
            threshold: read.float("binarize", 0.0, f64::MIN..=f64::MAX),
        }
    };
    let threads = read.threads();
    Ok(Fit::new(algorithm, learner, (read.finish()?, threads)))
}

impl Learner for NaiveBayes {
    fn learn(&self, set: &TrainingSet, _: Option<&TrainingSet>) -> Result<Learned> {
        let labels = columns::binary_labels(set)?;
        let features = columns::features(set)?;
        let positive = labels.iter().filter(|label| **label == 1.0).count();
        let prior = log_odds(positive, labels.len());
        let evidence = if positive == 0 || positive == labels.len() {
            vec![Evidence::Silent; features.len()]
        } else {
            match *self {
                Self::Gaussian { smoothing } => gaussian(&features, labels, smoothing),
                Self::Bernoulli { alpha, threshold } => features
                    .iter()
                    .map(|column| bernoulli(column, labels, (alpha, threshold)))
                    .collect(),
            }
        };
        Ok(Learned::new(Scorer::Bayes(BayesScorer { prior, evidence })))
    }
}

/// The values of each class that are there.
fn by_class(column: &[f64], labels: &[f64]) -> [Sorted; 2] {
    [0.0, 1.0].map(|class| {
        let of_class = column.iter().zip(labels).filter(|(_, label)| **label == class);
        Sorted::new(&of_class.map(|(value, _)| *value).collect::<Vec<f64>>())
    })
}

fn gaussian(features: &[Values], labels: &[f64], smoothing: f64) -> Vec<Evidence> {
    let square = |deviation: f64| (deviation * deviation).min(1e300);
    let greatest =
        features.iter().map(|column| square(Sorted::new(column).deviation())).fold(0.0, f64::max);
    let added = (greatest * smoothing).max(f64::MIN_POSITIVE);
    let evidence = |column: &Values| {
        let classes = by_class(column, labels);
        if classes.iter().any(Sorted::is_empty) {
            return Evidence::Silent;
        }
        Evidence::Normal(classes.map(|class| (class.mean(), square(class.deviation()) + added)))
    };
    features.iter().map(evidence).collect()
}

fn bernoulli(column: &[f64], labels: &[f64], (alpha, threshold): (f64, f64)) -> Evidence {
    let count = |class: f64, above: bool| {
        let rows = column.iter().zip(labels);
        rows.filter(|(value, label)| {
            !value.is_nan() && **label == class && (**value > threshold) == above
        })
        .count() as f64
    };
    let share = |class: f64, above: bool| {
        let all = count(class, false) + count(class, true);
        ln((count(class, above) + alpha) / (all + 2.0 * alpha))
    };
    let odds = [false, true].map(|above| share(1.0, above) - share(0.0, above));
    Evidence::Threshold { threshold, odds }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{make, params, scores, set};

    // By hand: of the rows above zero, two of three are positive.
    #[test]
    fn shares_and_densities_are_those_of_the_rows() {
        let x = vec![1.0, 1.0, 0.0, 1.0, 0.0, f64::NAN];
        let rows = set(&[("x", x)], vec![1.0, 1.0, 1.0, 0.0, 0.0, 0.0]);
        let model = make(BERNOULLI, &params([])).fit(&rows).unwrap();
        let scores = scores(&*model, &rows);
        // (2 + 1) / (3 + 2) against (1 + 1) / (2 + 2).
        assert!((scores[0] - 0.6 / (0.6 + 0.5)).abs() < 1e-12, "{scores:?}");
        assert!((scores[5] - 0.5).abs() < 1e-12, "a missing value says nothing");

        let x = vec![1.0, 3.0, 9.0, 11.0];
        let rows = set(&[("x", x)], vec![0.0, 0.0, 1.0, 1.0]);
        let model = make(GAUSSIAN, &params([])).fit(&rows).unwrap();
        let scores = crate::tests::scores(&*model, &rows);
        // Distances of 1 and 7 deviations: odds of e^-24.
        assert!((scores[1] / 3.775e-11 - 1.0).abs() < 1e-3 && scores[2] > 0.999, "{scores:?}");
    }
}
