//! Random forests and extremely randomized trees, grown by smartcore.
//!
//! Regression trees, of numbers or of labels of zero and one: a leaf's mean is a probability. The library knows
//! no missing values: they are imputed by the median, and an indicator column tells that they
//! were. Both then dissolve into the trees, whose splits know where a missing value goes.

mod range;

use std::collections::BTreeMap;

use icecore_core::{Error, Result, TrainingSet};
use rayon::prelude::*;
use serde::Deserialize;
use smartcore::ensemble::extra_trees_regressor::{
    ExtraTreesRegressor, ExtraTreesRegressorParameters,
};
use smartcore::ensemble::random_forest_regressor::{
    RandomForestRegressor, RandomForestRegressorParameters,
};
use smartcore::linalg::basic::matrix::DenseMatrix;

use self::range::Range;
use crate::ParamValue;
use crate::arithmetic::mix_pair;
use crate::canonical::Canonical;
use crate::columns::{self, Values};
use crate::fit::{Fit, Learned, Learner};
use crate::forest::TreeScorer;
use crate::params::ParamReader;
use crate::regression::near_zero;
use crate::scorer::Scorer;
use crate::smart::shielded;
use crate::tree::{Ensemble, Link, Node, Question, Side, Split, Tree};

/// The algorithms' names.
pub(crate) const ALGORITHM: &str = "random_forest";
pub(crate) const EXTRA: &str = "extra_trees";

/// Trees that one task grows. Fixed, because the trees of a task share a random generator.
const TASK_TREES: usize = 5;

/// Learns a forest of trees on bootstrap samples, or of trees that split at random.
#[derive(Debug, Clone)]
struct Forest {
    algorithm: &'static str,
    /// Whether labels are numbers.
    is_regression: bool,
    trees: usize,
    max_depth: u16,
    min_samples_leaf: usize,
    /// Features that a split may choose from; zero for the square root of their number.
    max_features: usize,
    seed: u64,
}

/// A trainer of one of the two.
pub(crate) fn trainer(
    algorithm: &'static str,
    given: &BTreeMap<String, ParamValue>,
) -> Result<Fit> {
    let (forest, effective, threads) = Forest::read(algorithm, given)?;
    Ok(Fit::new(algorithm, forest, (effective, threads)))
}

impl Learner for Forest {
    fn learn(&self, set: &TrainingSet, _: Option<&TrainingSet>) -> Result<Learned> {
        if !self.is_regression {
            columns::binary_labels(set)?;
        }
        let rows = Canonical::new(set)?;
        rows.check_numbers()?;
        let inputs: Vec<Input> = rows.features.into_iter().map(Input::new).collect();
        let ensemble = if self.is_regression {
            self.grow_numbers(&inputs, &rows.labels)?
        } else {
            self.grow(&inputs, &rows.labels)?
        };
        Ok(Learned::new(Scorer::Trees(TreeScorer::new(ensemble, inputs.len()))))
    }
}

impl Forest {
    fn read(
        algorithm: &'static str,
        given: &BTreeMap<String, ParamValue>,
    ) -> Result<(Self, BTreeMap<String, String>, usize)> {
        let mut read = ParamReader::new(algorithm, given);
        let forest = Self {
            algorithm,
            is_regression: read.choice("objective", "binary", &["binary", "squared"]) == "squared",
            trees: read.int("n_estimators", 100, 1..=10_000) as usize,
            max_depth: read.int("max_depth", 12, 1..=32) as u16,
            min_samples_leaf: read.int("min_samples_leaf", 5, 1..=i64::from(u32::MAX)) as usize,
            max_features: read.int("max_features", 0, 0..=i64::from(u32::MAX)) as usize,
            seed: read.int("seed", 0, 0..) as u64,
        };
        let threads = read.threads();
        Ok((forest, read.finish()?, threads))
    }

    /// Trees on labels near zero, whose mean is moved back.
    fn grow_numbers(&self, inputs: &[Input], labels: &[f64]) -> Result<Ensemble> {
        let (center, scale) = near_zero(labels);
        let near: Vec<f64> = labels.iter().map(|label| (label - center) / scale).collect();
        let mut ensemble = self.grow(inputs, &near)?;
        ensemble.link = Link::Identity;
        ensemble.bases = vec![center + ensemble.bases[0] * scale];
        let share = scale / ensemble.trees.len().max(1) as f64;
        for tree in &mut ensemble.trees {
            tree.scale(share);
        }
        Ok(ensemble)
    }

    fn grow(&self, inputs: &[Input], labels: &[f64]) -> Result<Ensemble> {
        let mut ensemble = Ensemble {
            link: Link::Mean,
            bases: vec![0.0],
            trees: Vec::with_capacity(self.trees),
            gains: vec![0.0; inputs.len()],
        };
        let design = design(inputs);
        let first = labels.first().copied().unwrap_or(0.0);
        if design.is_empty() || labels.iter().all(|label| *label == first) {
            ensemble.bases = vec![labels.iter().sum::<f64>() / labels.len() as f64];
            return Ok(ensemble);
        }
        let values = design.iter().flat_map(|column| column.values(inputs)).collect();
        let matrix = shielded(self.algorithm, || {
            DenseMatrix::new(labels.len(), design.len(), values, true)
        })?;
        let labels = labels.to_vec();
        let tasks: Vec<Task> = (0..self.trees.div_ceil(TASK_TREES))
            .into_par_iter()
            .map(|task| self.run_task(task, &matrix, &labels, design.len()))
            .collect::<Result<_>>()?;
        for task in tasks {
            for (column, gain) in design.iter().zip(task.importances) {
                ensemble.gains[column.input()] += gain * task.trees.len() as f64;
            }
            for nodes in task.trees {
                ensemble.trees.push(convert(&nodes, (&design, inputs), self.is_regression)?);
            }
        }
        ensemble.trees.par_iter_mut().for_each(|tree| count_rows(tree, inputs));
        Ok(ensemble)
    }

    fn run_task(
        &self,
        task: usize,
        matrix: &DenseMatrix<f64>,
        labels: &Vec<f64>,
        width: usize,
    ) -> Result<Task> {
        let trees = TASK_TREES.min(self.trees - task * TASK_TREES);
        // The library counts the levels of nodes, not those of splits.
        let depth = self.max_depth + 1;
        let seed = mix_pair(self.seed, task as u64);
        let features = (self.max_features > 0).then(|| self.max_features.min(width));
        let (dump, importances) = shielded(self.algorithm, || {
            if self.algorithm == EXTRA {
                let mut params = ExtraTreesRegressorParameters::default()
                    .with_n_trees(trees)
                    .with_max_depth(depth)
                    .with_min_samples_leaf(self.min_samples_leaf)
                    .with_seed(seed);
                params.m = features;
                let forest: Extra = ExtraTreesRegressor::fit(matrix, labels, params)?;
                Ok((serde_json::to_value(&forest), forest.compute_feature_importances()?))
            } else {
                let mut params = RandomForestRegressorParameters::default()
                    .with_n_trees(trees)
                    .with_max_depth(depth)
                    .with_min_samples_leaf(self.min_samples_leaf)
                    .with_seed(seed);
                params.m = features;
                let forest: Regressor = RandomForestRegressor::fit(matrix, labels, params)?;
                Ok((serde_json::to_value(&forest), forest.compute_feature_importances()?))
            }
        })?;
        Ok(Task { trees: trees_of(dump)?, importances })
    }
}

/// Trees that grew from one random generator.
#[derive(Debug)]
struct Task {
    trees: Vec<Vec<DumpedNode>>,
    importances: Vec<f64>,
}

/// A feature in canonical row order.
#[derive(Debug)]
struct Input {
    values: Values,
    range: Range,
    median: f64,
}

impl Input {
    fn new(values: Values) -> Self {
        let mut sorted: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
        let middle = sorted.len() / 2;
        let median = if sorted.is_empty() {
            0.0
        } else {
            *sorted.select_nth_unstable_by(middle, f64::total_cmp).1
        };
        let range = Range::of(&sorted);
        Self { values, median: range.bounded(median), range }
    }

    fn missing(&self) -> usize {
        self.values.iter().filter(|value| value.is_nan()).count()
    }
}

/// What a column of the library's matrix is made of.
#[derive(Debug, Clone, Copy)]
enum Design {
    /// The values of an input, imputed.
    Value(usize),
    /// One where the value of an input is missing, else zero.
    Missing(usize),
}

impl Design {
    const fn input(self) -> usize {
        match self {
            Self::Value(input) | Self::Missing(input) => input,
        }
    }

    fn values(self, inputs: &[Input]) -> impl Iterator<Item = f64> {
        let input = &inputs[self.input()];
        input.values.iter().map(move |value| match self {
            Self::Value(_) if value.is_nan() => input.median,
            Self::Value(_) => input.range.bounded(*value),
            Self::Missing(_) => f64::from(u8::from(value.is_nan())),
        })
    }
}

fn design(inputs: &[Input]) -> Vec<Design> {
    let mut design = Vec::new();
    for (place, input) in inputs.iter().enumerate() {
        let missing = input.missing();
        if missing < input.values.len() {
            design.push(Design::Value(place));
            if missing > 0 {
                design.push(Design::Missing(place));
            }
        }
    }
    design
}

/// A fitted forest as the library serializes it: its trees are private otherwise.
#[derive(Debug, Deserialize)]
struct DumpedForest {
    forest_regressor: Option<DumpedTrees>,
}

#[derive(Debug, Deserialize)]
struct DumpedTrees {
    trees: Option<Vec<DumpedTree>>,
}

#[derive(Debug, Deserialize)]
struct DumpedTree {
    nodes: Vec<DumpedNode>,
}

#[derive(Debug, Deserialize)]
struct DumpedNode {
    output: f64,
    split_feature: usize,
    split_value: Option<f64>,
    true_child: Option<usize>,
    false_child: Option<usize>,
}

type Regressor = RandomForestRegressor<f64, f64, DenseMatrix<f64>, Vec<f64>>;
type Extra = ExtraTreesRegressor<f64, f64, DenseMatrix<f64>, Vec<f64>>;

fn trees_of(dump: serde_json::Result<serde_json::Value>) -> Result<Vec<Vec<DumpedNode>>> {
    let dump: DumpedForest =
        dump.and_then(serde_json::from_value).map_err(|error| unreadable().with_source(error))?;
    let trees = dump.forest_regressor.and_then(|forest| forest.trees).ok_or_else(unreadable)?;
    Ok(trees.into_iter().map(|tree| tree.nodes).collect())
}

fn unreadable() -> Error {
    Error::internal("the fitted forest cannot be read")
}

/// Notes how many rows come by each node.
fn count_rows(tree: &mut Tree, inputs: &[Input]) {
    let rows = inputs.first().map_or(0, |input| input.values.len());
    for row in 0..rows {
        let mut place = 0;
        loop {
            tree.note_mut(place).cover += 1.0;
            let Node::Split(split) = tree.node(place) else { break };
            place = split.child(inputs[split.feature as usize].values[row]);
        }
    }
}

/// The library's tree as ours.
fn convert(
    nodes: &[DumpedNode],
    (design, inputs): (&[Design], &[Input]),
    is_regression: bool,
) -> Result<Tree> {
    let mut tree = Tree::constant(0.0);
    // Nodes of the library beside their places in our tree.
    let mut open = vec![(0, 0)];
    while let Some((node, place)) = open.pop() {
        let node = nodes.get(node).ok_or_else(unreadable)?;
        let (Some(threshold), Some(left), Some(right)) =
            (node.split_value, node.true_child, node.false_child)
        else {
            let value = if is_regression { node.output } else { node.output.clamp(0.0, 1.0) };
            tree.set_leaf(place, value);
            continue;
        };
        let column = design.get(node.split_feature).ok_or_else(unreadable)?;
        let (threshold, missing) = match column {
            Design::Value(input) => {
                let Input { range, median, .. } = &inputs[*input];
                let missing = if *median <= threshold { Side::Left } else { Side::Right };
                (range.unbounded(threshold), missing)
            }
            // The indicator is at most one half for every value that is there.
            Design::Missing(_) => (f64::INFINITY, Side::Right),
        };
        let children = (tree.push_leaf(0.0), tree.push_leaf(0.0));
        tree.set_split(
            place,
            Split {
                feature: column.input() as u32,
                question: Question::AtMost(threshold),
                missing,
                left: children.0,
                right: children.1,
            },
        );
        open.extend([(left, children.0), (right, children.1)]);
    }
    Ok(tree)
}

#[cfg(test)]
mod tests;
