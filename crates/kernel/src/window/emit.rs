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
    match &spec.emit {
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
        Emit::Every { .. } | Emit::At(_) => {
            let schedule = Schedule::try_new(spec, range)?;
            let points =
                events.entities.iter().map(|entity| schedule.count(&events.times[entity.clone()]));
            if points.fold(0, u64::saturating_add) >= u64::from(NO_ROW) {
                return Err(too_many("rows"));
            }
            for_each_entity(&mut rows, events, |rows, entity| schedule.emit(rows, events, entity));
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
    if !spec.emit.is_scheduled() {
        return Ok(vec![WindowPiece { entities, range }]);
    }
    let grid = Schedule::try_new(spec, range)?;
    let rows_max = (rows_max as u64).max(1);
    let (mut pieces, mut start, mut rows) = (Vec::new(), 0, 0);
    for (index, entity) in events.entities.iter().enumerate() {
        let times = &events.times[entity.clone()];
        let count = grid.count(times);
        if count >= u64::from(NO_ROW) {
            return Err(too_many("rows"));
        }
        if rows + count > rows_max && start < index {
            pieces.push(WindowPiece { entities: start..index, range });
            (start, rows) = (index, 0);
        }
        rows += count;
        if count > rows_max {
            let of_entity = grid.cut(times, rows_max).into_iter();
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

/// When rows come out whether something happens or not, inside a range.
#[derive(Debug, Clone)]
struct Schedule {
    points: Points,
    idle: Option<i64>,
    from: i64,
    /// The last moment inside.
    last: i64,
}

#[derive(Debug, Clone)]
enum Points {
    /// Every so often, so long after the epoch.
    Grid { step: i64, align: i64 },
    /// At these moments, in order and each once.
    List(Vec<i64>),
}

impl Schedule {
    fn try_new(spec: &WindowSpec, range: TimeRange) -> Result<Self> {
        let points = match &spec.emit {
            Emit::Every { every, align } => {
                if range.to.is_none() {
                    let message = format!("rows every `{every}` need an end of the range");
                    return Err(
                        Error::invalid(message).with_help("say until when: `--to 2026-11-22`")
                    );
                }
                Points::Grid { step: every.micros(), align: align.micros() }
            }
            Emit::At(moments) => {
                let mut moments = moments.iter().map(|at| at.micros()).collect::<Vec<_>>();
                moments.sort_unstable();
                moments.dedup();
                Points::List(moments)
            }
            other => return Err(Error::internal(format!("`{other:?}` is no schedule"))),
        };
        let (from, last) = match range.to.map(|to| to.micros().checked_sub(1)) {
            None => (range.from.map_or(i64::MIN, Timestamp::micros), i64::MAX),
            Some(Some(last)) => (range.from.map_or(i64::MIN, Timestamp::micros), last),
            // Nothing lies before the first moment of all.
            Some(None) => (i64::MAX, i64::MIN),
        };
        Ok(Self { points, idle: spec.idle.map(Span::micros), from, last })
    }

    /// The points from each event on, until the next one or until the entity is idle.
    ///
    /// Whether there is a row depends on no later event: a user who comes back does not make rows
    /// for the time away, which would tell a model about the future.
    fn runs(&self, times: &[i64]) -> impl Iterator<Item = Run> {
        times.iter().enumerate().filter_map(|(event, &time)| {
            // Of events of one time the last one has the points.
            let next = times.get(event + 1).map_or(Some(i64::MAX), |next| next.checked_sub(1))?;
            let idle = self.idle.map_or(i64::MAX, |idle| time.saturating_add(idle));
            let end = idle.min(next).min(self.last);
            let (first, count) = self.points.between(time.max(self.from), end)?;
            Some(Run { event, first, count })
        })
    }

    fn count(&self, times: &[i64]) -> u64 {
        self.runs(times).fold(0, |count, run| count.saturating_add(run.count))
    }

    /// Ranges with so many of an entity's points each.
    fn cut(&self, times: &[i64], rows_max: u64) -> Vec<TimeRange> {
        let moment = |point: i64| Some(Timestamp::from_micros(point));
        let (mut ranges, mut from, mut rows) = (Vec::new(), moment(self.from), 0);
        for run in self.runs(times) {
            let mut done = 0;
            while rows + (run.count - done) > rows_max {
                done += rows_max - rows;
                let to = moment(self.points.at(run, done));
                ranges.push(TimeRange { from, to });
                (from, rows) = (to, 0);
            }
            rows += run.count - done;
        }
        let to = self.last.checked_add(1).and_then(moment);
        ranges.push(TimeRange { from, to });
        ranges
    }

    fn emit(&self, rows: &mut Rows, events: &Events<'_>, entity: Range<usize>) {
        for run in self.runs(&events.times[entity.clone()]) {
            let points = (0..run.count).map(|point| self.points.at(run, point));
            points.for_each(|point| rows.push(point, entity.start + run.event));
        }
    }
}

impl Points {
    /// Where the first point from `from` to `end` is, and how many there are.
    fn between(&self, from: i64, end: i64) -> Option<(i64, u64)> {
        match self {
            Self::Grid { step, align } => {
                // Both remainders are below the step, so their difference is a number that there is.
                let past = (from.rem_euclid(*step) - align.rem_euclid(*step)).rem_euclid(*step);
                let first = if past == 0 { from } else { from.checked_add(step - past)? };
                let count = || end.abs_diff(first) / step.unsigned_abs() + 1;
                (first <= end).then(|| (first, count()))
            }
            Self::List(moments) => {
                let first = moments.partition_point(|moment| *moment < from);
                let after = moments.partition_point(|moment| *moment <= end);
                let count = after.checked_sub(first).filter(|count| *count > 0)?;
                Some((first as i64, count as u64))
            }
        }
    }

    /// A point of a run by its number, which is below the run's count.
    fn at(&self, run: Run, point: u64) -> i64 {
        match self {
            // Rows are counted below 2^32.
            Self::Grid { step, .. } => run.first + point as i64 * step,
            Self::List(moments) => {
                moments.get(run.first as usize + point as usize).copied().unwrap_or(i64::MAX)
            }
        }
    }
}

/// Points that follow an event.
#[derive(Debug, Clone, Copy)]
struct Run {
    event: usize,
    /// The moment of the first one on a grid, its place in a list.
    first: i64,
    count: u64,
}
