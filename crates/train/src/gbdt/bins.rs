//! Where a column is cut into bins.

use crate::arithmetic::mix;
use crate::categories::{from_sort_key, sort_key};

/// Up to so many values are all looked at.
const EXACT: usize = 262_144;
/// Of more, so many pairs of a value and an id.
const SAMPLE: usize = 131_072;
/// Makes of a value and an id a number that others seldom share.
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

/// A value of a row, with the number of rows that are alike in both value and id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Sampled {
    hash: u32,
    rows: u32,
    key: u64,
}

/// What is known of a column's values, of which not all are kept.
///
/// Of many values those count whose hashes, with their rows' ids, are least: which they are depends
/// on the multiset of values and ids alone, not on the order in which they come.
#[derive(Debug, Default)]
pub(super) struct Sampler {
    sampled: Vec<Sampled>,
    /// The greatest hash and value that may still count.
    bound: Option<(u32, u64)>,
    values: usize,
}

impl Sampler {
    /// Looks at the values of some rows.
    pub(super) fn add(&mut self, values: &[f64], ids: &[u64]) {
        let room = (EXACT + 1).saturating_sub(self.sampled.len()).min(values.len());
        self.sampled.reserve_exact(if self.bound.is_none() { room } else { 0 });
        for (value, id) in values.iter().zip(ids) {
            if value.is_nan() {
                continue;
            }
            self.values += 1;
            let key = sort_key(*value);
            let hash = (mix(id.wrapping_add(key.wrapping_mul(SPREAD))) >> 32) as u32;
            if self.bound.is_none_or(|bound| (hash, key) <= bound) {
                self.sampled.push(Sampled { hash, rows: 1, key });
                if self.sampled.len() > EXACT {
                    self.shorten();
                }
            }
        }
    }

    fn of_all(values: &[f64], ids: &[u64]) -> Self {
        let mut sampler = Self::default();
        sampler.add(values, ids);
        sampler
    }

    /// Looks only at as many of the least hashes as there should be in the sample, and some more. Of
    /// rows that are alike there may be too few.
    fn of_least(values: &[f64], ids: &[u64], count: usize) -> Option<Self> {
        let limit = ((SAMPLE + SAMPLE / 8) as u64 * (1 << 32) / count as u64) as u32;
        let sampled = Vec::with_capacity(SAMPLE + SAMPLE / 4);
        let mut sampler = Self { sampled, bound: Some((limit, u64::MAX)), values: 0 };
        sampler.add(values, ids);
        sampler.shorten();
        (sampler.sampled.len() == SAMPLE).then_some(sampler)
    }

    /// Joins what is alike, and forgets what is not among the least hashes.
    fn shorten(&mut self) {
        self.sampled.sort_unstable_by_key(|sampled| (sampled.hash, sampled.key));
        self.sampled.dedup_by(|other, kept| {
            let alike = (other.hash, other.key) == (kept.hash, kept.key);
            if alike {
                kept.rows = kept.rows.saturating_add(other.rows);
            }
            alike
        });
        if self.sampled.len() > SAMPLE {
            self.sampled.truncate(SAMPLE);
            self.bound = self.sampled.last().map(|last| (last.hash, last.key));
        }
    }

    /// Cut points of the column: values up to a cut and above it fall into different bins.
    ///
    /// Up to `max_bins` distinct values get a bin each; more are cut into bins of about equal
    /// counts.
    pub(super) fn cuts(mut self, max_bins: usize) -> Vec<f64> {
        if self.values > EXACT {
            self.shorten();
        }
        self.sampled.sort_unstable_by_key(|sampled| sampled.key);
        let of_value = |alike: &[Sampled]| {
            let rows = alike.iter().map(|sampled| u64::from(sampled.rows)).sum();
            (from_sort_key(alike[0].key), rows)
        };
        cuts(self.sampled.chunk_by(|a, b| a.key == b.key).map(of_value), max_bins)
    }
}

/// Cut points of a column whose values are all at hand.
pub(super) fn cuts_of(values: &[f64], ids: &[u64], max_bins: usize) -> Vec<f64> {
    let count = values.iter().filter(|value| !value.is_nan()).count();
    if count > EXACT {
        let sampler = Sampler::of_least(values, ids, count);
        return sampler.unwrap_or_else(|| Sampler::of_all(values, ids)).cuts(max_bins);
    }
    // None of them will be left out, so that no hash is needed.
    let mut keys = Vec::with_capacity(count);
    keys.extend(values.iter().filter(|value| !value.is_nan()).map(|value| sort_key(*value)));
    keys.sort_unstable();
    let of_value = |alike: &[u64]| (from_sort_key(alike[0]), alike.len() as u64);
    cuts(keys.chunk_by(|a, b| a == b).map(of_value), max_bins)
}

/// Cut points of distinct values in order, which come with their numbers of rows.
fn cuts(distinct: impl Iterator<Item = (f64, u64)> + Clone, max_bins: usize) -> Vec<f64> {
    let pairs = distinct.clone().zip(distinct.clone().skip(1));
    if distinct.clone().nth(max_bins).is_none() {
        return pairs.map(|((low, _), (high, _))| between(low, high)).collect();
    }
    let mut rows_left: u64 = distinct.map(|(_, rows)| rows).sum();
    let mut bins_left = max_bins as u64;
    let mut rows_in_bin = 0;
    let mut cuts = Vec::with_capacity(max_bins - 1);
    for ((value, rows), (next, next_rows)) in pairs {
        rows_in_bin += rows;
        // A value that fills a bin of its own is not joined with those before it.
        let fair = (rows_left / bins_left).max(1);
        if rows_in_bin >= fair || next_rows >= fair {
            cuts.push(between(value, next));
            rows_left -= rows_in_bin;
            rows_in_bin = 0;
            bins_left -= 1;
            if bins_left == 1 {
                break;
            }
        }
    }
    cuts
}

/// A number from `low` to below `high`, in the middle where there is one.
fn between(low: f64, high: f64) -> f64 {
    let middle = low * 0.5 + high * 0.5;
    if middle.is_finite() && low <= middle && middle < high { middle } else { low }
}

#[cfg(test)]
mod tests {
    use icecore_testkit::Random;
    use proptest::prelude::*;

    use super::*;

    fn cuts_of(values: &[f64], max_bins: usize) -> Vec<f64> {
        let mut sampler = Sampler::default();
        let ids: Vec<u64> = (0..values.len() as u64).collect();
        sampler.add(values, &ids);
        let cuts = sampler.cuts(max_bins);
        assert_eq!(cuts, super::cuts_of(values, &ids, max_bins));
        cuts
    }

    #[test]
    fn few_values_are_cut_between_each_other() {
        assert_eq!(cuts_of(&[3.0, 1.0, f64::NAN, 1.0, -0.0, 0.0], 255), [0.5, 2.0]);
    }

    #[test]
    fn extreme_values_have_cuts_too() {
        let values = vec![f64::NEG_INFINITY, f64::MIN, 5e-324, 0.0, f64::MAX, f64::INFINITY];
        let cuts = cuts_of(&values, 255);
        assert_eq!(cuts.len(), 5);
        let mut sorted = values;
        sorted.sort_unstable_by(f64::total_cmp);
        for (pair, cut) in sorted.windows(2).zip(&cuts) {
            assert!(pair[0] <= *cut && *cut < pair[1], "{pair:?} is not cut by {cut}");
        }
    }

    #[test]
    fn a_frequent_value_has_a_bin_of_its_own() {
        let mut values: Vec<f64> = (0..1_000).map(f64::from).collect();
        values.extend([500.0; 1_000]);
        let cuts = cuts_of(&values, 16);
        assert!(cuts.contains(&499.5) && cuts.contains(&500.5), "{cuts:?}");
    }

    /// Cuts of many rows, read in parts of this size, forth or back.
    fn cuts_of_many(rows: &[(f64, u64)], part: usize, is_back: bool) -> Vec<f64> {
        let mut sampler = Sampler::default();
        let mut rows = rows.to_vec();
        if is_back {
            rows.reverse();
        }
        for rows in rows.chunks(part) {
            let (values, ids): (Vec<f64>, Vec<u64>) = rows.iter().copied().unzip();
            sampler.add(&values, &ids);
        }
        assert!(sampler.sampled.len() <= EXACT);
        let cuts = sampler.cuts(64);
        let (values, ids): (Vec<f64>, Vec<u64>) = rows.iter().copied().unzip();
        assert_eq!(cuts, super::cuts_of(&values, &ids, 64));
        cuts
    }

    // D4
    #[test]
    fn a_sample_does_not_depend_on_the_order_or_on_parts() {
        let mut random = Random::new(5);
        // Ids that repeat and values that repeat, and both at once.
        let rows: Vec<(f64, u64)> = (0..700_000_u64)
            .map(|row| {
                let value = if row % 3 == 0 { (row % 50) as f64 } else { random.normal() };
                (value, if row % 5 == 0 { 7 } else { row / 2 })
            })
            .collect();
        let forth = cuts_of_many(&rows, 700_000, false);
        assert_eq!(forth, cuts_of_many(&rows, 8_192, true));
        assert_eq!(forth, cuts_of_many(&rows, 1_000, false));
        // Equal counts: no bin has twice what would be its share, but for those of one value.
        let mut in_bin = vec![0; forth.len() + 1];
        for (value, _) in rows.iter().filter(|(value, _)| value.fract() != 0.0) {
            in_bin[forth.partition_point(|cut| cut < value)] += 1;
        }
        assert!(in_bin.iter().all(|rows| *rows < 2 * 700_000 / 64), "{in_bin:?}");
    }

    #[test]
    fn rows_that_are_all_alike_are_few() {
        let rows: Vec<(f64, u64)> = (0..600_000).map(|row| (f64::from(row % 2), 1)).collect();
        assert_eq!(cuts_of_many(&rows, 10_000, false), [0.5]);
    }

    proptest! {
        // D4
        #[test]
        fn cuts_do_not_depend_on_the_order(
            mut values in prop::collection::vec(prop::num::f64::ANY, 0..600),
            max_bins in 2_usize..64,
        ) {
            let forth = cuts_of(&values, max_bins);
            values.reverse();
            prop_assert_eq!(&forth, &cuts_of(&values, max_bins));
            prop_assert!(forth.len() < max_bins);
            prop_assert!(forth.windows(2).all(|pair| pair[0] < pair[1]));
        }
    }
}
