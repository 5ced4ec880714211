//! The values that a parameter may have: a list, or a range.

use icecore_core::{Error, ParamValue, Result};
use serde::{Deserialize, Serialize};

use crate::arithmetic::{exp, ln};

/// The values that a parameter may have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "give a list of values, or a range such as { low = 0.01, high = 0.3, log = true }"
)]
pub enum Values {
    /// These.
    List(Vec<ParamValue>),
    /// Numbers between two.
    Range(Range),
}

/// Numbers from one to another, both of which are among them: whole ones, where both are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// The least.
    pub low: ParamValue,
    /// The greatest.
    pub high: ParamValue,
    /// Whether their logarithms are drawn evenly, not they themselves.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub log: bool,
    /// What lies between two of them; absent means 1 for whole numbers, else nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<ParamValue>,
}

impl Values {
    /// Refuses what has no value, or ends that are none.
    pub(super) fn check(&self, name: &str) -> Result<()> {
        match self {
            Self::List(values) if values.is_empty() => {
                Err(Error::invalid(format!("parameter `{name}` has no value to try"))
                    .with_help("give a list of at least one"))
            }
            Self::List(_) => Ok(()),
            Self::Range(range) => range.check(name),
        }
    }

    /// How many there are; none where they cannot be counted.
    pub(super) fn count(&self) -> Option<u128> {
        match self {
            Self::List(values) => Some(values.len() as u128),
            Self::Range(range) => range.count(),
        }
    }

    /// The value at a place.
    pub(super) fn at(&self, place: u128) -> Option<ParamValue> {
        match self {
            Self::List(values) => values.get(usize::try_from(place).ok()?).cloned(),
            Self::Range(range) => Some(range.at(place)),
        }
    }

    /// The value that a hash decides.
    pub(super) fn draw(&self, hash: u64) -> ParamValue {
        match (self, self.count().filter(|count| *count > 0)) {
            (_, Some(count)) => {
                // Of the hashes, each value has as many.
                let place = (u128::from(hash) * count.min(u128::from(u64::MAX))) >> 64;
                self.at(place).unwrap_or(ParamValue::Int(0))
            }
            (Self::Range(range), _) => range.between(unit(hash)),
            (Self::List(_), None) => ParamValue::Int(0),
        }
    }
}

/// A number from 0 to 1, without the latter.
fn unit(hash: u64) -> f64 {
    (hash >> 11) as f64 / 9_007_199_254_740_992.0
}

impl Range {
    fn check(&self, name: &str) -> Result<()> {
        let refused = |what: &str, help: &str| {
            Err(Error::invalid(format!("the range of `{name}` {what}")).with_help(help))
        };
        let finite = |value: &ParamValue| value.as_float().filter(|value| value.is_finite());
        let (Some(low), Some(high)) = (finite(&self.low), finite(&self.high)) else {
            return refused("has an end that is no number", "give numbers for `low` and `high`");
        };
        if low > high {
            return refused("ends before it begins", "let `low` be less than `high`");
        }
        if self.log && low <= 0.0 {
            return refused("has no logarithm", "let `low` be above 0, or leave `log` out");
        }
        match &self.step {
            None => Ok(()),
            Some(_) if self.log => {
                refused("has a `step` and a `log`", "give one of them, or a list of values")
            }
            Some(step) if finite(step).is_none_or(|step| step <= 0.0) => {
                refused("has a step that leads nowhere", "let `step` be above 0")
            }
            Some(_) => Ok(()),
        }
    }

    /// The ends and the step, if all are whole.
    fn whole(&self) -> Option<(i64, i64, i64)> {
        let whole = |value: &ParamValue| match value {
            ParamValue::Int(value) => Some(*value),
            _ => None,
        };
        let step = self.step.as_ref().map_or(Some(1), whole)?;
        Some((whole(&self.low)?, whole(&self.high)?, step))
    }

    /// The ends and the step as numbers; without a step, it is zero.
    fn numbers(&self) -> (f64, f64, f64) {
        let number = |value: &ParamValue| value.as_float().unwrap_or(0.0);
        (number(&self.low), number(&self.high), self.step.as_ref().map_or(0.0, number))
    }

    fn count(&self) -> Option<u128> {
        if self.log {
            return None;
        }
        if let Some((low, high, step)) = self.whole() {
            let width = u128::try_from(i128::from(high) - i128::from(low)).ok()?;
            return Some(width / u128::try_from(step).ok().filter(|step| *step > 0)? + 1);
        }
        let (low, high, step) = self.numbers();
        // What is missing to a whole step by a rounding is one.
        (step > 0.0).then(|| ((high - low) / step + 1e-9).floor() as u128 + 1)
    }

    fn at(&self, place: u128) -> ParamValue {
        if let Some((low, high, step)) = self.whole() {
            let place = i64::try_from(place).unwrap_or(i64::MAX);
            return ParamValue::Int(low.saturating_add(step.saturating_mul(place)).min(high));
        }
        let (low, high, step) = self.numbers();
        ParamValue::Float((low + step * place as f64).min(high))
    }

    /// The value at a share of the way from the least to the greatest.
    fn between(&self, share: f64) -> ParamValue {
        let (low, high, _) = self.numbers();
        let way = |low: f64, high: f64| low + share * (high - low);
        match self.whole() {
            // Each whole number has what rounds to it.
            Some((least, greatest, _)) => {
                let value = exp(way(ln(low - 0.5), ln(high + 0.5))).round();
                ParamValue::Int((value as i64).clamp(least, greatest))
            }
            None if self.log => ParamValue::Float(exp(way(ln(low), ln(high))).clamp(low, high)),
            None => ParamValue::Float(way(low, high)),
        }
    }
}
