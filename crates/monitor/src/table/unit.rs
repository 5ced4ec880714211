//! Hours, days, months and years that partitions are of, counted since 1970.

use icecore_core::{Date, Timestamp};

const HOUR_MICROS: i64 = 3_600_000_000;

/// What a partition by time is one of, from the smallest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Unit {
    Hour,
    Day,
    Month,
    Year,
}

impl Unit {
    /// The one that a moment lies in.
    pub(super) fn of(self, at: Timestamp) -> Option<i64> {
        let day = at.date();
        match self {
            Self::Hour => Some(at.micros().div_euclid(HOUR_MICROS)),
            Self::Day => Some(i64::from(day.days())),
            Self::Month => month_of(&day.to_string()),
            Self::Year => Some(month_of(&day.to_string())?.div_euclid(12)),
        }
    }

    /// The name of one, as partitions have it.
    pub(super) fn name(self, one: i64) -> Option<String> {
        let day =
            |days: i64| i32::try_from(days).ok().map(|days| Date::from_days(days).to_string());
        Some(match self {
            Self::Hour => format!("{}T{:02}", day(one.div_euclid(24))?, one.rem_euclid(24)),
            Self::Day => day(one)?,
            Self::Month => {
                format!(
                    "{:04}-{:02}",
                    one.div_euclid(12).checked_add(1970)?,
                    one.rem_euclid(12) + 1
                )
            }
            Self::Year => format!("{:04}", one.checked_add(1970)?),
        })
    }

    /// What a name is one of, and which.
    pub(super) fn parse(text: &str) -> Option<(Self, i64)> {
        match text.len() {
            4 => Some((Self::Year, year(text)?)),
            7 => Some((Self::Month, month_of(text)?)),
            10 => Some((Self::Day, i64::from(Date::parse(text).ok()?.days()))),
            13 => {
                let (day, hour) = text.split_once('T')?;
                let hour =
                    hour.parse::<u8>().ok().filter(|hour| *hour < 24 && hour_is_plain(text))?;
                Some((Self::Hour, i64::from(Date::parse(day).ok()?.days()) * 24 + i64::from(hour)))
            }
            _ => None,
        }
    }

    /// The first and the last one in a larger one; nothing in a smaller.
    pub(super) fn within(self, larger: Self, one: i64) -> Option<(i64, i64)> {
        if larger == self {
            return Some((one, one));
        }
        let (next, first, last) = match larger {
            Self::Hour => return None,
            Self::Day => (Self::Hour, one.checked_mul(24)?, one.checked_mul(24)?.checked_add(23)?),
            Self::Month => (Self::Day, first_day(one)?, first_day(one.checked_add(1)?)? - 1),
            Self::Year => {
                (Self::Month, one.checked_mul(12)?, one.checked_mul(12)?.checked_add(11)?)
            }
        };
        if next < self {
            return None;
        }
        Some((self.within(next, first)?.0, self.within(next, last)?.1))
    }

    /// How many of these a unit of time is, by its letter.
    pub(super) fn count_of(self, letter: &str) -> Option<i64> {
        match (self, letter) {
            (Self::Hour, "h") | (Self::Day, "d") | (Self::Month, "mo") | (Self::Year, "y") => {
                Some(1)
            }
            (Self::Hour, "d") => Some(24),
            (Self::Hour, "w") => Some(24 * 7),
            (Self::Day, "w") => Some(7),
            (Self::Month, "y") => Some(12),
            _ => None,
        }
    }

    /// An example of its name, and of a time ago.
    pub(super) const fn examples(self) -> (&'static str, &'static str) {
        match self {
            Self::Hour => ("2026-07-01T10", "-1h"),
            Self::Day => ("2026-07-01", "-1d"),
            Self::Month => ("2026-07", "-1mo"),
            Self::Year => ("2026", "-1y"),
        }
    }
}

fn hour_is_plain(text: &str) -> bool {
    text.bytes().rev().take(2).all(|byte| byte.is_ascii_digit())
}

fn year(text: &str) -> Option<i64> {
    let is_plain = text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse::<i64>().ok().filter(|_| is_plain).map(|year| year - 1970)
}

/// The month of a text that begins with `YYYY-MM`.
fn month_of(text: &str) -> Option<i64> {
    let (years, rest) = text.split_at_checked(4)?;
    let month = rest.strip_prefix('-')?.get(..2)?;
    let is_plain = month.bytes().all(|byte| byte.is_ascii_digit());
    let month = month.parse::<i64>().ok().filter(|month| is_plain && (1..=12).contains(month))?;
    Some(year(years)? * 12 + month - 1)
}

fn first_day(month: i64) -> Option<i64> {
    let day = Date::parse(&format!("{}-01", Unit::Month.name(month)?)).ok()?;
    Some(i64::from(day.days()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UNITS: [Unit; 4] = [Unit::Hour, Unit::Day, Unit::Month, Unit::Year];

    proptest! {
        #[test]
        fn names_are_read_as_what_they_name(micros in 0..=4_000_000_000_000_000_i64) {
            let at = Timestamp::from_micros(micros);
            for unit in UNITS {
                let one = unit.of(at).unwrap();
                prop_assert_eq!(Unit::parse(&unit.name(one).unwrap()), Some((unit, one)));
                for larger in UNITS.into_iter().filter(|larger| *larger >= unit) {
                    let (first, last) = unit.within(larger, larger.of(at).unwrap()).unwrap();
                    prop_assert!(first <= one && one <= last);
                    let name = |one| unit.name(one).unwrap();
                    let outer = larger.name(larger.of(at).unwrap()).unwrap();
                    prop_assert!(name(first).starts_with(&outer) && name(last).starts_with(&outer));
                    prop_assert!(!name(first - 1).starts_with(&outer));
                    prop_assert!(!name(last + 1).starts_with(&outer));
                }
            }
        }
    }

    #[test]
    fn what_names_no_time_is_none() {
        for text in
            ["", "yesterday", "2026-13", "2026-02-30", "2026-07-01T24", "2026-07-01T+1", "20x6"]
        {
            assert_eq!(Unit::parse(text), None, "{text}");
        }
        assert_eq!(Unit::Day.within(Unit::Hour, 5), None);
    }
}
