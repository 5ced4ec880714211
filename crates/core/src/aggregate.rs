//! What is computed over a window.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The most values that a list of the first, last, greatest or least may have.
const LIST_MAX: u32 = 10_000;
/// The most edges of a histogram, and percentiles of one column.
const NUMBERS_MAX: usize = 1_000;

/// A number: a float that is neither NaN nor infinite. Zero has no sign.
#[derive(Debug, Clone, Copy, Default)]
pub struct Finite(f64);

impl Finite {
    /// The number, if it is one.
    #[must_use]
    pub fn new(value: f64) -> Option<Self> {
        // Adding zero takes the sign from a zero.
        value.is_finite().then_some(Self(value + 0.0))
    }

    /// The float.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl PartialEq for Finite {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Finite {}

impl PartialOrd for Finite {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Finite {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl Hash for Finite {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}

impl fmt::Display for Finite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Finite {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0)
    }
}

impl<'de> Deserialize<'de> for Finite {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = f64::deserialize(deserializer)?;
        Self::new(value).ok_or_else(|| serde::de::Error::custom("not a number"))
    }
}

/// What is computed over a window.
///
/// Nulls never count. In every order NaN comes after all numbers, and `-0.0` before `0.0`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AggregateFunction {
    /// Rows whose column is not null; all rows where no column is named. Never null.
    Count,
    /// The sum. Integers and decimals exactly (overflow is an error), floats correctly rounded;
    /// null over no value.
    Sum,
    /// The mean: the exact sum, rounded, divided by the count; null over no value.
    Mean,
    /// The sample variance (divided by `n - 1`), from exact moments; null over fewer than two
    /// values, NaN where one of them is not finite.
    Variance,
    /// The sample standard deviation: the root of the variance.
    Stddev,
    /// The skewness of the values as a population, from exact moments; null where no two differ.
    Skewness,
    /// The excess kurtosis of the values as a population, from exact moments (zero for a normal
    /// distribution); null where no two differ.
    Kurtosis,
    /// The least value; null over no value. NaN is greater than every number.
    Min,
    /// The greatest value; null over no value. NaN is greater than every number.
    Max,
    /// How many different values, exactly. Never null.
    CountDistinct,
    /// How many different values, by a sketch with a relative standard error of 1.63 %. Never null.
    ApproxCountDistinct,
    /// How many different values, exactly, but not counted further than so many. Never null.
    BoundedCountDistinct(u32),
    /// The value of the earliest event that has one (ties: the least value).
    First,
    /// The value of the latest event that has one (ties: the greatest value).
    Last,
    /// A list of the values of the earliest events, the earliest first (ties: the least value
    /// first). Never null; empty over no value.
    FirstK(u32),
    /// A list of the values of the latest events, the latest first (ties: the greatest value
    /// first). Never null; empty over no value.
    LastK(u32),
    /// A list of the greatest values, the greatest first, each as often as it occurs. Never null.
    TopK(u32),
    /// A list of the least values, the least first, each as often as it occurs. Never null.
    BottomK(u32),
    /// The value below which a share of the values lies, from 0 to 1, by a sketch: within 0.4 % of
    /// the value of that rank, `floor(share * (n - 1))` in order; null over no value.
    ApproxPercentile(Finite),
    /// Several of them, as a list; null over no value.
    ApproxPercentiles(Vec<Finite>),
    /// How many values lie below the first edge, from each edge to the next, and from the last one
    /// on: a list with one more number than there are edges. An edge belongs to the values above
    /// it. Never null.
    Histogram(Vec<Finite>),
    /// Whole days (rounded down) from the latest event with a value to the row's time.
    DaysSinceLast,
}

impl AggregateFunction {
    /// Every function, as users name it.
    pub const NAMES: [&str; 22] = [
        "count",
        "sum",
        "mean",
        "variance",
        "stddev",
        "skewness",
        "kurtosis",
        "min",
        "max",
        "count_distinct",
        "approx_count_distinct",
        "bounded_count_distinct",
        "first",
        "last",
        "first_k",
        "last_k",
        "top_k",
        "bottom_k",
        "approx_percentile",
        "approx_percentiles",
        "histogram",
        "days_since_last",
    ];

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Sum => "sum",
            Self::Mean => "mean",
            Self::Variance => "variance",
            Self::Stddev => "stddev",
            Self::Skewness => "skewness",
            Self::Kurtosis => "kurtosis",
            Self::Min => "min",
            Self::Max => "max",
            Self::CountDistinct => "count_distinct",
            Self::ApproxCountDistinct => "approx_count_distinct",
            Self::BoundedCountDistinct(_) => "bounded_count_distinct",
            Self::First => "first",
            Self::Last => "last",
            Self::FirstK(_) => "first_k",
            Self::LastK(_) => "last_k",
            Self::TopK(_) => "top_k",
            Self::BottomK(_) => "bottom_k",
            Self::ApproxPercentile(_) => "approx_percentile",
            Self::ApproxPercentiles(_) => "approx_percentiles",
            Self::Histogram(_) => "histogram",
            Self::DaysSinceLast => "days_since_last",
        }
    }

    /// Whether it can do without a column and looks at rows then.
    #[must_use]
    pub const fn is_of_rows(&self) -> bool {
        matches!(self, Self::Count | Self::DaysSinceLast)
    }

    /// What is wrong with its parameters, if anything is.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for lists of nothing or of too
    /// much, shares outside of 0 to 1, and edges that do not ascend.
    pub fn check(&self) -> Result<()> {
        let name = self.name();
        match self {
            Self::FirstK(k) | Self::LastK(k) | Self::TopK(k) | Self::BottomK(k)
                if !(1..=LIST_MAX).contains(k) =>
            {
                Err(Error::invalid(format!("`{name}` cannot list {k} values"))
                    .with_help(format!("write `k` from 1 to {LIST_MAX}")))
            }
            Self::BoundedCountDistinct(0) => {
                Err(Error::invalid(format!("`{name}` counts no further than 0"))
                    .with_help("write `k = 100`, or another bound above 0"))
            }
            Self::ApproxPercentile(share) => check_shares(name, std::slice::from_ref(share)),
            Self::ApproxPercentiles(shares) => check_shares(name, shares),
            Self::Histogram(edges) => check_edges(name, edges),
            _ => Ok(()),
        }
    }
}

fn check_edges(name: &str, edges: &[Finite]) -> Result<()> {
    if (1..=NUMBERS_MAX).contains(&edges.len()) && edges.is_sorted_by(|a, b| a < b) {
        return Ok(());
    }
    Err(Error::invalid(format!("the edges of `{name}` do not ascend")).with_help(format!(
        "write from 1 to {NUMBERS_MAX} numbers, each greater than the one before it"
    )))
}

fn check_shares(name: &str, shares: &[Finite]) -> Result<()> {
    if shares.is_empty() || shares.len() > NUMBERS_MAX {
        return Err(Error::invalid(format!("`{name}` has {} percentiles", shares.len()))
            .with_help(format!("write from 1 to {NUMBERS_MAX} of them")));
    }
    match shares.iter().find(|share| !(0.0..=1.0).contains(&share.get())) {
        None => Ok(()),
        Some(share) => Err(Error::invalid(format!("there is no percentile `{share}`"))
            .with_help("write a share from 0 to 1, such as `0.95`")),
    }
}
