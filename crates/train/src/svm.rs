//! Support vector machines, fitted by smartcore.
//!
//! A classifier's sums become probabilities by Platt scaling, fitted to sums of rows that the
//! machine did not learn from: folds go by the hashes of row ids. The regressor has the kernel `rbf`
//! alone: for others, smartcore 0.7 takes the likeness of a row to itself from the wrong rows.

mod platt;

use std::collections::BTreeMap;

use icecore_core::{Error, ErrorKind, Result, TrainingSet};
use serde::Deserialize;
use smartcore::linalg::basic::matrix::DenseMatrix;
use smartcore::svm::Kernels;
use smartcore::svm::svc::{SVC, SVCParameters};
use smartcore::svm::svr::{SVR, SVRParameters};

use crate::ParamValue;
use crate::arithmetic::mix_pair;
use crate::canonical::Canonical;
use crate::columns;
use crate::design::standard;
use crate::fit::{Fit, Learned, Learner};
use crate::kernel::{Kernel, KernelScorer, Meaning};
use crate::linear::LinearTerm;
use crate::logistic::log_odds;
use crate::neighbors::standardized;
use crate::params::{ParamReader, positive_to};
use crate::regression::near_zero;
use crate::scorer::Scorer;
use crate::smart::shielded;

/// The algorithms' names.
pub(crate) const CLASSIFIER: &str = "svc";
pub(crate) const REGRESSOR: &str = "svr";

/// The most rows: the solver's time grows with their square.
const ROWS_MAX: usize = 20_000;
/// Folds of rows that probabilities are fitted to.
const FOLDS: u64 = 3;

#[derive(Debug, Clone)]
struct Machine {
    algorithm: &'static str,
    c: f64,
    kernel: KernelName,
    /// Zero for one over the number of inputs.
    gamma: f64,
    degree: u32,
    epochs: usize,
    epsilon: f64,
    seed: u64,
}

#[derive(Debug, Clone, Copy)]
enum KernelName {
    Rbf,
    Linear,
    Polynomial,
}

/// A trainer of one of the two.
pub(crate) fn trainer(
    algorithm: &'static str,
    given: &BTreeMap<String, ParamValue>,
) -> Result<Fit> {
    let mut read = ParamReader::new(algorithm, given);
    let is_class = algorithm == CLASSIFIER;
    let kernels: &[&'static str] = if is_class { &["rbf", "linear", "poly"] } else { &["rbf"] };
    let mut machine = Machine {
        algorithm,
        c: read.float("c", 1.0, positive_to(1e6)),
        kernel: match read.choice("kernel", "rbf", kernels).as_str() {
            "linear" => KernelName::Linear,
            "poly" => KernelName::Polynomial,
            _ => KernelName::Rbf,
        },
        gamma: read.float("gamma", 0.0, 0.0..=1e6),
        degree: 3,
        epochs: 1,
        epsilon: 0.1,
        seed: 0,
    };
    if is_class {
        machine.degree = read.int("degree", 3, 1..=10) as u32;
        machine.epochs = read.int("epochs", 5, 1..=1_000) as usize;
        machine.seed = read.int("seed", 0, 0..) as u64;
    } else {
        machine.epsilon = read.float("epsilon", 0.1, 0.0..=1e6);
    }
    let threads = read.threads();
    Ok(Fit::new(algorithm, machine, (read.finish()?, threads)))
}

impl Learner for Machine {
    fn learn(&self, set: &TrainingSet, _: Option<&TrainingSet>) -> Result<Learned> {
        if self.algorithm == CLASSIFIER {
            columns::binary_labels(set)?;
        }
        let rows = Canonical::new(set)?;
        rows.check_numbers()?;
        if rows.labels.len() > ROWS_MAX {
            return Err(Error::new(
                ErrorKind::LimitExceeded,
                format!(
                    "{} rows are more than `{}` learns from",
                    rows.labels.len(),
                    self.algorithm
                ),
            )
            .with_help(format!("sample the spine to {ROWS_MAX} rows, or train with `gbdt`")));
        }
        let terms: Vec<LinearTerm> = rows.features.iter().map(|column| standard(column)).collect();
        let mut matrix = Vec::with_capacity(rows.labels.len());
        for row in 0..rows.labels.len() {
            let mut standard = Vec::new();
            standardized(&terms, &rows.features, row, &mut standard);
            matrix.push(standard);
        }
        let scorer = if self.algorithm == CLASSIFIER {
            self.classify((terms, &matrix), &rows.labels, &rows.ids)?
        } else {
            self.regress((terms, &matrix), &rows.labels)?
        };
        Ok(Learned::new(Scorer::Kernel(scorer)))
    }
}

impl Machine {
    fn kernel(&self, width: usize) -> Kernel {
        let gamma = if self.gamma > 0.0 { self.gamma } else { 1.0 / width.max(1) as f64 };
        match self.kernel {
            KernelName::Rbf => Kernel::Rbf { gamma },
            KernelName::Linear => Kernel::Linear,
            KernelName::Polynomial => Kernel::Polynomial { gamma, degree: self.degree },
        }
    }

    fn silent(&self, terms: Vec<LinearTerm>, meaning: Meaning) -> KernelScorer {
        let kernel = self.kernel(terms.len());
        KernelScorer { kernel, meaning, terms, vectors: Vec::new(), weights: Vec::new(), base: 0.0 }
    }

    fn classify(
        &self,
        (terms, matrix): (Vec<LinearTerm>, &[Vec<f64>]),
        labels: &[f64],
        ids: &[u64],
    ) -> Result<KernelScorer> {
        let positive = labels.iter().filter(|label| **label == 1.0).count();
        let constant = Meaning::Platt { factor: 0.0, summand: log_odds(positive, labels.len()) };
        if positive == 0 || positive == labels.len() || terms.is_empty() {
            return Ok(self.silent(terms, constant));
        }
        let meaning = Meaning::Platt { factor: 1.0, summand: 0.0 };
        let machine = |learned: &dyn Fn(usize) -> bool| -> Result<Option<KernelScorer>> {
            let rows: Vec<usize> = (0..labels.len()).filter(|row| learned(*row)).collect();
            let chosen: Vec<u32> = rows.iter().map(|row| labels[*row] as u32).collect();
            if chosen.windows(2).all(|pair| pair[0] == pair[1]) {
                return Ok(None);
            }
            let rows: Vec<Vec<f64>> = rows.into_iter().map(|row| matrix[row].clone()).collect();
            let support = self.solve_classes(&rows, &chosen)?;
            Ok(Some(support.into_scorer(self.silent(terms.clone(), meaning))))
        };
        let fold = |row: usize| mix_pair(self.seed, ids[row]) % FOLDS;
        let Some(mut whole) = machine(&|_| true)? else {
            return Ok(self.silent(terms, constant));
        };
        let mut sums = vec![0.0; labels.len()];
        for number in 0..FOLDS {
            let of_others = machine(&|row| fold(row) != number)?;
            // Where the other folds have one class, the sums are those of the whole.
            let machine = of_others.as_ref().unwrap_or(&whole);
            for row in (0..labels.len()).filter(|row| fold(*row) == number) {
                sums[row] = machine.decide(&matrix[row]);
            }
        }
        let (factor, summand) = platt::fit(&sums, labels);
        whole.meaning = Meaning::Platt { factor, summand };
        Ok(whole)
    }

    fn solve_classes(&self, rows: &Vec<Vec<f64>>, labels: &Vec<u32>) -> Result<Support> {
        let width = rows.first().map_or(0, Vec::len);
        let kernel = self.kernel(width);
        shielded(self.algorithm, || {
            let x = DenseMatrix::from_2d_vec(rows)?;
            let params = SVCParameters::default()
                .with_c(self.c)
                .with_epoch(self.epochs)
                .with_seed(Some(self.seed))
                .with_kernel(library(kernel));
            let machine: SVC<'_, f64, u32, DenseMatrix<f64>, Vec<u32>> =
                SVC::fit(&x, labels, &params)?;
            Ok(serde_json::to_value(&machine).map_err(|error| error.to_string()))
        })
        .and_then(Support::read)
    }

    fn regress(
        &self,
        (terms, matrix): (Vec<LinearTerm>, &[Vec<f64>]),
        labels: &[f64],
    ) -> Result<KernelScorer> {
        let (center, scale) = near_zero(labels);
        let silent = self.silent(terms, Meaning::Number { center, scale });
        if silent.terms.is_empty() || labels.windows(2).all(|pair| pair[0] == pair[1]) {
            return Ok(silent);
        }
        let near: Vec<f64> = labels.iter().map(|label| (label - center) / scale).collect();
        let support = shielded(self.algorithm, || {
            let x = DenseMatrix::from_2d_vec(&matrix.to_vec())?;
            let params = SVRParameters::default()
                .with_c(self.c)
                .with_eps(self.epsilon / scale)
                .with_kernel(library(silent.kernel));
            let machine: SVR<'_, f64, DenseMatrix<f64>, Vec<f64>> = SVR::fit(&x, &near, &params)?;
            Ok(serde_json::to_value(&machine).map_err(|error| error.to_string()))
        })
        .and_then(Support::read)?;
        Ok(support.into_scorer(silent))
    }
}

fn library(kernel: Kernel) -> Kernels {
    match kernel {
        Kernel::Linear => Kernels::linear(),
        Kernel::Rbf { gamma } => Kernels::rbf().with_gamma(gamma),
        Kernel::Polynomial { gamma, degree } => {
            Kernels::polynomial().with_gamma(gamma).with_degree(f64::from(degree)).with_coef0(1.0)
        }
    }
}

/// A fitted machine as the library serializes it: its parts are private otherwise.
#[derive(Debug, Deserialize)]
struct Support {
    instances: Vec<Vec<f64>>,
    w: Vec<f64>,
    b: f64,
}

impl Support {
    fn read(machine: std::result::Result<serde_json::Value, String>) -> Result<Self> {
        machine
            .and_then(|value| {
                serde_json::from_value::<Self>(value).map_err(|error| error.to_string())
            })
            .map_err(|error| {
                Error::invalid("the support vector machine found no finite weights")
                    .with_source(error)
                    .with_help("try another `c` or kernel")
            })
    }

    fn into_scorer(self, silent: KernelScorer) -> KernelScorer {
        let (mut vectors, mut weights) = (Vec::new(), Vec::new());
        // A row that does not count is no support vector.
        for (vector, weight) in self.instances.iter().zip(&self.w).filter(|(_, w)| **w != 0.0) {
            vectors.extend(vector);
            weights.push(*weight);
        }
        KernelScorer { vectors, weights, base: self.b, ..silent }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{auc, churn, make, params, regression, scores};

    #[test]
    fn machines_learn_and_their_probabilities_are_probable() {
        let (training, validation) = (churn(800, 1), churn(800, 2));
        for kernel in ["rbf", "linear"] {
            let mut given = params([]);
            given.insert("kernel".to_owned(), kernel.into());
            let model = make(CLASSIFIER, &given).fit(&training).unwrap();
            let auc = auc(&*model, &validation);
            assert!(auc > 0.8, "{kernel}: {auc}");
            let scores = scores(&*model, &validation);
            let brier = crate::metrics::brier(validation.labels().values(), &scores).unwrap();
            assert!(brier < 0.2, "{kernel}: {brier}");
        }
    }

    #[test]
    fn numbers_are_learned() {
        let set = regression(400, 3);
        let model = make(REGRESSOR, &params([("c", 10.0), ("epsilon", 1.0)])).fit(&set).unwrap();
        let rmse = crate::metrics::rmse(set.labels().values(), &scores(&*model, &set)).unwrap();
        assert!(rmse < 15.0, "{rmse}: the labels deviate by 26");
    }
}
