//! A part of the rows, which one task works on.
//!
//! What a shard computes for others is sums of integers, so how many shards there are does not
//! change the model.

use std::cmp::Ordering;
use std::ops::Range;

use super::code_tree::{CodeTree, Route};
use super::histogram::{Layout, Part};
use super::objective::{Objective, softmax_block};
use super::packed::{Lanes, Steps};
use super::rows::{Bins, Labels, RowNumber, fill_up};
use super::shards::Binned;
use crate::arithmetic::mix_u32;
use crate::forest::hardware::{Hardware, Work, prefetch};
use crate::forest::mask::{LANES, unbiased};

/// Rows with everything that boosting keeps of them.
#[derive(Debug)]
pub(super) struct Shard {
    bins: Bins,
    labels: Labels,
    weights: Vec<f32>,
    /// A hash of each row's id.
    keys: Vec<u32>,
    rows: usize,
    /// The raw scores of each output.
    scores: Vec<Vec<Lanes>>,
    /// The gradients and hessians of rankings, which are given.
    given: Vec<(Lanes, Lanes)>,
    /// The packed gradients of each output.
    packed: Vec<Vec<[u32; LANES]>>,
    /// The sampled rows, node by node.
    order: Vec<RowNumber>,
    /// Where each node's rows are in `order`.
    nodes: Vec<Range<RowNumber>>,
}

/// What shards are like.
#[derive(Debug, Clone, Copy)]
pub(super) struct ShardShape<'a> {
    /// The most rows of one.
    pub(super) rows: usize,
    pub(super) layout: &'a Layout,
    /// Whether labels are whole numbers below 256.
    pub(super) has_bytes: bool,
}

/// Which rows a tree is grown from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Sampling {
    All,
    /// Rows whose hash with the key is below the limit.
    Hashed {
        key: u32,
        limit: u32,
    },
}

impl Shard {
    /// A shard without rows. What is kept of them has its room from the beginning.
    pub(super) fn new(shape: ShardShape<'_>) -> Self {
        Self {
            bins: Bins::new(shape.layout, shape.rows),
            labels: Labels::new(shape.has_bytes, shape.rows),
            weights: Vec::new(),
            keys: Vec::with_capacity(shape.rows.next_multiple_of(LANES)),
            rows: 0,
            scores: Vec::new(),
            given: Vec::new(),
            packed: Vec::new(),
            order: Vec::new(),
            nodes: Vec::new(),
        }
    }

    /// Adds rows.
    pub(super) fn push(&mut self, binned: &Binned) {
        self.bins.push(&binned.codes);
        self.labels.push(&binned.labels);
        self.weights.extend(binned.weights.iter().flatten());
        self.keys.extend_from_slice(&binned.keys);
        self.rows = self.keys.len();
    }

    /// Makes the shard ready, once all rows are there; each output's scores begin here.
    pub(super) fn finish(&mut self, starts: &[f32]) {
        self.bins.finish();
        self.labels.finish();
        fill_up(&mut self.weights);
        fill_up(&mut self.keys);
        let blocks = self.keys.len() / LANES;
        self.scores = starts.iter().map(|start| vec![[*start; LANES]; blocks]).collect();
        // Memory that is never written to, as that of rows that are only scored, is not taken.
        self.packed = starts.iter().map(|_| vec![[0; LANES]; blocks]).collect();
        self.order = Vec::with_capacity(self.rows);
    }

    /// The hash of a row's id.
    pub(super) fn key(&self, row: usize) -> u32 {
        self.keys[row]
    }

    /// The label of a row, as training sees it.
    pub(super) fn label(&self, row: usize) -> f32 {
        self.labels.of(row)
    }

    /// Compares a row with one of another shard by bins, then by label, then by weight.
    pub(super) fn compare(&self, row: usize, other: &Self, other_row: usize) -> Ordering {
        let weight = |shard: &Self, row: usize| shard.weights.get(row).copied().unwrap_or(1.0);
        self.bins
            .compare(row, &other.bins, other_row)
            .then_with(|| self.label(row).total_cmp(&other.label(other_row)))
            .then_with(|| weight(self, row).total_cmp(&weight(other, other_row)))
    }

    fn blocks(&self) -> usize {
        self.keys.len() / LANES
    }

    /// How many rows there are.
    pub(super) const fn rows(&self) -> usize {
        self.rows
    }

    /// The raw scores of the first output.
    pub(super) fn first_scores(&self) -> &[f32] {
        &self.scores[0].as_flattened()[..self.rows]
    }

    /// Gives the rows their gradients and hessians.
    pub(super) fn set_gradients(&mut self, given: &[(f32, f32)]) {
        self.given.resize(self.blocks(), ([0.0; LANES], [0.0; LANES]));
        for (block, rows) in self.given.iter_mut().zip(given.chunks(LANES)) {
            for (lane, row) in rows.iter().enumerate() {
                (block.0[lane], block.1[lane]) = *row;
            }
        }
    }

    /// Adds a tree's leaves to the scores of an output.
    pub(super) fn add_tree(&mut self, output: usize, tree: &CodeTree) {
        let scores = self.scores[output].as_flattened_mut();
        tree.add_leaves(&self.bins, self.rows, scores);
    }

    /// The greatest gradient and hessian of all rows.
    pub(super) fn greatest(&self, objective: Objective) -> (f32, f32) {
        let mut greatest = (0.0_f32, 0.0_f32);
        let (mut gradients, mut hessians) = ([0.0; LANES], [0.0; LANES]);
        for block in 0..self.blocks() {
            self.first_gradients(objective, block, (&mut gradients, &mut hessians));
            let lanes = LANES.min(self.rows - block * LANES);
            for lane in 0..lanes {
                greatest.0 = greatest.0.max(gradients[lane].abs());
                greatest.1 = greatest.1.max(hessians[lane]);
            }
        }
        greatest
    }

    /// Computes the gradients of the scores.
    pub(super) fn begin_round(&mut self, objective: Objective, steps: Steps) {
        Hardware::best().run(Gradients { shard: self, objective, steps });
    }

    #[inline(always)]
    fn first_gradients(
        &self,
        objective: Objective,
        block: usize,
        (gradients, hessians): (&mut Lanes, &mut Lanes),
    ) {
        match self.given.get(block) {
            Some(given) => (*gradients, *hessians) = *given,
            None => {
                let rows = (&self.scores[0][block], &self.labels.block(block));
                objective.gradients(rows, (gradients, hessians));
            }
        }
        self.weigh(block, gradients, hessians);
    }

    #[inline(always)]
    fn weigh(&self, block: usize, gradients: &mut Lanes, hessians: &mut Lanes) {
        let Some(weights) = self.weights.as_chunks::<LANES>().0.get(block) else { return };
        for lane in 0..LANES {
            gradients[lane] *= weights[lane];
            hessians[lane] *= weights[lane];
        }
    }

    #[inline(always)]
    fn keys_of(&self, block: usize) -> [u32; LANES] {
        self.keys.as_chunks::<LANES>().0[block]
    }

    #[inline(always)]
    fn gradients_of_numbers(&mut self, objective: Objective, steps: Steps) {
        let (mut gradients, mut hessians) = ([0.0; LANES], [0.0; LANES]);
        for block in 0..self.blocks() {
            self.first_gradients(objective, block, (&mut gradients, &mut hessians));
            let keys = self.keys_of(block);
            steps.pack((&gradients, &hessians), &keys, &mut self.packed[0][block]);
        }
    }

    #[inline(always)]
    fn gradients_of_classes(&mut self, steps: Steps) {
        let classes = self.scores.len();
        // Friedman, "Greedy function approximation" (2001), algorithm 6: K / (K - 1).
        let factor = classes as f32 / (classes - 1) as f32;
        let mut probabilities = vec![[0.0; LANES]; classes];
        for block in 0..self.blocks() {
            let labels = self.labels.block(block);
            let keys = self.keys_of(block);
            for (class, scores) in probabilities.iter_mut().zip(&self.scores) {
                *class = scores[block];
            }
            softmax_block(&mut probabilities);
            for (class, probabilities) in probabilities.iter().enumerate() {
                let mut gradients = *probabilities;
                let mut hessians = [0.0; LANES];
                for lane in 0..LANES {
                    let probability = gradients[lane];
                    hessians[lane] = factor * probability * (1.0 - probability);
                    gradients[lane] -= f32::from(u8::from(labels[lane] as usize == class));
                }
                self.weigh(block, &mut gradients, &mut hessians);
                steps.pack((&gradients, &hessians), &keys, &mut self.packed[class][block]);
            }
        }
    }

    /// Takes the rows of the next tree.
    pub(super) fn begin_tree(&mut self, sampling: Sampling) {
        self.order.clear();
        match sampling {
            Sampling::All => self.order.extend(0..self.rows as RowNumber),
            Sampling::Hashed { key, limit } => {
                self.order.resize(self.rows, 0);
                let mut taken = 0;
                for (row, id) in self.keys[..self.rows].iter().enumerate() {
                    self.order[taken] = row as RowNumber;
                    taken += usize::from(mix_u32(id ^ key) < limit);
                }
                self.order.truncate(taken);
            }
        }
        self.nodes.clear();
        self.nodes.push(0..self.order.len() as RowNumber);
    }

    /// The rows of a node, with a group of their bins.
    pub(super) fn part(&self, node: usize, output: usize, group: usize) -> Part<'_> {
        Part {
            group: &self.bins.groups()[group],
            rows: &self.order[self.range(node)],
            packed: self.packed[output].as_flattened(),
        }
    }

    /// Divides the rows of a node. Its sides become the next two nodes.
    pub(super) fn divide(&mut self, node: usize, route: &Route, spare: &mut Vec<RowNumber>) {
        let rows = self.range(node);
        let order = &mut self.order[rows];
        if spare.len() < order.len() {
            spare.resize(order.len(), 0);
        }
        let code = self.bins.codes_of(route.feature());
        let left = match route {
            Route::Rank(split) => partition(order, spare, code, |code| split.goes_right(code)),
            Route::Member { goes_right, .. } => {
                partition(order, spare, code, |code| goes_right[usize::from(unbiased(code))])
            }
        };
        let Range { start, end } = self.nodes[node];
        let middle = start + left as RowNumber;
        self.nodes.extend([start..middle, middle..end]);
    }

    /// Where a node's rows are in the order.
    fn range(&self, node: usize) -> Range<usize> {
        let Range { start, end } = self.nodes[node];
        usize::from(start)..usize::from(end)
    }

    /// What is left of the labels of a node's rows, with their weights.
    pub(super) fn residuals(&self, node: usize) -> impl Iterator<Item = (f64, f64)> {
        let scores = self.scores[0].as_flattened();
        self.order[self.range(node)].iter().map(move |row| {
            let row = usize::from(*row);
            let weight = self.weights.get(row).copied().map_or(1.0, f64::from);
            (f64::from(self.label(row) - scores[row]), weight)
        })
    }

    /// The loss of all rows together, in steps of 2^-32.
    pub(super) fn loss(&self, objective: Objective) -> i128 {
        const STEPS: f64 = 4_294_967_296.0;
        let loss = |row: usize| {
            let score = |output: usize| f64::from(self.scores[output][row / LANES][row % LANES]);
            let loss = objective.loss(score, f64::from(self.label(row)), self.scores.len());
            let weight = self.weights.get(row).copied().map_or(1.0, f64::from);
            (loss * weight * STEPS).round() as i128
        };
        (0..self.rows).map(loss).sum()
    }
}

/// A shard whose gradients are computed.
struct Gradients<'a> {
    shard: &'a mut Shard,
    objective: Objective,
    steps: Steps,
}

impl Work for Gradients<'_> {
    #[inline(always)]
    fn run(self) {
        match self.objective {
            Objective::Softmax => self.shard.gradients_of_classes(self.steps),
            objective => self.shard.gradients_of_numbers(objective, self.steps),
        }
    }
}

/// A row's code is fetched while so many before it are divided: the rows of a node lie apart.
const AHEAD: usize = 32;

/// Moves the rows that go right behind the others, keeping the order within both, and returns how
/// many stay left. `spare` has room for all of them.
fn partition<'a>(
    order: &mut [RowNumber],
    spare: &mut [RowNumber],
    code: impl Fn(usize) -> &'a i8,
    goes_right: impl Fn(i8) -> bool,
) -> usize {
    let spare = &mut spare[..order.len()];
    let (mut left, mut right) = (0, 0);
    // Both places are written and one of them is kept: no branch to mispredict.
    for next in 0..order.len() {
        if let Some(ahead) = order.get(next + AHEAD) {
            prefetch(code(usize::from(*ahead)));
        }
        let row = order[next];
        let is_right = goes_right(*code(usize::from(row)));
        order[left] = row;
        spare[right] = row;
        left += usize::from(!is_right);
        right += usize::from(is_right);
    }
    order[left..].copy_from_slice(&spare[..right]);
    left
}
