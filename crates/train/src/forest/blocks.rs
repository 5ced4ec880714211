//! Trees of any shape over blocks of 64 rows of codes, with masks instead of branches.
//!
//! Every split is asked of all rows of a block at once. From the lowest splits up, its answers
//! choose between what its two sides came to, until the root has the number of each row's leaf.
//! Comparing all nodes without a branch is the idea of QuickScorer (Lucchese et al., SIGIR 2015)
//! and RapidScorer (Ye et al., KDD 2018); choosing bottom up needs no masks of leaves.

use super::Fixed;
use super::code::{Ask, Coding};
use super::mask::{Codes, LANES};
use crate::tree::{Node, Tree};

/// The most leaves of a tree that is worth masks: they are numbered by a byte.
pub(super) const LEAVES_MAX: usize = 256;

/// One number of each row of a block.
pub(super) type Bytes = [u8; LANES];

/// Where the numbers of leaves are kept that rows of a block come to: first by split, then the
/// numbers of the leaves themselves.
pub(super) type Slots = [Bytes; 2 * LEAVES_MAX];

/// The slots at the beginning.
pub(super) fn slots() -> Box<Slots> {
    let mut slots = Box::new([[0; LANES]; 2 * LEAVES_MAX]);
    for (number, slot) in (0..=u8::MAX).zip(&mut slots[LEAVES_MAX..]) {
        *slot = [number; LANES];
    }
    slots
}

/// A split: what it asks, where the answer goes, and what it chooses from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Choice {
    pub(super) ask: Ask,
    pub(super) place: u8,
    pub(super) left: u16,
    pub(super) right: u16,
}

/// A split between two leaves, the left one of which has this number, and the right one the next.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lowest {
    pub(super) ask: Ask,
    pub(super) place: u8,
    pub(super) left: u8,
}

/// A tree of a [`BlockTrees`].
#[derive(Debug, Clone, Copy)]
pub(super) struct BlockTree<'a> {
    pub(super) lowest: &'a [Lowest],
    /// The other splits, children before their parents.
    pub(super) choices: &'a [Choice],
    leaves: &'a [i64],
}

/// Trees whose leaves are summed.
#[derive(Debug)]
pub(super) struct BlockTrees {
    lowest: Vec<Lowest>,
    choices: Vec<Choice>,
    /// How many of both each tree has.
    sizes: Vec<(usize, usize)>,
    /// The leaves of each tree from the left, in fixed point, as many for each as the greatest has.
    leaves: Vec<i64>,
    width: usize,
}

impl BlockTrees {
    /// The trees, if there are some and none has too many leaves.
    pub(super) fn new<'a>(
        trees: impl Iterator<Item = &'a Tree> + Clone,
        coding: &Coding,
        fixed: Fixed,
    ) -> Option<Self> {
        let width = trees.clone().map(Tree::leaves).max()?;
        if width > LEAVES_MAX {
            return None;
        }
        let (lowest, choices) = (Vec::new(), Vec::new());
        let mut all = Self { lowest, choices, sizes: Vec::new(), leaves: Vec::new(), width };
        for tree in trees {
            all.push(tree, coding, fixed);
        }
        Some(all)
    }

    fn push(&mut self, tree: &Tree, coding: &Coding, fixed: Fixed) {
        let numbers = tree.leaf_numbers();
        let mut splits = 0;
        let mut slot_of = |(node, number): (&Node, &u32)| match node {
            Node::Leaf(_) => LEAVES_MAX as u16 + *number as u16,
            Node::Split(_) => {
                splits += 1;
                splits - 1
            }
        };
        let slots: Vec<u16> = tree.nodes().iter().zip(&numbers).map(&mut slot_of).collect();
        let before = (self.lowest.len(), self.choices.len());
        for (node, slot) in tree.nodes().iter().zip(&slots).rev() {
            let Node::Split(split) = node else { continue };
            let (ask, place) = (coding.ask(split), *slot as u8);
            let (left, right) = (slots[split.left as usize], slots[split.right as usize]);
            if usize::from(left.min(right)) >= LEAVES_MAX {
                self.lowest.push(Lowest { ask, place, left: left as u8 });
            } else {
                self.choices.push(Choice { ask, place, left, right });
            }
        }
        self.sizes.push((self.lowest.len() - before.0, self.choices.len() - before.1));
        let first = self.leaves.len();
        self.leaves.resize(first + self.width, 0);
        for (node, number) in tree.nodes().iter().zip(numbers) {
            if let Node::Leaf(value) = node {
                self.leaves[first + number as usize] = fixed.of(*value);
            }
        }
    }

    /// The most leaves of a tree.
    pub(super) const fn width(&self) -> usize {
        self.width
    }

    pub(super) fn trees(&self) -> impl Iterator<Item = BlockTree<'_>> {
        let (mut lowest, mut choices) = (self.lowest.as_slice(), self.choices.as_slice());
        self.sizes.iter().zip(self.leaves.chunks_exact(self.width)).map(move |(size, leaves)| {
            let (of_tree, rest) = lowest.split_at(size.0);
            lowest = rest;
            let (choices_of_tree, rest) = choices.split_at(size.1);
            choices = rest;
            BlockTree { lowest: of_tree, choices: choices_of_tree, leaves }
        })
    }

    /// Adds to the sum of each row of a block the values of its leaves.
    #[inline(always)]
    pub(super) fn add_sums(&self, codes: &[Codes], slots: &mut Slots, sums: &mut [i64; LANES]) {
        for tree in self.trees() {
            for split in tree.lowest {
                let codes = &codes[usize::from(split.ask.column)];
                let slot = &mut slots[usize::from(split.place)];
                for (number, code) in slot.iter_mut().zip(codes) {
                    *number = split.left.wrapping_add(u8::from(*code > split.ask.limit));
                }
            }
            for choice in tree.choices {
                let codes = &codes[usize::from(choice.ask.column)];
                let (left, right) =
                    (&slots[usize::from(choice.left)], &slots[usize::from(choice.right)]);
                let mut chosen = [0; LANES];
                for lane in 0..LANES {
                    let above = if codes[lane] > choice.ask.limit { u8::MAX } else { 0 };
                    chosen[lane] = (left[lane] & !above) | (right[lane] & above);
                }
                slots[usize::from(choice.place)] = chosen;
            }
            tree.add_leaves(&slots[tree.root()], sums);
        }
    }
}

impl BlockTree<'_> {
    /// The slot of the numbers of the leaves that rows come to.
    #[inline(always)]
    pub(super) const fn root(&self) -> usize {
        if self.lowest.is_empty() { LEAVES_MAX } else { 0 }
    }

    /// The leaves from the left, in fixed point.
    pub(super) const fn leaves(&self) -> &[i64] {
        self.leaves
    }

    /// Adds to each row's sum the value of its leaf.
    #[inline(always)]
    pub(super) fn add_leaves(&self, numbers: &Bytes, sums: &mut [i64; LANES]) {
        for (sum, number) in sums.iter_mut().zip(numbers) {
            *sum = sum.wrapping_add(self.leaves[usize::from(*number)]);
        }
    }
}
