//! Which events each row's windows hold.

use icecore_core::{Closed, Window};

use super::emit::Rows;
use super::events::Events;

/// The events of every row's window: `start..end`, neither of which ever goes back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds<'a> {
    pub(crate) starts: &'a [u32],
    pub(crate) ends: &'a [u32],
}

impl<'a> Bounds<'a> {
    pub(crate) fn len(self) -> usize {
        self.ends.len()
    }

    #[inline]
    pub(crate) fn iter(self) -> impl ExactSizeIterator<Item = (usize, usize)> + 'a {
        self.starts.iter().zip(self.ends).map(|(start, end)| (*start as usize, *end as usize))
    }

    /// The bounds of some of the rows.
    pub(crate) fn of_rows(self, rows: std::ops::Range<usize>) -> Self {
        Self {
            starts: self.starts.get(rows.clone()).unwrap_or_default(),
            ends: self.ends.get(rows).unwrap_or_default(),
        }
    }
}

/// The bounds of every window.
#[derive(Debug)]
pub(crate) struct AllBounds {
    ends: Vec<u32>,
    starts: Vec<Vec<u32>>,
}

impl AllBounds {
    pub(crate) fn of(&self, window: usize) -> Bounds<'_> {
        Bounds { starts: &self.starts[window], ends: &self.ends }
    }
}

pub(crate) fn all(
    windows: &[Window],
    closed: Closed,
    events: &Events<'_>,
    rows: &Rows,
) -> AllBounds {
    let ends = match closed {
        Closed::Both | Closed::Right => advance(events, rows, |time, moment| time <= moment),
        Closed::Left | Closed::None => advance(events, rows, |time, moment| time < moment),
    };
    let start = |window: &Window| match (window, closed) {
        (Window::Lifetime, _) => advance(events, rows, |_, _| false),
        // A bound below the least moment leaves nothing out.
        (Window::Last(span), Closed::Both | Closed::Left) => {
            let span = span.micros();
            advance(events, rows, |time, moment| {
                moment.checked_sub(span).is_some_and(|bound| time < bound)
            })
        }
        (Window::Last(span), Closed::Right | Closed::None) => {
            let span = span.micros();
            advance(events, rows, |time, moment| {
                moment.checked_sub(span).is_some_and(|bound| time <= bound)
            })
        }
    };
    AllBounds { starts: windows.iter().map(start).collect(), ends }
}

/// For each row, how far its entity's events are `before` its moment.
#[inline]
fn advance(events: &Events<'_>, rows: &Rows, before: impl Fn(i64, i64) -> bool) -> Vec<u32> {
    let mut bounds = Vec::with_capacity(rows.moments.len());
    for (entity, of_entity) in events.entities.iter().zip(&rows.of_entity) {
        let times = &events.times[entity.clone()];
        let mut passed = 0;
        for moment in &rows.moments[of_entity.clone()] {
            while passed < times.len() && before(times[passed], *moment) {
                passed += 1;
            }
            // Events were checked to fit.
            bounds.push((entity.start + passed) as u32);
        }
    }
    bounds
}

/// What can follow a window: events come in at its right end and leave at its left one.
pub(crate) trait Slide {
    fn enter(&mut self, row: usize);
    fn leave(&mut self, row: usize);
}

/// Moves a state over all windows and reads it at each row.
#[inline]
pub(crate) fn slide<S: Slide, T>(
    bounds: Bounds<'_>,
    state: &mut S,
    read: impl Fn(&S) -> T,
) -> Vec<T> {
    let (mut left, mut right) = (0, 0);
    let mut values = Vec::with_capacity(bounds.len());
    for (start, end) in bounds.iter() {
        while left < start.min(right) {
            state.leave(left);
            left += 1;
        }
        if left < start {
            // The windows do not touch, as between entities: what lies between never enters.
            (left, right) = (start, start);
        }
        while right < end {
            state.enter(right);
            right += 1;
        }
        values.push(read(state));
    }
    values
}
