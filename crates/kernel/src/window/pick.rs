//! The first and the last event of each window that has a value.

use arrow::array::Int64Array;
use arrow::buffer::BooleanBuffer;

use super::bounds::Bounds;
use super::events::{Events, NO_ROW};
use super::order::{Keys, with_order};

const DAY_MICROS: i128 = 86_400_000_000;

/// For each event, the event with a value that is the latest up to it.
pub(crate) fn latest(rows: usize, valid: Option<&BooleanBuffer>) -> Vec<u32> {
    let mut latest = NO_ROW;
    let step = |row: usize| {
        if valid.is_none_or(|valid| valid.value(row)) {
            latest = row as u32;
        }
        latest
    };
    (0..rows).map(step).collect()
}

/// As [`latest`]; of events of one time the one with the greatest value. Right at the last event of
/// each time, which is where windows end.
pub(crate) fn latest_greatest(
    events: &Events<'_>,
    keys: &Keys,
    valid: Option<&BooleanBuffer>,
) -> Vec<u32> {
    let mut picks = vec![NO_ROW; events.times.len()];
    with_order!(keys, |at_most| {
        for entity in events.entities {
            let mut pick = None;
            for row in entity.clone() {
                if valid.is_none_or(|valid| valid.value(row))
                    && pick.is_none_or(|pick| {
                        events.times[pick] != events.times[row] || at_most(pick, row)
                    })
                {
                    pick = Some(row);
                }
                picks[row] = pick.map_or(NO_ROW, |pick| pick as u32);
            }
        }
    });
    picks
}

/// For each event, the event with a value that is the earliest from it on; of events of one time
/// the one with the least value. Right at the first event of each time, where windows start.
pub(crate) fn earliest(
    events: &Events<'_>,
    keys: &Keys,
    valid: Option<&BooleanBuffer>,
) -> Vec<u32> {
    let mut picks = vec![NO_ROW; events.times.len()];
    with_order!(keys, |at_most| {
        for entity in events.entities {
            let mut pick = None;
            for row in entity.clone().rev() {
                if valid.is_none_or(|valid| valid.value(row))
                    && pick.is_none_or(|pick| {
                        events.times[pick] != events.times[row] || at_most(row, pick)
                    })
                {
                    pick = Some(row);
                }
                picks[row] = pick.map_or(NO_ROW, |pick| pick as u32);
            }
        }
    });
    picks
}

/// The pick of each window from [`latest`] or [`latest_greatest`].
pub(crate) fn last_in_windows(latest: &[u32], bounds: Bounds<'_>) -> Vec<u32> {
    let last = |(start, end): (usize, usize)| {
        let pick = end.checked_sub(1).map_or(NO_ROW, |last| latest[last]);
        // An earlier event, or one of another entity, lies before the window.
        if start < end && pick != NO_ROW && pick as usize >= start { pick } else { NO_ROW }
    };
    bounds.iter().map(last).collect()
}

/// The pick of each window from [`earliest`].
pub(crate) fn first_in_windows(earliest: &[u32], bounds: Bounds<'_>) -> Vec<u32> {
    let first = |(start, end): (usize, usize)| match earliest.get(start) {
        Some(&pick) if (pick as usize) < end => pick,
        _ => NO_ROW,
    };
    bounds.iter().map(first).collect()
}

/// Whole days from the picked events to the rows' moments.
pub(crate) fn days_since(picks: &[u32], times: &[i64], moments: &[i64]) -> Int64Array {
    let days = |(pick, moment): (&u32, &i64)| days_between(*times.get(*pick as usize)?, *moment);
    picks.iter().zip(moments).map(days).collect()
}

/// Whole days from one moment to another.
pub(crate) fn days_between(time: i64, moment: i64) -> Option<i64> {
    // All of time has fewer days than this can hold.
    i64::try_from((i128::from(moment) - i128::from(time)).div_euclid(DAY_MICROS)).ok()
}
