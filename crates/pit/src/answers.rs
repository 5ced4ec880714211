//! What the slots of a spine see of a feature table, found in one pass over its rows in any order.
//!
//! A row is first seen by the earliest slot of its key at which it was known. Of the rows that a
//! slot is the first to see, the greatest (event, created) is kept; when all rows have come by, a
//! sweep over the slots of each key carries it on to the later ones. Memory goes with the spine,
//! whatever the size of the table, and no feature row is sorted.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, DynComparator, RecordBatch, UInt32Array, make_comparator, new_empty_array,
};
use arrow::compute::{SortOptions, interleave, take};
use arrow::datatypes::FieldRef;
use icecore_core::{Error, Result};

use crate::slots::{NOWHERE, Slots};
use crate::table::JoinTable;
use crate::waiting::{Waiting, WaitingRows};

/// Chunks from here on are batches that wait.
const WAITING: u32 = 1 << 31;
/// Rows are kept without a use until they are so many more than those that are used.
const UNUSED_MAX: usize = 1 << 17;

/// A row that was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Place {
    chunk: u32,
    row: u32,
}

/// The best of the rows that a slot is the first to see.
#[derive(Debug, Clone, Copy)]
struct Best {
    event: i64,
    created: i64,
    place: Place,
}

const NOTHING: Best =
    Best { event: i64::MIN, created: i64::MIN, place: Place { chunk: NOWHERE, row: 0 } };

impl Best {
    fn is_nothing(&self) -> bool {
        self.place.chunk == NOWHERE
    }

    fn time(&self) -> (i64, i64) {
        (self.event, self.created)
    }
}

/// What came by so far.
pub(crate) struct Answers {
    table: Arc<JoinTable>,
    slots: Arc<Slots>,
    best: Vec<Best>,
    used: usize,
    /// Taken columns of rows that are or were the best of a slot.
    chunks: Vec<Vec<ArrayRef>>,
    rows: usize,
    bytes: usize,
    waiting: WaitingRows,
}

/// What the slots see.
pub(crate) struct Seen {
    slots: Arc<Slots>,
    /// The row of `taken` that each slot sees.
    of_slot: Vec<u32>,
    taken: Vec<ArrayRef>,
}

impl Answers {
    pub(crate) fn new(table: Arc<JoinTable>, slots: Arc<Slots>) -> Self {
        let best = vec![NOTHING; slots.len()];
        let waiting = WaitingRows::new(&table, &slots);
        Self { table, slots, best, used: 0, chunks: Vec::new(), rows: 0, bytes: 0, waiting }
    }

    /// The memory that it takes, with room for one copy of the rows.
    pub(crate) fn size_bytes(&self) -> usize {
        self.best.len() * size_of::<Best>() + 2 * self.bytes + self.waiting.size_bytes()
    }

    /// Takes a batch of [`JoinTable::prepare`], and looks at its rows now or later.
    ///
    /// # Errors
    ///
    /// `Internal` if the batch is none.
    pub(crate) fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        match self.waiting.push(batch, &self.slots)? {
            true => self.look(),
            false => Ok(()),
        }
    }

    /// Looks at the rows that wait.
    fn look(&mut self) -> Result<()> {
        let slots = Arc::clone(&self.slots);
        let (strict, ttl) = (self.table.options.strict, self.table.options.ttl_micros);
        let (mut touched, mut ties) = (Vec::new(), Ties::default());
        // Rows mostly come in the order of time. The newest first, and older ones do not win.
        for waiting in self.waiting.in_order(&slots, strict).into_iter().rev() {
            let Some((start, end)) = slots.group(waiting.code) else { continue };
            let Waiting { event, created, from, batch, row, .. } = waiting;
            let times = &slots.times()[start..end];
            let at = times.partition_point(|time| *time < from);
            // Every later moment of the key is still farther away.
            let Some(time) = times.get(at) else { continue };
            if ttl.is_some_and(|ttl| time.saturating_sub(ttl) > event) {
                continue;
            }
            let slot = start + at;
            let best = &self.best[slot];
            let new = Best { event, created, place: Place { chunk: WAITING + batch, row } };
            let wins = match event.cmp(&best.event) {
                Ordering::Greater => true,
                Ordering::Less => false,
                Ordering::Equal if best.is_nothing() => true,
                Ordering::Equal => match created.cmp(&best.created) {
                    Ordering::Equal => {
                        ties.is_greater(new.place, best.place, |chunk| self.chunk(chunk))?
                    }
                    order => order.is_gt(),
                },
            };
            if wins {
                self.used += usize::from(best.is_nothing());
                self.best[slot] = new;
                touched.push(slot as u32);
            }
        }
        self.keep(&touched)?;
        self.waiting.clear();
        Ok(())
    }

    /// Keeps those of the rows that waited which won, and lets go of others if there are many.
    fn keep(&mut self, touched: &[u32]) -> Result<()> {
        let chunk = u32::try_from(self.chunks.len()).ok().filter(|chunk| *chunk < WAITING);
        let chunk = chunk.ok_or_else(|| Error::internal("too many batches"))?;
        let mut places = Vec::new();
        for slot in touched {
            let place = &mut self.best[*slot as usize].place;
            if place.chunk >= WAITING {
                places.push(((place.chunk - WAITING) as usize, place.row as usize));
                *place = Place { chunk, row: places.len() as u32 - 1 };
            }
        }
        if places.is_empty() {
            return Ok(());
        }
        self.rows += places.len();
        let batches = (0..self.waiting.batches()).map(|batch| self.waiting.taken(batch));
        let kept = gathered(&batches.collect::<Vec<_>>(), &places, &self.table.output)?;
        self.push(kept);
        if self.rows > 2 * self.used + UNUSED_MAX {
            self.tidy()?;
        }
        Ok(())
    }

    fn push(&mut self, chunk: Vec<ArrayRef>) {
        self.bytes += chunk.iter().map(|column| column.get_array_memory_size()).sum::<usize>();
        self.chunks.push(chunk);
    }

    /// Takes as little memory as possible.
    pub(crate) fn compact(&mut self) -> Result<()> {
        self.look()?;
        self.tidy()
    }

    /// Keeps only the rows that are used, in one chunk.
    fn tidy(&mut self) -> Result<()> {
        let mut places = Vec::with_capacity(self.used);
        for best in self.best.iter_mut().filter(|best| !best.is_nothing()) {
            let row = places.len() as u32;
            places.push((best.place.chunk as usize, best.place.row as usize));
            best.place = Place { chunk: 0, row };
        }
        let chunks: Vec<&[ArrayRef]> = self.chunks.iter().map(Vec::as_slice).collect();
        let chunk = gathered(&chunks, &places, &self.table.output)?;
        self.rows = places.len();
        self.bytes = 0;
        self.chunks.clear();
        self.push(chunk);
        Ok(())
    }

    fn chunk(&self, at: u32) -> &[ArrayRef] {
        match at.checked_sub(WAITING) {
            Some(batch) => self.waiting.taken(batch as usize),
            None => self.chunks.get(at as usize).map_or(&[], Vec::as_slice),
        }
    }

    /// Takes in what others found in other rows of the same table.
    pub(crate) fn merge(&mut self, mut other: Self) -> Result<()> {
        self.look()?;
        other.look()?;
        let before = self.chunks.len() as u32;
        self.rows += other.rows;
        other.chunks.into_iter().for_each(|chunk| self.push(chunk));
        let mut ties = Ties::default();
        for (slot, mut theirs) in other.best.into_iter().enumerate() {
            if theirs.is_nothing() {
                continue;
            }
            theirs.place.chunk += before;
            let own = &self.best[slot];
            let wins = match theirs.time().cmp(&own.time()) {
                _ if own.is_nothing() => true,
                Ordering::Equal => {
                    ties.is_greater(theirs.place, own.place, |chunk| self.chunk(chunk))?
                }
                order => order.is_gt(),
            };
            if wins {
                self.used += usize::from(own.is_nothing());
                self.best[slot] = theirs;
            }
        }
        Ok(())
    }

    /// Carries what each slot is the first to see on to the later ones of its key.
    pub(crate) fn finish(mut self) -> Result<Seen> {
        self.look()?;
        let ttl = self.table.options.ttl_micros;
        let mut of_slot = vec![NOWHERE; self.slots.len()];
        let mut places = Vec::new();
        for (start, end) in self.slots.groups() {
            let (mut current, mut number) = (NOTHING, NOWHERE);
            for (slot, seen) in (start..end).zip(&mut of_slot[start..end]) {
                let best = &self.best[slot];
                if !best.is_nothing() && (current.is_nothing() || best.time() > current.time()) {
                    (current, number) = (*best, NOWHERE);
                }
                let oldest = ttl.map(|ttl| self.slots.times()[slot].saturating_sub(ttl));
                if current.is_nothing() || oldest.is_some_and(|oldest| current.event < oldest) {
                    continue;
                }
                if number == NOWHERE {
                    number = places.len() as u32;
                    places.push((current.place.chunk as usize, current.place.row as usize));
                }
                *seen = number;
            }
        }
        let chunks: Vec<&[ArrayRef]> = self.chunks.iter().map(Vec::as_slice).collect();
        let taken = gathered(&chunks, &places, &self.table.output)?;
        Ok(Seen { slots: self.slots, of_slot, taken })
    }
}

impl Seen {
    /// What the rows of the spine from `start` on see.
    pub(crate) fn rows(&self, start: usize, rows: usize) -> Result<Vec<ArrayRef>> {
        let slots = self.slots.of_rows().iter().skip(start).take(rows);
        let found = slots.map(|slot| self.of_slot.get(*slot as usize).copied());
        let places: UInt32Array = found.map(|row| row.filter(|row| *row != NOWHERE)).collect();
        let taken = self.taken.iter().map(|column| match column.is_empty() {
            true => Ok(arrow::array::new_null_array(column.data_type(), rows)),
            false => take(column, &places, None),
        });
        Ok(taken.collect::<Result<_, _>>()?)
    }

    /// The memory that it takes.
    pub(crate) fn size_bytes(&self) -> usize {
        let taken = self.taken.iter().map(|column| column.get_array_memory_size());
        self.of_slot.len() * size_of::<u32>() + taken.sum::<usize>()
    }
}

/// Rows of chunks, in the order of `places`.
fn gathered(
    chunks: &[&[ArrayRef]],
    places: &[(usize, usize)],
    fields: &[FieldRef],
) -> Result<Vec<ArrayRef>> {
    let columns = fields.iter().enumerate().map(|(at, field)| {
        if places.is_empty() {
            return Ok(new_empty_array(field.data_type()));
        }
        let values: Vec<&dyn Array> = chunks.iter().map(|chunk| chunk[at].as_ref()).collect();
        Ok(interleave(&values, places)?)
    });
    columns.collect()
}

/// Compares the taken values of rows that are equal in everything else.
#[derive(Default)]
struct Ties {
    /// By the chunks that the rows are in.
    comparators: HashMap<(u32, u32), Vec<DynComparator>>,
}

impl Ties {
    /// Whether the values of `new` are greater than those of `old`, in the order of sorts.
    fn is_greater<'a>(
        &mut self,
        new: Place,
        old: Place,
        columns: impl Fn(u32) -> &'a [ArrayRef],
    ) -> Result<bool> {
        let chunks = (new.chunk, old.chunk);
        let comparators = match self.comparators.entry(chunks) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(unknown) => {
                let options = SortOptions { descending: false, nulls_first: true };
                let pairs = columns(new.chunk).iter().zip(columns(old.chunk));
                let made = pairs.map(|(new, old)| make_comparator(new, old, options));
                unknown.insert(made.collect::<Result<_, _>>()?)
            }
        };
        let (new, old) = (new.row as usize, old.row as usize);
        let mut orders = comparators.iter().map(|compare| compare(new, old));
        Ok(orders.find(|order| order.is_ne()).is_some_and(Ordering::is_gt))
    }
}
