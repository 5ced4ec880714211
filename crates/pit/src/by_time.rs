//! Feature rows in the order of time, as they are appended.
//!
//! The moments of the spine and the rows are merged by time: the newest row of each key is all that
//! has to be kept, and a moment that has come takes it. Where keys are few enough to lie near the
//! processor, that is one access for a row, whatever its key.

use icecore_core::Result;

use crate::offers::{Best, Offers, Place, WAITING};
use crate::slots::{Moment, NOWHERE};
use crate::waiting::WaitingRows;

/// Moments that take their rows one right after the other. They lie anywhere in memory, and where
/// nothing else is done in between, many are fetched at once.
const TAKEN: usize = if cfg!(test) { 5 } else { 1 << 12 };

/// No row of a key.
const NONE: Place = Place { chunk: NOWHERE, row: 0 };

/// The newest row of each key that no moment has taken yet.
#[derive(Default)]
pub(crate) struct Newest {
    of_key: Vec<Place>,
    taken: Vec<(Moment, Place)>,
}

impl Newest {
    /// The memory that it takes.
    pub(crate) fn size_bytes(&self) -> usize {
        self.of_key.len() * size_of::<Place>()
            + self.taken.capacity() * size_of::<(Moment, Place)>()
    }

    /// Offers rows that wait, none of which is known before one that stands before it or is of an
    /// earlier event.
    pub(crate) fn look(
        &mut self,
        offers: &mut Offers<'_>,
        waiting: &WaitingRows,
        strict: bool,
    ) -> Result<()> {
        self.of_key.resize(offers.slots.keys(), NONE);
        let moments = offers.slots.by_time();
        let mut coming: Option<std::slice::Iter<'_, Moment>> = None;
        let (mut last, mut until, mut before) = (i64::MIN, i64::MIN, None);
        for batch in 0..waiting.batches() {
            for (row, code, known, event, created) in waiting.rows(batch) {
                // Strictly after the greatest moment there is nothing.
                let Some(after) = event.checked_add(i64::from(strict)) else { continue };
                last = known.max(after);
                if last > until || coming.is_none() {
                    let coming = coming.get_or_insert_with(|| {
                        moments[moments.partition_point(|moment| moment.time < last)..].iter()
                    });
                    until = self.take(offers, waiting, (coming, last))?;
                }
                if code == NOWHERE {
                    continue;
                }
                let place = Place { chunk: WAITING + batch as u32, row };
                let newest = &mut self.of_key[code as usize];
                // Rows of one event stand next to each other, and the last need not be the greatest.
                if before == Some(event) && *newest != NONE {
                    let old = waiting.best(*newest);
                    let new = Best { event, created, place };
                    if old.event == event && !offers.is_better(&new, &old)? {
                        continue;
                    }
                }
                before = Some(event);
                *newest = place;
            }
        }
        self.offer_taken(offers, waiting)?;
        self.let_go(offers, waiting, last)
    }

    /// Lets the moments before `last` take their rows, and returns the next one.
    fn take(
        &mut self,
        offers: &mut Offers<'_>,
        waiting: &WaitingRows,
        (coming, last): (&mut std::slice::Iter<'_, Moment>, i64),
    ) -> Result<i64> {
        while let Some(moment) = coming.as_slice().first() {
            if moment.time >= last {
                return Ok(moment.time);
            }
            coming.next();
            let newest = &mut self.of_key[moment.code as usize];
            if *newest != NONE {
                self.taken.push((*moment, std::mem::replace(newest, NONE)));
            }
            if self.taken.len() >= TAKEN {
                self.offer_taken(offers, waiting)?;
            }
        }
        Ok(i64::MAX)
    }

    /// Offers the rows that moments took.
    fn offer_taken(&mut self, offers: &mut Offers<'_>, waiting: &WaitingRows) -> Result<()> {
        for (moment, place) in self.taken.drain(..) {
            offers.settle(moment.slot as usize, moment.time, waiting.best(place))?;
        }
        Ok(())
    }

    /// Offers what no moment has taken to the next one of its key, which is `last` or later.
    fn let_go(&mut self, offers: &mut Offers<'_>, waiting: &WaitingRows, last: i64) -> Result<()> {
        for (newest, (start, end)) in self.of_key.iter_mut().zip(offers.slots.groups()) {
            if *newest == NONE {
                continue;
            }
            let row = waiting.best(std::mem::replace(newest, NONE));
            let times = &offers.slots.times()[start..end];
            let next = times.partition_point(|time| *time < last);
            if let Some(time) = times.get(next) {
                offers.settle(start + next, *time, row)?;
            }
        }
        Ok(())
    }
}
