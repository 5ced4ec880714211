use std::sync::Arc;

use arrow::array::{BooleanArray, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::array::{RecordBatch, UInt8Array};
use proptest::prelude::*;

use super::*;
use crate::{Profile, ProfileOptions};

fn numbers(values: &[Option<f64>]) -> RecordBatch {
    let values: ArrayRef = Arc::new(Float64Array::from(values.to_vec()));
    RecordBatch::try_from_iter_with_nullable([("x", values, true)]).unwrap()
}

fn profile(batch: &RecordBatch) -> Profile {
    Profile::of(batch, &ProfileOptions::default()).unwrap()
}

fn number() -> impl Strategy<Value = Option<f64>> {
    prop_oneof![
        1 => Just(None),
        1 => Just(Some(f64::NAN)),
        4 => (-40..40_i32).prop_map(|value| Some(f64::from(value))),
        4 => any::<f32>().prop_map(|value| Some(f64::from(value))),
    ]
}

proptest! {
    #[test]
    fn parts_merge_into_the_whole_whatever_their_order(
        values in prop::collection::vec(number(), 0..80),
        cut in 0..80_usize,
    ) {
        let whole = profile(&numbers(&values));
        let (left, right) = values.split_at(cut.min(values.len()));
        let mut merged = profile(&numbers(right));
        merged.merge(&profile(&numbers(left)));
        prop_assert_eq!(&merged, &whole);
        let bytes = whole.to_bytes().unwrap();
        prop_assert_eq!(&merged.to_bytes().unwrap(), &bytes);
        prop_assert_eq!(&Profile::from_bytes(&bytes).unwrap(), &whole);
    }

    #[test]
    fn counts_and_moments_are_exact(values in prop::collection::vec(number(), 0..80)) {
        let profile = profile(&numbers(&values));
        let column = &profile.columns()["x"];
        let present: Vec<f64> =
            values.iter().flatten().copied().filter(|value| !value.is_nan()).collect();
        prop_assert_eq!(column.rows(), values.len() as u64);
        prop_assert_eq!(column.nulls(), values.iter().filter(|v| v.is_none()).count() as u64);
        prop_assert_eq!(column.present(), present.len() as u64);
        let range = present.iter().copied().fold(None, |range: Option<(f64, f64)>, value| {
            let (low, high) = range.unwrap_or((value, value));
            Some((low.min(value), high.max(value)))
        });
        prop_assert_eq!(column.range(), range);
        if !present.is_empty() && present.iter().all(|value| value.is_finite()) {
            let count = present.len() as f64;
            let mean = present.iter().sum::<f64>() / count;
            let spread = present.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
            let size = present.iter().fold(1e-30_f64, |size, value| size.max(value.abs()));
            prop_assert!((column.mean().unwrap() - mean).abs() <= 1e-12 * size);
            prop_assert!((column.stddev().unwrap() - spread.sqrt()).abs() <= 1e-6 * size);
        }
    }

    #[test]
    fn bytes_of_strangers_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        prop_assert!(Profile::from_bytes(&bytes).is_err());
        let magic: Vec<u8> = b"icprof1\n".iter().chain(&bytes).copied().collect();
        prop_assert!(Profile::from_bytes(&magic).is_err());
    }

    #[test]
    fn bytes_that_were_changed_are_refused_or_read(
        values in prop::collection::vec(number(), 0..20),
        at in any::<prop::sample::Index>(),
        bit in 0..8_u8,
    ) {
        let mut body = profile(&numbers(&values)).encoded();
        let at = at.index(body.len());
        body[at] ^= 1 << bit;
        let _ = Profile::decoded(&mut crate::codec::Reader(&body));
    }
}

#[test]
fn a_spread_far_smaller_than_the_mean_keeps_its_digits() {
    let values: Vec<Option<f64>> =
        (0..1_000).map(|row| Some(1e9 + f64::from(row % 2) * 0.25)).collect();
    let profile = profile(&numbers(&values));
    assert_eq!(profile.columns()["x"].stddev(), Some(0.125));
}

#[test]
fn columns_of_every_kind_are_counted() {
    let batch = RecordBatch::try_from_iter_with_nullable([
        (
            "flag",
            Arc::new(BooleanArray::from(vec![Some(true), None, Some(true)])) as ArrayRef,
            true,
        ),
        ("text", Arc::new(StringArray::from(vec![Some("ü"), Some("ü"), None])) as ArrayRef, true),
        ("small", Arc::new(UInt8Array::from(vec![255, 0, 1])) as ArrayRef, true),
        ("big", Arc::new(Int64Array::from(vec![i64::MIN, i64::MAX, 0])) as ArrayRef, true),
        ("at", Arc::new(TimestampMicrosecondArray::from(vec![-5, 7, 0])) as ArrayRef, true),
        ("none", arrow::array::new_null_array(&DataType::Null, 3), true),
    ])
    .unwrap();
    let profile = profile(&batch);
    let column = |name: &str| &profile.columns()[name];
    assert_eq!(column("flag").categories().ranked(), [("true", 2)]);
    assert_eq!(column("text").categories().ranked(), [("ü", 2)]);
    assert_eq!((column("small").kind(), column("small").zeros()), (ColumnKind::Whole, 1));
    assert_eq!(column("at").range(), Some((-5.0, 7.0)));
    assert_eq!((column("none").kind(), column("none").nulls()), (ColumnKind::Opaque, 3));
    let options = ProfileOptions::default().with_private(["text"]).with_columns(["text", "big"]);
    let private = Profile::of(&batch, &options).unwrap();
    assert_eq!(private.columns().len(), 2);
    let text = &private.columns()["text"];
    assert_eq!((text.nulls(), text.categories().total(), text.distinct()), (1, 0, None));
}

#[test]
fn more_categories_than_fit_keep_the_frequent_ones_and_say_what_is_lost() {
    let mut categories = Categories::default();
    for round in 0..10_000_u64 {
        categories.add(&format!("rare {round}"), 1);
        categories.add("common", 1);
    }
    let (common, error) = (categories.count("common"), categories.error());
    assert!(common <= 10_000 && common + error >= 10_000, "{common} {error}");
    assert_eq!((categories.total(), categories.ranked()[0].0), (20_000, "common"));
    assert!(categories.ranked().len() <= 2_000 && error < 20, "{error}");
    let long = "ü".repeat(500);
    categories.add(&long, 3);
    assert_eq!(categories.count(&long), 3);
}
