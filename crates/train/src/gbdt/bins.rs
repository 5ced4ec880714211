//! Where a column is cut into bins.

use crate::arithmetic::mix;
use crate::categories::{from_sort_key, sort_key};
use crate::columns::Values;

/// From so many rows on, the cuts are those of a sample.
const SAMPLED_FROM: usize = 400_000;
/// About so many rows are sampled.
const SAMPLE: u64 = 200_000;

/// Cut points of a column: values up to a cut and above it fall into different bins.
///
/// Up to `max_bins` distinct values get a bin each; more are cut into bins of about equal counts.
/// Of many rows, those count whose ids have the least hashes. The cuts depend on the multiset of
/// values and ids alone.
pub(super) fn cuts(values: &Values, ids: &[u64], max_bins: usize) -> Vec<f64> {
    let distinct = distinct(sampled(values, ids));
    if distinct.len() <= max_bins {
        return distinct.windows(2).map(|pair| between(pair[0].0, pair[1].0)).collect();
    }
    let mut rows_left: u64 = distinct.iter().map(|(_, rows)| rows).sum();
    let mut bins_left = max_bins as u64;
    let mut rows_in_bin = 0;
    let mut cuts = Vec::with_capacity(max_bins - 1);
    for pair in distinct.windows(2) {
        let ((value, rows), (next, next_rows)) = (pair[0], pair[1]);
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

/// The keys of the values that are not missing, of all rows or of those that are sampled.
fn sampled(values: &Values, ids: &[u64]) -> Vec<u64> {
    let all = || values.iter().filter(|value| !value.is_nan()).map(|value| sort_key(*value));
    if values.len() < SAMPLED_FROM {
        return all().collect();
    }
    let limit = u64::MAX / values.len() as u64 * SAMPLE;
    let sample: Vec<u64> = values
        .iter()
        .zip(ids)
        .filter(|(value, id)| !value.is_nan() && mix(**id) < limit)
        .map(|(value, _)| sort_key(*value))
        .collect();
    // Where ids repeat, or hardly a value is there, a sample may be too small to go by.
    if (sample.len() as u64) < SAMPLE / 2 { all().collect() } else { sample }
}

/// Distinct values in order, with their numbers of rows.
fn distinct(mut keys: Vec<u64>) -> Vec<(f64, u64)> {
    keys.sort_unstable();
    let mut distinct: Vec<(u64, u64)> = Vec::new();
    for key in keys {
        match distinct.last_mut() {
            Some((last, rows)) if *last == key => *rows += 1,
            _ => distinct.push((key, 1)),
        }
    }
    distinct.into_iter().map(|(key, rows)| (from_sort_key(key), rows)).collect()
}

/// A number from `low` to below `high`, in the middle where there is one.
fn between(low: f64, high: f64) -> f64 {
    let middle = low * 0.5 + high * 0.5;
    if middle.is_finite() && low <= middle && middle < high { middle } else { low }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn few_values_are_cut_between_each_other() {
        let values = Values::from(vec![3.0, 1.0, f64::NAN, 1.0, -0.0, 0.0]);
        assert_eq!(cuts(&values, &[], 255), [0.5, 2.0]);
    }

    #[test]
    fn extreme_values_have_cuts_too() {
        let values = vec![f64::NEG_INFINITY, f64::MIN, 5e-324, 0.0, f64::MAX, f64::INFINITY];
        let cuts = cuts(&Values::from(values.clone()), &[], 255);
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
        let cuts = cuts(&Values::from(values), &[], 16);
        assert!(cuts.contains(&499.5) && cuts.contains(&500.5), "{cuts:?}");
    }

    proptest! {
        // D4
        #[test]
        fn cuts_do_not_depend_on_the_order(
            mut values in prop::collection::vec(prop::num::f64::ANY, 0..600),
            max_bins in 2_usize..64,
        ) {
            let forth = cuts(&Values::from(values.clone()), &[], max_bins);
            values.reverse();
            prop_assert_eq!(&forth, &cuts(&Values::from(values), &[], max_bins));
            prop_assert!(forth.len() < max_bins);
            prop_assert!(forth.windows(2).all(|pair| pair[0] < pair[1]));
        }
    }
}
