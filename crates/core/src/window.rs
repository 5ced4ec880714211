//! Windows of time: which moments one holds, seen from the moment that a feature row stands for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Error, Result, Span, TimeRange, Timestamp};

/// Which ends of a window `[start, end]` belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Closed {
    /// `[start, end]`
    #[default]
    Both,
    /// `[start, end)`
    Left,
    /// `(start, end]`
    Right,
    /// `(start, end)`
    None,
}

/// Where a window starts and ends, seen from a moment `t`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Shape {
    /// The last so-long: it starts that long before `t` and ends at `t`.
    Last(Span),
    /// Everything up to `t`.
    Lifetime,
    /// The latest complete one of windows that follow each other in steps. It ends at the latest
    /// step that is not after `t`. Windows as long as their steps tumble: each moment is in one.
    Hopping {
        /// How long each window is.
        length: Span,
        /// How far apart they end.
        every: Span,
        /// How far after the epoch one of them ends.
        align: Span,
    },
    /// From the latest step that is not after `t` up to `t`: today so far, this week so far.
    ToDate {
        /// How far apart the starts are.
        every: Span,
        /// How far after the epoch one of them lies.
        align: Span,
    },
}

/// A window of time, as it is seen from a moment: by default from the moment of the feature row,
/// with an offset from so long before it.
///
/// As text: `7d`, `lifetime`, `tumbling 1d`, `hopping 1h every 5m`, `to date 1d`, each with
/// `align 8h` where it has steps and with `offset 7d`.
///
/// ```
/// use icecore_core::{Closed, Timestamp, Window};
///
/// # fn main() -> icecore_core::Result<()> {
/// let noon = Timestamp::parse("2026-11-22T12:00:00Z")?;
/// let yesterday = Window::parse("tumbling 1d")?.range(Closed::Left, noon);
/// assert_eq!(yesterday.from, Some(Timestamp::parse("2026-11-21")?));
/// assert_eq!(yesterday.to, Some(Timestamp::parse("2026-11-22")?));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Window {
    /// Where it starts and ends.
    pub shape: Shape,
    /// How long before the row's moment it is seen from.
    pub offset: Span,
}

const NOTHING: Span = Span::from_micros(0);

impl Window {
    /// Everything so far.
    pub const LIFETIME: Self = Self::of(Shape::Lifetime);

    const fn of(shape: Shape) -> Self {
        Self { shape, offset: NOTHING }
    }

    /// The last so-long.
    #[must_use]
    pub const fn last(span: Span) -> Self {
        Self::of(Shape::Last(span))
    }

    /// The latest complete one of windows that follow each other without a gap.
    #[must_use]
    pub const fn tumbling(length: Span) -> Self {
        Self::hopping(length, length)
    }

    /// The latest complete one of windows of a length, one of which ends at each step.
    #[must_use]
    pub const fn hopping(length: Span, every: Span) -> Self {
        Self::of(Shape::Hopping { length, every, align: NOTHING })
    }

    /// What came since the latest step: with a day, today so far.
    #[must_use]
    pub const fn to_date(every: Span) -> Self {
        Self::of(Shape::ToDate { every, align: NOTHING })
    }

    /// The window as it was seen so long ago.
    #[must_use]
    pub const fn with_offset(self, offset: Span) -> Self {
        Self { offset, ..self }
    }

    /// Moves the steps of a window that has some: midnight of another zone, Monday as the first day
    /// of a week.
    #[must_use]
    pub const fn with_align(self, to: Span) -> Self {
        let shape = match self.shape {
            Shape::Hopping { length, every, .. } => Shape::Hopping { length, every, align: to },
            Shape::ToDate { every, .. } => Shape::ToDate { every, align: to },
            other => other,
        };
        Self { shape, ..self }
    }

    /// Whether its ends stand on steps, so that `[start, end)` or `(start, end]` puts each moment
    /// into as many windows as every other.
    #[must_use]
    pub const fn is_stepped(self) -> bool {
        matches!(self.shape, Shape::Hopping { .. })
    }

    /// How long before a row an event in the window can lie at most; absent for a lifetime.
    #[must_use]
    pub fn reach(self) -> Option<Span> {
        let own = match self.shape {
            Shape::Lifetime => return None,
            Shape::Last(span) => span.micros(),
            Shape::Hopping { length, every, .. } => length.micros().saturating_add(every.micros()),
            Shape::ToDate { every, .. } => every.micros(),
        };
        Some(Span::from_micros(own.saturating_add(self.offset.micros())))
    }

    /// The moments in the window, seen from `moment`. Neither end goes back as `moment` goes on.
    #[must_use]
    pub fn range(self, closed: Closed, moment: Timestamp) -> TimeRange {
        let seen_from = i128::from(moment.micros()) - i128::from(self.offset.micros());
        let (start, end) = match self.shape {
            Shape::Lifetime => (i128::MIN, seen_from),
            Shape::Last(span) => (seen_from - i128::from(span.micros()), seen_from),
            Shape::Hopping { length, every, align } => {
                let end = step_before(seen_from, every, align);
                (end - i128::from(length.micros()), end)
            }
            Shape::ToDate { every, align } => (step_before(seen_from, every, align), seen_from),
        };
        let (with_start, with_end) = match closed {
            Closed::Both => (true, true),
            Closed::Left => (true, false),
            Closed::Right => (false, true),
            Closed::None => (false, false),
        };
        let from = if with_start { start } else { start.saturating_add(1) };
        let to = if with_end { end + 1 } else { end };
        half_open(from, to.max(from))
    }

    /// What is wrong with it, if anything is.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for a length or a step of
    /// nothing, and for an offset into the future.
    pub fn check(self) -> Result<()> {
        let (length, every) = match self.shape {
            Shape::Lifetime => (Span::from_micros(1), Span::from_micros(1)),
            Shape::Last(span) => (span, span),
            Shape::Hopping { length, every, .. } => (length, every),
            Shape::ToDate { every, .. } => (every, every),
        };
        if length.micros() <= 0 || every.micros() <= 0 {
            return Err(Error::invalid("a window must be longer than nothing"));
        }
        if self.offset.micros() < 0 {
            return Err(Error::invalid("a window cannot look into the future")
                .with_note("an offset counts back from the moment of the row"));
        }
        Ok(())
    }

    /// Reads a window as users write it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for anything else.
    pub fn parse(text: &str) -> Result<Self> {
        let words = text.split_whitespace().collect::<Vec<_>>();
        Self::from_words(&words).ok_or_else(|| not_a_window(text))
    }

    fn from_words(words: &[&str]) -> Option<Self> {
        let span = |text: &str| Span::parse(text).ok();
        let (window, mut rest) = match words {
            ["lifetime", rest @ ..] => (Self::LIFETIME, rest),
            ["tumbling", length, rest @ ..] => (Self::tumbling(span(length)?), rest),
            ["hopping", length, "every", every, rest @ ..] => {
                (Self::hopping(span(length)?, span(every)?), rest)
            }
            ["to", "date", every, rest @ ..] => (Self::to_date(span(every)?), rest),
            [length, rest @ ..] => (Self::last(span(length)?), rest),
            [] => return None,
        };
        let mut window = window;
        if let ["align", to, after @ ..] = rest {
            let is_stepped = matches!(window.shape, Shape::Hopping { .. } | Shape::ToDate { .. });
            window = is_stepped.then_some(window.with_align(span(to)?))?;
            rest = after;
        }
        match rest {
            [] => Some(window),
            ["offset", offset] => Some(window.with_offset(span(offset)?)),
            _ => None,
        }
    }

    /// The end of a feature's name: `7d`, `tumbling_1d`, `7d_offset_7d`; nothing for the lifetime.
    #[must_use]
    pub fn suffix(self) -> String {
        let text = self.to_string();
        let text = text.strip_prefix("lifetime").map_or(text.as_str(), str::trim_start);
        text.replace(' ', "_")
    }
}

/// The latest step that is not after a moment.
fn step_before(moment: i128, every: Span, align: Span) -> i128 {
    let (every, align) = (i128::from(every.micros()).max(1), i128::from(align.micros()));
    moment - (moment - align).rem_euclid(every)
}

/// `from <= t < to` in moments that there are. `from` is at most `to`.
fn half_open(from: i128, to: i128) -> TimeRange {
    let moment = |micros: i128| i64::try_from(micros).ok().map(Timestamp::from_micros);
    let least = Timestamp::from_micros(i64::MIN);
    if to <= i128::from(i64::MIN) {
        return TimeRange { from: Some(least), to: Some(least) };
    }
    if from > i128::from(i64::MAX) {
        let greatest = Some(Timestamp::from_micros(i64::MAX));
        return TimeRange { from: greatest, to: greatest };
    }
    TimeRange { from: moment(from), to: moment(to) }
}

fn not_a_window(text: &str) -> Error {
    let error = Error::invalid(format!("`{text}` is not a window"));
    let first = text.split_whitespace().next().unwrap_or_default();
    let help =
        "write a positive whole number and a unit, such as `90s`, `24h` or `7d`, or `lifetime`";
    let note =
        "also: `tumbling 1d`, `hopping 1h every 5m`, `to date 1d`, with `align 8h`, `offset 7d`";
    match crate::nearest(first, ["lifetime", "tumbling", "hopping"]) {
        Some(near) if near != first => error.with_help(format!("did you mean `{near}`?")),
        _ => error.with_note(note).with_help(help),
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut steps = NOTHING;
        match self.shape {
            Shape::Last(span) => span.fmt(f)?,
            Shape::Lifetime => f.write_str("lifetime")?,
            Shape::Hopping { length, every, align } if length == every => {
                write!(f, "tumbling {length}")?;
                steps = align;
            }
            Shape::Hopping { length, every, align } => {
                write!(f, "hopping {length} every {every}")?;
                steps = align;
            }
            Shape::ToDate { every, align } => {
                write!(f, "to date {every}")?;
                steps = align;
            }
        }
        if steps != NOTHING {
            write!(f, " align {steps}")?;
        }
        if self.offset != NOTHING {
            write!(f, " offset {}", self.offset)?;
        }
        Ok(())
    }
}

impl FromStr for Window {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl Serialize for Window {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Window {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
