//! A random forest, grown by smartcore.
//!
//! Regression trees on labels of zero and one: a leaf's mean is a probability. The library knows
//! no missing values: they are imputed by the median, and an indicator column tells that they
//! were. Both then dissolve into the trees, whose splits know where a missing value goes.

use std::collections::BTreeMap;
use std::sync::Arc;

use icecore_core::{Error, Model, OutputKind, Result, Trainer, TrainingSet};
use rayon::prelude::*;
use serde::Deserialize;
use smartcore::ensemble::random_forest_regressor::{
    RandomForestRegressor, RandomForestRegressorParameters,
};
use smartcore::linalg::basic::matrix::DenseMatrix;

use crate::ParamValue;
use crate::arithmetic::mix_pair;
use crate::canonical::canonical_order;
use crate::columns::{self, Values};
use crate::forest::TreeScorer;
use crate::model::{FittedModel, Header, Scorer};
use crate::params::ParamReader;
use crate::smart::shielded;
use crate::tree::{Ensemble, Link, Node, Question, Side, Split, Tree};

/// The algorithm's name.
pub(crate) const ALGORITHM: &str = "random_forest";

/// Trees that one task grows. Fixed, because the trees of a task share a random generator.
const TASK_TREES: usize = 5;
/// Values are clamped to ± this, so that the middle of two of them does not overflow.
const VALUE_MAX: f64 = f64::MAX / 4.0;

/// Learns a forest of trees on bootstrap samples.
#[derive(Debug, Clone)]
pub(crate) struct RandomForestTrainer {
    trees: usize,
    max_depth: u16,
    min_samples_leaf: usize,
    /// Features that a split may choose from; zero for the square root of their number.
    max_features: usize,
    seed: u64,
    effective: BTreeMap<String, String>,
    threads: usize,
}

impl RandomForestTrainer {
    pub(crate) fn new(given: &BTreeMap<String, ParamValue>) -> Result<Self> {
        let mut read = ParamReader::new(ALGORITHM, given);
        let trees = read.int("n_estimators", 100, 1..=10_000) as usize;
        let max_depth = read.int("max_depth", 12, 1..=32) as u16;
        let min_samples_leaf = read.int("min_samples_leaf", 5, 1..=i64::from(u32::MAX)) as usize;
        let max_features = read.int("max_features", 0, 0..=i64::from(u32::MAX)) as usize;
        let seed = read.int("seed", 0, 0..) as u64;
        let threads = read.threads();
        let effective = read.finish()?;
        Ok(Self { trees, max_depth, min_samples_leaf, max_features, seed, effective, threads })
    }

    fn fit_here(&self, set: &TrainingSet) -> Result<Arc<dyn Model>> {
        let header = Header::new(ALGORITHM, &self.effective, set, OutputKind::Probability)?;
        let labels = columns::binary_labels(set)?;
        let features = columns::features(set)?;
        let order = canonical_order(&features, labels, set.row_ids().values());
        let labels: Vec<f64> = order.iter().map(|row| labels[*row]).collect();
        let inputs: Vec<Input> = features
            .iter()
            .map(|column| Input::new(order.iter().map(|row| column[*row]).collect()))
            .collect();
        let ensemble = self.grow(&inputs, &labels)?;
        let scorer = Scorer::Trees(TreeScorer::new(ensemble, inputs.len()));
        Ok(Arc::new(FittedModel { header, scorer }))
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
        let matrix =
            shielded(ALGORITHM, || DenseMatrix::new(labels.len(), design.len(), values, true))?;
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
                ensemble.trees.push(convert(&nodes, &design, inputs)?);
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
        let mut params = RandomForestRegressorParameters::default()
            .with_n_trees(trees)
            // The library counts the levels of nodes, not those of splits.
            .with_max_depth(self.max_depth + 1)
            .with_min_samples_leaf(self.min_samples_leaf)
            .with_seed(mix_pair(self.seed, task as u64));
        if self.max_features > 0 {
            params = params.with_m(self.max_features.min(width));
        }
        shielded(ALGORITHM, || {
            let forest = RandomForestRegressor::fit(matrix, labels, params)?;
            let importances = forest.compute_feature_importances()?;
            Ok((forest, importances))
        })
        .and_then(|(forest, importances)| {
            let trees = trees_of(&forest)?;
            Ok(Task { trees, importances })
        })
    }
}

impl Trainer for RandomForestTrainer {
    fn algorithm(&self) -> &'static str {
        ALGORITHM
    }

    fn params(&self) -> BTreeMap<String, String> {
        self.effective.clone()
    }

    fn fit(&self, set: &TrainingSet) -> Result<Arc<dyn Model>> {
        crate::pool::with_threads(self.threads, || self.fit_here(set))
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
        Self { values, median: median.clamp(-VALUE_MAX, VALUE_MAX) }
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
            Self::Value(_) => value.clamp(-VALUE_MAX, VALUE_MAX),
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

fn trees_of(forest: &Regressor) -> Result<Vec<Vec<DumpedNode>>> {
    let dump: DumpedForest = serde_json::to_value(forest)
        .and_then(serde_json::from_value)
        .map_err(|error| unreadable().with_source(error))?;
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
fn convert(nodes: &[DumpedNode], design: &[Design], inputs: &[Input]) -> Result<Tree> {
    let mut tree = Tree::constant(0.0);
    // Nodes of the library beside their places in our tree.
    let mut open = vec![(0, 0)];
    while let Some((node, place)) = open.pop() {
        let node = nodes.get(node).ok_or_else(unreadable)?;
        let (Some(threshold), Some(left), Some(right)) =
            (node.split_value, node.true_child, node.false_child)
        else {
            tree.set_leaf(place, node.output.clamp(0.0, 1.0));
            continue;
        };
        let column = design.get(node.split_feature).ok_or_else(unreadable)?;
        let (threshold, missing) = match column {
            Design::Value(input) if inputs[*input].median <= threshold => (threshold, Side::Left),
            Design::Value(_) => (threshold, Side::Right),
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
