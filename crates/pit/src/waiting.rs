//! Feature rows that wait until they are many, to be looked at in the order of their keys.
//!
//! Rows come in the order of time, so one after the other looks for a key anywhere among the slots,
//! and waits for memory each time. Many of them, put in the order of their keys by counting, go over
//! the slots from one end to the other (the partitioning of a radix join: Manegold, Boncz, Kersten,
//! "Optimizing Main-Memory Join on Modern Hardware", 2002).

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use icecore_core::Result;

use crate::slots::{NOWHERE, Slots};
use crate::table::JoinTable;

/// So many slots are near whoever looks: nothing has to wait. Small in tests, so that they see both.
const NEAR_SLOTS: usize = if cfg!(test) { 3 } else { 1 << 14 };
/// So many rows wait at most.
const ROWS_MAX: usize = if cfg!(test) { 7 } else { 1 << 18 };
/// Keys are put in at most so many parts.
const PARTS_MAX: usize = if cfg!(test) { 4 } else { 1 << 11 };

/// A row with a key of the spine.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Waiting {
    pub(crate) event: i64,
    pub(crate) created: i64,
    /// The first moment that can see it.
    pub(crate) from: i64,
    pub(crate) code: u32,
    pub(crate) batch: u32,
    pub(crate) row: u32,
}

/// Batches of rows that wait.
pub(crate) struct WaitingRows {
    batches: Vec<RecordBatch>,
    codes: Vec<Vec<u32>>,
    rows: usize,
    bytes: usize,
    /// How many columns are compared, before the times.
    keys: usize,
    rows_max: usize,
    /// Whether the rows of the one batch that waits come in the order of their keys.
    is_in_order: bool,
}

impl WaitingRows {
    pub(crate) fn new(table: &JoinTable, slots: &Slots) -> Self {
        let rows_max = if slots.len() <= NEAR_SLOTS { 1 } else { ROWS_MAX };
        let keys = table.keys.len();
        Self {
            batches: Vec::new(),
            codes: Vec::new(),
            rows: 0,
            bytes: 0,
            keys,
            rows_max,
            is_in_order: false,
        }
    }

    /// Takes a batch of [`JoinTable::prepare`]. Tells whether enough rows wait.
    ///
    /// # Errors
    ///
    /// `Internal` if the batch is none.
    pub(crate) fn push(&mut self, batch: &RecordBatch, slots: &Slots) -> Result<bool> {
        let codes = slots.codes(&batch.columns()[..self.keys])?;
        // Tables in the order of keys give rows that are near each other as they are.
        self.is_in_order = self.batches.is_empty() && codes.is_sorted();
        self.codes.push(codes);
        self.rows += batch.num_rows();
        self.bytes += batch.get_array_memory_size();
        self.batches.push(batch.clone());
        Ok(self.rows >= self.rows_max || self.is_in_order)
    }

    /// The memory that the rows take, and putting them in order.
    pub(crate) fn size_bytes(&self) -> usize {
        self.bytes + self.rows * (size_of::<u32>() + size_of::<Waiting>())
    }

    /// What is taken of a batch.
    pub(crate) fn taken(&self, batch: usize) -> &[ArrayRef] {
        self.batches.get(batch).map_or(&[], |batch| &batch.columns()[self.keys + 3..])
    }

    /// How many batches wait.
    pub(crate) fn batches(&self) -> usize {
        self.batches.len()
    }

    /// Activation, event or created.
    fn times(&self, batch: usize, which: usize) -> &[i64] {
        let column = self.batches.get(batch).map(|batch| batch.column(self.keys + which));
        column.map_or(&[], |column| column.as_primitive::<Int64Type>().values())
    }

    /// The rows with keys of the spine: parts of keys one after the other, each in the order in which
    /// its rows came.
    pub(crate) fn in_order(&self, slots: &Slots, strict: bool) -> Vec<Waiting> {
        let keys = slots.keys().max(1);
        let shift = match self.rows_max == 1 || self.is_in_order {
            // All in one part.
            true => u32::BITS - 1,
            false => keys.div_ceil(PARTS_MAX).next_power_of_two().ilog2(),
        };
        let mut starts = vec![0_usize; (keys >> shift) + 2];
        for code in self.codes.iter().flatten().filter(|code| **code != NOWHERE) {
            starts[(*code >> shift) as usize + 1] += 1;
        }
        let mut total = 0;
        for start in &mut starts {
            total += *start;
            *start = total;
        }
        let mut ordered = vec![Waiting::default(); total];
        for (batch, codes) in self.codes.iter().enumerate() {
            let (known, events, created) =
                (self.times(batch, 0), self.times(batch, 1), self.times(batch, 2));
            let rows = codes.iter().zip(known).zip(events).zip(created).enumerate();
            for (row, (((code, known), event), created)) in rows {
                if *code == NOWHERE {
                    continue;
                }
                // Strictly after the greatest moment there is nothing.
                let (from, is_seen) = match event.checked_add(i64::from(strict)) {
                    Some(after) => ((*known).max(after), true),
                    None => (i64::MAX, false),
                };
                let place = &mut starts[(*code >> shift) as usize];
                let code = if is_seen { *code } else { NOWHERE };
                let (event, created) = (*event, *created);
                let (batch, row) = (batch as u32, row as u32);
                ordered[*place] = Waiting { event, created, from, code, batch, row };
                *place += 1;
            }
        }
        ordered
    }

    /// Lets go of all rows.
    pub(crate) fn clear(&mut self) {
        self.batches.clear();
        self.codes.clear();
        (self.rows, self.bytes) = (0, 0);
    }
}
