//! Parameters as a user writes them, and their checks.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Bound, RangeBounds};

use icecore_core::{Error, Result};
use serde::{Deserialize, Serialize};

/// A parameter's value, as a training file or a command line gives it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ParamValue {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// Text. A number in text is taken as the number.
    Text(String),
}

impl ParamValue {
    fn as_float(&self) -> Option<f64> {
        match self {
            Self::Bool(_) => None,
            Self::Int(value) => Some(*value as f64),
            Self::Float(value) => Some(*value),
            Self::Text(text) => text.trim().parse().ok(),
        }
        .filter(|value| !value.is_nan())
    }

    fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(*value),
            // Up to 2^53 a double is the integer that it shows.
            Self::Float(value) if value.fract() == 0.0 && value.abs() <= 9.0e15 => {
                Some(*value as i64)
            }
            Self::Text(text) => text.trim().parse().ok(),
            Self::Bool(_) | Self::Float(_) => None,
        }
    }
}

impl fmt::Display for ParamValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => value.fmt(f),
            Self::Int(value) => value.fmt(f),
            Self::Float(value) => value.fmt(f),
            Self::Text(value) => value.fmt(f),
        }
    }
}

impl From<bool> for ParamValue {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for ParamValue {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<f64> for ParamValue {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<&str> for ParamValue {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

/// Reads the parameters of one algorithm and finds every mistake in one pass.
#[derive(Debug)]
pub(crate) struct ParamReader<'a> {
    algorithm: &'static str,
    given: &'a BTreeMap<String, ParamValue>,
    known: Vec<&'static str>,
    effective: BTreeMap<String, String>,
    errors: Vec<Error>,
}

impl<'a> ParamReader<'a> {
    pub(crate) fn new(algorithm: &'static str, given: &'a BTreeMap<String, ParamValue>) -> Self {
        Self { algorithm, given, known: Vec::new(), effective: BTreeMap::new(), errors: Vec::new() }
    }

    /// A whole number within a range.
    pub(crate) fn int(
        &mut self,
        name: &'static str,
        default: i64,
        range: impl RangeBounds<i64>,
    ) -> i64 {
        let value = self.read(name, default, ParamValue::as_int, ("a whole number", &range));
        self.effective.insert(name.to_owned(), value.to_string());
        value
    }

    /// A number within a range.
    pub(crate) fn float(
        &mut self,
        name: &'static str,
        default: f64,
        range: impl RangeBounds<f64>,
    ) -> f64 {
        let value = self.read(name, default, ParamValue::as_float, ("a number", &range));
        self.effective.insert(name.to_owned(), value.to_string());
        value
    }

    /// How many threads to use, zero for the pool of the caller. It changes no model, so it is
    /// not among the effective parameters.
    pub(crate) fn threads(&mut self) -> usize {
        let range = 0..=1024;
        let value = self.read("threads", 0, ParamValue::as_int, ("a whole number", &range));
        usize::try_from(value).unwrap_or(0)
    }

    /// Every parameter with its value.
    pub(crate) fn finish(mut self) -> Result<BTreeMap<String, String>> {
        for name in self.given.keys() {
            if !self.known.contains(&name.as_str()) {
                let error = Error::invalid(format!(
                    "algorithm `{}` has no parameter `{name}`",
                    self.algorithm
                ));
                self.errors.push(
                    error
                        .with_candidates(name, self.known.iter().copied())
                        .with_note(format!("parameters: {}", self.known.join(", "))),
                );
            }
        }
        let mut errors = self.errors.into_iter();
        match errors.next() {
            None => Ok(self.effective),
            Some(first) => Err(first.with_related(errors.collect())),
        }
    }

    fn read<T: PartialOrd + fmt::Display + Copy>(
        &mut self,
        name: &'static str,
        default: T,
        convert: impl Fn(&ParamValue) -> Option<T>,
        (kind, range): (&str, &impl RangeBounds<T>),
    ) -> T {
        self.known.push(name);
        let Some(given) = self.given.get(name) else { return default };
        match convert(given) {
            Some(value) if range.contains(&value) => value,
            _ => {
                self.errors.push(
                    Error::invalid(format!(
                        "parameter `{name}` of `{}` is `{given}`",
                        self.algorithm
                    ))
                    .with_help(format!("give {kind} {}", describe(range))),
                );
                default
            }
        }
    }
}

fn describe<T: fmt::Display>(range: &impl RangeBounds<T>) -> String {
    let low = match range.start_bound() {
        Bound::Included(low) => format!("from {low}"),
        Bound::Excluded(low) => format!("above {low}"),
        Bound::Unbounded => String::new(),
    };
    let high = match range.end_bound() {
        Bound::Included(high) => format!(" to {high}"),
        Bound::Excluded(high) => format!(" to below {high}"),
        Bound::Unbounded => String::new(),
    };
    format!("{low}{high}").trim_start().to_owned()
}

/// Greater than zero, at most `high`.
pub(crate) const fn positive_to(high: f64) -> (Bound<f64>, Bound<f64>) {
    (Bound::Excluded(0.0), Bound::Included(high))
}
