//! A part of the rows, which one task works on.
//!
//! What a shard computes for others is sums of integers, so how many shards there are does not
//! change the model.

use std::ops::Range;

use super::histogram::{Histogram, Layout, RowGroup};
use super::objective::Objective;
use crate::arithmetic::{mix, mix_u32};
use crate::columns::Values;
use crate::forest::mask::{CodeSplit, Codes, LANES, MAX_DEPTH, Paths, perfect, unbiased};
use crate::forest::rank::RankTable;
use crate::tree::{Node, Split, Tree};

/// Rows with everything that boosting keeps of them.
#[derive(Debug)]
pub(super) struct Shard {
    rows: usize,
    /// The codes of each feature, in blocks of rows. The last block is padded.
    columns: Vec<Vec<Codes>>,
    /// The same bins, row by row.
    groups: Vec<RowGroup>,
    labels: Vec<[f32; LANES]>,
    scores: Vec<[f32; LANES]>,
    packed: Vec<[u64; LANES]>,
    /// A hash of each row's id.
    keys: Vec<u32>,
    /// The sampled rows, node by node of the current level.
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

/// A grown tree over codes.
#[derive(Debug)]
pub(super) enum CodeTree {
    Perfect {
        splits: Vec<CodeSplit>,
        leaves: Vec<f32>,
    },
    /// A tree too deep for masks, with the split over codes of each node.
    Deep {
        tree: Tree,
        splits: Vec<CodeSplit>,
    },
}

impl CodeTree {
    /// A tree whose splits have codes that are found in the features' tables.
    pub(super) fn new(tree: &Tree, tables: &[RankTable]) -> Self {
        let code = |split: &Split| {
            let code = tables[split.feature as usize].code_up_to(split.threshold);
            CodeSplit::new(split.feature, code, split.missing)
        };
        let depth = tree.depth();
        if depth <= MAX_DEPTH {
            let (splits, leaves) = perfect(tree, depth, code);
            return Self::Perfect { splits, leaves: leaves.iter().map(|v| *v as f32).collect() };
        }
        let splits = tree.nodes().iter().map(|node| match node {
            Node::Leaf(_) => CodeSplit::LEFT,
            Node::Split(split) => code(split),
        });
        Self::Deep { splits: splits.collect(), tree: tree.clone() }
    }
}

impl Shard {
    /// A shard of these rows of the columns.
    pub(super) fn new(
        (tables, layout): (&[RankTable], &Layout),
        columns: &[Values],
        (labels, ids): (&[f64], &[u64]),
        rows: Range<usize>,
    ) -> Self {
        let columns: Vec<Vec<Codes>> = tables
            .iter()
            .zip(columns)
            .map(|(table, column)| encode(table, &column[rows.clone()]))
            .collect();
        let blocks = rows.len().div_ceil(LANES);
        let mut label_blocks = vec![[0.0; LANES]; blocks];
        for (slot, label) in label_blocks.as_flattened_mut().iter_mut().zip(&labels[rows.clone()]) {
            *slot = *label as f32;
        }
        let keys = ids[rows.clone()].iter().map(|id| (mix(*id) >> 32) as u32).collect();
        Self {
            groups: row_groups(layout, &columns, rows.len()),
            rows: rows.len(),
            columns,
            labels: label_blocks,
            scores: vec![[0.0; LANES]; blocks],
            packed: vec![[0; LANES]; blocks],
            keys,
            order: Vec::with_capacity(rows.len()),
            spare: vec![0; rows.len()],
            nodes: Vec::new(),
        }
    }

    /// Adds the same to the score of every row.
    pub(super) fn add_constant(&mut self, constant: f64) {
        for score in self.scores.as_flattened_mut() {
            *score += constant as f32;
        }
    }

    /// Adds a tree's leaves to the scores.
    pub(super) fn add_tree(&mut self, tree: &CodeTree) {
        match tree {
            CodeTree::Perfect { splits, leaves } => {
                let mut paths = Paths::default();
                for (block, scores) in self.scores.iter_mut().enumerate() {
                    paths.follow(splits, |feature| &self.columns[feature][block]);
                    paths.add_leaves(leaves, scores);
                }
            }
            CodeTree::Deep { tree, splits } => {
                for (row, score) in
                    self.scores.as_flattened_mut()[..self.rows].iter_mut().enumerate()
                {
                    let mut place = 0;
                    *score += loop {
                        match tree.node(place) {
                            Node::Leaf(value) => break value as f32,
                            Node::Split(split) => {
                                let codes = self.columns[split.feature as usize].as_flattened();
                                let right = splits[place as usize].goes_right(codes[row]);
                                place = if right { split.right } else { split.left };
                            }
                        }
                    };
                }
            }
        }
    }

    /// Computes the gradients of the scores, and takes the rows of the next tree.
    pub(super) fn begin_tree(&mut self, objective: &impl Objective, sampling: Sampling) {
        for ((scores, labels), packed) in self.scores.iter().zip(&self.labels).zip(&mut self.packed)
        {
            objective.gradients(scores, labels, packed);
        }
        self.order.clear();
        match sampling {
            Sampling::All => self.order.extend(0..self.rows as u32),
            Sampling::Hashed { key, limit } => {
                self.order.resize(self.rows, 0);
                let mut taken = 0;
                for (row, id) in self.keys.iter().enumerate() {
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
    pub(super) fn histogram(&self, node: usize, layout: &Layout) -> Histogram {
        let mut histogram = Histogram::zero(layout);
        let rows = &self.order[self.nodes[node].clone()];
        for group in &self.groups {
            group.add_rows(rows, self.packed.as_flattened(), layout, &mut histogram);
        }
        histogram
    }

    /// Goes to the next level: the two sides of each node that is split, in order.
    pub(super) fn divide(&mut self, splits: &[Option<CodeSplit>]) {
        let nodes = std::mem::take(&mut self.nodes);
        for (rows, split) in nodes.into_iter().zip(splits) {
            let Some(split) = split else { continue };
            let column = self.columns[split.feature()].as_flattened();
            let left = partition(&mut self.order[rows.clone()], &mut self.spare, |row| {
                split.goes_right(column[row as usize])
            });
            self.nodes.push(rows.start..rows.start + left);
            self.nodes.push(rows.start + left..rows.end);
        }
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
