use proptest::prelude::*;

use super::PowerSums;

fn of(values: &[f64]) -> PowerSums {
    let mut sums = PowerSums::default();
    values.iter().for_each(|value| sums.add(*value));
    sums
}

fn float() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => (-1e6..1e6f64).prop_map(|x| (x * 100.0).round() / 100.0),
        2 => any::<f64>().prop_filter("finite", |x| x.is_finite()),
        1 => prop::sample::select(vec![0.0, -0.0, f64::MAX, f64::MIN, 5e-324, 1e300, -1e-300]),
    ]
}

/// Central moments of small whole numbers, as fractions without an error.
fn moments(values: &[i64]) -> (i128, i128, i128) {
    let n = values.len() as i128;
    let sum: i128 = values.iter().map(|v| i128::from(*v)).sum();
    // Values times `n`, less their mean times `n`, are whole.
    let apart = values.iter().map(|v| i128::from(*v) * n - sum);
    apart.fold((0, 0, 0), |(two, three, four), d| {
        (two + d * d, three + d * d * d, four + d * d * d * d)
    })
}

fn near(actual: Option<f64>, expected: f64) -> bool {
    actual.is_some_and(|actual| (actual - expected).abs() <= 1e-14 * expected.abs().max(1.0))
}

#[test]
fn values_far_from_zero_keep_their_spread() {
    let sums = of(&[1e15 + 1.0, 1e15 + 2.0, 1e15 + 3.0]);
    assert_eq!((sums.variance(), sums.stddev()), (Some(1.0), Some(1.0)));
    assert_eq!((sums.skewness(), sums.kurtosis()), (Some(0.0), Some(-1.5)));
}

#[test]
fn what_does_not_vary_has_no_shape() {
    assert_eq!(of(&[]).variance(), None);
    assert_eq!(of(&[3.0]).variance(), None);
    assert_eq!(of(&[0.1, 0.1, 0.1]).variance(), Some(0.0));
    assert_eq!(of(&[0.1, 0.1, 0.1]).skewness(), None);
    assert_eq!(of(&[7.0]).kurtosis(), None);
}

#[test]
fn the_ends_of_the_floats_are_within() {
    let sums = of(&[f64::MAX, f64::MIN]);
    assert_eq!(sums.variance(), Some(f64::INFINITY));
    assert_eq!(sums.stddev(), Some(f64::INFINITY));
    let deviation = of(&[f64::MAX, f64::MAX / 2.0]).stddev().unwrap();
    assert!((deviation / (f64::MAX / 8_f64.sqrt()) - 1.0).abs() < 1e-15, "{deviation}");
    assert_eq!(sums.kurtosis(), Some(-2.0));
    assert_eq!(of(&[5e-324, 0.0]).variance(), Some(0.0));
    assert!(of(&[1.0, f64::NAN]).variance().is_some_and(f64::is_nan));
    assert!(of(&[f64::INFINITY]).skewness().is_some_and(f64::is_nan));
    assert_eq!(of(&[f64::INFINITY]).variance(), None);
}

#[test]
fn bytes_that_are_no_sums_are_refused() {
    let bytes = of(&[1.0, -2.5]).to_bytes();
    for length in 0..bytes.len() {
        assert!(PowerSums::from_bytes(&bytes[..length]).is_err(), "{length}");
    }
    let mut other = bytes.clone();
    other[0] = 9;
    assert!(PowerSums::from_bytes(&other).is_err());
    other = bytes;
    other.push(0);
    assert!(PowerSums::from_bytes(&other).is_err());
}

proptest! {
    #[test]
    fn moments_are_those_of_exact_fractions(values in prop::collection::vec(-9999..9999i64, 2..40)) {
        let floats: Vec<f64> = values.iter().map(|v| *v as f64).collect();
        let (sums, n) = (of(&floats), values.len() as f64);
        let (two, three, four) = moments(&values);
        let (two, three, four) = (two as f64, three as f64, four as f64);
        prop_assert!(near(sums.variance(), two / (n * n * (n - 1.0))));
        prop_assert!(near(sums.stddev(), (two / (n * n * (n - 1.0))).sqrt()));
        if two == 0.0 {
            prop_assert_eq!((sums.skewness(), sums.kurtosis()), (None, None));
        } else {
            prop_assert!(near(sums.skewness(), three * n.sqrt() / two.powf(1.5)));
            prop_assert!(near(sums.kurtosis(), four * n / (two * two) - 3.0));
        }
    }

    #[test]
    fn order_parts_and_detours_leave_no_trace(
        values in prop::collection::vec(float(), 0..20),
        detour in prop::collection::vec(float(), 0..5),
        at in any::<prop::sample::Index>(),
    ) {
        let whole = of(&values);
        let mut turned = values.clone();
        turned.reverse();
        let mut with_detour = of(&turned);
        detour.iter().for_each(|value| with_detour.add(*value));
        detour.iter().for_each(|value| with_detour.sub(*value));
        prop_assert_eq!(&with_detour, &whole);
        let (left, right) = values.split_at(at.index(values.len() + 1));
        let mut merged = of(left);
        merged.merge(&PowerSums::from_bytes(&of(right).to_bytes()).unwrap());
        prop_assert_eq!(merged.to_bytes(), whole.to_bytes());
        prop_assert_eq!(merged.count(), values.len() as u64);
    }
}
