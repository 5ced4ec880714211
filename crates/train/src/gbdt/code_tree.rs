//! A grown tree over codes.

use crate::forest::code::Members;
use crate::forest::mask::{CodeSplit, Codes, LANES, MAX_DEPTH, Paths, perfect, unbiased};
use crate::forest::rank::RankTable;
use crate::tree::{CATEGORIES_MAX, Node, Question, Side, Split, Tree};

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
    /// A tree for masks; its questions about categories are columns of their own, after those of
    /// the features.
    Perfect { splits: Vec<CodeSplit>, leaves: Vec<f32>, members: Vec<(usize, Members)> },
    /// A tree too deep for masks, with the way of each node.
    Deep { tree: Tree, routes: Vec<Option<Route>> },
}

impl CodeTree {
    /// A tree whose splits have codes that are found in the features' tables.
    pub(super) fn new(tree: &Tree, tables: &[RankTable]) -> Self {
        let depth = tree.depth();
        if depth > MAX_DEPTH {
            let route = |node: &Node| match node {
                Node::Leaf(_) => None,
                Node::Split(split) => Some(Route::new(split, tables)),
            };
            return Self::Deep {
                routes: tree.nodes().iter().map(route).collect(),
                tree: tree.clone(),
            };
        }
        let members = std::cell::RefCell::new(Vec::new());
        let (splits, leaves) = perfect(tree, depth, |split| match split.question {
            Question::AtMost(threshold) => {
                let code = tables[split.feature as usize].code_up_to(threshold);
                CodeSplit::new(split.feature, code, split.missing)
            }
            Question::OneOf(set) => {
                let mut members = members.borrow_mut();
                members.push((split.feature as usize, Members::new(set, split.missing)));
                Members::split((tables.len() + members.len() - 1) as u32)
            }
        });
        let leaves = leaves.iter().map(|value| *value as f32).collect();
        Self::Perfect { splits, leaves, members: members.into_inner() }
    }

    /// Adds each row's leaf to its score.
    pub(super) fn add_leaves(
        &self,
        columns: &[Vec<Codes>],
        rows: usize,
        scores: &mut [[f32; LANES]],
    ) {
        match self {
            Self::Perfect { splits, leaves, members } => {
                let mut paths = Paths::default();
                let mut answers = vec![[0; LANES]; members.len()];
                for (block, scores) in scores.iter_mut().enumerate() {
                    for ((feature, members), answers) in members.iter().zip(&mut answers) {
                        let codes = &columns[*feature][block];
                        for (answer, code) in answers.iter_mut().zip(codes) {
                            *answer = members.code(unbiased(*code));
                        }
                    }
                    paths.follow(splits, |column| match column.checked_sub(columns.len()) {
                        None => &columns[column][block],
                        Some(member) => &answers[member],
                    });
                    paths.add_leaves(leaves, scores);
                }
            }
            Self::Deep { tree, routes } => {
                for (row, score) in scores.as_flattened_mut()[..rows].iter_mut().enumerate() {
                    *score += deep_leaf(tree, routes, |feature| {
                        columns[feature][row / LANES][row % LANES]
                    });
                }
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
