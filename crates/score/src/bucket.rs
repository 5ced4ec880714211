//! Bands of a prediction: exclusive and exhaustive.

use arrow::array::{Float64Array, StringArray};
use icecore_core::{Error, Result};
use serde::{Deserialize, Serialize};

/// The name of the band that a NaN falls in: it is at least nothing.
const UNKNOWN: &str = "unknown";

/// A band: predictions at or above a bound, and below the bound of the band before it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bucket {
    /// The band's name.
    pub name: String,
    /// Its lower bound, inside; absent for the last band, which takes the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<f64>,
}

/// Bands from the highest to the lowest. Defaults to `high` from 0.8, `medium` from 0.5, `low`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Buckets(Vec<Bucket>);

impl Default for Buckets {
    fn default() -> Self {
        let bucket = |name: &str, at_least| Bucket { name: name.to_owned(), at_least };
        Self(vec![bucket("high", Some(0.8)), bucket("medium", Some(0.5)), bucket("low", None)])
    }
}

impl Buckets {
    /// Bands from the highest to the lowest.
    ///
    /// # Errors
    ///
    /// `InvalidInput` unless the bounds fall and exactly the last band has none.
    pub fn new(buckets: Vec<Bucket>) -> Result<Self> {
        let buckets = Self(buckets);
        buckets.check()?;
        Ok(buckets)
    }

    pub(crate) fn check(&self) -> Result<()> {
        let Some((last, bounded)) = self.0.split_last() else {
            return Err(Error::invalid("there is no score bucket"));
        };
        let bounds: Vec<f64> = bounded.iter().filter_map(|bucket| bucket.at_least).collect();
        let falling = bounds.windows(2).all(|pair| pair[0] > pair[1]);
        if last.at_least.is_some() || bounds.len() != bounded.len() || !falling {
            return Err(Error::invalid("score buckets do not cover every prediction exactly once")
                .with_help("list them from high to low with falling `at_least`, and leave it out of the last"));
        }
        Ok(())
    }

    /// The band that a prediction falls in.
    #[must_use]
    pub fn of(&self, prediction: f64) -> &str {
        if prediction.is_nan() {
            return UNKNOWN;
        }
        let bucket = self.0.iter().find(|b| b.at_least.is_none_or(|bound| prediction >= bound));
        bucket.map_or(UNKNOWN, |bucket| &bucket.name)
    }

    /// The highest band's name.
    #[must_use]
    pub fn highest(&self) -> &str {
        self.0.first().map_or(UNKNOWN, |bucket| &bucket.name)
    }

    /// The band of each prediction; where there is none, as of NaN.
    #[must_use]
    pub fn column(&self, predictions: &Float64Array) -> StringArray {
        let band = |prediction: Option<f64>| prediction.map_or(UNKNOWN, |value| self.of(value));
        StringArray::from_iter_values(predictions.iter().map(band))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // C82 C160
    #[test]
    fn bands_are_exclusive_and_exhaustive() {
        let buckets = Buckets::default();
        for (prediction, band) in [
            (1.0, "high"),
            (0.8, "high"),
            (0.8_f64.next_down(), "medium"),
            (0.5, "medium"),
            (0.5_f64.next_down(), "low"),
            (0.0, "low"),
            (f64::NAN, "unknown"),
        ] {
            assert_eq!(buckets.of(prediction), band, "{prediction}");
        }
    }

    #[test]
    fn bands_that_overlap_or_leave_a_gap_are_refused() {
        let bucket = |at_least| Bucket { name: "b".into(), at_least };
        assert!(Buckets::new(vec![]).is_err());
        assert!(Buckets::new(vec![bucket(Some(0.5))]).is_err());
        assert!(Buckets::new(vec![bucket(Some(0.5)), bucket(Some(0.8)), bucket(None)]).is_err());
        assert!(Buckets::new(vec![bucket(None), bucket(None)]).is_err());
        assert!(Buckets::new(vec![bucket(None)]).is_ok());
    }
}
