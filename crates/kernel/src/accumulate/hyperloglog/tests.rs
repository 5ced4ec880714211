use proptest::prelude::*;

use super::{HyperLogLog, MAX_RANK, register_and_rank};
use crate::hash::xxh::xxh64;

fn sketch(values: impl IntoIterator<Item = u64>) -> HyperLogLog {
    let mut sketch = HyperLogLog::default();
    values.into_iter().for_each(|value| sketch.add_hash(xxh64(&value.to_le_bytes(), 7)));
    sketch
}

// C149 D9: the error is the one that is stated.
#[test]
fn the_standard_error_is_the_stated_one() {
    for count in [1_u64, 10, 100, 3_000, 10_000, 20_000, 200_000] {
        let trials = 40;
        let errors = (0..trials).map(|trial| {
            let from = trial * 1_000_000_007;
            sketch(from..from + count).estimate() as f64 / count as f64 - 1.0
        });
        let errors = errors.collect::<Vec<_>>();
        let mean = errors.iter().sum::<f64>() / trials as f64;
        let deviation = (errors.iter().map(|e| e * e).sum::<f64>() / trials as f64).sqrt();
        // Four standard errors of the mean, and of the deviation, over the trials.
        assert!(mean.abs() < 4.0 * 0.0163 / (trials as f64).sqrt(), "{count}: bias {mean}");
        assert!(deviation < 0.0163 * 1.45, "{count}: deviation {deviation}");
    }
}

#[test]
fn few_values_are_counted_exactly() {
    assert_eq!(HyperLogLog::default().estimate(), 0);
    assert_eq!(sketch(0..1).estimate(), 1);
    assert_eq!(sketch([5, 5, 6, 5]).estimate(), 2);
}

#[test]
fn ranks_stay_in_range() {
    assert_eq!(register_and_rank(0), (0, MAX_RANK as u8));
    assert_eq!(register_and_rank(u64::MAX), (4095, 1));
    assert_eq!(register_and_rank(1), (0, MAX_RANK as u8 - 1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Merging parts is adding everything, in the sparse form and in the full one.
    #[test]
    fn parts_merge_to_the_whole(size in 0..3000u64, cut in 0..3000u64) {
        let cut = cut.min(size);
        let whole = sketch(0..size);
        let mut merged = sketch(cut..size);
        merged.merge(&sketch(0..cut));
        prop_assert_eq!(&merged, &whole);
        prop_assert_eq!(HyperLogLog::from_bytes(&whole.to_bytes()).unwrap(), whole);
    }
}

#[test]
fn other_bytes_are_refused() {
    let small = sketch(0..9).to_bytes();
    let unsorted = [&small[..1], &small[4..7], &small[1..4]].concat();
    let rank = [&small[..3], &[60]].concat();
    for bad in [&[][..], &small[..small.len() - 1], &unsorted, &rank, &[2]] {
        assert_eq!(
            HyperLogLog::from_bytes(bad).unwrap_err().to_string(),
            "these bytes are not a HyperLogLog",
        );
    }
}
