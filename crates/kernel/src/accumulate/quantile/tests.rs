use proptest::prelude::*;

use super::*;

fn share(share: f64) -> Finite {
    Finite::new(share).unwrap()
}

fn sketch(values: &[f64]) -> QuantileSketch {
    let mut sketch = QuantileSketch::default();
    values.iter().for_each(|value| sketch.add(*value));
    sketch
}

fn any_float() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => -1e6..1e6,
        2 => any::<u64>().prop_map(f64::from_bits),
        1 => prop::sample::select(vec![0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 5e-324]),
    ]
}

proptest! {
    #[test]
    fn a_percentile_is_near_the_value_of_its_rank(
        mut values in prop::collection::vec(any_float(), 1..200),
        at in 0.0..=1.0,
    ) {
        let found = sketch(&values).quantile(share(at)).unwrap();
        values.sort_by_key(|value| float_key(*value));
        let exact = values[(at * (values.len() - 1) as f64).floor() as usize];
        let is_near = match exact {
            exact if exact.is_nan() => found.is_nan(),
            exact if exact.is_infinite() => found == exact,
            exact if exact.abs() < f64::MIN_POSITIVE => found == 0.0,
            exact => ((found - exact) / exact).abs() <= 0.004,
        };
        prop_assert!(is_near, "{} for {}", found, exact);
    }

    #[test]
    fn a_sketch_depends_on_its_values_alone(
        values in prop::collection::vec(any_float(), 0..60),
        others in prop::collection::vec(any_float(), 0..60),
        cut in 0..60_usize,
    ) {
        let whole = sketch(&values);
        let (left, right) = values.split_at(cut.min(values.len()));
        let mut merged = sketch(right);
        others.iter().for_each(|value| merged.add(*value));
        merged.merge(&sketch(left));
        others.iter().for_each(|value| assert!(merged.sub(*value)));
        prop_assert_eq!(&merged, &whole);
        prop_assert_eq!(merged.to_bytes(), whole.to_bytes());
        prop_assert_eq!(QuantileSketch::from_bytes(&whole.to_bytes()).unwrap(), whole);
        let mut at_once = QuantileSketch::default();
        at_once.add_all(left);
        at_once.add_all(right);
        prop_assert_eq!(&at_once, &sketch(&values));
        let held = |value: f64| at_once.buckets().filter(|b| b.low <= value && value <= b.high).count();
        let zero = |value: f64| if value.abs() < f64::MIN_POSITIVE { 0.0 } else { value };
        values.iter().filter(|v| !v.is_nan()).for_each(|v| assert_eq!(held(zero(*v)), 1, "{v}"));
    }

    #[test]
    fn bytes_of_strangers_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        if let Ok(sketch) = QuantileSketch::from_bytes(&bytes) {
            prop_assert_eq!(sketch.to_bytes(), bytes);
        }
    }
}

#[test]
fn nothing_has_no_percentile() {
    let mut empty = QuantileSketch::default();
    assert_eq!(empty.quantile(share(0.5)), None);
    assert!(!empty.sub(1.0));
    assert_eq!(QuantileSketch::from_bytes(&[VERSION]).unwrap(), empty);
    assert!(QuantileSketch::from_bytes(&[]).is_err());
}
