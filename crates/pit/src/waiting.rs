//! Feature rows that wait until they are many, to be looked at in the order that is best for them.

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use icecore_core::Result;

use crate::mixed;
use crate::offers::{Best, Place, WAITING};
use crate::slots::Slots;
use crate::table::JoinTable;

/// So many slots are near whoever looks: nothing has to wait. Small in tests, so that they see both.
const NEAR_SLOTS: usize = if cfg!(test) { 3 } else { 1 << 14 };
/// So many rows wait at least before they are put in the order of their keys.
const ROWS_MIN: usize = if cfg!(test) { 7 } else { 1 << 18 };
/// So many rows wait at most while they come in the order of time: the more there are, the fewer are
/// taken that others of their keys replace soon.
const ROWS_MAX: usize = if cfg!(test) { 21 } else { 1 << 22 };
/// The newest rows of so many keys are near whoever keeps them.
const NEAR_KEYS: usize = if cfg!(test) { 21 } else { 1 << 17 };
/// So long are the runs of one key where rows are looked at key by key.
const RUN_ROWS: usize = if cfg!(test) { 2 } else { 4 };
/// So many bytes wait at most, and at least where memory is short.
const BYTES_MAX: usize = 128 << 20;
const BYTES_MIN: usize = 8 << 20;
/// The part of all memory that may wait.
const MEMORY_SHARE: usize = 16;

/// Batches of rows that wait.
pub(crate) struct WaitingRows {
    batches: Vec<RecordBatch>,
    codes: Vec<Vec<u32>>,
    rows: usize,
    bytes: usize,
    /// How many columns are compared, before the times.
    keys: usize,
    /// How many rows wait, in no order and in the order of time.
    rows_max: (usize, usize),
    bytes_max: usize,
    arrangement: Arrangement,
}

/// In what order rows that wait have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrangement {
    /// Those of a key mostly together in each batch.
    Keys,
    /// None is known before one that stands before it, or is of an earlier event.
    Time,
    Mixed,
}

impl WaitingRows {
    /// Nothing yet, of a table that is joined in `memory` bytes.
    pub(crate) fn new(table: &JoinTable, slots: &Slots, memory: usize) -> Self {
        let rows_max = match slots.len() <= NEAR_SLOTS {
            true => (1, 1),
            // With too many keys, the order of time is of no use.
            false if slots.keys() > NEAR_KEYS => (ROWS_MIN, ROWS_MIN),
            false => (ROWS_MIN, ROWS_MAX),
        };
        Self {
            batches: Vec::new(),
            codes: Vec::new(),
            rows: 0,
            bytes: 0,
            keys: table.keys.len(),
            rows_max,
            bytes_max: (memory / MEMORY_SHARE).clamp(BYTES_MIN, BYTES_MAX),
            arrangement: Arrangement::Time,
        }
    }

    /// Takes a batch of [`JoinTable::prepare`]. Tells whether enough rows wait.
    ///
    /// # Errors
    ///
    /// `Internal` if the batch is none.
    pub(crate) fn push(&mut self, batch: &RecordBatch, slots: &Slots) -> Result<bool> {
        if batch.num_rows() == 0 {
            // It would stand between two batches whose order matters.
            return Ok(false);
        }
        let codes = slots.codes(&batch.columns()[..self.keys])?;
        self.codes.push(codes);
        self.rows += batch.num_rows();
        self.bytes += bytes_of(batch);
        self.batches.push(batch.clone());
        self.arrangement = self.arranged();
        let rows_max = match self.arrangement {
            Arrangement::Time => self.rows_max.1,
            Arrangement::Keys | Arrangement::Mixed => self.rows_max.0,
        };
        Ok(self.rows >= rows_max || self.bytes >= self.bytes_max)
    }

    /// In what order the rows are, with those of the last batch.
    fn arranged(&self) -> Arrangement {
        let last = self.batches.len().saturating_sub(1);
        match self.arrangement {
            Arrangement::Mixed => Arrangement::Mixed,
            // Tables in the order of keys give rows that are near each other as they are.
            Arrangement::Time if last == 0 && is_grouped(self.codes(0)) => Arrangement::Keys,
            Arrangement::Keys if is_grouped(self.codes(last)) => Arrangement::Keys,
            Arrangement::Time if self.rows_max.0 < self.rows_max.1 && self.goes_on() => {
                Arrangement::Time
            }
            Arrangement::Keys | Arrangement::Time => Arrangement::Mixed,
        }
    }

    /// Whether the last batch is in the order of time, and goes on where the one before it ended.
    fn goes_on(&self) -> bool {
        let last = self.batches.len().saturating_sub(1);
        let follows = |times: fn(&Self, usize) -> &[i64]| {
            let before = last.checked_sub(1).and_then(|before| times(self, before).last());
            let times = times(self, last);
            before.is_none_or(|before| times.first().is_none_or(|first| before <= first))
                && times.is_sorted()
        };
        follows(Self::events) && (self.is_known_at_once(last) || follows(Self::known))
    }

    /// Whether rows of a batch are known from their events on.
    fn is_known_at_once(&self, batch: usize) -> bool {
        std::ptr::eq(self.events(batch), self.known(batch))
    }

    /// In what order the rows have come.
    pub(crate) const fn arrangement(&self) -> Arrangement {
        self.arrangement
    }

    /// The memory that the rows take, and putting them in order.
    pub(crate) fn size_bytes(&self) -> usize {
        let ordering = match self.arrangement {
            Arrangement::Mixed => mixed::ROW_BYTES,
            Arrangement::Keys | Arrangement::Time => 0,
        };
        self.bytes + self.rows * (size_of::<u32>() + ordering)
    }

    /// What is taken of a batch.
    pub(crate) fn taken(&self, batch: usize) -> &[ArrayRef] {
        self.batches.get(batch).map_or(&[], |batch| &batch.columns()[self.keys + 3..])
    }

    /// How many batches wait.
    pub(crate) fn batches(&self) -> usize {
        self.batches.len()
    }

    /// From when on each row of a batch is known.
    pub(crate) fn known(&self, batch: usize) -> &[i64] {
        self.times(batch, 0)
    }

    /// The event of each row of a batch.
    pub(crate) fn events(&self, batch: usize) -> &[i64] {
        self.times(batch, 1)
    }

    /// When each row of a batch was created.
    pub(crate) fn created(&self, batch: usize) -> &[i64] {
        self.times(batch, 2)
    }

    fn times(&self, batch: usize, which: usize) -> &[i64] {
        let column = self.batches.get(batch).map(|batch| batch.column(self.keys + which));
        column.map_or(&[], |column| column.as_primitive::<Int64Type>().values())
    }

    /// The number of each row's key in a batch.
    pub(crate) fn codes(&self, batch: usize) -> &[u32] {
        self.codes.get(batch).map_or(&[], Vec::as_slice)
    }

    /// The rows of a batch: number, number of the key, known, event, created.
    pub(crate) fn rows(&self, batch: usize) -> impl Iterator<Item = (u32, u32, i64, i64, i64)> {
        let times = self.known(batch).iter().zip(self.events(batch)).zip(self.created(batch));
        let rows = (0_u32..).zip(self.codes(batch)).zip(times);
        rows.map(|((row, code), ((known, event), created))| (row, *code, *known, *event, *created))
    }

    /// A row that waits, with what decides about it.
    pub(crate) fn best(&self, place: Place) -> Best {
        let at = |times: &[i64]| times.get(place.row as usize).copied().unwrap_or(i64::MIN);
        let batch = place.chunk.wrapping_sub(WAITING) as usize;
        Best { event: at(self.events(batch)), created: at(self.created(batch)), place }
    }

    /// Whether so few slots are looked at that no order is worth anything.
    pub(crate) const fn is_near(&self) -> bool {
        self.rows_max.0 == 1
    }

    /// Lets go of all rows.
    pub(crate) fn clear(&mut self) {
        self.batches.clear();
        self.codes.clear();
        (self.rows, self.bytes) = (0, 0);
        self.arrangement = Arrangement::Time;
    }
}

/// Whether the rows of a key stand together: runs of it are [`RUN_ROWS`] long on average.
fn is_grouped(codes: &[u32]) -> bool {
    let changes = codes.iter().zip(codes.iter().skip(1)).filter(|(one, next)| one != next).count();
    changes * RUN_ROWS < codes.len()
}

/// The memory that a batch takes, where columns that are one and the same count once.
fn bytes_of(batch: &RecordBatch) -> usize {
    let columns = batch.columns();
    let first = |at: usize| match at.checked_sub(1).and_then(|before| columns.get(before)) {
        Some(before) => !is_same(before, &columns[at]),
        None => true,
    };
    let counted = (0..columns.len()).filter(|at| first(*at));
    counted.map(|at| columns[at].get_array_memory_size()).sum()
}

/// Whether two columns share their values, as the times of a row mostly do.
fn is_same(one: &ArrayRef, other: &ArrayRef) -> bool {
    match (one.as_primitive_opt::<Int64Type>(), other.as_primitive_opt::<Int64Type>()) {
        (Some(one), Some(other)) => std::ptr::eq(one.values().as_ref(), other.values().as_ref()),
        _ => false,
    }
}
