//! Distances between two distributions.
//!
//! A sketch says how many values lie in a bucket, not where in it. What that can change about a
//! distance is its error, and is computed with it.

use serde::Serialize;

use super::distribution::{Distribution, Pair};
use super::{FeatureDrift, Measured};

/// Bins of equal share that two distributions are compared over.
const BINS: usize = 10;
/// A number that stands for this share of the reference is a bin of its own.
const LARGE_SHARE: f64 = 2.0 / BINS as f64;
/// A bin that one side has nothing in counts as having this share: without, the index would be
/// infinite for a single row.
const LEAST_SHARE: f64 = 1e-4;

/// A bin that two distributions are compared over.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Bin {
    /// What lies in it: a category, or the greatest number.
    pub label: String,
    /// The share of the reference.
    pub reference: f64,
    /// The share of the other side.
    pub current: f64,
}

pub(super) fn numbers(feature: &mut FeatureDrift, a: &Distribution, b: &Distribution) {
    if a.count == 0 || b.count == 0 {
        return;
    }
    let pairs = a.beside(b);
    feature.bins = bins(&pairs);
    feature.psi = Some(Measured::exactly(psi(&feature.bins)));
    feature.js = Some(Measured::exactly(jensen_shannon(&feature.bins)));
    feature.ks = Some(kolmogorov_smirnov(&pairs));
    feature.wasserstein = wasserstein(&pairs);
    let spread = feature.reference.stddev.filter(|spread| *spread > 0.0);
    let relative = feature.wasserstein.zip(spread);
    feature.wasserstein_relative = relative.map(|(distance, spread)| distance.in_units_of(spread));
}

/// Bins that each hold about a tenth of the reference. A number that many values share is never
/// divided, so there may be fewer, and one of a large share is a bin of its own: were other numbers
/// counted with it, a column that was always 0 could become anything without drifting.
fn bins(pairs: &[Pair]) -> Vec<Bin> {
    let mut bins: Vec<Bin> = Vec::new();
    let (mut reference, mut current, mut reached) = (0.0, 0.0, 0.0);
    // How many tenths of the reference are in the bins before the open one.
    let (mut tenths, mut end) = (0, f64::NEG_INFINITY);
    for pair in pairs {
        if pair.a >= LARGE_SHARE && reference + current > 0.0 {
            bins.push(Bin { label: number(end), reference, current });
            (reference, current) = (0.0, 0.0);
        }
        reference += pair.a;
        current += pair.b;
        reached += pair.a;
        end = pair.value + pair.reach;
        let is_full = |tenths: usize| reached >= (tenths + 1) as f64 / BINS as f64 - 1e-9;
        if pair.a > 0.0 && tenths + 1 < BINS && is_full(tenths) {
            bins.push(Bin { label: number(end), reference, current });
            (reference, current) = (0.0, 0.0);
            while tenths + 1 < BINS && is_full(tenths) {
                tenths += 1;
            }
        }
    }
    // What lies above the reference is compared with its last bin.
    match bins.last_mut() {
        Some(last) if reference == 0.0 && (last.reference < LARGE_SHARE || current == 0.0) => {
            last.current += current;
            "more".clone_into(&mut last.label);
        }
        _ => bins.push(Bin { label: "more".to_owned(), reference, current }),
    }
    bins
}

/// A number with the digits that tell it from others in a picture.
pub(crate) fn number(value: f64) -> String {
    if value == 0.0 || (1e-3..1e6).contains(&value.abs()) {
        let text = format!("{value:.3}");
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    format!("{value:.2e}")
}

/// The population stability index: the sum of differences times the logarithms of ratios.
fn psi(bins: &[Bin]) -> f64 {
    bins.iter().map(|bin| psi_term(bin.reference, bin.current)).sum()
}

/// What a bin adds to the population stability index.
pub(super) fn psi_term(reference: f64, current: f64) -> f64 {
    let (a, b) = (reference.max(LEAST_SHARE), current.max(LEAST_SHARE));
    (b - a) * (b / a).ln()
}

/// The Jensen-Shannon distance: the root of the mean divergence from the mean distribution (Lin,
/// "Divergence measures based on the Shannon entropy", 1991), to the base 2.
fn jensen_shannon(bins: &[Bin]) -> f64 {
    divergence_root(bins.iter().map(|bin| divergence_term(bin.reference, bin.current)).sum())
}

/// What a bin adds to twice the Jensen-Shannon divergence.
pub(super) fn divergence_term(reference: f64, current: f64) -> f64 {
    let mean = f64::midpoint(reference, current);
    let part = |share: f64| if share > 0.0 { share * (share / mean).log2() } else { 0.0 };
    part(reference) + part(current)
}

/// The distance of twice a divergence.
pub(super) fn divergence_root(twice: f64) -> f64 {
    (twice / 2.0).clamp(0.0, 1.0).sqrt()
}

/// The greatest distance between two cumulative distributions. At the ends of buckets it is known,
/// so it is no less than the greatest there; between them, one side may be counted before the other.
fn kolmogorov_smirnov(pairs: &[Pair]) -> Measured {
    let (mut gap, mut greatest, mut bound) = (0.0_f64, 0.0_f64, 0.0_f64);
    for pair in pairs {
        if pair.reach > 0.0 {
            bound = bound.max((gap + pair.a).abs()).max((gap - pair.b).abs());
        }
        gap += pair.a - pair.b;
        greatest = greatest.max(gap.abs());
    }
    let value = greatest.min(1.0);
    Measured::between(value, value, bound.min(1.0))
}

/// The area between two cumulative distributions. Each value lies at most the reach of its bucket
/// from the number that stands for it. None where a value is infinite.
fn wasserstein(pairs: &[Pair]) -> Option<Measured> {
    let (mut gap, mut area, mut error) = (0.0, 0.0, 0.0);
    for (at, pair) in pairs.iter().enumerate() {
        if !pair.value.is_finite() {
            return None;
        }
        error += (pair.a + pair.b) * pair.reach;
        gap += pair.a - pair.b;
        if let Some(next) = pairs.get(at + 1) {
            area += f64::abs(gap) * (next.value - pair.value);
        }
    }
    area.is_finite().then(|| Measured::between((area - error).max(0.0), area, area + error))
}
