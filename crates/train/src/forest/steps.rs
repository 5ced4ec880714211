//! Trees of any shape over codes, step by step, without a branch.

use super::Fixed;
use super::code::{Ask, Coding};
use super::mask::{Codes, LANES};
use crate::tree::{Node, Tree};

/// Trees that are walked at once: their steps do not wait for each other.
const ABREAST: usize = 16;

/// A node: the next one is `child`, or the one after it for a row that goes right. A leaf leads to
/// itself, so that a row that has arrived stays.
#[derive(Debug, Clone, Copy)]
struct Step {
    child: u32,
    ask: Ask,
}

/// Trees whose leaves are summed.
#[derive(Debug, Default)]
pub(super) struct Steps {
    steps: Vec<Step>,
    /// The value of each node that is a leaf, in fixed point.
    leaves: Vec<i64>,
    /// The root and the depth of each tree, the flat ones first.
    trees: Vec<(u32, u32)>,
}

impl Steps {
    pub(super) fn new<'a>(
        trees: impl Iterator<Item = &'a Tree>,
        coding: &Coding,
        fixed: Fixed,
    ) -> Self {
        let mut all = Self::default();
        for tree in trees {
            all.push(tree, coding, fixed);
        }
        all.trees.sort_by_key(|(_, depth)| *depth);
        all
    }

    /// Adds a tree, its nodes level by level, so that siblings lie side by side.
    fn push(&mut self, tree: &Tree, coding: &Coding, fixed: Fixed) {
        let root = self.steps.len();
        self.trees.push((root as u32, tree.depth() as u32));
        let mut places = vec![0_u32];
        let mut next = 0;
        while let Some(place) = places.get(next).copied() {
            let (step, leaf) = match tree.node(place) {
                Node::Leaf(value) => {
                    let stay = Ask { column: 0, limit: i8::MAX };
                    (Step { child: (root + next) as u32, ask: stay }, fixed.of(value))
                }
                Node::Split(split) => {
                    let child = (root + places.len()) as u32;
                    places.extend([split.left, split.right]);
                    (Step { child, ask: coding.ask(&split) }, 0)
                }
            };
            self.steps.push(step);
            self.leaves.push(leaf);
            next += 1;
        }
    }

    /// The sum of the leaves of one row, given its code in each column.
    pub(super) fn sum_of_row(&self, codes: &[i8]) -> i64 {
        let mut sum = 0;
        for trees in self.trees.chunks(ABREAST) {
            let mut places = [0; ABREAST];
            for (place, (root, _)) in places.iter_mut().zip(trees) {
                *place = *root;
            }
            // Places without a tree go along with the first tree, and are not summed.
            let depth = trees.last().map_or(0, |(_, depth)| *depth);
            for _ in 0..depth {
                for place in &mut places {
                    let step = self.steps[*place as usize];
                    let right = codes[usize::from(step.ask.column)] > step.ask.limit;
                    *place = step.child + u32::from(right);
                }
            }
            sum +=
                places[..trees.len()].iter().map(|place| self.leaves[*place as usize]).sum::<i64>();
        }
        sum
    }

    /// Adds to the sum of each row of a block the values of its leaves.
    #[inline(always)]
    pub(super) fn add_sums(&self, codes: &[Codes], sums: &mut [i64; LANES]) {
        for (root, depth) in &self.trees {
            let mut places = [*root; LANES];
            for _ in 0..*depth {
                for (lane, place) in places.iter_mut().enumerate() {
                    let step = self.steps[*place as usize];
                    let right = codes[usize::from(step.ask.column)][lane] > step.ask.limit;
                    *place = step.child + u32::from(right);
                }
            }
            for (sum, place) in sums.iter_mut().zip(places) {
                *sum += self.leaves[place as usize];
            }
        }
    }
}
