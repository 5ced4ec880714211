//! What differs between two profiles.

mod categories;
mod distribution;
mod measures;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use icecore_core::{Error, Result};
use serde::Serialize;

use crate::{ColumnKind, ColumnProfile, Profile};
use distribution::Distribution;
pub use measures::Bin;
pub(crate) use measures::number;

/// Everything that differs between two profiles.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Drift {
    /// Rows of the reference.
    pub reference_rows: u64,
    /// Rows that are compared with it.
    pub current_rows: u64,
    /// The columns that both have, by name.
    pub features: Vec<FeatureDrift>,
    /// Columns that only the reference has.
    pub only_reference: Vec<String>,
    /// Columns that only the other side has.
    pub only_current: Vec<String>,
    /// Whether the values themselves were compared.
    pub exact: bool,
}

/// A measure and how far it may be off.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Measured {
    /// The measure, computed from what is known.
    pub value: f64,
    /// At most so far from the measure of the values themselves.
    pub error: f64,
    /// The measure of the values themselves is not below this,
    pub least: f64,
    /// and not above this.
    pub most: f64,
}

impl Measured {
    /// A measure that is that of the values themselves.
    #[must_use]
    pub const fn exactly(value: f64) -> Self {
        Self { value, error: 0.0, least: value, most: value }
    }

    /// A measure of which only the bounds are certain.
    #[must_use]
    pub fn between(least: f64, value: f64, most: f64) -> Self {
        // Rounding must not put the value itself outside.
        let (least, most) = (least.min(value), most.max(value));
        Self { value, error: (value - least).max(most - value), least, most }
    }

    /// The same in another unit.
    pub(crate) fn in_units_of(self, unit: f64) -> Self {
        Self::between(self.least / unit, self.value / unit, self.most / unit)
    }

    /// The bounds of its size.
    pub(crate) const fn size(self) -> (f64, f64) {
        let ends = (self.least.abs(), self.most.abs());
        match (self.least > 0.0, self.most < 0.0) {
            (true, _) => ends,
            (_, true) => (ends.1, ends.0),
            _ => (0.0, ends.0.max(ends.1)),
        }
    }
}

/// A category that the reference does not have.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NewCategory {
    /// The value.
    pub value: String,
    /// Its share of the rows with a value.
    pub share: f64,
}

/// What differs in one column.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FeatureDrift {
    /// The column.
    pub feature: String,
    /// What kind of values it has: `number`, `category` or `other`.
    pub kind: &'static str,
    /// The reference.
    pub reference: Side,
    /// What is compared with it.
    pub current: Side,
    /// The population stability index over ten bins of equal share of the reference. It is exact
    /// for its bins, whose edges are those of the sketches.
    pub psi: Option<Measured>,
    /// The Jensen-Shannon distance over the same bins, to the base 2: from 0 to 1.
    pub js: Option<Measured>,
    /// The Kolmogorov-Smirnov distance, of numbers.
    pub ks: Option<Measured>,
    /// The Wasserstein distance, of numbers, in their unit.
    pub wasserstein: Option<Measured>,
    /// The same in standard deviations of the reference.
    pub wasserstein_relative: Option<Measured>,
    /// By how much the share of missing values grew.
    pub null_rate_change: f64,
    /// By how many standard deviations of the reference the mean moved.
    pub mean_shift: Option<f64>,
    /// Categories that the reference does not have, the most frequent first.
    pub new_categories: Vec<NewCategory>,
    /// The share of rows in such categories.
    pub new_category_share: f64,
    /// The same, and what it can be where a side had too many categories to keep them all.
    #[serde(skip)]
    pub(crate) new_share: Measured,
    /// The bins that were compared.
    pub bins: Vec<Bin>,
}

/// One side of a comparison.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Side {
    /// Rows.
    pub rows: u64,
    /// The share of rows without a value.
    pub missing_rate: f64,
    /// The share of rows that are zero.
    pub zero_rate: f64,
    /// About how many different values there are. Absent where they are not kept: of keys.
    pub distinct: Option<u64>,
    /// The mean.
    pub mean: Option<f64>,
    /// The standard deviation.
    pub stddev: Option<f64>,
    /// The least value.
    pub min: Option<f64>,
    /// The greatest value.
    pub max: Option<f64>,
    /// The median.
    pub median: Option<f64>,
    /// The value that a twentieth lies below.
    pub p05: Option<f64>,
    /// The value that a twentieth lies above.
    pub p95: Option<f64>,
}

impl Side {
    pub(crate) fn of(column: &ColumnProfile) -> Self {
        let is_number = column.kind.is_number();
        let quantile = |share| column.quantile(share).filter(|_| is_number);
        let range = column.range.filter(|_| is_number);
        Self {
            rows: column.rows,
            missing_rate: column.missing_rate(),
            zero_rate: column.zeros as f64 / column.rows.max(1) as f64,
            distinct: column.distinct(),
            mean: column.mean(),
            stddev: column.stddev(),
            min: range.map(|(min, _)| min),
            max: range.map(|(_, max)| max),
            median: quantile(0.5),
            p05: quantile(0.05),
            p95: quantile(0.95),
        }
    }
}

/// Compares the columns that two profiles share, from their sketches.
#[must_use]
pub fn compare(reference: &Profile, current: &Profile) -> Drift {
    let distribution = |column: &ColumnProfile, kind| Distribution::of_sketch(column, kind);
    drift((reference, current), false, |name| {
        let (a, b) = (reference.columns.get(name)?, current.columns.get(name)?);
        let kind = common_kind(a, b)?;
        Some((distribution(a, kind), distribution(b, kind)))
    })
}

/// Compares columns from their values themselves: what sketches may be off by is zero.
///
/// # Errors
///
/// `Internal` for a column that cannot be read as numbers.
pub fn compare_exactly(
    reference: (&Profile, &[RecordBatch]),
    current: (&Profile, &[RecordBatch]),
) -> Result<Drift> {
    let mut exact = BTreeMap::new();
    for (name, column) in &reference.0.columns {
        let Some(kind) = current.0.columns.get(name).and_then(|b| common_kind(column, b)) else {
            continue;
        };
        if kind.is_number() {
            let (a, b) = (values(reference.1, name)?, values(current.1, name)?);
            exact.insert(name.clone(), (Distribution::of_values(a), Distribution::of_values(b)));
        }
    }
    Ok(drift((reference.0, current.0), true, |name| exact.remove(name)))
}

fn common_kind(a: &ColumnProfile, b: &ColumnProfile) -> Option<ColumnKind> {
    match (a.kind, b.kind) {
        (a, b) if a == b => Some(a),
        (a, b) if a.is_number() && b.is_number() => Some(ColumnKind::Number),
        _ => None,
    }
}

/// The numbers of a column, without those that are missing.
fn values(batches: &[RecordBatch], name: &str) -> Result<Vec<f64>> {
    let mut values = Vec::new();
    for batch in batches {
        let column = batch
            .column_by_name(name)
            .ok_or_else(|| Error::internal(format!("rows have lost their column `{name}`")))?;
        let numbers = cast(column, &DataType::Float64)?;
        let numbers = numbers.as_primitive::<Float64Type>();
        values.reserve(numbers.len());
        values.extend(numbers.iter().flatten().filter(|value| !value.is_nan()));
    }
    Ok(values)
}

fn drift(
    (reference, current): (&Profile, &Profile),
    exact: bool,
    mut distributions: impl FnMut(&str) -> Option<(Distribution, Distribution)>,
) -> Drift {
    let only = |a: &Profile, b: &Profile| -> Vec<String> {
        let a: BTreeSet<&String> = a.columns.keys().collect();
        let b: BTreeSet<&String> = b.columns.keys().collect();
        a.difference(&b).map(|name| (*name).clone()).collect()
    };
    let mut features = Vec::new();
    for (name, a) in &reference.columns {
        let Some(b) = current.columns.get(name) else { continue };
        let mut feature = base(name, a, b);
        match common_kind(a, b) {
            Some(kind) if kind.is_number() => {
                if let Some((a, b)) = distributions(name) {
                    measures::numbers(&mut feature, &a, &b);
                }
            }
            Some(ColumnKind::Category) => categories::categories(&mut feature, a, b),
            _ => {}
        }
        features.push(feature);
    }
    Drift {
        reference_rows: reference.rows,
        current_rows: current.rows,
        features,
        only_reference: only(reference, current),
        only_current: only(current, reference),
        exact,
    }
}

/// What needs no distribution.
fn base(name: &str, a: &ColumnProfile, b: &ColumnProfile) -> FeatureDrift {
    let (reference, current) = (Side::of(a), Side::of(b));
    let mean_shift = match (reference.mean, current.mean, reference.stddev) {
        (Some(before), Some(now), Some(spread)) if spread > 0.0 => Some((now - before) / spread),
        (Some(before), Some(now), Some(_)) if before == now => Some(0.0),
        _ => None,
    };
    FeatureDrift {
        feature: name.to_owned(),
        kind: match common_kind(a, b) {
            Some(kind) if kind.is_number() => "number",
            Some(ColumnKind::Category) => "category",
            _ => "other",
        },
        null_rate_change: current.missing_rate - reference.missing_rate,
        reference,
        current,
        psi: None,
        js: None,
        ks: None,
        wasserstein: None,
        wasserstein_relative: None,
        mean_shift,
        new_categories: Vec::new(),
        new_category_share: 0.0,
        new_share: Measured::exactly(0.0),
        bins: Vec::new(),
    }
}
