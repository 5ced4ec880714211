//! Feature rows in the order of time, as they are appended.
//!
//! The moments of the spine and the rows are merged by time: the newest row of each key is all that
//! has to be kept, and a moment that has come takes it. Where keys are few enough to lie near the
//! processor, that is one access for a row, whatever its key.

use icecore_core::Result;

use crate::offers::{Best, NOTHING, Offers, Place, WAITING};
use crate::slots::NOWHERE;
use crate::waiting::WaitingRows;

/// The newest row of each key that no moment has taken yet.
#[derive(Default)]
pub(crate) struct Newest {
    of_key: Vec<Best>,
}

impl Newest {
    /// The memory that it takes.
    pub(crate) fn size_bytes(&self) -> usize {
        self.of_key.len() * size_of::<Best>()
    }

    /// Offers rows that wait, none of which is known before one that stands before it or is of an
    /// earlier event.
    pub(crate) fn look(
        &mut self,
        offers: &mut Offers<'_>,
        waiting: &WaitingRows,
        strict: bool,
    ) -> Result<()> {
        self.of_key.resize(offers.slots.keys(), NOTHING);
        let slots = offers.slots;
        let moments = slots.by_time();
        let mut next = None;
        let mut last = i64::MIN;
        for batch in 0..waiting.batches() {
            for (row, code, known, event, created) in waiting.rows(batch) {
                // Strictly after the greatest moment there is nothing.
                let Some(after) = event.checked_add(i64::from(strict)) else { continue };
                last = known.max(after);
                let next = next
                    .get_or_insert_with(|| moments.partition_point(|moment| moment.time < last));
                while let Some(moment) = moments.get(*next).filter(|moment| moment.time < last) {
                    *next += 1;
                    let newest = &mut self.of_key[moment.code as usize];
                    if !newest.is_nothing() {
                        let row = std::mem::replace(newest, NOTHING);
                        offers.offer(moment.slot as usize, row)?;
                    }
                }
                if code == NOWHERE {
                    continue;
                }
                let place = Place { chunk: WAITING + batch as u32, row };
                let new = Best { event, created, place };
                let newest = &mut self.of_key[code as usize];
                if newest.event != event || offers.is_better(&new, newest)? {
                    *newest = new;
                }
            }
        }
        self.let_go(offers, last)
    }

    /// Offers what no moment has taken to the next one of its key, which is `last` or later.
    fn let_go(&mut self, offers: &mut Offers<'_>, last: i64) -> Result<()> {
        for (newest, (start, end)) in self.of_key.iter_mut().zip(offers.slots.groups()) {
            if newest.is_nothing() {
                continue;
            }
            let row = std::mem::replace(newest, NOTHING);
            let times = &offers.slots.times()[start..end];
            let slot = start + times.partition_point(|time| *time < last);
            if slot < end {
                offers.offer(slot, row)?;
            }
        }
        Ok(())
    }
}
