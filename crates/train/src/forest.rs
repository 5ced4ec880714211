//! Sums of trees over columns, 64 rows at a time.
//!
//! A row's value becomes its rank among the model's thresholds, one byte. A node then answers for
//! 64 rows with one comparison of bytes, and the answers select each row's leaf without a branch
//! (the "mask forest"). Ensembles that do not fit, because a tree is too deep or a feature has too
//! many thresholds, are walked node by node. Leaf values are summed as integers: the same bits in
//! any batch, at any position, by any of the ways.

pub(crate) mod mask;
pub(crate) mod rank;
mod walk;

use mask::{CodeSplit, LANES, MAX_DEPTH, MaskForest};
use rank::{MAX_THRESHOLDS, RankTable};
use walk::WalkTree;

use crate::arithmetic::sigmoid;
use crate::columns::Values;
use crate::tree::{Ensemble, Link, Tree};

/// Leaf values and sums in steps of 2^-32.
const FIXED: f64 = 4_294_967_296.0;

/// Perfect trees with more than this many times the leaves that there are would waste more than
/// masks gain.
const SPARSE: usize = 8;
/// Up to so many rows are walked one by one, which is sooner done than a block of 64.
const FEW_ROWS: usize = 3;
/// The tables of so many features stay in the cache.
const RANKED_MAX: usize = 4_096;
/// So few leaves are never too many.
const PERFECT_LEAVES_ALWAYS: usize = 4_096;

pub(crate) fn to_fixed(value: f64) -> i64 {
    (value * FIXED).round() as i64
}

fn from_fixed(sum: i64) -> f64 {
    sum as f64 / FIXED
}

/// An ensemble made ready for scoring.
#[derive(Debug)]
pub(crate) struct TreeScorer {
    ensemble: Ensemble,
    engine: Engine,
}

#[derive(Debug)]
enum Engine {
    Masks { inputs: Vec<Ranked>, trees: MaskForest },
    Walk { trees: Vec<WalkTree> },
}

/// A feature that the trees ask about.
#[derive(Debug)]
struct Ranked {
    feature: usize,
    table: RankTable,
}

impl TreeScorer {
    /// Makes an ensemble over this many features ready.
    pub(crate) fn new(ensemble: Ensemble, features: usize) -> Self {
        let engine = Engine::new(&ensemble, features);
        Self { ensemble, engine }
    }

    pub(crate) const fn ensemble(&self) -> &Ensemble {
        &self.ensemble
    }

    pub(crate) fn importance(&self) -> Vec<f64> {
        shares(&self.ensemble.gains)
    }

    /// Writes the predictions of rows; the first is row `start` of the columns.
    pub(crate) fn score(&self, columns: &[Values], start: usize, out: &mut [f64]) {
        let mut sums = vec![0; out.len()];
        match &self.engine {
            _ if out.len() <= FEW_ROWS => {
                add_one_by_one(&self.ensemble.trees, columns, start, &mut sums);
            }
            Engine::Masks { inputs, trees } => {
                add_by_masks((inputs, trees), columns, start, &mut sums);
            }
            Engine::Walk { trees } => add_by_walks(trees, columns, start, &mut sums),
        }
        let base = self.ensemble.base;
        match self.ensemble.link {
            Link::Logistic => {
                for (out, sum) in out.iter_mut().zip(sums) {
                    *out = sigmoid(base + from_fixed(sum));
                }
            }
            Link::Mean => {
                let trees = self.ensemble.trees.len().max(1) as f64;
                for (out, sum) in out.iter_mut().zip(sums) {
                    *out = (base + from_fixed(sum) / trees).clamp(0.0, 1.0);
                }
            }
        }
    }
}

impl Engine {
    fn new(ensemble: &Ensemble, features: usize) -> Self {
        let walk = || Self::Walk { trees: ensemble.trees.iter().map(WalkTree::new).collect() };
        let Some(inputs) = Self::ranked(ensemble, features) else { return walk() };
        let depth = ensemble.trees.iter().map(Tree::depth).max().unwrap_or(0);
        let leaves: usize = ensemble.trees.iter().map(Tree::leaves).sum();
        let perfect_leaves = ensemble.trees.len() << depth.min(MAX_DEPTH);
        if depth > MAX_DEPTH || perfect_leaves > leaves * SPARSE + PERFECT_LEAVES_ALWAYS {
            return walk();
        }
        let mut slots = vec![0; features];
        for (slot, input) in inputs.iter().enumerate() {
            slots[input.feature] = slot;
        }
        let mut trees = MaskForest::new(depth);
        for tree in &ensemble.trees {
            trees.push(tree, |split| {
                let slot = slots[split.feature as usize];
                let code = inputs[slot].table.code_up_to(split.threshold);
                CodeSplit::new(slot as u32, code, split.missing)
            });
        }
        Self::Masks { inputs, trees }
    }

    /// The features that the trees ask about with tables of their thresholds, if these fit.
    fn ranked(ensemble: &Ensemble, features: usize) -> Option<Vec<Ranked>> {
        let mut thresholds: Vec<Option<Vec<f64>>> = vec![None; features];
        for split in ensemble.trees.iter().flat_map(Tree::splits) {
            let list = thresholds[split.feature as usize].get_or_insert_default();
            // An infinite threshold, with all values below it, needs no place in the table.
            if split.threshold < f64::INFINITY {
                // Adding zero turns a negative zero into a positive one.
                list.push(split.threshold + 0.0);
            }
        }
        let mut inputs = Vec::new();
        for (feature, list) in thresholds.into_iter().enumerate() {
            let Some(mut list) = list else { continue };
            list.sort_unstable_by(f64::total_cmp);
            list.dedup();
            if list.len() > MAX_THRESHOLDS || inputs.len() == RANKED_MAX {
                return None;
            }
            inputs.push(Ranked { feature, table: RankTable::new(&list) });
        }
        Some(inputs)
    }
}

fn add_by_masks(
    (inputs, trees): (&[Ranked], &MaskForest),
    columns: &[Values],
    start: usize,
    sums: &mut [i64],
) {
    let mut codes = vec![[0; LANES]; inputs.len()];
    for (block, sums) in sums.chunks_mut(LANES).enumerate() {
        let first = start + block * LANES;
        for (input, codes) in inputs.iter().zip(&mut codes) {
            input.table.encode(&columns[input.feature][first..first + sums.len()], codes);
        }
        let mut block_sums = [0; LANES];
        trees.add_sums(&codes, &mut block_sums);
        for (sum, add) in sums.iter_mut().zip(block_sums) {
            *sum += add;
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

fn add_one_by_one(trees: &[Tree], columns: &[Values], start: usize, sums: &mut [i64]) {
    for (row, sum) in sums.iter_mut().enumerate() {
        for tree in trees {
            let leaf = tree.evaluate(|feature| columns[feature as usize][start + row]);
            *sum += to_fixed(leaf);
        }
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
