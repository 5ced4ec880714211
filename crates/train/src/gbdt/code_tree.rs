//! A grown tree over codes.

use super::rows::Bins;
use crate::forest::code::Members;
use crate::forest::hardware::{Hardware, Work};
use crate::forest::mask::{CodeSplit, Codes, LANES, unbiased};
use crate::forest::rank::RankTable;
use crate::tree::{CATEGORIES_MAX, Node, Question, Side, Split, Tree};

/// The most leaves of a tree that is worth masks: they are numbered by a byte.
const LEAVES_MAX: usize = 256;

/// Which way codes go at a split.
#[derive(Debug, Clone)]
pub(super) enum Route {
    Rank(CodeSplit),
    Member { feature: usize, goes_right: Box<[bool; 256]> },
}

impl Route {
    /// The way of a split whose threshold is in the features' tables.
    pub(super) fn new(split: &Split, tables: &[RankTable]) -> Self {
        match split.question {
            Question::AtMost(threshold) => {
                let code = tables[split.feature as usize].code_up_to(threshold);
                Self::Rank(CodeSplit::new(split.feature, code, split.missing))
            }
            Question::OneOf(set) => {
                let mut goes_right = Box::new([true; 256]);
                goes_right[0] = split.missing == Side::Right;
                for category in 0..CATEGORIES_MAX as u8 {
                    goes_right[usize::from(category) + 1] = !set.contains(category);
                }
                Self::Member { feature: split.feature as usize, goes_right }
            }
        }
    }

    pub(super) const fn feature(&self) -> usize {
        match self {
            Self::Rank(split) => split.feature(),
            Self::Member { feature, .. } => *feature,
        }
    }

    fn goes_right(&self, code: i8) -> bool {
        match self {
            Self::Rank(split) => split.goes_right(code),
            Self::Member { goes_right, .. } => goes_right[usize::from(unbiased(code))],
        }
    }
}

/// A tree that adds its leaves to scores.
#[derive(Debug)]
pub(super) enum CodeTree {
    Masks(MaskTree),
    /// A tree of too many leaves for masks, with the way of each node.
    Deep {
        tree: Tree,
        routes: Vec<Option<Route>>,
    },
}

/// Every split is asked of all rows of a block at once; from the lowest splits up, the answers
/// choose between the leaves that both sides came to (as in `forest::blocks`).
#[derive(Debug)]
pub(super) struct MaskTree {
    inputs: Vec<Input>,
    /// Children before their parents.
    choices: Vec<Choice>,
    leaves: Vec<f32>,
}

/// The codes of a feature, or the answers of a question about its categories.
#[derive(Debug)]
struct Input {
    feature: usize,
    members: Option<Box<Members>>,
}

#[derive(Debug, Clone, Copy)]
struct Choice {
    /// Its feature is the number of an input.
    split: CodeSplit,
    place: u8,
    /// Where both sides' leaves are: first those of splits, then the leaves themselves.
    left: u16,
    right: u16,
}

type Numbers = [u8; LANES];

/// The leaf's number that each row of a block comes to at each split, then all leaves' numbers.
type Slots = [Numbers; 2 * LEAVES_MAX];

impl CodeTree {
    /// A tree whose splits have codes that are found in the features' tables.
    pub(super) fn new(tree: &Tree, tables: &[RankTable]) -> Self {
        if tree.leaves() > LEAVES_MAX {
            let route = |node: &Node| match node {
                Node::Leaf(_) => None,
                Node::Split(split) => Some(Route::new(split, tables)),
            };
            let routes = tree.nodes().iter().map(route).collect();
            return Self::Deep { routes, tree: tree.clone() };
        }
        Self::Masks(MaskTree::new(tree, tables))
    }

    /// Adds each row's leaf to its score.
    pub(super) fn add_leaves(&self, bins: &Bins, rows: usize, scores: &mut [f32]) {
        match self {
            Self::Masks(tree) => Hardware::best().run(AddLeaves { tree, bins, scores }),
            Self::Deep { tree, routes } => {
                for (block, scores) in scores[..rows].chunks_mut(LANES).enumerate() {
                    for (lane, score) in scores.iter_mut().enumerate() {
                        let row = block * LANES + lane;
                        *score += deep_leaf(tree, routes, |feature| *bins.codes_of(feature)(row));
                    }
                }
            }
        }
    }
}

impl MaskTree {
    fn new(tree: &Tree, tables: &[RankTable]) -> Self {
        let numbers = tree.leaf_numbers();
        let mut splits = 0;
        let slot_of = |(node, number): (&Node, &u32)| match node {
            Node::Leaf(_) => LEAVES_MAX as u16 + *number as u16,
            Node::Split(_) => {
                splits += 1;
                splits - 1
            }
        };
        let slots: Vec<u16> = tree.nodes().iter().zip(&numbers).map(slot_of).collect();
        let mut made = Self { inputs: Vec::new(), choices: Vec::new(), leaves: Vec::new() };
        for (node, slot) in tree.nodes().iter().zip(&slots).rev() {
            let Node::Split(split) = node else { continue };
            let (left, right) = (slots[split.left as usize], slots[split.right as usize]);
            let split = made.ask(split, tables);
            made.choices.push(Choice { split, place: *slot as u8, left, right });
        }
        made.leaves = vec![0.0; LEAVES_MAX];
        for (node, number) in tree.nodes().iter().zip(numbers) {
            if let Node::Leaf(value) = node {
                made.leaves[number as usize] = *value as f32;
            }
        }
        made
    }

    /// The split over the codes of an input.
    fn ask(&mut self, split: &Split, tables: &[RankTable]) -> CodeSplit {
        let feature = split.feature as usize;
        match split.question {
            Question::AtMost(threshold) => {
                let is_it = |input: &Input| input.feature == feature && input.members.is_none();
                let known = self.inputs.iter().position(is_it);
                let input = known.unwrap_or_else(|| self.push(feature, None));
                let code = tables[feature].code_up_to(threshold);
                CodeSplit::new(input as u32, code, split.missing)
            }
            Question::OneOf(set) => {
                let members = Box::new(Members::new(set, split.missing));
                Members::split(self.push(feature, Some(members)) as u32)
            }
        }
    }

    fn push(&mut self, feature: usize, members: Option<Box<Members>>) -> usize {
        self.inputs.push(Input { feature, members });
        self.inputs.len() - 1
    }

    /// The number of each row's leaf, of a block of rows.
    #[inline(always)]
    fn follow<'a>(&self, inputs: &[Codes], slots: &'a mut Slots) -> &'a Numbers {
        for choice in &self.choices {
            let codes = &inputs[choice.split.feature()];
            let (left, right) =
                (&slots[usize::from(choice.left)], &slots[usize::from(choice.right)]);
            let mut chosen = [0; LANES];
            for lane in 0..LANES {
                let above = if choice.split.goes_right(codes[lane]) { u8::MAX } else { 0 };
                chosen[lane] = (left[lane] & !above) | (right[lane] & above);
            }
            slots[usize::from(choice.place)] = chosen;
        }
        // The root is the first split; a tree without one has one leaf.
        &slots[if self.choices.is_empty() { LEAVES_MAX } else { 0 }]
    }
}

/// Rows whose scores a tree is added to.
struct AddLeaves<'a> {
    tree: &'a MaskTree,
    bins: &'a Bins,
    scores: &'a mut [f32],
}

impl Work for AddLeaves<'_> {
    #[inline(always)]
    fn run(self) {
        let Self { tree, bins, scores } = self;
        let mut slots: Box<Slots> = Box::new([[0; LANES]; 2 * LEAVES_MAX]);
        for (number, slot) in (0..=u8::MAX).zip(&mut slots[LEAVES_MAX..]) {
            *slot = [number; LANES];
        }
        let mut codes = vec![[0; LANES]; bins.features()];
        let mut inputs = vec![[0; LANES]; tree.inputs.len()];
        let Ok(leaves) = <&[f32; LEAVES_MAX]>::try_from(tree.leaves.as_slice()) else { return };
        for (block, scores) in scores.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
            bins.block(block, &mut codes);
            for (input, to) in tree.inputs.iter().zip(&mut inputs) {
                *to = codes[input.feature];
                if let Some(members) = &input.members {
                    for code in to {
                        *code = members.code(unbiased(*code));
                    }
                }
            }
            let numbers = tree.follow(&inputs, &mut slots);
            for (score, number) in scores.iter_mut().zip(numbers) {
                *score += leaves[usize::from(*number)];
            }
        }
    }
}

fn deep_leaf(tree: &Tree, routes: &[Option<Route>], code: impl Fn(usize) -> i8) -> f32 {
    let mut place = 0;
    loop {
        match (tree.node(place), &routes[place as usize]) {
            (Node::Split(split), Some(route)) => {
                let right = route.goes_right(code(route.feature()));
                place = if right { split.right } else { split.left };
            }
            (Node::Leaf(value), _) => return value as f32,
            (Node::Split(_), None) => return 0.0,
        }
    }
}
