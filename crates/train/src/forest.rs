//! Sums of trees over columns, 64 rows at a time.
//!
//! A row's value becomes its rank among the model's thresholds, one byte. A node then answers for
//! 64 rows with one comparison of bytes, and the answers select each row's leaf without a branch
//! (the "mask forest"). Ensembles that do not fit, because a tree is too deep or a feature has too
//! many thresholds, are walked node by node. Leaf values are summed as integers: the same bits in
//! any batch, at any position, by any of the ways.

pub(crate) mod code;
pub(crate) mod mask;
pub(crate) mod rank;
mod walk;

use code::{Coded, Coding};
use mask::{LANES, MAX_DEPTH, MaskForest};
use walk::WalkTree;

use crate::arithmetic::{exp, sigmoid};
use crate::columns::Values;
use crate::tree::{Ensemble, Link, Tree};

/// Leaf values and sums of log odds are in steps of 2^-32.
const ODDS_BITS: i32 = 32;

/// Perfect trees with more than this many times the leaves that there are would waste more than
/// masks gain.
const SPARSE: usize = 8;
/// Up to so many rows are walked one by one, which is sooner done than a block of 64.
const FEW_ROWS: usize = 3;
/// The tables of so many features stay in the cache.
const RANKED_MAX: usize = 4_096;
/// So few leaves are never too many.
const PERFECT_LEAVES_ALWAYS: usize = 4_096;

/// Numbers as multiples of a power of two: sums of them do not depend on their order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fixed {
    steps: f64,
}

impl Fixed {
    /// Steps so fine that the greatest sum of leaves just fits.
    fn new(ensemble: &Ensemble) -> Self {
        if matches!(ensemble.link, Link::Logistic | Link::Mean | Link::Softmax | Link::Shares) {
            return Self { steps: power_of_two(ODDS_BITS) };
        }
        let greatest = |tree: &Tree| tree.leaf_values().map(f64::abs).fold(0.0, f64::max);
        let sum: f64 = ensemble.trees.iter().map(greatest).sum();
        Self { steps: power_of_two((60 - exponent(sum)).clamp(-1_000, 1_000)) }
    }

    pub(crate) fn of(self, value: f64) -> i64 {
        (value * self.steps).round() as i64
    }

    fn value(self, sum: i64) -> f64 {
        sum as f64 / self.steps
    }
}

/// The least power of two above the number has this exponent.
pub(crate) const fn exponent(value: f64) -> i32 {
    (value.to_bits() >> 52 & 0x7FF) as i32 - 1_022
}

/// Two to a power from -1022 to 1023.
pub(crate) const fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((exponent + 1_023) as u64) << 52)
}

/// An ensemble made ready for scoring.
#[derive(Debug)]
pub(crate) struct TreeScorer {
    ensemble: Ensemble,
    fixed: Fixed,
    engine: Engine,
    /// The number of trees of an output, by which votes are divided.
    votes: f64,
}

#[derive(Debug)]
enum Engine {
    /// A forest of each output.
    Masks { inputs: Vec<Coded>, forests: Vec<MaskForest> },
    /// The trees of each output.
    Walk { trees: Vec<Vec<WalkTree>> },
}

impl TreeScorer {
    /// Makes an ensemble over this many features ready.
    pub(crate) fn new(ensemble: Ensemble, features: usize) -> Self {
        let fixed = Fixed::new(&ensemble);
        let engine = Engine::new(&ensemble, features, fixed);
        let votes = (ensemble.trees.len() / ensemble.outputs().max(1)).max(1) as f64;
        Self { ensemble, fixed, engine, votes }
    }

    pub(crate) const fn ensemble(&self) -> &Ensemble {
        &self.ensemble
    }

    /// Writes the predictions of rows; the first is row `start` of the columns. Where there are
    /// several outputs, those of a row come one after the other.
    pub(crate) fn score(&self, columns: &[Values], start: usize, out: &mut [f64]) {
        self.margins(columns, start, out);
        self.respond(out);
    }

    /// Makes predictions of sums.
    pub(crate) fn respond(&self, out: &mut [f64]) {
        match self.ensemble.link {
            Link::Identity => {}
            Link::Logistic => {
                for value in out {
                    *value = sigmoid(*value);
                }
            }
            Link::Mean | Link::Shares => {
                for value in out {
                    *value = value.clamp(0.0, 1.0);
                }
            }
            Link::Exp => {
                for value in out {
                    *value = exp(*value);
                }
            }
            Link::Softmax => {
                for row in out.chunks_exact_mut(self.ensemble.outputs()) {
                    softmax(row);
                }
            }
        }
    }

    /// Writes what predictions are made of: sums of leaves.
    pub(crate) fn margins(&self, columns: &[Values], start: usize, out: &mut [f64]) {
        let outputs = self.ensemble.outputs();
        let rows = out.len() / outputs;
        let mut sums = vec![0; out.len()];
        match &self.engine {
            _ if rows <= FEW_ROWS => self.add_one_by_one(columns, start, &mut sums),
            Engine::Masks { inputs, forests } => {
                add_by_masks((inputs, forests), columns, start, &mut sums);
            }
            Engine::Walk { trees } => {
                for (trees, sums) in trees.iter().zip(sums.chunks_mut(rows)) {
                    add_by_walks(trees, columns, start, sums);
                }
            }
        }
        let votes = if self.ensemble.link == Link::Mean { self.votes } else { 1.0 };
        for (output, base) in self.ensemble.bases.iter().enumerate() {
            let of_output = sums[output * rows..].iter();
            for (value, sum) in out[output..].iter_mut().step_by(outputs).zip(of_output) {
                *value = base + self.fixed.value(*sum) / votes;
            }
        }
    }

    fn add_one_by_one(&self, columns: &[Values], start: usize, sums: &mut [i64]) {
        let outputs = self.ensemble.outputs();
        let rows = sums.len() / outputs;
        for row in 0..rows {
            for (number, tree) in self.ensemble.trees.iter().enumerate() {
                let leaf = tree.evaluate(|feature| columns[feature as usize][start + row]);
                sums[number % outputs * rows + row] += self.fixed.of(leaf);
            }
        }
    }
}

impl Engine {
    fn new(ensemble: &Ensemble, features: usize, fixed: Fixed) -> Self {
        let outputs = 0..ensemble.outputs();
        let walk = || {
            let walks =
                |output| ensemble.trees_of(output).map(|tree| WalkTree::new(tree, fixed)).collect();
            Self::Walk { trees: outputs.clone().map(walks).collect() }
        };
        let Some(coding) = Coding::new(ensemble, features) else { return walk() };
        let depth = ensemble.trees.iter().map(Tree::depth).max().unwrap_or(0);
        let leaves: usize = ensemble.trees.iter().map(Tree::leaves).sum();
        let perfect_leaves = ensemble.trees.len() << depth.min(MAX_DEPTH);
        if depth > MAX_DEPTH || perfect_leaves > leaves * SPARSE + PERFECT_LEAVES_ALWAYS {
            return walk();
        }
        let forest = |output| {
            let mut forest = MaskForest::new(depth);
            for tree in ensemble.trees_of(output) {
                forest.push(tree, fixed, |split| coding.code(split));
            }
            forest
        };
        let forests = outputs.clone().map(forest).collect();
        Self::Masks { inputs: coding.inputs, forests }
    }
}

fn add_by_masks(
    (inputs, forests): (&[Coded], &[MaskForest]),
    columns: &[Values],
    start: usize,
    sums: &mut [i64],
) {
    let rows = sums.len() / forests.len().max(1);
    let mut codes = vec![[0; LANES]; inputs.len()];
    for first in (0..rows).step_by(LANES) {
        let lanes = LANES.min(rows - first);
        for (input, codes) in inputs.iter().zip(&mut codes) {
            input.encode(&columns[input.feature][start + first..start + first + lanes], codes);
        }
        for (output, forest) in forests.iter().enumerate() {
            let mut block_sums = [0; LANES];
            forest.add_sums(&codes, &mut block_sums);
            let sums = &mut sums[output * rows + first..][..lanes];
            for (sum, add) in sums.iter_mut().zip(block_sums) {
                *sum += add;
            }
        }
    }
}

fn add_by_walks(trees: &[WalkTree], columns: &[Values], start: usize, sums: &mut [i64]) {
    for (block, sums) in sums.chunks_mut(LANES).enumerate() {
        for tree in trees {
            tree.add_leaves(columns, start + block * LANES, sums);
        }
    }
}

/// Scores of classes as their probabilities.
pub(crate) fn softmax(scores: &mut [f64]) {
    let greatest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        *score = exp(*score - greatest);
        sum += *score;
    }
    for score in scores {
        *score /= sum;
    }
}

/// Numbers divided by their sum; equal shares where there is nothing to share.
pub(crate) fn shares(amounts: &[f64]) -> Vec<f64> {
    // Dividing by the greatest first keeps the sum finite.
    let greatest = amounts.iter().copied().fold(0.0, f64::max);
    if greatest <= 0.0 {
        return vec![1.0 / amounts.len() as f64; amounts.len()];
    }
    let total: f64 = amounts.iter().map(|amount| amount / greatest).sum();
    amounts.iter().map(|amount| amount / greatest / total).collect()
}

#[cfg(test)]
mod tests;
