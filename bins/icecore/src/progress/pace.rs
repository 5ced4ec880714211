//! How long the rest of a piece of work takes, if it goes on as it went.

use std::time::{Duration, Instant};

/// Less than that says nothing about the pace.
const SEEN_MIN: Duration = Duration::from_secs(2);

/// When work of a known size was first seen, and how far it was then.
#[derive(Debug, Default)]
pub(super) struct Pace(Option<Begun>);

#[derive(Debug, Clone, Copy)]
struct Begun {
    at: Instant,
    done: u64,
    of: u64,
    latest: u64,
}

impl Pace {
    /// How long the parts that are not done take, or `None` while nobody can tell. What was done
    /// before it was first seen (by a run that was killed, say) tells nothing about the pace.
    pub(super) fn left(&mut self, now: Instant, done: u64, of: u64) -> Option<Duration> {
        let known = self.0.filter(|begun| begun.of == of && begun.latest <= done);
        // Fewer parts, or of another whole, are another piece of work.
        let begun = known.unwrap_or(Begun { at: now, done, of, latest: done });
        self.0 = Some(Begun { latest: done, ..begun });
        let seen = now.saturating_duration_since(begun.at);
        let (parts, rest) = (done - begun.done, of.saturating_sub(done));
        let left = (seen.as_nanos() * u128::from(rest)).checked_div(u128::from(parts))?;
        let left = Duration::from_nanos(u64::try_from(left).ok()?);
        (seen >= SEEN_MIN).then_some(left)
    }
}

/// A length of time for people.
pub(super) fn words(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..100 => format!("{} s", seconds.max(1)),
        seconds @ 100..6_000 => format!("{} min", seconds.div_ceil(60)),
        seconds => format!("{} h", seconds.div_ceil(3_600)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_takes_as_long_as_what_was_seen_for_each_part() {
        let begun = Instant::now();
        let mut pace = Pace::default();
        let mut left = |second, done, of| {
            let now = begun + Duration::from_secs(second);
            pace.left(now, done, of).map(|left| left.as_secs())
        };
        assert_eq!(left(0, 4, 12), None, "four were done before");
        assert_eq!(left(1, 5, 12), None, "too early to tell");
        assert_eq!(left(20, 6, 12), Some(60));
        assert_eq!(left(20, 12, 12), Some(0));
        assert_eq!(left(30, 0, 12), None, "the next piece of work");
        assert_eq!(left(40, 1, 12), Some(110));
        assert_eq!(left(50, 2, 3), None, "another whole");
    }

    #[test]
    fn a_time_is_told_in_the_unit_that_fits() {
        let told = |seconds| words(Duration::from_secs(seconds));
        assert_eq!(told(0), "1 s");
        assert_eq!(told(99), "99 s");
        assert_eq!(told(110), "2 min");
        assert_eq!(told(7_300), "3 h");
    }
}
