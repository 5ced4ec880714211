//! Feature rows in no order that helps.
//!
//! One after the other would look for a key anywhere among the slots, and wait for memory each
//! time. Many of them, put in the order of their keys by counting, go over the slots from one end to
//! the other (the partitioning of a radix join: Manegold, Boncz, Kersten, "Optimizing Main-Memory
//! Join on Modern Hardware", 2002).

use icecore_core::Result;

use crate::offers::{Best, Offers, Place, WAITING};
use crate::slots::{NOWHERE, Slots};
use crate::waiting::WaitingRows;

/// Keys are put in at most so many parts.
const PARTS_MAX: usize = if cfg!(test) { 4 } else { 1 << 11 };

/// A row with a key of the spine.
#[derive(Debug, Clone, Copy)]
struct Row {
    /// The first moment that can see it.
    from: i64,
    code: u32,
    best: Best,
}

const UNSEEN: Row = Row { from: i64::MAX, code: NOWHERE, best: crate::offers::NOTHING };

/// How many bytes putting one row in order takes.
pub(crate) const ROW_BYTES: usize = size_of::<Row>();

/// Offers the rows that wait.
pub(crate) fn look(offers: &mut Offers<'_>, waiting: &WaitingRows, strict: bool) -> Result<()> {
    // Rows mostly come in the order of time. The newest first, and older ones do not win.
    for row in in_order(waiting, offers.slots, strict).into_iter().rev() {
        let Some((start, end)) = offers.slots.group(row.code) else { continue };
        let times = &offers.slots.times()[start..end];
        let next = times.partition_point(|time| *time < row.from);
        if let Some(time) = times.get(next) {
            offers.offer(start + next, *time, row.best)?;
        }
    }
    Ok(())
}

/// The rows with keys of the spine: parts of keys one after the other, each in the order in which
/// its rows came.
fn in_order(waiting: &WaitingRows, slots: &Slots, strict: bool) -> Vec<Row> {
    let keys = slots.keys().max(1);
    let shift = match waiting.is_near() {
        // All in one part.
        true => u32::BITS - 1,
        false => keys.div_ceil(PARTS_MAX).next_power_of_two().ilog2(),
    };
    let mut starts = vec![0_usize; (keys >> shift) + 2];
    let codes = (0..waiting.batches()).flat_map(|batch| waiting.codes(batch));
    for code in codes.filter(|code| **code != NOWHERE) {
        starts[(*code >> shift) as usize + 1] += 1;
    }
    let mut total = 0;
    for start in &mut starts {
        total += *start;
        *start = total;
    }
    let mut ordered = vec![UNSEEN; total];
    for batch in 0..waiting.batches() {
        let chunk = WAITING + batch as u32;
        for (row, code, known, event, created) in waiting.rows(batch) {
            if code == NOWHERE {
                continue;
            }
            let place = &mut starts[(code >> shift) as usize];
            // Strictly after the greatest moment there is nothing.
            if let Some(after) = event.checked_add(i64::from(strict)) {
                let best = Best { event, created, place: Place { chunk, row } };
                ordered[*place] = Row { from: known.max(after), code, best };
            }
            *place += 1;
        }
    }
    ordered
}
