use arrow::array::{ArrayRef, AsArray, Int64Array, MapArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Fields, Int64Type, Schema as ArrowSchema};

use super::rows::Side;
use super::tally::{Fingerprints, Part, Tally};
use super::*;

#[test]
fn rows_that_are_on_both_sides_are_struck_out() {
    let mut tally = Tally::within(1 << 20);
    for row in [1, 2, 2, 3] {
        assert!(tally.count(row, Side::Gone));
    }
    for row in [2, 3, 3, 4] {
        assert!(tally.count(row, Side::Come));
    }
    let left = |tally: &mut Tally, side, rows: &[u128]| {
        rows.iter().filter(|row| tally.take(**row, side)).copied().collect::<Vec<_>>()
    };
    assert_eq!(left(&mut tally, Side::Gone, &[1, 2, 2, 3]), [1, 2]);
    assert_eq!(left(&mut tally, Side::Come, &[2, 3, 3, 4]), [3, 4]);
    assert!(tally.is_empty());
}

#[test]
fn a_tally_says_when_it_is_full() {
    let mut tally = Tally::within(0);
    let counted = (0..1000).take_while(|row| tally.count(*row, Side::Come)).count();
    assert!((1..100).contains(&counted));
    assert!(!tally.is_empty());
}

#[test]
fn parts_share_all_numbers_among_them() {
    let numbers: Vec<u128> =
        (0..100_u128).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15 << 60)).collect();
    let mut parts = vec![Part::WHOLE];
    for _ in 0..3 {
        parts = parts.iter().flat_map(|part| part.halves().unwrap()).collect();
    }
    assert_eq!(parts.len(), 8);
    for number in numbers {
        assert_eq!(parts.iter().filter(|part| part.has(number)).count(), 1);
    }
    let mut part = Part::WHOLE;
    let deepest = (0..64).find_map(|_| match part.halves() {
        Ok([first, _]) => {
            part = first;
            None
        }
        Err(error) => Some(error.kind()),
    });
    assert_eq!(deepest, Some(icecore_core::ErrorKind::LimitExceeded));
}

#[test]
fn rows_of_every_type_have_fingerprints() {
    let entries = Fields::from(vec![
        Field::new("key", DataType::Utf8, false),
        Field::new("value", DataType::Int64, true),
    ]);
    let values = |value: i64| -> ArrayRef {
        let keys: ArrayRef = Arc::new(StringArray::from(vec!["a", "b"]));
        let values: ArrayRef = Arc::new(Int64Array::from(vec![Some(value), None]));
        let entries_array =
            arrow::array::StructArray::new(entries.clone(), vec![keys, values], None);
        let offsets = arrow::buffer::OffsetBuffer::from_lengths([2, 0]);
        let field = Arc::new(Field::new("key_value", DataType::Struct(entries.clone()), false));
        Arc::new(MapArray::new(field, offsets, entries_array, None, false))
    };
    let column = values(1);
    let schema =
        Arc::new(ArrowSchema::new(vec![Field::new("m", column.data_type().clone(), true)]));
    let numbers = |column: ArrayRef| {
        let rows = RecordBatch::try_new(schema.clone(), vec![column]).unwrap();
        Fingerprints::of(&schema, vec![0]).unwrap().rows(&rows).unwrap()
    };
    let (one, two) = (numbers(values(1)), numbers(values(2)));
    assert_eq!(one, numbers(values(1)));
    assert_ne!(one[0], two[0]);
    assert_eq!(one[1], two[1], "an empty map is an empty map");
    assert_ne!(one[0], one[1]);
    let plain = numbers_of_pairs(&[(1, 2), (1, 2), (2, 1)]);
    assert_eq!(plain[0], plain[1]);
    assert_ne!(plain[0], plain[2]);
}

fn numbers_of_pairs(pairs: &[(i64, i64)]) -> Vec<u128> {
    let schema = Arc::new(ArrowSchema::new(vec![
        Field::new("a", DataType::Int64, true),
        Field::new("b", DataType::Int64, true),
    ]));
    let column = |pick: fn(&(i64, i64)) -> i64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(pairs.iter().map(pick)))
    };
    let columns = vec![column(|pair| pair.0), column(|pair| pair.1)];
    let rows = RecordBatch::try_new(schema.clone(), columns).unwrap();
    assert_eq!(rows.column(0).as_primitive::<Int64Type>().len(), pairs.len());
    Fingerprints::of(&schema, vec![0, 1]).unwrap().rows(&rows).unwrap()
}
