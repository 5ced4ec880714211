use proptest::prelude::*;

use super::ExactSum;

fn sum(values: &[f64]) -> ExactSum {
    let mut sum = ExactSum::default();
    values.iter().for_each(|value| sum.add(*value));
    sum
}

/// The correctly rounded sum by another way: an expansion of non-overlapping parts (Shewchuk 1997,
/// as in Python's `fsum`), whose partial sums are exact.
fn shewchuk(values: &[f64]) -> f64 {
    let mut parts: Vec<f64> = Vec::new();
    for &value in values {
        let mut x = value;
        let mut kept = Vec::new();
        for &part in &parts {
            let (big, small) = if x.abs() < part.abs() { (part, x) } else { (x, part) };
            let high = big + small;
            let low = small - (high - big);
            if low != 0.0 {
                kept.push(low);
            }
            x = high;
        }
        kept.push(x);
        parts = kept;
    }
    let mut parts = parts.into_iter().rev();
    let Some(mut high) = parts.next() else { return 0.0 };
    let mut low = 0.0;
    for part in parts.by_ref() {
        let before = high;
        high = before + part;
        low = part - (high - before);
        if low != 0.0 {
            break;
        }
    }
    // The remaining parts decide a tie.
    if let Some(next) = parts.next()
        && (low < 0.0 && next < 0.0 || low > 0.0 && next > 0.0)
    {
        let doubled = low * 2.0;
        let candidate = high + doubled;
        if doubled == candidate - high {
            high = candidate;
        }
    }
    high + 0.0
}

fn float() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => (-1e6..1e6f64).prop_map(|x| (x * 100.0).round() / 100.0),
        2 => (any::<bool>(), 0..2040u64, any::<u64>()).prop_map(|(sign, exponent, fraction)| {
            f64::from_bits(u64::from(sign) << 63 | exponent << 52 | fraction >> 12)
        }),
        1 => (0..1u64 << 53, any::<bool>()).prop_map(|(bits, sign)| {
            let tiny = f64::from_bits(bits);
            if sign { -tiny } else { tiny }
        }),
        1 => Just(-0.0),
        1 => (-60..60i32).prop_map(|power| 2f64.powi(power)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Correctly rounded, whatever the order; bytes keep it.
    #[test]
    fn a_sum_is_rounded_once(values in prop::collection::vec(float(), 0..40), cut in 0..40usize) {
        let expected = shewchuk(&values);
        prop_assert_eq!(sum(&values).to_f64().to_bits(), expected.to_bits(), "{:?}", values);
        let (head, tail) = values.split_at(cut.min(values.len()));
        let mut merged = sum(tail);
        merged.merge(&sum(head));
        prop_assert_eq!(merged.to_bytes(), sum(&values).to_bytes());
        let read = ExactSum::from_bytes(&merged.to_bytes()).unwrap();
        prop_assert_eq!(read.to_f64().to_bits(), expected.to_bits());
        head.iter().for_each(|value| merged.sub(*value));
        prop_assert_eq!(merged, sum(tail));
    }

    /// Two values: the processor rounds their sum correctly.
    #[test]
    fn two_values_add_as_the_processor_adds(a in float(), b in float()) {
        prop_assert_eq!(sum(&[a, b]).to_f64().to_bits(), (a + b + 0.0).to_bits());
    }
}

#[test]
fn what_is_not_finite_follows_the_rules_and_can_leave_again() {
    let (inf, nan) = (f64::INFINITY, f64::NAN);
    assert!(sum(&[1.0, nan]).to_f64().is_nan());
    assert!(sum(&[inf, -inf]).to_f64().is_nan());
    assert_eq!(sum(&[inf, 1.0, inf]).to_f64(), inf);
    assert_eq!(sum(&[-inf, 1.0]).to_f64(), -inf);
    let mut mixed = sum(&[nan, inf, 2.5]);
    mixed.sub(nan);
    mixed.sub(inf);
    assert_eq!(mixed.to_f64(), 2.5);
}

#[test]
fn the_greatest_values_overflow_to_infinity_and_come_back() {
    let mut sum = sum(&[f64::MAX, f64::MAX]);
    assert_eq!(sum.to_f64(), f64::INFINITY);
    sum.sub(f64::MAX);
    assert_eq!(sum.to_f64(), f64::MAX);
    sum.sub(f64::MAX);
    assert_eq!(sum.to_f64().to_bits(), 0.0f64.to_bits());
}

#[test]
fn other_bytes_are_refused() {
    let bytes = sum(&[1.5]).to_bytes();
    let wrong_version = [&[9], &bytes[1..]].concat();
    for bad in
        [&[][..], &bytes[..bytes.len() - 1], &wrong_version, &[bytes.as_slice(), &[0]].concat()]
    {
        assert_eq!(
            ExactSum::from_bytes(bad).unwrap_err().to_string(),
            "these bytes are not an exact sum",
        );
    }
}
