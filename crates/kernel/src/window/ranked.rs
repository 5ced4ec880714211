//! The greatest and the least so many values of each window.
//!
//! Each value of an entity has a rank among all of them, and the window is a set of ranks: bits in a
//! tree of 64-bit words, as in van Emde Boas (1975). An event enters and leaves in as many steps as
//! the tree has levels, of which there are four for 16 million events.

use arrow::buffer::BooleanBuffer;

use super::bounds::{Bounds, Slide, slide_each};
use super::events::{Events, NO_ROW};
use super::lists::RowLists;
use super::order::{Keys, compare, with_order};

/// The rank of each event among those of its entity that have a value.
#[derive(Debug)]
pub(crate) struct Ranked {
    ranks: Vec<u32>,
    /// The event of each rank, entity after entity, at its entity's first row and on.
    of_rank: Vec<u32>,
    /// The first row of the entity of each event.
    bases: Vec<u32>,
    most: usize,
}

impl Ranked {
    pub(crate) fn new(events: &Events<'_>, keys: &Keys, valid: Option<&BooleanBuffer>) -> Self {
        let rows = events.times.len();
        let mut ranked = Self {
            ranks: vec![NO_ROW; rows],
            of_rank: vec![NO_ROW; rows],
            bases: vec![0; rows],
            most: 0,
        };
        let is_valid = |row: &usize| valid.is_none_or(|valid| valid.value(*row));
        let mut order = Vec::new();
        with_order!(keys, |at_most| {
            for entity in events.entities {
                order.clear();
                order.extend(entity.clone().filter(is_valid));
                order.sort_by(|a, b| compare(at_most, *a, *b));
                for (rank, row) in order.iter().enumerate() {
                    // Events were checked to fit.
                    ranked.ranks[*row] = rank as u32;
                    ranked.of_rank[entity.start + rank] = *row as u32;
                }
                ranked.bases[entity.clone()].fill(entity.start as u32);
                ranked.most = ranked.most.max(order.len());
            }
        });
        ranked
    }

    /// The greatest values of each window, the greatest first.
    pub(crate) fn greatest(&self, k: usize, bounds: Bounds<'_>) -> RowLists {
        self.listed(bounds, |set, base, lists| {
            let mut end = set.numbers;
            let next = || {
                end = set.greatest_below(end)?;
                self.of_rank.get(base + end).copied()
            };
            lists.push(std::iter::from_fn(next).take(k));
        })
    }

    /// The least values of each window, the least first.
    pub(crate) fn least(&self, k: usize, bounds: Bounds<'_>) -> RowLists {
        self.listed(bounds, |set, base, lists| {
            let mut start = 0;
            let next = || {
                let rank = set.least_from(start)?;
                start = rank + 1;
                self.of_rank.get(base + rank).copied()
            };
            lists.push(std::iter::from_fn(next).take(k));
        })
    }

    fn listed(
        &self,
        bounds: Bounds<'_>,
        mut list: impl FnMut(&RankSet, usize, &mut RowLists),
    ) -> RowLists {
        let mut lists = RowLists::with_capacity(bounds.len());
        let mut state = Sliding { of: self, set: RankSet::new(self.most), base: 0 };
        slide_each(bounds, &mut state, |state| list(&state.set, state.base, &mut lists));
        lists
    }
}

struct Sliding<'a> {
    of: &'a Ranked,
    set: RankSet,
    /// The first row of the entity at hand.
    base: usize,
}

impl Slide for Sliding<'_> {
    fn enter(&mut self, row: usize) {
        if self.of.ranks[row] != NO_ROW {
            self.set.insert(self.of.ranks[row] as usize);
            self.base = self.of.bases[row] as usize;
        }
    }

    fn leave(&mut self, row: usize) {
        if self.of.ranks[row] != NO_ROW {
            self.set.remove(self.of.ranks[row] as usize);
        }
    }
}

/// A set of small numbers.
#[derive(Debug)]
struct RankSet {
    /// A bit for each number; above, a bit for each word below that is not zero.
    levels: Vec<Vec<u64>>,
    numbers: usize,
}

impl RankSet {
    fn new(numbers: usize) -> Self {
        let mut levels = Vec::new();
        // There is a word for one more than the greatest number, to look below it.
        let mut words = numbers / 64 + 1;
        levels.push(vec![0; words]);
        while words > 1 {
            words = words.div_ceil(64);
            levels.push(vec![0; words]);
        }
        Self { levels, numbers }
    }

    fn insert(&mut self, mut number: usize) {
        for words in &mut self.levels {
            words[number / 64] |= 1 << (number % 64);
            number /= 64;
        }
    }

    fn remove(&mut self, mut number: usize) {
        for words in &mut self.levels {
            let word = &mut words[number / 64];
            *word &= !(1 << (number % 64));
            if *word != 0 {
                return;
            }
            number /= 64;
        }
    }

    fn greatest_below(&self, end: usize) -> Option<usize> {
        let mut at = end;
        for (level, words) in self.levels.iter().enumerate() {
            let below = words.get(at / 64).map_or(0, |word| word & ((1 << (at % 64)) - 1));
            at /= 64;
            if below != 0 {
                at = at * 64 + below.ilog2() as usize;
                let down = self.levels.get(..level)?.iter().rev();
                return Some(down.fold(at, |at, words| at * 64 + words[at].ilog2() as usize));
            }
        }
        None
    }

    fn least_from(&self, start: usize) -> Option<usize> {
        let mut at = start;
        for (level, words) in self.levels.iter().enumerate() {
            let from = words.get(at / 64).map_or(0, |word| word & (u64::MAX << (at % 64)));
            if from != 0 {
                at = at / 64 * 64 + from.trailing_zeros() as usize;
                let down = self.levels.get(..level)?.iter().rev();
                return Some(
                    down.fold(at, |at, words| at * 64 + words[at].trailing_zeros() as usize),
                );
            }
            at = at / 64 + 1;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::RankSet;

    proptest! {
        #[test]
        fn a_set_of_ranks_is_a_set(
            numbers in 1..9000_usize,
            changes in prop::collection::vec((any::<bool>(), 0..9000_usize), 0..200),
            at in 0..9001_usize,
        ) {
            let (mut set, mut expected) = (RankSet::new(numbers), BTreeSet::new());
            for (insert, number) in changes {
                let number = number % numbers;
                if insert {
                    set.insert(number);
                    expected.insert(number);
                } else {
                    set.remove(number);
                    expected.remove(&number);
                }
            }
            let at = at.min(numbers);
            prop_assert_eq!(set.greatest_below(at), expected.range(..at).next_back().copied());
            prop_assert_eq!(set.least_from(at), expected.range(at..).next().copied());
        }
    }
}
