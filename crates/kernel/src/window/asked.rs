//! Rows at moments that are asked for, from what was known by then.

use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, UInt32Array};
use arrow::compute::take;
use icecore_core::{Error, Result, Span, TimeRange, Timestamp};

use super::emit::Rows;
use super::events::Events;
use super::{EntityEvents, WindowKernel, WindowRows, WindowSpec};

/// Which rows of a call are questions instead of events, and when each event was known.
#[derive(Debug, Clone, Copy)]
pub struct Questions<'a> {
    /// Rows that ask for windows at their time, and are no events themselves. Null means false.
    pub asked: &'a BooleanArray,
    /// When each event was known, in microseconds; absent where at its own time. None is known
    /// before it happens.
    pub known: Option<&'a [i64]>,
    /// How long after it was known an event is first seen.
    pub delay: Span,
}

impl Questions<'_> {
    fn is_asked(&self, row: usize) -> bool {
        // A null is stored as any value.
        self.asked.is_valid(row) && self.asked.value(row)
    }

    /// From when on an event is seen.
    fn seen_from(&self, row: usize, time: i64) -> i64 {
        let known = self.known.and_then(|known| known.get(row)).copied().unwrap_or(time);
        known.max(time).saturating_add(self.delay.micros().max(0))
    }
}

impl WindowKernel {
    /// Computes one row for each question in `range`, from the events of its entity that had been
    /// seen by then; [`source_rows`](WindowRows::source_rows) are the questions. When rows are emitted
    /// otherwise makes no difference.
    ///
    /// Questions between which no late event comes to be known look at the same events and share one
    /// pass; of late events, each question can need a pass over the events that its windows reach.
    ///
    /// # Errors
    ///
    /// As [`evaluate`](Self::evaluate).
    pub fn answer(
        &self,
        events: &EntityEvents<'_>,
        questions: Questions<'_>,
        range: TimeRange,
    ) -> Result<WindowRows> {
        let all = Events::try_new(*events, &self.input_types)?;
        let count = all.times.len();
        if questions.asked.len() != count || questions.known.is_some_and(|k| k.len() != count) {
            return Err(Error::internal("the questions of a window kernel do not fit its events"));
        }
        let mut seen = Seen::new(&self.spec, range);
        for entity in all.entities {
            seen.entity(all.times, &questions, entity.clone())?;
        }
        let Seen { taken, entities, rows, .. } = seen;
        let times: Vec<i64> = taken.iter().map(|row| all.times[*row as usize]).collect();
        let taken = UInt32Array::from(taken);
        let inputs = events.inputs.iter().map(|input| take(input, &taken, None));
        let inputs = inputs.collect::<Result<Vec<ArrayRef>, _>>()?;
        let masks = events.masks.iter().map(|mask| {
            let mask = take(mask, &taken, None)?;
            Ok(mask.as_boolean().clone())
        });
        let masks = masks.collect::<Result<Vec<BooleanArray>>>()?;
        let seen =
            EntityEvents { times: &times, entities: &entities, inputs: &inputs, masks: &masks };
        let columns = self.columns(&Events::try_new(seen, &self.input_types)?, &rows)?;
        let source_rows = rows.sources.iter().map(|row| u64::from(*row)).collect::<Vec<_>>();
        Ok(WindowRows { source_rows: source_rows.into(), times: rows.moments, columns })
    }
}

/// The events that questions see. Questions of one entity that see different ones become entities of
/// their own.
struct Seen {
    /// How long before a question an event lies at most; absent for a lifetime.
    reach: Option<i64>,
    /// Questions outside of it are left out.
    range: TimeRange,
    taken: Vec<u32>,
    entities: Vec<Range<usize>>,
    /// The questions, with their own rows as sources.
    rows: Rows,
    /// When events that were known late are seen, of the entity at work.
    late: Vec<i64>,
}

impl Seen {
    fn new(spec: &WindowSpec, range: TimeRange) -> Self {
        let reach = spec.reach().map(Span::micros);
        let (taken, entities, late) = (Vec::new(), Vec::new(), Vec::new());
        Self { reach, range, taken, entities, rows: Rows::default(), late }
    }

    fn entity(
        &mut self,
        times: &[i64],
        questions: &Questions<'_>,
        entity: Range<usize>,
    ) -> Result<()> {
        let (mut asked, mut own) = (Vec::new(), Vec::new());
        self.late.clear();
        for row in entity {
            if questions.is_asked(row) {
                if self.range.contains(Timestamp::from_micros(times[row])) {
                    asked.push(row);
                }
                continue;
            }
            let seen_from = questions.seen_from(row, times[row]);
            if seen_from > times[row] {
                self.late.push(seen_from);
            }
            own.push((row, seen_from));
        }
        self.late.sort_unstable();
        let mut rest = asked.as_slice();
        while let Some(first) = rest.first() {
            let next = self.late.partition_point(|at| *at <= times[*first]);
            let count = match self.late.get(next) {
                Some(changes) => rest.partition_point(|row| times[*row] < *changes),
                None => rest.len(),
            };
            let (same, others) = rest.split_at(count);
            self.see(times, &own, same)?;
            rest = others;
        }
        Ok(())
    }

    /// Questions that are in order and see the same of the entity's events.
    fn see(&mut self, times: &[i64], own: &[(usize, i64)], asked: &[usize]) -> Result<()> {
        let (Some(first), Some(last)) = (asked.first(), asked.last()) else { return Ok(()) };
        let (first, last) = (times[*first], times[*last]);
        let oldest = self.reach.and_then(|reach| first.checked_sub(reach)).unwrap_or(i64::MIN);
        let from = own.partition_point(|(row, _)| times[*row] < oldest);
        let to = own.partition_point(|(row, _)| times[*row] <= last);
        let start = self.taken.len();
        let reached = own.get(from..to).unwrap_or_default().iter();
        // Rows were checked to fit.
        self.taken.extend(reached.filter(|(_, seen)| *seen <= last).map(|(row, _)| *row as u32));
        let of_rows = self.rows.moments.len();
        self.rows.moments.extend(asked.iter().map(|row| times[*row]));
        self.rows.sources.extend(asked.iter().map(|row| *row as u32));
        self.entities.push(start..self.taken.len());
        self.rows.of_entity.push(of_rows..self.rows.moments.len());
        Ok(())
    }
}
