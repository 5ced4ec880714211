//! Which events each row's windows hold.

use icecore_core::{Closed, Shape, Span, Timestamp};

use super::emit::Rows;
use super::events::Events;
use super::plan::Frame;

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
    /// Shared by all windows that end at the rows' moments: those that hold events of the moment
    /// itself, and those that do not.
    ends: [Vec<u32>; 2],
    starts: Vec<Starts>,
}

#[derive(Debug)]
struct Starts {
    starts: Vec<u32>,
    ends: Ends,
}

#[derive(Debug)]
enum Ends {
    Shared(usize),
    Own(Vec<u32>),
}

impl AllBounds {
    pub(crate) fn of(&self, frame: usize) -> Bounds<'_> {
        let Starts { starts, ends } = &self.starts[frame];
        let ends = match ends {
            Ends::Shared(at) => &self.ends[*at],
            Ends::Own(ends) => ends,
        };
        Bounds { starts, ends }
    }
}

pub(crate) fn all(frames: &[Frame], events: &Events<'_>, rows: &Rows) -> AllBounds {
    let mut all = AllBounds { ends: [Vec::new(), Vec::new()], starts: Vec::new() };
    for frame in frames {
        let starts = trailing(frame, events, rows, &mut all.ends);
        all.starts.push(starts.unwrap_or_else(|| stepped(frame, events, rows)));
    }
    all
}

/// The bounds of a window that ends at the rows' moments, as most do.
fn trailing(
    (window, closed): &Frame,
    events: &Events<'_>,
    rows: &Rows,
    ends: &mut [Vec<u32>; 2],
) -> Option<Starts> {
    if window.offset != Span::from_micros(0) {
        return None;
    }
    let starts = match (window.shape, closed) {
        (Shape::Lifetime, _) => advance(events, rows, |_, _| false),
        // A bound below the least moment leaves nothing out.
        (Shape::Last(span), Closed::Both | Closed::Left) => {
            let span = span.micros();
            advance(events, rows, |time, moment| {
                moment.checked_sub(span).is_some_and(|bound| time < bound)
            })
        }
        (Shape::Last(span), Closed::Right | Closed::None) => {
            let span = span.micros();
            advance(events, rows, |time, moment| {
                moment.checked_sub(span).is_some_and(|bound| time <= bound)
            })
        }
        _ => return None,
    };
    let is_open = matches!(closed, Closed::Left | Closed::None);
    let ends = &mut ends[usize::from(is_open)];
    if ends.is_empty() {
        *ends = match is_open {
            false => advance(events, rows, |time, moment| time <= moment),
            true => advance(events, rows, |time, moment| time < moment),
        };
    }
    Some(Starts { starts, ends: Ends::Shared(usize::from(is_open)) })
}

/// The bounds of any window.
fn stepped((window, closed): &Frame, events: &Events<'_>, rows: &Rows) -> Starts {
    let range = |moment: i64| window.range(*closed, Timestamp::from_micros(moment));
    let starts = advance_to(events, rows, |moment| {
        range(moment).from.map_or(i128::MIN, |from| from.micros().into())
    });
    let ends = advance_to(events, rows, |moment| {
        range(moment).to.map_or(i128::MAX, |to| to.micros().into())
    });
    Starts { starts, ends: Ends::Own(ends) }
}

/// For each row, how many of its entity's events come before what `bound` gives for its moment.
fn advance_to(events: &Events<'_>, rows: &Rows, bound: impl Fn(i64) -> i128) -> Vec<u32> {
    let mut bounds = Vec::with_capacity(rows.moments.len());
    for (entity, of_entity) in events.entities.iter().zip(&rows.of_entity) {
        let times = &events.times[entity.clone()];
        let mut passed = 0;
        for moment in &rows.moments[of_entity.clone()] {
            let bound = bound(*moment);
            while passed < times.len() && i128::from(times[passed]) < bound {
                passed += 1;
            }
            // Events were checked to fit.
            bounds.push((entity.start + passed) as u32);
        }
    }
    bounds
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
    let mut values = Vec::with_capacity(bounds.len());
    slide_each(bounds, state, |state| values.push(read(state)));
    values
}

/// Moves a state over all windows and shows it at each row.
#[inline]
pub(crate) fn slide_each<S: Slide>(bounds: Bounds<'_>, state: &mut S, mut show: impl FnMut(&S)) {
    let (mut left, mut right) = (0, 0);
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
        show(state);
    }
}
