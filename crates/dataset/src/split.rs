//! How a definition divides its rows.

use icecore_core::{Error, Result, Timestamp};
use serde::{Deserialize, Serialize};

use crate::parts::{LockedSplit, SplitBy};

/// Which rows validate and test.
///
/// Without `by`, each training chooses rows to validate with. With it, the set has a column `split`
/// that says `training`, `validation` or `test`, for whoever reads it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitSpec {
    /// The share of rows, keys or groups that validate, between 0 and 1.
    #[serde(default = "validation")]
    pub validation: f64,
    /// The share that tests; no training sees it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub test: f64,
    /// What the choice is drawn from.
    #[serde(default = "seed")]
    pub seed: u64,
    /// What stays together: `row`, `key`, `group` or `time`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<SplitBy>,
    /// The column whose values stay together, for `by = "group"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The first moment whose rows validate, for `by = "time"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_from: Option<Timestamp>,
    /// The first moment whose rows test, for `by = "time"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_from: Option<Timestamp>,
}

impl SplitSpec {
    /// How the set is divided; `None` where each training chooses.
    pub(crate) fn locked(&self) -> Option<LockedSplit> {
        let by = self.by?;
        let parts = |share: f64| (share * 1e6).round() as u32;
        let (validation, test) = match by {
            SplitBy::Time => (0, 0),
            _ => (parts(self.validation), parts(self.test)),
        };
        Some(LockedSplit {
            by,
            validation_ppm: validation,
            test_ppm: test,
            seed: if by == SplitBy::Time { 0 } else { self.seed },
            group: self.group.clone(),
            validation_from: self.validation_from,
            test_from: self.test_from,
        })
    }

    /// The first mistake.
    pub(crate) fn check(&self) -> Result<()> {
        let wrong = |message: &str, help: &str| Err(Error::invalid(message).with_help(help));
        if !(self.validation > 0.0 && self.validation < 1.0) {
            return wrong("`validation` is not between 0 and 1", "write a share such as 0.2");
        }
        if !(self.test >= 0.0 && self.validation + self.test < 1.0) {
            return wrong(
                "`validation` and `test` leave nothing to learn from",
                "write shares such as 0.2 and 0.1",
            );
        }
        let timed = self.validation_from.is_some() || self.test_from.is_some();
        match self.by {
            None if self.test > 0.0 || self.group.is_some() || timed => wrong(
                "`split` does not say by what",
                "add `by`: \"row\", \"key\", \"group\" or \"time\"",
            ),
            Some(SplitBy::Group) if self.group.is_none() => {
                wrong("a split by group names no column", "add `group = \"COLUMN\"`")
            }
            Some(SplitBy::Time) if self.validation_from.is_none() => wrong(
                "a split by time does not say when",
                "add `validation_from = \"2026-01-01\"`, and `test_from` for a test part",
            ),
            Some(SplitBy::Time)
                if self.test_from.is_some_and(|test| Some(test) <= self.validation_from) =>
            {
                wrong("`test_from` is not after `validation_from`", "the last rows test")
            }
            Some(by) if by != SplitBy::Group && self.group.is_some() => {
                wrong("`group` is for a split by group", "write `by = \"group\"`")
            }
            Some(by) if by != SplitBy::Time && timed => wrong(
                "`validation_from` and `test_from` are for a split by time",
                "write `by = \"time\"`",
            ),
            _ => Ok(()),
        }
    }
}

fn is_zero(share: &f64) -> bool {
    *share == 0.0
}

const fn validation() -> f64 {
    0.2
}

pub(crate) const fn seed() -> u64 {
    42
}
