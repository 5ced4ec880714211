//! Trees of any shape over blocks of rows, level by level, without a branch.

use super::Fixed;
use super::mask::LANES;
use crate::columns::Values;
use crate::tree::{Node, Question, Side, Tree};

/// A node. A leaf leads to itself, so that a row that has arrived stays.
#[derive(Debug, Clone, Copy)]
struct Step {
    threshold: f64,
    feature: u32,
    missing_goes_right: bool,
    /// Where rows go that are at most the threshold, and where the others go.
    next: [u32; 2],
}

/// A tree that is walked by all rows of a block at once: their steps do not wait for each other.
#[derive(Debug)]
pub(super) struct WalkTree {
    steps: Vec<Step>,
    /// The value of each node that is a leaf, in fixed point.
    leaves: Vec<i64>,
    depth: usize,
    /// The tree itself, where it asks for categories: each row then walks by itself.
    categorical: Option<Tree>,
}

impl WalkTree {
    pub(super) fn new(tree: &Tree, fixed: Fixed) -> Self {
        let step = |(place, node): (usize, &Node)| match node {
            Node::Leaf(_) => Step {
                threshold: f64::INFINITY,
                feature: 0,
                missing_goes_right: false,
                next: [place as u32; 2],
            },
            Node::Split(split) => Step {
                threshold: match split.question {
                    Question::AtMost(threshold) => threshold,
                    Question::OneOf(_) => f64::INFINITY,
                },
                feature: split.feature,
                missing_goes_right: split.missing == Side::Right,
                next: [split.left, split.right],
            },
        };
        let leaf = |node: &Node| match node {
            Node::Leaf(value) => fixed.of(*value),
            Node::Split(_) => 0,
        };
        Self {
            steps: tree.nodes().iter().enumerate().map(step).collect(),
            leaves: tree.nodes().iter().map(leaf).collect(),
            depth: tree.depth(),
            categorical: tree
                .splits()
                .any(|split| matches!(split.question, Question::OneOf(_)))
                .then(|| tree.clone()),
        }
    }

    /// Adds to each of at most 64 sums the value of its row's leaf; the first is of row `first`.
    pub(super) fn add_leaves(&self, columns: &[Values], first: usize, sums: &mut [i64]) {
        if let Some(tree) = &self.categorical {
            for (row, sum) in sums.iter_mut().enumerate() {
                let place = tree.find(|feature| columns[feature as usize][first + row]);
                *sum += self.leaves[place as usize];
            }
            return;
        }
        let mut places = [0_u32; LANES];
        let places = &mut places[..sums.len()];
        for _ in 0..self.depth {
            for (row, place) in places.iter_mut().enumerate() {
                let step = &self.steps[*place as usize];
                let value = columns[step.feature as usize][first + row];
                let right = (value > step.threshold) | (value.is_nan() & step.missing_goes_right);
                *place = step.next[usize::from(right)];
            }
        }
        for (sum, place) in sums.iter_mut().zip(places) {
            *sum += self.leaves[*place as usize];
        }
    }
}
