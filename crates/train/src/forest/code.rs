//! Which codes the trees of an ensemble compare.

use std::collections::BTreeMap;

use super::RANKED_MAX;
use super::mask::{CodeSplit, Codes, biased};
use super::rank::{MAX_THRESHOLDS, RankTable};
use crate::tree::{CATEGORIES_MAX, CategorySet, Ensemble, Question, Side, Split, Tree};

/// The code of a value that is among the categories that are asked for.
const INSIDE: u8 = 1;
/// The code of one that is not.
const OUTSIDE: u8 = 2;

/// A column of codes, made of a feature.
#[derive(Debug)]
pub(crate) struct Coded {
    pub(crate) feature: usize,
    table: Table,
}

#[derive(Debug)]
enum Table {
    /// The rank of a number among the thresholds.
    Rank(RankTable),
    /// Whether a category is one of these: by its place, one on, the first for missing values.
    Members(Box<Members>),
}

impl Coded {
    /// Writes the codes of at most 64 values; what is in the lanes beyond them does not count.
    pub(super) fn encode(&self, values: &[f64], codes: &mut Codes) {
        match &self.table {
            Table::Rank(table) => table.encode(values, codes),
            Table::Members(members) => {
                for (code, value) in codes.iter_mut().zip(values) {
                    // The conversion saturates.
                    let category = (*value as u8).min(CATEGORIES_MAX as u8);
                    let place = if value.is_nan() { 0 } else { category + 1 };
                    *code = members.code(place);
                }
            }
        }
    }
}

/// Answers of a split about categories, by the category's code.
#[derive(Debug, Clone)]
pub(crate) struct Members([i8; 256]);

impl Members {
    pub(crate) fn new(set: CategorySet, missing: Side) -> Self {
        let mut codes = [biased(OUTSIDE); 256];
        for (category, code) in (0..=u8::MAX).zip(&mut codes[1..]) {
            if set.contains(category) {
                *code = biased(INSIDE);
            }
        }
        if missing == Side::Left {
            codes[0] = biased(INSIDE);
        }
        Self(codes)
    }

    /// The answer for a feature's code.
    #[inline]
    pub(crate) const fn code(&self, code: u8) -> i8 {
        self.0[code as usize]
    }

    /// The split over answers, which are the codes of this column.
    pub(crate) const fn split(column: u32) -> CodeSplit {
        CodeSplit::new(column, INSIDE, Side::Left)
    }
}

/// The columns of codes of an ensemble.
#[derive(Debug)]
pub(super) struct Coding {
    pub(super) inputs: Vec<Coded>,
    /// The column of each feature's ranks.
    ranks: Vec<u32>,
    members: BTreeMap<(u32, CategorySet, bool), u32>,
}

impl Coding {
    /// The columns, if the thresholds of each feature fit into one and they are not too many.
    pub(super) fn new(ensemble: &Ensemble, features: usize) -> Option<Self> {
        let mut thresholds: Vec<Option<Vec<f64>>> = vec![None; features];
        let mut members = BTreeMap::new();
        for split in ensemble.trees.iter().flat_map(Tree::splits) {
            match split.question {
                Question::AtMost(threshold) => {
                    let list = thresholds[split.feature as usize].get_or_insert_default();
                    // An infinite threshold, with all values below it, needs no place in the
                    // table. Adding zero turns a negative zero into a positive one.
                    if threshold < f64::INFINITY {
                        list.push(threshold + 0.0);
                    }
                }
                Question::OneOf(set) => {
                    members.insert((split.feature, set, split.missing == Side::Left), 0);
                }
            }
        }
        let mut inputs = Vec::new();
        let mut ranks = vec![0; features];
        for (feature, list) in thresholds.into_iter().enumerate() {
            let Some(mut list) = list else { continue };
            list.sort_unstable_by(f64::total_cmp);
            list.dedup();
            if list.len() > MAX_THRESHOLDS {
                return None;
            }
            ranks[feature] = inputs.len() as u32;
            inputs.push(Coded { feature, table: Table::Rank(RankTable::new(&list)) });
        }
        for ((feature, set, missing_left), column) in &mut members {
            let missing = if *missing_left { Side::Left } else { Side::Right };
            *column = inputs.len() as u32;
            let table = Table::Members(Box::new(Members::new(*set, missing)));
            inputs.push(Coded { feature: *feature as usize, table });
        }
        (inputs.len() <= RANKED_MAX).then_some(Self { inputs, ranks, members })
    }

    /// A split as one over codes.
    pub(super) fn code(&self, split: &Split) -> CodeSplit {
        match split.question {
            Question::AtMost(threshold) => {
                let column = self.ranks[split.feature as usize];
                let Table::Rank(table) = &self.inputs[column as usize].table else {
                    return CodeSplit::LEFT;
                };
                CodeSplit::new(column, table.code_up_to(threshold), split.missing)
            }
            Question::OneOf(set) => {
                let key = (split.feature, set, split.missing == Side::Left);
                self.members.get(&key).map_or(CodeSplit::LEFT, |column| Members::split(*column))
            }
        }
    }
}
