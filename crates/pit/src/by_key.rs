//! Feature rows of which those of a key stand together, as in tables that are laid out for joins.
//!
//! They are mostly in the order of time then: the moments of the key and its rows are merged, and
//! what lies between two moments is leapt over.

use icecore_core::Result;

use crate::offers::{Best, Offers, Place, WAITING};
use crate::waiting::WaitingRows;

/// Offers the rows that wait, batch by batch.
pub(crate) fn look(offers: &mut Offers<'_>, waiting: &WaitingRows, strict: bool) -> Result<()> {
    for batch in 0..waiting.batches() {
        let (events, known) = (waiting.events(batch), waiting.known(batch));
        let mut start = 0;
        for rows in waiting.codes(batch).chunk_by(|one, next| one == next) {
            let end = start + rows.len();
            // The spine may not have the key.
            if let Some(group) = rows.first().and_then(|code| offers.slots.group(*code)) {
                let chunk = WAITING + batch as u32;
                OfKey { waiting, events, known, chunk, strict, start, end, group }.look(offers)?;
            }
            start = end;
        }
    }
    Ok(())
}

/// The rows of one key in a batch, from and to, and its slots.
struct OfKey<'a> {
    waiting: &'a WaitingRows,
    events: &'a [i64],
    known: &'a [i64],
    chunk: u32,
    strict: bool,
    start: usize,
    end: usize,
    group: (usize, usize),
}

impl OfKey<'_> {
    fn look(&self, offers: &mut Offers<'_>) -> Result<()> {
        let (start, end) = self.group;
        let times = &offers.slots.times()[start..end];
        let (events, known) = (self.events, self.known);
        let is_in_order =
            events[self.start..self.end].is_sorted() && known[self.start..self.end].is_sorted();
        let (mut row, mut slot) = (self.start, 0);
        while row < self.end {
            // Strictly after the greatest moment there is nothing.
            let Some(from) = self.from(row) else {
                row += 1;
                continue;
            };
            if !is_in_order {
                slot = times.partition_point(|time| *time < from);
            } else {
                slot += leap(&times[slot..], |time| *time < from);
            }
            let Some(time) = times.get(slot) else {
                // So it is for every later row of those in order.
                if is_in_order {
                    break;
                }
                row += 1;
                continue;
            };
            let seen = match is_in_order {
                true => self.seen_at(row, *time),
                false => row + 1,
            };
            // The last one wins, but for those of the same event.
            let mut at = seen;
            while at > row && events[at - 1] == events[seen - 1] {
                at -= 1;
                offers.offer(start + slot, *time, self.row(at))?;
            }
            row = seen;
        }
        Ok(())
    }

    /// The first moment that can see a row.
    fn from(&self, row: usize) -> Option<i64> {
        let after = self.events[row].checked_add(i64::from(self.strict))?;
        Some(self.known[row].max(after))
    }

    /// Where the rows end that a moment can see, of those in order from `row` on.
    fn seen_at(&self, row: usize, time: i64) -> usize {
        let known = leap(&self.known[row..self.end], |known| *known <= time);
        match self.strict {
            true => row + leap(&self.events[row..row + known], |event| *event < time),
            false => row + known,
        }
    }

    fn row(&self, row: usize) -> Best {
        self.waiting.best(Place { chunk: self.chunk, row: row as u32 })
    }
}

/// How many values a condition holds for that holds for the first ones only: by steps that double,
/// then by halves between the last two (Bentley, Yao, "An almost optimal algorithm for unbounded
/// searching", 1976).
fn leap(values: &[i64], holds: impl Fn(&i64) -> bool) -> usize {
    let mut step = 1;
    while values.get(step - 1).is_some_and(&holds) {
        step *= 2;
    }
    let from = step / 2;
    let to = values.len().min(step - 1);
    from + values[from..to].partition_point(holds)
}
