//! Units of the calendar.

use chrono::{DateTime, Months};

use super::civil::{first_day_of, month_of};

const SECOND: i64 = 1_000_000;
const SECONDS_OF_DAY: i64 = 86_400;
/// Microseconds in a day.
pub(super) const DAY: i64 = SECONDS_OF_DAY * SECOND;
/// Days from a Monday to 1970-01-01, which was a Thursday.
const MONDAY_OFFSET: i64 = 3;

/// A unit of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::dialect) enum Unit {
    Microsecond,
    Millisecond,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
}

impl Unit {
    /// Reads a unit as any of the engines writes it.
    pub(in crate::dialect) fn parse(text: &str) -> Option<Self> {
        let lower = text.to_ascii_lowercase();
        Some(match lower.strip_suffix('s').filter(|rest| rest.len() > 2).unwrap_or(&lower) {
            "microsecond" | "us" => Self::Microsecond,
            "millisecond" | "ms" => Self::Millisecond,
            "second" | "sec" | "ss" => Self::Second,
            "minute" | "min" | "mi" => Self::Minute,
            "hour" | "hh" => Self::Hour,
            "day" | "dd" | "d" => Self::Day,
            "week" | "wk" | "isoweek" => Self::Week,
            "month" | "mon" | "mm" => Self::Month,
            "quarter" | "qtr" => Self::Quarter,
            "year" | "yyyy" | "yy" | "y" => Self::Year,
            _ => return None,
        })
    }

    /// Its name.
    pub(in crate::dialect) const fn name(self) -> &'static str {
        match self {
            Self::Microsecond => "microsecond",
            Self::Millisecond => "millisecond",
            Self::Second => "second",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Quarter => "quarter",
            Self::Year => "year",
        }
    }

    /// Whether dates are made of it.
    pub(super) const fn is_date(self) -> bool {
        matches!(self, Self::Day | Self::Week | Self::Month | Self::Quarter | Self::Year)
    }

    /// A moment, so many units later: a day that a month lacks becomes its last one.
    pub(super) fn later(self, micros: i64, count: i64) -> Option<i64> {
        match self.span() {
            Span::Micros(span) => micros.checked_add(count.checked_mul(span)?),
            Span::Months(span) => {
                let moment = DateTime::from_timestamp_micros(micros)?;
                let months = u32::try_from(count.unsigned_abs()).ok()?.checked_mul(span)?;
                let months = Months::new(months);
                let later = if count < 0 {
                    moment.checked_sub_months(months)
                } else {
                    moment.checked_add_months(months)
                };
                Some(later?.timestamp_micros())
            }
        }
    }

    /// The number of the last border at or before a moment.
    pub(super) fn border(self, micros: i64) -> i64 {
        match self {
            Self::Week => (micros.div_euclid(DAY) + MONDAY_OFFSET).div_euclid(7),
            _ => match self.span() {
                Span::Micros(span) => micros.div_euclid(span),
                Span::Months(span) => month_of(micros.div_euclid(DAY)).div_euclid(i64::from(span)),
            },
        }
    }

    /// The last border at or before a moment, both in so many parts of a second; `None` where that
    /// leaves 64 bits.
    pub(super) fn start(self, moment: i64, per_second: i64) -> Option<i64> {
        let day = SECONDS_OF_DAY * per_second;
        match (self, self.span()) {
            (Self::Week, _) => {
                let days = moment.div_euclid(day);
                (days - (days + MONDAY_OFFSET).rem_euclid(7)).checked_mul(day)
            }
            (_, Span::Micros(micros)) => {
                let width = match per_second / SECOND {
                    // Units that are shorter than what is counted have a border at each moment.
                    0 => (micros / (SECOND / per_second)).max(1),
                    finer => micros * finer,
                };
                moment.checked_sub(moment.rem_euclid(width))
            }
            (_, Span::Months(months)) => {
                let (month, months) = (month_of(moment.div_euclid(day)), i64::from(months));
                first_day_of(month - month.rem_euclid(months)).checked_mul(day)
            }
        }
    }

    /// Whether its borders depend on the time of day somewhere.
    pub(super) const fn is_local(self) -> bool {
        self.is_date() || matches!(self, Self::Hour)
    }

    const fn span(self) -> Span {
        match self {
            Self::Microsecond => Span::Micros(1),
            Self::Millisecond => Span::Micros(1000),
            Self::Second => Span::Micros(SECOND),
            Self::Minute => Span::Micros(60 * SECOND),
            Self::Hour => Span::Micros(3600 * SECOND),
            Self::Day => Span::Micros(DAY),
            Self::Week => Span::Micros(7 * DAY),
            Self::Month => Span::Months(1),
            Self::Quarter => Span::Months(3),
            Self::Year => Span::Months(12),
        }
    }
}

enum Span {
    Micros(i64),
    Months(u32),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> i64 {
        icecore_core::Timestamp::parse(text).unwrap().micros()
    }

    #[test]
    fn months_end_where_they_end() {
        let later = |unit: Unit, from: &str, count| unit.later(at(from), count);
        assert_eq!(later(Unit::Month, "2024-01-31", 1), Some(at("2024-02-29")));
        assert_eq!(later(Unit::Year, "2024-02-29", -1), Some(at("2023-02-28")));
        assert_eq!(later(Unit::Quarter, "2023-11-30", 1), Some(at("2024-02-29")));
        assert_eq!(later(Unit::Day, "1970-01-01", -1), Some(at("1969-12-31")));
        assert_eq!(Unit::Day.later(i64::MAX, 1), None);
        assert_eq!(Unit::Month.later(0, i64::MAX), None);
    }

    #[test]
    fn borders_are_counted_before_and_after_1970() {
        let between =
            |unit: Unit, from: &str, to: &str| unit.border(at(to)) - unit.border(at(from));
        assert_eq!(between(Unit::Day, "1969-12-31T23:59:59Z", "1970-01-01T00:00:00Z"), 1);
        assert_eq!(between(Unit::Week, "2026-11-22", "2026-11-23"), 1, "Sunday to Monday");
        assert_eq!(between(Unit::Week, "2026-11-23", "2026-11-29"), 0);
        assert_eq!(between(Unit::Month, "2024-01-31", "2024-02-01"), 1);
        assert_eq!(between(Unit::Year, "2024-12-31", "2024-01-01"), 0);
        assert_eq!(between(Unit::Quarter, "1969-12-31", "1970-01-01"), 1);
    }

    #[test]
    fn every_unit_reads_its_own_name() {
        for text in
            ["microsecond", "MS", "secs", "minutes", "HOUR", "d", "weeks", "mm", "quarter", "yy"]
        {
            let unit = Unit::parse(text).unwrap();
            assert_eq!(Unit::parse(unit.name()), Some(unit), "{text}");
        }
        assert_eq!(Unit::parse("fortnight"), None);
    }
}
