//! Parameters as a user writes them, and their checks.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Bound, RangeBounds};

use icecore_core::{Error, ParamValue, Result};

/// Reads the parameters of one algorithm or step and finds every mistake in one pass.
#[derive(Debug)]
pub(crate) struct ParamReader<'a> {
    /// What has the parameters: `algorithm` or `step`.
    kind: &'static str,
    name: &'static str,
    given: &'a BTreeMap<String, ParamValue>,
    known: Vec<&'static str>,
    effective: BTreeMap<String, String>,
    errors: Vec<Error>,
}

impl<'a> ParamReader<'a> {
    pub(crate) fn new(algorithm: &'static str, given: &'a BTreeMap<String, ParamValue>) -> Self {
        Self::of("algorithm", algorithm, given)
    }

    /// Reads the parameters of a step of preprocessing.
    pub(crate) fn of_step(step: &'static str, given: &'a BTreeMap<String, ParamValue>) -> Self {
        Self::of("step", step, given)
    }

    fn of(kind: &'static str, name: &'static str, given: &'a BTreeMap<String, ParamValue>) -> Self {
        let (known, effective, errors) = (Vec::new(), BTreeMap::new(), Vec::new());
        Self { kind, name, given, known, effective, errors }
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

    /// One of these words.
    pub(crate) fn choice(
        &mut self,
        name: &'static str,
        default: &str,
        choices: &[&'static str],
    ) -> String {
        self.known.push(name);
        let given = self.given.get(name).map(ToString::to_string);
        let mut value = given.unwrap_or_else(|| default.to_owned());
        if !choices.contains(&value.as_str()) {
            let error =
                Error::invalid(format!("parameter `{name}` of `{}` is `{value}`", self.name));
            self.errors.push(
                error
                    .with_help(format!("give one of {}", choices.join(", ")))
                    .with_candidates(&value, choices.iter().copied()),
            );
            value = default.to_owned();
        }
        self.effective.insert(name.to_owned(), value.clone());
        value
    }

    /// Text; empty where it is not given.
    pub(crate) fn text(&mut self, name: &'static str) -> String {
        self.known.push(name);
        let value = self.given.get(name).map(ToString::to_string).unwrap_or_default();
        self.effective.insert(name.to_owned(), value.clone());
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
                    "{} `{}` has no parameter `{name}`",
                    self.kind, self.name
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
                    Error::invalid(format!("parameter `{name}` of `{}` is `{given}`", self.name))
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
