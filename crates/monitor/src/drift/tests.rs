//! Each measure against its definition, written out, over values themselves.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use proptest::prelude::*;

use super::*;
use crate::{ProfileOptions, compare, compare_exactly};

fn batch(values: &[f64]) -> RecordBatch {
    let values: ArrayRef = Arc::new(Float64Array::from(values.to_vec()));
    RecordBatch::try_from_iter_with_nullable([("x", values, true)]).unwrap()
}

fn whole(values: &[i64]) -> RecordBatch {
    let values: ArrayRef = Arc::new(Int64Array::from(values.to_vec()));
    RecordBatch::try_from_iter_with_nullable([("x", values, true)]).unwrap()
}

fn texts(values: &[&str]) -> RecordBatch {
    let values: ArrayRef = Arc::new(StringArray::from(values.to_vec()));
    RecordBatch::try_from_iter_with_nullable([("x", values, true)]).unwrap()
}

fn profile(batch: &RecordBatch) -> Profile {
    Profile::of(batch, &ProfileOptions::default()).unwrap()
}

fn both(a: &RecordBatch, b: &RecordBatch) -> (FeatureDrift, FeatureDrift) {
    let (pa, pb) = (profile(a), profile(b));
    let sketched = compare(&pa, &pb).features.remove(0);
    let exact = compare_exactly((&pa, std::slice::from_ref(a)), (&pb, std::slice::from_ref(b)));
    (sketched, exact.unwrap().features.remove(0))
}

/// The share of values at or below a number.
fn below(values: &[f64], at: f64) -> f64 {
    values.iter().filter(|value| **value <= at).count() as f64 / values.len() as f64
}

fn ks_by_definition(a: &[f64], b: &[f64]) -> f64 {
    let gaps = a.iter().chain(b).map(|at| (below(a, *at) - below(b, *at)).abs());
    gaps.fold(0.0, f64::max)
}

fn wasserstein_by_definition(a: &[f64], b: &[f64]) -> f64 {
    let mut all: Vec<f64> = a.iter().chain(b).copied().collect();
    all.sort_by(f64::total_cmp);
    let areas = all
        .windows(2)
        .map(|pair| (below(a, pair[0]) - below(b, pair[0])).abs() * (pair[1] - pair[0]));
    areas.sum()
}

fn values() -> impl Strategy<Value = Vec<f64>> {
    let value = prop_oneof![-1e3..1e3, -1.0..1.0, Just(0.0), Just(7.5), 1e5..1e6];
    prop::collection::vec(value, 1..60)
}

proptest! {
    #[test]
    fn distances_of_values_are_those_of_their_definitions(a in values(), b in values()) {
        let (_, exact) = both(&batch(&a), &batch(&b));
        let (ks, distance) = (exact.ks.unwrap(), exact.wasserstein.unwrap());
        prop_assert!((ks.value - ks_by_definition(&a, &b)).abs() < 1e-9);
        let expected = wasserstein_by_definition(&a, &b);
        prop_assert!((distance.value - expected).abs() <= 1e-9 * expected.max(1.0));
        prop_assert_eq!((ks.error, distance.error), (0.0, 0.0));
    }

    #[test]
    fn distances_of_sketches_are_off_by_no_more_than_they_say(a in values(), b in values()) {
        let (sketched, exact) = both(&batch(&a), &batch(&b));
        let holds = |sketched: Option<Measured>, exact: Option<Measured>| {
            let (sketched, exact) = (sketched.unwrap(), exact.unwrap());
            let rounding = 1e-9 * exact.value.abs().max(1.0);
            (sketched.value - exact.value).abs() <= sketched.error + rounding
                && sketched.least <= exact.value + rounding
                && exact.value <= sketched.most + rounding
        };
        prop_assert!(holds(sketched.ks, exact.ks), "{:?} {:?}", sketched.ks, exact.ks);
        prop_assert!(holds(sketched.wasserstein, exact.wasserstein));
    }

    #[test]
    fn small_whole_numbers_lose_nothing_in_a_sketch(
        a in prop::collection::vec(-255..256_i64, 1..60),
        b in prop::collection::vec(-255..256_i64, 1..60),
    ) {
        let (sketched, exact) = both(&whole(&a), &whole(&b));
        prop_assert_eq!(sketched.ks.unwrap().error, 0.0);
        prop_assert!((sketched.ks.unwrap().value - exact.ks.unwrap().value).abs() < 1e-12);
        prop_assert!((sketched.psi.unwrap().value - exact.psi.unwrap().value).abs() < 1e-9);
        let (near, far) = (sketched.wasserstein.unwrap(), exact.wasserstein.unwrap());
        prop_assert!((near.value - far.value).abs() < 1e-9 && near.error == 0.0);
    }

    #[test]
    fn measures_over_bins_have_their_bounds(a in values(), b in values()) {
        let (sketched, exact) = both(&batch(&a), &batch(&b));
        for drift in [sketched, exact] {
            prop_assert!(drift.psi.unwrap().value >= 0.0);
            prop_assert!((0.0..=1.0).contains(&drift.js.unwrap().value));
            let sum = |side: fn(&Bin) -> f64| drift.bins.iter().map(side).sum::<f64>();
            prop_assert!((sum(|bin| bin.reference) - 1.0).abs() < 1e-9);
            prop_assert!((sum(|bin| bin.current) - 1.0).abs() < 1e-9);
            prop_assert!(drift.bins.len() <= 12);
        }
        let (same, _) = both(&batch(&a), &batch(&a));
        prop_assert!(same.psi.unwrap().value.abs() < 1e-12 && same.js.unwrap().value < 1e-6);
    }
}

#[test]
fn what_was_always_one_number_drifts_when_it_is_another() {
    let (always, above, below) = (vec![3_i64; 50], vec![9; 25], vec![-7; 25]);
    for others in [&above, &below] {
        let half: Vec<i64> = always[..25].iter().chain(others).copied().collect();
        for drift in <[_; 2]>::from(both(&whole(&always), &whole(&half))) {
            assert!(drift.psi.unwrap().value > 1.0, "{:?}", drift.bins);
            assert!(drift.js.unwrap().value > 0.4, "{:?}", drift.bins);
        }
    }
    // Where half of the reference is one number, what comes beside it is not part of that.
    let reference: Vec<i64> = (1..=50).chain(always.iter().map(|_| 0)).collect();
    let current: Vec<i64> = (1..=50).chain((0..50).map(|n| if n < 25 { 0 } else { -1 })).collect();
    let (drift, _) = both(&whole(&reference), &whole(&current));
    assert!(drift.psi.unwrap().value > 0.2, "{:?}", drift.bins);
}

#[test]
fn categories_that_are_new_are_named() {
    let (drift, _) = both(&texts(&["a", "a", "b", "b"]), &texts(&["a", "c", "c", "ü"]));
    let new: Vec<(&str, f64)> =
        drift.new_categories.iter().map(|new| (new.value.as_str(), new.share)).collect();
    assert_eq!(new, [("c", 0.5), ("ü", 0.25)]);
    assert_eq!(drift.new_category_share, 0.75);
    let term = |a: f64, b: f64| (b - a) * (b / a).ln();
    let expected = term(0.5, 0.25) + term(0.5, 1e-4) + term(1e-4, 0.5) + term(1e-4, 0.25);
    assert!((drift.psi.unwrap().value - expected).abs() < 1e-12);
    assert_eq!((drift.ks, drift.wasserstein), (None, None));
    let (same, _) = both(&texts(&["a", "b"]), &texts(&["b", "a"]));
    assert_eq!(same.new_category_share.to_bits(), 0.0_f64.to_bits());
}

#[test]
fn sides_without_values_are_compared_by_what_they_lack() {
    let missing: ArrayRef = Arc::new(Float64Array::from(vec![None, Some(f64::NAN), None, None]));
    let missing = RecordBatch::try_from_iter_with_nullable([("x", missing, true)]).unwrap();
    let (drift, _) = both(&batch(&[1.0, 2.0]), &missing);
    assert_eq!((drift.null_rate_change, drift.psi), (1.0, None));
    let none = missing.slice(0, 0);
    let (drift, _) = both(&none, &none);
    assert_eq!((drift.null_rate_change, drift.ks), (0.0, None));
}

#[test]
fn infinite_values_have_no_distance_and_columns_of_two_types_no_distribution() {
    let (drift, _) = both(&batch(&[1.0, f64::INFINITY]), &batch(&[1.0, 2.0]));
    assert_eq!((drift.wasserstein, drift.ks.map(|ks| ks.value)), (None, Some(0.5)));
    let (drift, _) = both(&texts(&["1"]), &batch(&[1.0]));
    assert_eq!((drift.kind, drift.psi), ("other", None));
    let (drift, _) = both(&whole(&[1, 2]), &batch(&[1.0, 2.0]));
    assert_eq!((drift.kind, drift.ks.map(|ks| ks.value)), ("number", Some(0.0)));
}
