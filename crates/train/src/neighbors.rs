//! The nearest neighbours of a row, by exact search over standardized values.
//!
//! The model keeps all rows, in canonical order; of equally near ones, the first counts. A missing
//! value lies at the mean. smartcore's search is not used: ties in it go by the order of rows, and
//! its classifier tells no probability where distances weigh.

use std::collections::BTreeMap;

use icecore_core::{Error, ErrorKind, OutputKind, Result, TrainingSet};

use crate::ParamValue;
use crate::canonical::Canonical;
use crate::columns::{self, Values};
use crate::design::standard;
use crate::fit::{Fit, Learned, Learner};
use crate::linear::LinearTerm;
use crate::params::ParamReader;
use crate::scorer::Scorer;

/// The algorithms' names.
pub(crate) const CLASSIFIER: &str = "knn_classifier";
pub(crate) const REGRESSOR: &str = "knn_regressor";

/// The most neighbours that are asked.
pub(crate) const NEIGHBORS_MAX: usize = 10_000;
/// The most numbers that a model keeps.
pub(crate) const CELLS_MAX: usize = 100_000_000;

/// A model that keeps its rows.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NeighborScorer {
    pub(crate) output: OutputKind,
    pub(crate) neighbors: usize,
    /// Whether near ones count more, by one over their distance.
    pub(crate) by_distance: bool,
    pub(crate) terms: Vec<LinearTerm>,
    /// The rows, standardized, one after the other.
    pub(crate) rows: Vec<f64>,
    pub(crate) labels: Vec<f64>,
}

/// Rows of inputs as those of the model: standardized, zero where they are missing.
pub(crate) fn standardized(
    terms: &[LinearTerm],
    columns: &[Values],
    row: usize,
    to: &mut Vec<f64>,
) {
    to.clear();
    let values = terms.iter().zip(columns);
    to.extend(values.map(|(term, column)| term.standardize(column[row]).unwrap_or(0.0)));
}

impl NeighborScorer {
    pub(crate) fn score(&self, columns: &[Values], start: usize, out: &mut [f64]) {
        let mut asked = Vec::with_capacity(self.terms.len());
        let mut nearest = Vec::with_capacity(self.neighbors + 1);
        for (row, value) in out.iter_mut().enumerate() {
            standardized(&self.terms, columns, start + row, &mut asked);
            self.find(&asked, &mut nearest);
            *value = self.mean(&nearest);
        }
    }

    /// The nearest rows, the nearest first, with the squares of their distances.
    fn find(&self, asked: &[f64], nearest: &mut Vec<(f64, usize)>) {
        nearest.clear();
        let width = asked.len();
        for row in 0..self.labels.len() {
            let other = &self.rows[row * width..(row + 1) * width];
            let distance: f64 = asked.iter().zip(other).map(|(a, b)| (a - b) * (a - b)).sum();
            let is_full = nearest.len() == self.neighbors;
            if is_full && nearest.last().is_some_and(|(farthest, _)| distance >= *farthest) {
                continue;
            }
            let place = nearest.partition_point(|(near, _)| *near <= distance);
            nearest.insert(place, (distance, row));
            nearest.truncate(self.neighbors);
        }
    }

    fn mean(&self, nearest: &[(f64, usize)]) -> f64 {
        let exact = nearest.first().is_some_and(|(distance, _)| *distance == 0.0);
        let weight = |distance: f64| match (self.by_distance, exact) {
            (false, _) => 1.0,
            // A row that is there as it is says all.
            (true, true) => f64::from(u8::from(distance == 0.0)),
            (true, false) => 1.0 / distance.sqrt(),
        };
        let (mut sum, mut all) = (0.0, 0.0);
        for (distance, row) in nearest {
            let weight = weight(*distance);
            sum += weight * self.labels[*row];
            all += weight;
        }
        let mean = if all > 0.0 && sum.is_finite() { sum / all } else { 0.0 };
        if self.output == OutputKind::Probability { mean.clamp(0.0, 1.0) } else { mean }
    }
}

#[derive(Debug, Clone)]
struct Neighbors {
    output: OutputKind,
    neighbors: usize,
    by_distance: bool,
}

/// A trainer of one of the two.
pub(crate) fn trainer(
    algorithm: &'static str,
    given: &BTreeMap<String, ParamValue>,
) -> Result<Fit> {
    let mut read = ParamReader::new(algorithm, given);
    let neighbors = read.int("n_neighbors", 5, 1..=NEIGHBORS_MAX as i64) as usize;
    let by_distance = read.choice("weights", "uniform", &["uniform", "distance"]) == "distance";
    let is_class = algorithm == CLASSIFIER;
    let output = if is_class { OutputKind::Probability } else { OutputKind::Value };
    let threads = read.threads();
    let learner = Neighbors { output, neighbors, by_distance };
    Ok(Fit::new(algorithm, learner, (read.finish()?, threads)))
}

impl Learner for Neighbors {
    fn learn(&self, set: &TrainingSet, _: Option<&TrainingSet>) -> Result<Learned> {
        if self.output == OutputKind::Probability {
            columns::binary_labels(set)?;
        }
        let Canonical { features, labels, .. } = {
            let rows = Canonical::new(set)?;
            rows.check_numbers()?;
            rows
        };
        let cells = labels.len().saturating_mul(features.len() + 1);
        if cells > CELLS_MAX {
            return Err(Error::new(
                ErrorKind::LimitExceeded,
                format!("{cells} numbers are more than a model of neighbours keeps"),
            )
            .with_help(format!("sample the spine: at most {CELLS_MAX} numbers are kept")));
        }
        let terms: Vec<LinearTerm> = features.iter().map(|column| standard(column)).collect();
        let mut rows = Vec::with_capacity(cells);
        let mut row = Vec::with_capacity(features.len());
        for place in 0..labels.len() {
            standardized(&terms, &features, place, &mut row);
            rows.extend(&row);
        }
        let scorer = NeighborScorer {
            output: self.output,
            neighbors: self.neighbors.min(labels.len()),
            by_distance: self.by_distance,
            terms,
            rows,
            labels,
        };
        Ok(Learned::new(Scorer::Neighbors(scorer)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{make, params, scores, set};

    #[test]
    fn the_nearest_rows_decide() {
        let x = vec![0.0, 1.0, 2.0, 10.0, 11.0, f64::NAN];
        let rows = set(&[("x", x)], vec![1.0, 2.0, 3.0, 10.0, 20.0, 7.0]);
        let model = make(REGRESSOR, &params([("n_neighbors", 2.0)])).fit(&rows).unwrap();
        let near = scores(&*model, &rows);
        assert_eq!((near[0], near[3]), (1.5, 15.0));
        let mut given = params([("n_neighbors", 3.0)]);
        given.insert("weights".to_owned(), "distance".into());
        let model = make(REGRESSOR, &given).fit(&rows).unwrap();
        let near = scores(&*model, &rows);
        assert_eq!((near[0], near[5]), (1.0, 7.0), "a row that is there says all");
    }

    #[test]
    fn of_equally_near_rows_the_first_in_canonical_order_counts() {
        let rows = set(&[("x", vec![1.0; 6])], vec![0.0, 1.0, 0.0, 1.0, 1.0, 0.0]);
        let order = arrow::array::UInt64Array::from(vec![5_u64, 3, 1, 0, 4, 2]);
        let of = |set: &TrainingSet| {
            let model = make(CLASSIFIER, &params([("n_neighbors", 1.0)])).fit(set).unwrap();
            scores(&*model, set)[0]
        };
        assert_eq!(of(&rows), of(&rows.take(&order).unwrap()));
    }
}
