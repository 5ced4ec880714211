//! Moments, dates and spans. All times are UTC, in microseconds.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Microseconds of a day.
const DAY_MICROS: i64 = 86_400_000_000;

/// A moment: microseconds since 1970-01-01T00:00:00Z, before it negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From microseconds since the epoch.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// From milliseconds since the epoch, saturating.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1000))
    }

    /// Microseconds since the epoch.
    #[must_use]
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Milliseconds since the epoch, rounded down.
    #[must_use]
    pub const fn millis(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// The UTC date that this moment lies in.
    #[must_use]
    pub fn date(self) -> Date {
        // |i64::MIN / DAY_MICROS| is below 2^27.
        Date(i32::try_from(self.0.div_euclid(DAY_MICROS)).unwrap_or(i32::MAX))
    }

    /// Parses RFC 3339 (`2026-11-22T10:00:00Z`, any offset), or a bare date, which means its
    /// midnight in UTC.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput), with a hint where only the
    /// zone is missing.
    pub fn parse(text: &str) -> Result<Self> {
        if let Ok(moment) = DateTime::parse_from_rfc3339(text) {
            return Ok(Self(moment.timestamp_micros()));
        }
        if let Ok(date) = Date::parse(text) {
            return Ok(date.midnight());
        }
        let error = Error::invalid(format!("`{text}` is not a time"));
        let naive = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"];
        if naive.iter().any(|form| NaiveDateTime::parse_from_str(text, form).is_ok()) {
            let fixed = text.replacen(' ', "T", 1);
            return Err(error
                .with_note("a time without a zone means different moments in different places")
                .with_help(format!("write `{fixed}Z` for UTC")));
        }
        Err(error.with_help(
            "write RFC 3339 such as `2026-11-22T10:00:00Z`, or a date such as `2026-11-22`",
        ))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match DateTime::from_timestamp_micros(self.0) {
            Some(moment) => f.write_str(&moment.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
            None => write!(f, "{}us", self.0),
        }
    }
}

impl FromStr for Timestamp {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// A UTC date: days since 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date(i32);

impl Date {
    /// From days since the epoch.
    #[must_use]
    pub const fn from_days(days: i32) -> Self {
        Self(days)
    }

    /// Days since the epoch.
    #[must_use]
    pub const fn days(self) -> i32 {
        self.0
    }

    /// The first moment of the date.
    #[must_use]
    pub const fn midnight(self) -> Timestamp {
        Timestamp(self.0 as i64 * DAY_MICROS)
    }

    /// The date `days` later, saturating.
    #[must_use]
    pub const fn plus_days(self, days: i32) -> Self {
        Self(self.0.saturating_add(days))
    }

    /// Parses `YYYY-MM-DD`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for anything else.
    pub fn parse(text: &str) -> Result<Self> {
        NaiveDate::parse_from_str(text, "%Y-%m-%d").map(|date| Self(date.to_epoch_days())).map_err(
            |error| {
                Error::invalid(format!("`{text}` is not a date"))
                    .with_source(error)
                    .with_help("write it as `YYYY-MM-DD`, such as `2026-11-22`")
            },
        )
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NaiveDate::from_epoch_days(self.0) {
            Some(date) => date.fmt(f),
            None => write!(f, "day {}", self.0),
        }
    }
}

impl FromStr for Date {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl Serialize for Date {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Date {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// A length of time, in microseconds, as users write it: `500ms`, `90s`, `5m`, `24h`, `7d`, `2w`, `1y`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(i64);

impl Span {
    /// From microseconds.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// From days of 24 hours, saturating.
    #[must_use]
    pub const fn from_days(days: i64) -> Self {
        Self(days.saturating_mul(DAY_MICROS))
    }

    /// Microseconds.
    #[must_use]
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Parses a positive whole number and a unit: `us`, `ms`, `s`, `m`, `h`, `d`, `w`,
    /// and `y` for 365 days.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for anything else.
    pub fn parse(text: &str) -> Result<Self> {
        let error = || {
            Error::invalid(format!("`{text}` is not a duration")).with_help(
                "write a positive whole number and a unit, such as `90s`, `5m`, `24h` or `7d`",
            )
        };
        let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(error)?;
        let count: i64 = text[..split].parse().map_err(|_| error())?;
        let unit = UNITS.iter().find(|(_, name)| *name == &text[split..]).ok_or_else(error)?;
        match count.checked_mul(unit.0) {
            Some(micros) if micros > 0 => Ok(Self(micros)),
            _ => Err(error()),
        }
    }
}

/// From the largest that a span is written in to the smallest.
const UNITS: [(i64, &str); 8] = [
    (365 * DAY_MICROS, "y"),
    (7 * DAY_MICROS, "w"),
    (DAY_MICROS, "d"),
    (3_600_000_000, "h"),
    (60_000_000, "m"),
    (1_000_000, "s"),
    (1000, "ms"),
    (1, "us"),
];

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Weeks and years are read but not written: `7d` is how the field names its windows.
        let unit = UNITS[2..].iter().find(|(micros, _)| self.0 % micros == 0);
        let (micros, name) = unit.copied().unwrap_or((1, "us"));
        write!(f, "{}{name}", self.0 / micros)
    }
}

impl FromStr for Span {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl Serialize for Span {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// A half-open range of moments: `from <= t < to`, an absent end being unbounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TimeRange {
    /// The first moment inside.
    pub from: Option<Timestamp>,
    /// The first moment after.
    pub to: Option<Timestamp>,
}

impl TimeRange {
    /// Whether `moment` lies inside.
    #[must_use]
    pub fn contains(&self, moment: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= moment) && self.to.is_none_or(|to| moment < to)
    }
}

/// Where the present comes from. Jobs take one, so that nothing reads the wall clock twice.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The present moment.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one clock that others are told to take"
    )]
    fn now(&self) -> Timestamp {
        Timestamp(chrono::Utc::now().timestamp_micros())
    }
}

/// A clock that stands still: for tests, and for jobs that run `--as-of` a moment.
#[derive(Debug, Clone, Copy)]
pub struct FixedClock(pub Timestamp);

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        self.0
    }
}

#[cfg(test)]
mod tests;
