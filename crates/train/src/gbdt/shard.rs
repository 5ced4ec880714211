//! A part of the rows, which one task works on.
//!
//! What a shard computes for others is sums of integers, so how many shards there are does not
//! change the model.

use std::ops::Range;

use super::code_tree::{CodeTree, Route};
use super::histogram::{Histogram, Layout, RowGroup};
use super::objective::{Objective, softmax_block};
use super::packed::{Lanes, Steps};
use crate::arithmetic::{mix, mix_u32};
use crate::columns::Values;
use crate::forest::mask::{Codes, LANES, unbiased};
use crate::forest::rank::RankTable;

/// The rows of a training, as columns and slices of one length.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) columns: &'a [Values],
    pub(super) labels: &'a [f32],
    pub(super) weights: Option<&'a [f32]>,
    pub(super) ids: &'a [u64],
}

/// Rows with everything that boosting keeps of them.
#[derive(Debug)]
pub(super) struct Shard {
    rows: usize,
    /// The codes of each feature, in blocks of rows. The last block is padded.
    columns: Vec<Vec<Codes>>,
    /// The same bins, row by row.
    groups: Vec<RowGroup>,
    labels: Vec<Lanes>,
    weights: Option<Vec<Lanes>>,
    /// The raw scores of each output.
    scores: Vec<Vec<Lanes>>,
    /// The gradients and hessians of rankings, which are given.
    given: Vec<(Lanes, Lanes)>,
    /// The packed gradients of each output.
    packed: Vec<Vec<[u64; LANES]>>,
    /// A hash of each row's id.
    keys: Vec<[u32; LANES]>,
    /// The sampled rows, node by node.
    order: Vec<u32>,
    spare: Vec<u32>,
    /// Where each node's rows are in `order`.
    nodes: Vec<Range<usize>>,
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
    /// A shard of some of the rows. Its gradients are to be computed, or only its scores.
    pub(super) fn new(
        (tables, layout): (&[RankTable], &Layout),
        all: Rows<'_>,
        rows: Range<usize>,
        starts: &[f32],
    ) -> Self {
        let columns: Vec<Vec<Codes>> = tables
            .iter()
            .zip(all.columns)
            .map(|(table, column)| encode(table, &column[rows.clone()]))
            .collect();
        let blocks = rows.len().div_ceil(LANES);
        let hash = |id: &u64| (mix(*id) >> 32) as u32;
        let keys: Vec<u32> = all.ids[rows.clone()].iter().map(hash).collect();
        Self {
            groups: row_groups(layout, &columns, rows.len()),
            rows: rows.len(),
            columns,
            labels: padded(&all.labels[rows.clone()]),
            weights: all.weights.map(|weights| padded(&weights[rows.clone()])),
            scores: starts.iter().map(|start| vec![[*start; LANES]; blocks]).collect(),
            given: Vec::new(),
            packed: starts.iter().map(|_| vec![[0; LANES]; blocks]).collect(),
            keys: padded(&keys),
            order: Vec::with_capacity(rows.len()),
            spare: vec![0; rows.len()],
            nodes: Vec::new(),
        }
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
        self.given.resize(self.labels.len(), ([0.0; LANES], [0.0; LANES]));
        for (block, rows) in self.given.iter_mut().zip(given.chunks(LANES)) {
            for (lane, row) in rows.iter().enumerate() {
                (block.0[lane], block.1[lane]) = *row;
            }
        }
    }

    /// Adds a tree's leaves to the scores of an output.
    pub(super) fn add_tree(&mut self, output: usize, tree: &CodeTree) {
        let scores = &mut self.scores[output];
        tree.add_leaves(&self.columns, self.rows, scores);
    }

    /// The greatest gradient and hessian of all rows.
    pub(super) fn greatest(&self, objective: Objective) -> (f32, f32) {
        let mut greatest = (0.0_f32, 0.0_f32);
        let (mut gradients, mut hessians) = ([0.0; LANES], [0.0; LANES]);
        for block in 0..self.labels.len() {
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
        if objective == Objective::Softmax {
            return self.begin_round_of_classes(steps);
        }
        let (mut gradients, mut hessians) = ([0.0; LANES], [0.0; LANES]);
        for block in 0..self.labels.len() {
            self.first_gradients(objective, block, (&mut gradients, &mut hessians));
            let packed = &mut self.packed[0][block];
            steps.pack((&gradients, &hessians), &self.keys[block], packed);
        }
    }

    fn first_gradients(
        &self,
        objective: Objective,
        block: usize,
        (gradients, hessians): (&mut Lanes, &mut Lanes),
    ) {
        match self.given.get(block) {
            Some(given) => (*gradients, *hessians) = *given,
            None => {
                let rows = (&self.scores[0][block], &self.labels[block]);
                objective.gradients(rows, (gradients, hessians));
            }
        }
        if let Some(weights) = &self.weights {
            weigh(&weights[block], gradients, hessians);
        }
    }

    fn begin_round_of_classes(&mut self, steps: Steps) {
        let classes = self.scores.len();
        // Friedman, "Greedy function approximation" (2001), algorithm 6: K / (K - 1).
        let factor = classes as f32 / (classes - 1) as f32;
        let mut probabilities = vec![[0.0; LANES]; classes];
        for (block, labels) in self.labels.iter().enumerate() {
            for (class, scores) in probabilities.iter_mut().zip(&self.scores) {
                *class = scores[block];
            }
            softmax_block(&mut probabilities);
            for (class, packed) in self.packed.iter_mut().enumerate() {
                let mut gradients = probabilities[class];
                let mut hessians = [0.0; LANES];
                for lane in 0..LANES {
                    let probability = gradients[lane];
                    hessians[lane] = factor * probability * (1.0 - probability);
                    gradients[lane] -= f32::from(u8::from(labels[lane] as usize == class));
                }
                if let Some(weights) = &self.weights {
                    weigh(&weights[block], &mut gradients, &mut hessians);
                }
                steps.pack((&gradients, &hessians), &self.keys[block], &mut packed[block]);
            }
        }
    }

    /// Takes the rows of the next tree.
    pub(super) fn begin_tree(&mut self, sampling: Sampling) {
        self.order.clear();
        match sampling {
            Sampling::All => self.order.extend(0..self.rows as u32),
            Sampling::Hashed { key, limit } => {
                self.order.resize(self.rows, 0);
                let mut taken = 0;
                for (row, id) in self.keys.as_flattened()[..self.rows].iter().enumerate() {
                    self.order[taken] = row as u32;
                    taken += usize::from(mix_u32(id ^ key) < limit);
                }
                self.order.truncate(taken);
            }
        }
        self.nodes.clear();
        self.nodes.push(0..self.order.len());
    }

    /// The sums of a node's rows.
    pub(super) fn histogram(&self, node: usize, output: usize, layout: &Layout) -> Histogram {
        let mut histogram = Histogram::zero(layout);
        let rows = &self.order[self.nodes[node].clone()];
        for group in &self.groups {
            group.add_rows(rows, self.packed[output].as_flattened(), layout, &mut histogram);
        }
        histogram
    }

    /// Divides the rows of a node. Its sides become the next two nodes.
    pub(super) fn divide(&mut self, node: usize, route: &Route) {
        let rows = self.nodes[node].clone();
        let column = self.columns[route.feature()].as_flattened();
        let order = &mut self.order[rows.clone()];
        let left = match route {
            Route::Rank(split) => {
                partition(order, &mut self.spare, |row| split.goes_right(column[row as usize]))
            }
            Route::Member { goes_right, .. } => partition(order, &mut self.spare, |row| {
                goes_right[usize::from(unbiased(column[row as usize]))]
            }),
        };
        self.nodes.push(rows.start..rows.start + left);
        self.nodes.push(rows.start + left..rows.end);
    }

    /// What is left of the labels of a node's rows, with their weights.
    pub(super) fn residuals(&self, node: usize) -> impl Iterator<Item = (f64, f64)> {
        let (labels, scores) = (self.labels.as_flattened(), self.scores[0].as_flattened());
        let weights = self.weights.as_ref().map(|weights| weights.as_flattened());
        self.order[self.nodes[node].clone()].iter().map(move |row| {
            let row = *row as usize;
            let weight = weights.map_or(1.0, |weights| f64::from(weights[row]));
            (f64::from(labels[row] - scores[row]), weight)
        })
    }

    /// The loss of all rows together, in steps of 2^-32.
    pub(super) fn loss(&self, objective: Objective) -> i128 {
        const STEPS: f64 = 4_294_967_296.0;
        let labels = self.labels.as_flattened();
        let weights = self.weights.as_ref().map(|weights| weights.as_flattened());
        let loss = |(row, label): (usize, &f32)| {
            let score = |output: usize| f64::from(self.scores[output][row / LANES][row % LANES]);
            let loss = objective.loss(score, f64::from(*label), self.scores.len());
            let weight = weights.map_or(1.0, |weights| f64::from(weights[row]));
            (loss * weight * STEPS).round() as i128
        };
        labels[..self.rows].iter().enumerate().map(loss).sum()
    }
}

fn weigh(weights: &Lanes, gradients: &mut Lanes, hessians: &mut Lanes) {
    for lane in 0..LANES {
        gradients[lane] *= weights[lane];
        hessians[lane] *= weights[lane];
    }
}

/// Moves the rows that go right behind the others, keeping the order within both, and returns how
/// many stay left. `spare` has room for all of them.
fn partition(order: &mut [u32], spare: &mut [u32], goes_right: impl Fn(u32) -> bool) -> usize {
    let spare = &mut spare[..order.len()];
    let (mut left, mut right) = (0, 0);
    // Both places are written and one of them is kept: no branch to mispredict.
    for next in 0..order.len() {
        let row = order[next];
        let is_right = goes_right(row);
        order[left] = row;
        spare[right] = row;
        left += usize::from(!is_right);
        right += usize::from(is_right);
    }
    order[left..].copy_from_slice(&spare[..right]);
    left
}

/// Values in blocks, the last one filled up with zeros.
fn padded<T: Copy + Default>(values: &[T]) -> Vec<[T; LANES]> {
    let mut blocks = vec![[T::default(); LANES]; values.len().div_ceil(LANES)];
    blocks.as_flattened_mut()[..values.len()].copy_from_slice(values);
    blocks
}

fn encode(table: &RankTable, values: &[f64]) -> Vec<Codes> {
    values
        .chunks(LANES)
        .map(|values| {
            let mut codes = [0; LANES];
            table.encode(values, &mut codes);
            codes
        })
        .collect()
}

fn row_groups(layout: &Layout, columns: &[Vec<Codes>], rows: usize) -> Vec<RowGroup> {
    let mut first = 0;
    let widths = layout.group_widths().into_iter();
    widths
        .map(|width| {
            let bins: Vec<Vec<u8>> = columns[first..first + width]
                .iter()
                .map(|column| column.as_flattened().iter().map(|code| unbiased(*code)).collect())
                .collect();
            let bins: Vec<&[u8]> = bins.iter().map(|column| &column[..rows]).collect();
            first += width;
            RowGroup::new(first - width, &bins, rows)
        })
        .collect()
}
