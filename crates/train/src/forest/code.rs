//! Which codes the trees of an ensemble compare.

use std::collections::BTreeMap;

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
    pub(super) table: Table,
}

#[derive(Debug)]
pub(super) enum Table {
    /// The rank of a number among the thresholds.
    Rank(RankTable),
    /// The codes of the column before, each one less: what is missing then comes after all values
    /// instead of before them, and so goes right.
    MissingLast,
    /// Whether a category is one of these: by its place, one on, the first for missing values.
    Members(Box<Members>),
}

impl Coded {
    /// Writes the codes of at most 64 values, given those of the column before; what is in the
    /// lanes beyond them does not count.
    #[inline(always)]
    pub(super) fn encode(&self, values: &[f64], before: &Codes, codes: &mut Codes) {
        match &self.table {
            Table::Rank(table) => table.encode(values, codes),
            table => {
                for ((code, value), before) in codes.iter_mut().zip(values).zip(before) {
                    *code = table.code(*value, *before);
                }
            }
        }
    }
}

impl Table {
    /// The code of a value, where `before` is the code of the column before.
    #[inline(always)]
    pub(super) fn code(&self, value: f64, before: i8) -> i8 {
        match self {
            Self::Rank(table) => table.code(value),
            Self::MissingLast => before.wrapping_sub(1),
            Self::Members(members) => members.code_of(value),
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

    /// The answer for a category, or for what is none.
    #[inline(always)]
    pub(super) fn code_of(&self, value: f64) -> i8 {
        // The conversion saturates.
        let category = (value as u8).min(CATEGORIES_MAX as u8);
        self.code(if value.is_nan() { 0 } else { category + 1 })
    }

    /// The split over answers, which are the codes of this column.
    pub(crate) const fn split(column: u32) -> CodeSplit {
        CodeSplit::new(column, INSIDE, Side::Left)
    }
}

/// What a split asks of codes: a row goes right if its code in this column is above the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) column: u16,
    pub(super) limit: i8,
}

/// The columns of codes of an ensemble.
#[derive(Debug)]
pub(super) struct Coding {
    pub(super) inputs: Vec<Coded>,
    /// The thresholds of each feature, sorted, each once.
    thresholds: Vec<Vec<f64>>,
    /// The column of each feature's first ranks, and whether each of its columns has one beside it
    /// where missing values come last.
    ranks: Vec<(usize, bool)>,
    members: BTreeMap<(u32, CategorySet, bool), usize>,
}

impl Coding {
    /// The columns, if they are not more than can be numbered.
    pub(super) fn new(ensemble: &Ensemble, features: usize) -> Option<Self> {
        let mut thresholds: Vec<Option<Vec<f64>>> = vec![None; features];
        let mut ranks = vec![(0, false); features];
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
                    ranks[split.feature as usize].1 |= split.missing == Side::Right;
                }
                Question::OneOf(set) => {
                    members.insert((split.feature, set, split.missing == Side::Left), 0);
                }
            }
        }
        let mut inputs = Vec::new();
        for ((feature, list), (first, missing_last)) in
            thresholds.iter_mut().enumerate().zip(&mut ranks)
        {
            let Some(list) = list else { continue };
            list.sort_unstable_by(f64::total_cmp);
            list.dedup();
            *first = inputs.len();
            for number in 0..list.len().div_ceil(MAX_THRESHOLDS).max(1) {
                let part = list.chunks(MAX_THRESHOLDS).nth(number).unwrap_or_default();
                inputs.push(Coded { feature, table: Table::Rank(RankTable::new(part)) });
                if *missing_last {
                    inputs.push(Coded { feature, table: Table::MissingLast });
                }
            }
        }
        for ((feature, set, missing_left), column) in &mut members {
            let missing = if *missing_left { Side::Left } else { Side::Right };
            *column = inputs.len();
            let table = Table::Members(Box::new(Members::new(*set, missing)));
            inputs.push(Coded { feature: *feature as usize, table });
        }
        let thresholds = thresholds.into_iter().map(Option::unwrap_or_default).collect();
        (inputs.len() <= usize::from(u16::MAX)).then_some(Self {
            inputs,
            thresholds,
            ranks,
            members,
        })
    }

    /// What a split asks of the codes.
    pub(super) fn ask(&self, split: &Split) -> Ask {
        match split.question {
            Question::AtMost(threshold) => {
                let (first, missing_last) = self.ranks[split.feature as usize];
                let thresholds = &self.thresholds[split.feature as usize];
                let place = thresholds.partition_point(|other| *other < threshold + 0.0);
                // A value above all thresholds is at most infinity.
                let table = (place / MAX_THRESHOLDS)
                    .min(thresholds.len().saturating_sub(1) / MAX_THRESHOLDS);
                let limit = if place == thresholds.len() {
                    u8::MAX
                } else {
                    (place % MAX_THRESHOLDS) as u8 + 1
                };
                let column = first + table * (1 + usize::from(missing_last));
                match split.missing {
                    Side::Left => Ask { column: column as u16, limit: biased(limit) },
                    Side::Right => Ask { column: column as u16 + 1, limit: biased(limit - 1) },
                }
            }
            Question::OneOf(set) => {
                let key = (split.feature, set, split.missing == Side::Left);
                let column = self.members.get(&key).map_or(0, |column| *column as u16);
                Ask { column, limit: biased(INSIDE) }
            }
        }
    }
}
