//! The best row of each slot, and the rows that are offered to it.

use std::cmp::Ordering;
use std::collections::HashMap;

use arrow::array::{ArrayRef, DynComparator, make_comparator};
use arrow::compute::SortOptions;
use icecore_core::Result;

use crate::slots::{NOWHERE, Slots};
use crate::waiting::WaitingRows;

/// Chunks from here on are batches that wait.
pub(crate) const WAITING: u32 = 1 << 31;

/// Where a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub(crate) chunk: u32,
    pub(crate) row: u32,
}

/// The best of the rows that a slot, or whoever else, has seen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Best {
    pub(crate) event: i64,
    pub(crate) created: i64,
    pub(crate) place: Place,
}

/// No row at all.
pub(crate) const NOTHING: Best =
    Best { event: i64::MIN, created: i64::MIN, place: Place { chunk: NOWHERE, row: 0 } };

impl Best {
    pub(crate) fn is_nothing(&self) -> bool {
        self.place.chunk == NOWHERE
    }

    /// What decides first.
    pub(crate) fn time(&self) -> (i64, i64) {
        (self.event, self.created)
    }
}

/// The best row of each slot.
pub(crate) struct Bests {
    pub(crate) of_slot: Vec<Best>,
    /// How many slots have one.
    pub(crate) used: usize,
}

impl Bests {
    pub(crate) fn new(slots: usize) -> Self {
        Self { of_slot: vec![NOTHING; slots], used: 0 }
    }

    pub(crate) fn set(&mut self, slot: usize, row: Best) {
        let best = &mut self.of_slot[slot];
        self.used += usize::from(best.is_nothing());
        *best = row;
    }
}

/// The columns that are taken of rows, wherever they are.
#[derive(Clone, Copy)]
pub(crate) struct Taken<'a> {
    pub(crate) chunks: &'a [Vec<ArrayRef>],
    pub(crate) waiting: &'a WaitingRows,
}

impl<'a> Taken<'a> {
    fn of(self, chunk: u32) -> &'a [ArrayRef] {
        match chunk.checked_sub(WAITING) {
            Some(batch) => self.waiting.taken(batch as usize),
            None => self.chunks.get(chunk as usize).map_or(&[], Vec::as_slice),
        }
    }
}

/// Offers rows to the slots that are the first to see them.
pub(crate) struct Offers<'a> {
    pub(crate) slots: &'a Slots,
    pub(crate) ttl: Option<i64>,
    pub(crate) bests: &'a mut Bests,
    pub(crate) taken: Taken<'a>,
    /// The slots whose best row is another now, some more than once.
    pub(crate) touched: Vec<u32>,
    /// The chunk that the rows will be in which are kept, and where those are that are sure to be.
    pub(crate) chunk: u32,
    pub(crate) kept: Vec<(usize, usize)>,
    pub(crate) ties: Ties,
}

impl Offers<'_> {
    /// Offers a row to the first slot that sees it, which is of the moment `time`.
    pub(crate) fn offer(&mut self, slot: usize, time: i64, row: Best) -> Result<()> {
        // Every later moment of the key is still farther away.
        let oldest = self.ttl.map(|ttl| time.saturating_sub(ttl));
        if oldest.is_some_and(|oldest| row.event < oldest) {
            return Ok(());
        }
        if self.ties.is_better(&row, &self.bests.of_slot[slot], self.taken)? {
            self.bests.set(slot, row);
            self.touched.push(slot as u32);
        }
        Ok(())
    }

    /// Offers a row that waits to a slot that is offered no other of those that wait.
    pub(crate) fn settle(&mut self, slot: usize, time: i64, row: Best) -> Result<()> {
        let oldest = self.ttl.map(|ttl| time.saturating_sub(ttl));
        if oldest.is_some_and(|oldest| row.event < oldest) {
            return Ok(());
        }
        let best = &self.bests.of_slot[slot];
        if best.is_nothing() || self.ties.is_better(&row, best, self.taken)? {
            let place = Place { chunk: self.chunk, row: self.kept.len() as u32 };
            self.kept.push(((row.place.chunk - WAITING) as usize, row.place.row as usize));
            self.bests.set(slot, Best { place, ..row });
        }
        Ok(())
    }

    /// Where the rows are that won, in the order of the chunk that they will be.
    pub(crate) fn into_kept(self) -> Vec<(usize, usize)> {
        let Self { bests, touched, chunk, mut kept, .. } = self;
        for slot in touched {
            let place = &mut bests.of_slot[slot as usize].place;
            // One that was touched before is of the chunk already.
            if let Some(batch) = place.chunk.checked_sub(WAITING) {
                kept.push((batch as usize, place.row as usize));
                *place = Place { chunk, row: kept.len() as u32 - 1 };
            }
        }
        kept
    }

    /// Whether a row is greater than another of the same key.
    pub(crate) fn is_better(&mut self, new: &Best, old: &Best) -> Result<bool> {
        self.ties.is_better(new, old, self.taken)
    }
}

/// Compares the taken values of rows that are equal in everything else.
#[derive(Default)]
pub(crate) struct Ties {
    /// By the chunks that the rows are in.
    comparators: HashMap<(u32, u32), Vec<DynComparator>>,
}

impl Ties {
    /// Whether a row is greater than another: by event, created, and then the taken values.
    pub(crate) fn is_better(&mut self, new: &Best, old: &Best, taken: Taken<'_>) -> Result<bool> {
        match new.event.cmp(&old.event) {
            Ordering::Greater => return Ok(true),
            Ordering::Less => return Ok(false),
            Ordering::Equal if old.is_nothing() => return Ok(true),
            Ordering::Equal => {}
        }
        match new.created.cmp(&old.created) {
            Ordering::Equal => self.is_greater(new.place, old.place, taken),
            order => Ok(order.is_gt()),
        }
    }

    /// Whether the values of `new` are greater than those of `old`, in the order of sorts.
    fn is_greater(&mut self, new: Place, old: Place, taken: Taken<'_>) -> Result<bool> {
        let chunks = (new.chunk, old.chunk);
        let comparators = match self.comparators.entry(chunks) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(unknown) => {
                let options = SortOptions { descending: false, nulls_first: true };
                let pairs = taken.of(new.chunk).iter().zip(taken.of(old.chunk));
                let made = pairs.map(|(new, old)| make_comparator(new, old, options));
                unknown.insert(made.collect::<Result<_, _>>()?)
            }
        };
        let (new, old) = (new.row as usize, old.row as usize);
        let mut orders = comparators.iter().map(|compare| compare(new, old));
        Ok(orders.find(|order| order.is_ne()).is_some_and(Ordering::is_gt))
    }
}
