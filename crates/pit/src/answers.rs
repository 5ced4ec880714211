//! What the slots of a spine see of a feature table, found in one pass over its rows in any order.
//!
//! A row is first seen by the earliest slot of its key at which it was known. Of the rows that a
//! slot is the first to see, the greatest (event, created) is kept; when all rows have come by, a
//! sweep over the slots of each key carries it on to the later ones. Memory goes with the spine,
//! whatever the size of the table, and no feature row is sorted.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, new_empty_array, new_null_array};
use arrow::compute::interleave;
use arrow::datatypes::FieldRef;
use icecore_core::{Error, Result};

use crate::by_time::Newest;
use crate::offers::{Best, Bests, NOTHING, Offers, Place, Taken, Ties, WAITING};
use crate::slots::Slots;
use crate::table::JoinTable;
use crate::waiting::{Arrangement, WaitingRows};
use crate::{by_key, mixed};

/// Rows are kept without a use until they are so many more than those that are used.
const UNUSED_MAX: usize = 1 << 17;

/// What came by so far.
pub(crate) struct Answers {
    table: Arc<JoinTable>,
    slots: Arc<Slots>,
    bests: Bests,
    /// Taken columns of rows that are or were the best of a slot.
    chunks: Vec<Vec<ArrayRef>>,
    rows: usize,
    bytes: usize,
    waiting: WaitingRows,
    newest: Newest,
}

/// What the slots see.
pub(crate) struct Seen {
    slots: Arc<Slots>,
    /// The row that each slot sees.
    of_slot: Vec<Place>,
    /// What is taken of rows, and in the last chunk a row of nulls.
    chunks: Vec<Vec<ArrayRef>>,
    output: Vec<FieldRef>,
    bytes: usize,
}

impl Answers {
    /// Nothing yet, of a table that is joined in `memory` bytes.
    pub(crate) fn new(table: Arc<JoinTable>, slots: Arc<Slots>, memory: usize) -> Self {
        let bests = Bests::new(slots.len());
        let waiting = WaitingRows::new(&table, &slots, memory);
        let newest = Newest::default();
        Self { table, slots, bests, chunks: Vec::new(), rows: 0, bytes: 0, waiting, newest }
    }

    /// The memory that it takes, with room for one copy of the rows.
    pub(crate) fn size_bytes(&self) -> usize {
        let bests = self.bests.of_slot.len() * size_of::<Best>();
        bests + self.newest.size_bytes() + 2 * self.bytes + self.waiting.size_bytes()
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
        let strict = self.table.options.strict;
        let taken = Taken { chunks: &self.chunks, waiting: &self.waiting };
        let chunk = u32::try_from(self.chunks.len()).ok().filter(|chunk| *chunk < WAITING);
        let mut offers = Offers {
            slots: &self.slots,
            ttl: self.table.options.ttl_micros,
            bests: &mut self.bests,
            taken,
            touched: Vec::new(),
            chunk: chunk.ok_or_else(|| Error::internal("too many batches"))?,
            kept: Vec::new(),
            ties: Ties::default(),
        };
        match self.waiting.arrangement() {
            Arrangement::Keys => by_key::look(&mut offers, &self.waiting, strict)?,
            Arrangement::Time => self.newest.look(&mut offers, &self.waiting, strict)?,
            Arrangement::Mixed => mixed::look(&mut offers, &self.waiting, strict)?,
        }
        let kept = offers.into_kept();
        self.keep(&kept)?;
        self.waiting.clear();
        Ok(())
    }

    /// Keeps those of the rows that waited which won, and lets go of others if there are many.
    fn keep(&mut self, places: &[(usize, usize)]) -> Result<()> {
        if places.is_empty() {
            return Ok(());
        }
        self.rows += places.len();
        let batches = (0..self.waiting.batches()).map(|batch| self.waiting.taken(batch));
        let kept = gathered(&batches.collect::<Vec<_>>(), places, &self.table.output)?;
        self.push(kept);
        if self.rows > 2 * self.bests.used + UNUSED_MAX {
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
        let mut places = Vec::with_capacity(self.bests.used);
        for best in self.bests.of_slot.iter_mut().filter(|best| !best.is_nothing()) {
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

    /// Takes in what others found in other rows of the same table.
    pub(crate) fn merge(&mut self, mut other: Self) -> Result<()> {
        self.look()?;
        other.look()?;
        let before = self.chunks.len() as u32;
        self.rows += other.rows;
        other.chunks.into_iter().for_each(|chunk| self.push(chunk));
        let mut ties = Ties::default();
        let taken = Taken { chunks: &self.chunks, waiting: &self.waiting };
        for (slot, mut theirs) in other.bests.of_slot.into_iter().enumerate() {
            if theirs.is_nothing() {
                continue;
            }
            theirs.place.chunk += before;
            if ties.is_better(&theirs, &self.bests.of_slot[slot], taken)? {
                self.bests.set(slot, theirs);
            }
        }
        Ok(())
    }

    /// Carries what each slot is the first to see on to the later ones of its key.
    pub(crate) fn finish(mut self) -> Result<Seen> {
        self.look()?;
        let ttl = self.table.options.ttl_micros;
        let nothing = Place { chunk: self.chunks.len() as u32, row: 0 };
        let mut of_slot = vec![nothing; self.slots.len()];
        for (start, end) in self.slots.groups() {
            let mut current = NOTHING;
            for (slot, seen) in (start..end).zip(&mut of_slot[start..end]) {
                let best = &self.bests.of_slot[slot];
                if !best.is_nothing() && (current.is_nothing() || best.time() > current.time()) {
                    current = *best;
                }
                let oldest = ttl.map(|ttl| self.slots.times()[slot].saturating_sub(ttl));
                if !current.is_nothing() && oldest.is_none_or(|oldest| current.event >= oldest) {
                    *seen = current.place;
                }
            }
        }
        let output = self.table.output.clone();
        self.push(output.iter().map(|field| new_null_array(field.data_type(), 1)).collect());
        Ok(Seen { slots: self.slots, of_slot, chunks: self.chunks, output, bytes: self.bytes })
    }
}

impl Seen {
    /// What the rows of the spine from `start` on see.
    pub(crate) fn rows(&self, start: usize, rows: usize) -> Result<Vec<ArrayRef>> {
        let nothing = (self.chunks.len() - 1, 0);
        let slots = self.slots.of_rows().iter().skip(start).take(rows);
        let places = slots.map(|slot| match self.of_slot.get(*slot as usize) {
            Some(place) => (place.chunk as usize, place.row as usize),
            None => nothing,
        });
        let chunks: Vec<&[ArrayRef]> = self.chunks.iter().map(Vec::as_slice).collect();
        gathered(&chunks, &places.collect::<Vec<_>>(), &self.output)
    }

    /// The memory that it takes.
    pub(crate) fn size_bytes(&self) -> usize {
        self.of_slot.len() * size_of::<Place>() + self.bytes
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
