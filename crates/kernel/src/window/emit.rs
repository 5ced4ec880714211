//! When there is a row.

use std::ops::Range;

use icecore_core::{Emit, Error, Result, Span, TimeRange, Timestamp};

use super::events::{Events, NO_ROW, too_many};
use super::{WindowPiece, WindowSpec};

const DAY_MICROS: i64 = 86_400_000_000;

/// The rows that come out, entity after entity.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    pub(crate) moments: Vec<i64>,
    /// The event that each row takes its keys from.
    pub(crate) sources: Vec<u32>,
    /// The rows of each entity.
    pub(crate) of_entity: Vec<Range<usize>>,
}

impl Rows {
    fn push(&mut self, moment: i64, source: usize) {
        self.moments.push(moment);
        // Events were checked to fit.
        self.sources.push(source as u32);
    }
}

pub(crate) fn rows(spec: &WindowSpec, events: &Events<'_>, range: TimeRange) -> Result<Rows> {
    let mut rows = Rows::default();
    match spec.emit {
        Emit::EachEvent => {
            rows.moments.reserve(events.times.len());
            rows.sources.reserve(events.times.len());
            for_each_entity(&mut rows, events, |rows, entity| {
                each_event(rows, events, entity, range);
            });
        }
        Emit::LastPerDay => {
            for_each_entity(&mut rows, events, |rows, entity| {
                last_per_day(rows, events, entity, range);
            });
        }
        Emit::Every(span) => {
            let grid = Grid::try_new(span, spec.idle, range)?;
            let points =
                events.entities.iter().map(|entity| grid.count(&events.times[entity.clone()]));
            if points.fold(0, u64::saturating_add) >= u64::from(NO_ROW) {
                return Err(too_many("rows"));
            }
            for_each_entity(&mut rows, events, |rows, entity| grid.emit(rows, events, entity));
        }
        other => return Err(Error::internal(format!("windows do not emit `{other:?}`"))),
    }
    Ok(rows)
}

pub(crate) fn split(
    spec: &WindowSpec,
    events: &Events<'_>,
    range: TimeRange,
    rows_max: usize,
) -> Result<Vec<WindowPiece>> {
    let entities = 0..events.entities.len();
    let Emit::Every(span) = spec.emit else { return Ok(vec![WindowPiece { entities, range }]) };
    let grid = Grid::try_new(span, spec.idle, range)?;
    let rows_max = (rows_max as u64).max(1);
    let (mut pieces, mut start, mut rows) = (Vec::new(), 0, 0_u64);
    for (index, entity) in events.entities.iter().enumerate() {
        let times = &events.times[entity.clone()];
        let count = grid.count(times);
        if rows.saturating_add(count) > rows_max && start < index {
            pieces.push(WindowPiece { entities: start..index, range });
            (start, rows) = (index, 0);
        }
        rows += count;
        if count > rows_max {
            let of_entity = grid.cut(times, rows_max);
            pieces.extend(of_entity.map(|range| WindowPiece { entities: index..index + 1, range }));
            (start, rows) = (index + 1, 0);
        }
    }
    if start < entities.end {
        pieces.push(WindowPiece { entities: start..entities.end, range });
    }
    Ok(pieces)
}

fn for_each_entity(
    rows: &mut Rows,
    events: &Events<'_>,
    mut emit: impl FnMut(&mut Rows, Range<usize>),
) {
    rows.of_entity.reserve(events.entities.len());
    for entity in events.entities {
        let start = rows.moments.len();
        emit(rows, entity.clone());
        rows.of_entity.push(start..rows.moments.len());
    }
}

fn each_event(rows: &mut Rows, events: &Events<'_>, entity: Range<usize>, range: TimeRange) {
    for row in entity {
        let time = events.times[row];
        if range.contains(Timestamp::from_micros(time)) {
            rows.push(time, row);
        }
    }
}

fn last_per_day(rows: &mut Rows, events: &Events<'_>, entity: Range<usize>, range: TimeRange) {
    let end = entity.end;
    for row in entity {
        let time = events.times[row];
        let day = time.div_euclid(DAY_MICROS);
        let last = row + 1 == end || events.times[row + 1].div_euclid(DAY_MICROS) != day;
        if last && range.contains(Timestamp::from_micros(time)) {
            rows.push(time, row);
        }
    }
}

/// The multiples of a span since the epoch, inside a range.
#[derive(Debug, Clone, Copy)]
struct Grid {
    step: i64,
    idle: i64,
    from: i64,
    /// The last moment inside.
    last: i64,
}

impl Grid {
    fn try_new(span: Span, idle: Option<Span>, range: TimeRange) -> Result<Self> {
        let Some(to) = range.to else {
            return Err(Error::invalid(format!("rows every `{span}` need an end of the range"))
                .with_help("say until when: `--to 2026-11-22`"));
        };
        Ok(Self {
            step: span.micros(),
            idle: idle.map_or(i64::MAX, Span::micros),
            from: range.from.map_or(i64::MIN, Timestamp::micros),
            // A range that ends at the first moment of all is empty, as is `last < first` below.
            last: to.micros().saturating_sub(1),
        })
    }

    /// The first and the last grid point of an entity, if it has any.
    fn points(&self, times: &[i64]) -> Option<(i64, i64)> {
        let (&first, &last) = (times.first()?, times.last()?);
        let start = first.max(self.from);
        let end = last.saturating_add(self.idle).min(self.last);
        let down = start.div_euclid(self.step).checked_mul(self.step);
        let first = match down {
            Some(down) if down == start => down,
            Some(down) => down.checked_add(self.step)?,
            // Only the point below is out of reach.
            None => start.checked_add(self.step - start.rem_euclid(self.step))?,
        };
        (first <= end).then_some((first, end))
    }

    fn count(&self, times: &[i64]) -> u64 {
        self.points(times)
            .map_or(0, |(first, end)| end.abs_diff(first) / self.step.unsigned_abs() + 1)
    }

    /// Ranges with so many of an entity's points each.
    fn cut(&self, times: &[i64], rows_max: u64) -> impl Iterator<Item = TimeRange> {
        let (first, end) = self.points(times).unwrap_or((0, -1));
        let length = i64::try_from(rows_max).unwrap_or(i64::MAX).saturating_mul(self.step);
        let starts = std::iter::successors(Some(first), move |start| start.checked_add(length));
        starts.take_while(move |start| *start <= end).map(move |start| TimeRange {
            from: Some(Timestamp::from_micros(start)),
            to: Some(Timestamp::from_micros(start.saturating_add(length).min(end + 1))),
        })
    }

    fn emit(&self, rows: &mut Rows, events: &Events<'_>, entity: Range<usize>) {
        let Some((first, end)) = self.points(&events.times[entity.clone()]) else { return };
        let mut source = entity.start;
        let mut point = Some(first);
        while let Some(moment) = point.filter(|moment| *moment <= end) {
            while source + 1 < entity.end && events.times[source + 1] <= moment {
                source += 1;
            }
            rows.push(moment, source);
            point = moment.checked_add(self.step);
        }
    }
}
