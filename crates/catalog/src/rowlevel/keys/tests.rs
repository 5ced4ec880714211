use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    BooleanArray, Date32Array, Decimal128Array, FixedSizeBinaryArray, Float32Array, Float64Array,
    Int32Array, Int64Array, LargeBinaryArray, StringArray, Time64MicrosecondArray,
    TimestampMicrosecondArray, TimestampNanosecondArray,
};
use icecore_core::ErrorKind;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

type Key = (Option<i64>, Option<String>, Option<u64>);

const FLOATS: [f64; 6] = [0.0, -0.0, 1.5, f64::NAN, f64::INFINITY, -7.25];

/// Any one of a few keys, so that there are equal ones; the float by the place of its class.
fn key() -> impl Strategy<Value = (Option<i64>, Option<String>, Option<usize>)> {
    (
        prop_oneof![Just(None), (-3..3_i64).prop_map(Some), any::<i64>().prop_map(Some)],
        prop_oneof![Just(None), "[aü雪]{0,9}".prop_map(Some)],
        prop_oneof![Just(None), (0..FLOATS.len()).prop_map(Some)],
    )
}

fn columns(keys: &[(Option<i64>, Option<String>, Option<usize>)]) -> Vec<ArrayRef> {
    vec![
        Arc::new(Int64Array::from_iter(keys.iter().map(|key| key.0))),
        Arc::new(StringArray::from_iter(keys.iter().map(|key| key.1.clone()))),
        Arc::new(Float64Array::from_iter(keys.iter().map(|key| key.2.map(|at| FLOATS[at])))),
    ]
}

/// What keys are equal by: both zeros are one.
fn plain(key: &(Option<i64>, Option<String>, Option<usize>)) -> Key {
    let float = key.2.map(|at| if FLOATS[at] == 0.0 { 0 } else { FLOATS[at].to_bits() });
    (key.0, key.1.clone(), float)
}

proptest! {
    #[test]
    fn every_row_finds_the_last_row_of_its_key(
        source in vec(key(), 0..60),
        target in vec(key(), 0..60),
    ) {
        let table = KeyTable::build(&columns(&source), |pair| Ok(pair.second)).unwrap();
        let oracle: BTreeMap<Key, u32> = source.iter().map(plain).zip(0..).collect();
        let mut rows: Vec<u32> = oracle.values().copied().collect();
        rows.sort_unstable();
        prop_assert_eq!(table.rows(), rows);
        let matches = table.find(&columns(&target)).unwrap();
        let found: Vec<(u32, u32)> = matches.rows.into_iter().zip(matches.found).collect();
        let expected: Vec<(u32, u32)> = (0..)
            .zip(&target)
            .filter_map(|(row, key)| Some((row, *oracle.get(&plain(key))?)))
            .collect();
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn every_type_that_can_be_a_key_is_found_by_value() {
    let every: Vec<ArrayRef> = vec![
        Arc::new(BooleanArray::from(vec![Some(true), Some(false), None])),
        Arc::new(Int32Array::from(vec![Some(1), Some(2), None])),
        Arc::new(Int64Array::from(vec![Some(1), Some(i64::MIN), None])),
        Arc::new(Float32Array::from(vec![Some(1.0), Some(f32::NAN), None])),
        Arc::new(Float64Array::from(vec![Some(1.0), Some(f64::NAN), None])),
        Arc::new(Decimal128Array::from(vec![Some(1), Some(i128::MAX / 7), None])),
        Arc::new(Date32Array::from(vec![Some(1), Some(-2), None])),
        Arc::new(Time64MicrosecondArray::from(vec![Some(1), Some(2), None])),
        Arc::new(TimestampMicrosecondArray::from(vec![Some(1), Some(-2), None])),
        Arc::new(TimestampNanosecondArray::from(vec![Some(1), Some(-2), None])),
        Arc::new(StringArray::from(vec![Some(""), Some("a longer text than eight"), None])),
        Arc::new(LargeBinaryArray::from(vec![Some(&b""[..]), Some(b"abcdefghijk"), None])),
        Arc::new(
            FixedSizeBinaryArray::try_from_sparse_iter_with_size(
                [Some([1_u8; 16]), Some([2; 16]), None].into_iter(),
                16,
            )
            .unwrap(),
        ),
    ];
    for column in every {
        let table =
            KeyTable::build(std::slice::from_ref(&column), |_| unreachable!("all differ")).unwrap();
        let reversed =
            arrow::compute::take(&column, &arrow::array::UInt32Array::from(vec![2, 1, 0]), None);
        let matches = table.find(&[reversed.unwrap()]).unwrap();
        assert_eq!(matches.found, [2, 1, 0], "{}", column.data_type());
    }
}

#[test]
fn two_rows_of_one_key_are_reported_and_refused_where_they_must_be() {
    let column: ArrayRef = Arc::new(Int64Array::from(vec![4, 5, 4]));
    let refused = KeyTable::build(&[column], |pair| {
        assert_eq!(pair, Duplicate { first: 0, second: 2 });
        Err(Error::invalid("twice"))
    });
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn many_keys_are_all_found() {
    let column: ArrayRef = Arc::new(Int64Array::from_iter_values((0..100_000).map(|n| n * 4096)));
    let table = KeyTable::build(std::slice::from_ref(&column), |_| unreachable!()).unwrap();
    let matches = table.find(&[column]).unwrap();
    assert!(matches.rows == matches.found && matches.rows.len() == 100_000);
}
