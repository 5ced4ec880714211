use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int32Array, Int64Array, ListArray,
    RecordBatch, StringArray, TimestampMicrosecondArray, TimestampNanosecondArray,
    TimestampSecondArray, UInt32Array,
};
use arrow::compute::{cast, concat_batches, take_record_batch};
use arrow::datatypes::{DataType, Int32Type};
use proptest::prelude::*;

use super::xxh::xxh64;
use super::{ContentHash, hash_rows, hash_values};

/// The values of the reference implementation, which anchor the hash for good.
#[test]
fn xxh64_is_the_published_one() {
    assert_eq!(xxh64(b"", 0), 0xef46_db37_51d8_e999);
    assert_eq!(xxh64(b"a", 0), 0xd24e_c4f1_a98c_6e5b);
    assert_eq!(xxh64(b"abc", 0), 0x44bc_2cf5_ad77_0999);
    let long = b"Nobody inspects the spammish repetition";
    assert_eq!(xxh64(long, 0), 0xfbce_a83c_8a37_8bf1);
}

fn hash(array: impl arrow::array::Array + 'static) -> Vec<u64> {
    hash_values(&(Arc::new(array) as ArrayRef)).unwrap().values().to_vec()
}

// D8: one moment hashes alike in every unit.
#[test]
fn layout_does_not_matter() {
    let plain: ArrayRef = Arc::new(StringArray::from(vec![Some("å"), None, Some("b"), Some("å")]));
    let expected = hash_values(&plain).unwrap();
    let dictionary = DataType::Dictionary(DataType::Int32.into(), DataType::Utf8.into());
    for layout in [DataType::LargeUtf8, DataType::Utf8View, dictionary] {
        let other = cast(&plain, &layout).unwrap();
        assert_eq!(hash_values(&other).unwrap(), expected, "{layout}");
        assert_eq!(content(&[("s", other)]), content(&[("s", plain.clone())]), "{layout}");
    }
    let seconds = hash(TimestampSecondArray::from(vec![-7]).with_timezone("Europe/Berlin"));
    let micros = hash(TimestampMicrosecondArray::from(vec![-7_000_000]).with_timezone("+00:00"));
    let nanos = hash(TimestampNanosecondArray::from(vec![-7_000_000_000]).with_timezone("UTC"));
    assert_eq!((&seconds, &seconds), (&micros, &nanos));
    assert_ne!(micros, hash(TimestampMicrosecondArray::from(vec![-7_000_000])));
    let odd = Float64Array::from(vec![0.0, f64::NAN]);
    let even = Float64Array::from(vec![-0.0, -f64::NAN]);
    assert_eq!(hash(odd), hash(even));
}

#[test]
fn types_tell_values_apart() {
    let all = [
        hash(Int64Array::from(vec![1])),
        hash(Int32Array::from(vec![1])),
        hash(Float64Array::from(vec![1.0])),
        hash(BooleanArray::from(vec![true])),
        hash(StringArray::from(vec!["1"])),
        hash(Decimal128Array::from(vec![1])),
        hash(Int64Array::from(vec![None])),
    ];
    for (index, hash) in all.iter().enumerate() {
        assert!(!all[..index].contains(hash), "{index}");
    }
    assert_eq!(all[0], hash(UInt32Array::from(vec![1])));
}

#[test]
fn nanoseconds_are_refused_by_name() {
    let array: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![1]));
    let batch = RecordBatch::try_from_iter([("seen_at", array)]).unwrap();
    let error = hash_rows(&batch, &[0]).unwrap_err();
    let message = "column `seen_at`: a time has nanoseconds; icecore counts whole microseconds";
    assert_eq!(error.to_string(), message);
    assert_eq!(ContentHash::default().add_batch(&batch).unwrap_err().to_string(), message);
    assert!(hash_rows(&batch, &[1]).is_err());
}

fn content(columns: &[(&str, ArrayRef)]) -> String {
    let mut hash = ContentHash::default();
    hash.add_batch(&RecordBatch::try_from_iter(columns.to_vec()).unwrap()).unwrap();
    hash.to_hex()
}

#[test]
fn content_depends_on_names_types_and_counts_but_not_on_column_order() {
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["a", "b"]));
    let base = content(&[("id", ids.clone()), ("text", texts.clone())]);
    assert_eq!(base, content(&[("text", texts.clone()), ("id", ids.clone())]));
    assert_ne!(base, content(&[("text", ids.clone()), ("id", texts.clone())]));
    assert_ne!(base, content(&[("id", cast(&ids, &DataType::Int32).unwrap()), ("text", texts)]));
    let one: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let twice: ArrayRef = Arc::new(Int64Array::from(vec![1, 1]));
    assert_ne!(content(&[("id", one)]), content(&[("id", twice)]));
}

/// Values of another implementation. A change of them breaks every lockfile that was written.
#[test]
fn the_content_hash_is_anchored() {
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["a", ""]));
    let items = ListArray::from_iter_primitive::<Int32Type, _, _>([Some([Some(1), None]), None]);
    let columns = [("id", ids), ("text", texts), ("items", Arc::new(items) as ArrayRef)];
    assert_eq!(
        content(&columns),
        "e9fa8a748c80e5676f7fd545542ef71b3013b3cb19c141aebe78bac7969240e1"
    );
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let expected = [0x8e35_a86c_4244_834b, 0x70b3_a0d0_c6f6_d6db];
    assert_eq!(hash_rows(&batch, &[0, 1, 2]).unwrap().values().to_vec(), expected);
}

fn batch(rows: &[(Option<i64>, Option<String>, Option<f64>)]) -> RecordBatch {
    let ids: ArrayRef = Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>());
    let texts: ArrayRef = Arc::new(rows.iter().map(|row| row.1.clone()).collect::<StringArray>());
    let floats: ArrayRef = Arc::new(rows.iter().map(|row| row.2).collect::<Float64Array>());
    RecordBatch::try_from_iter_with_nullable([
        ("id", ids, true),
        ("text", texts, true),
        ("x", floats, true),
    ])
    .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Neither order nor batches nor slices matter; any change of a value does.
    #[test]
    fn content_is_of_the_multiset(
        rows in prop::collection::vec((
            prop::option::of(-2..2i64), prop::option::of("[aåé]{0,2}"), prop::option::of(-1.0..1.0f64),
        ), 1..30),
        order in any::<prop::sample::Index>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let whole = batch(&rows);
        let rotation = order.index(rows.len());
        let order = UInt32Array::from_iter_values(
            (0..rows.len()).map(|row| ((row + rotation) % rows.len()) as u32));
        let shuffled = take_record_batch(&whole, &order).unwrap();
        let cut = cut.index(rows.len());
        let (head, tail) = (shuffled.slice(0, cut), shuffled.slice(cut, rows.len() - cut));
        let (mut one, mut two, mut three) =
            (ContentHash::default(), ContentHash::default(), ContentHash::default());
        one.add_batch(&whole).unwrap();
        two.add_batch(&tail).unwrap();
        three.add_batch(&head).unwrap();
        two.merge(&three);
        prop_assert_eq!(one.to_hex(), two.to_hex());
        prop_assert_eq!(two.rows(), rows.len() as u64);

        let hashes = hash_rows(&shuffled, &[2, 0, 1]).unwrap();
        let tail_hashes = hash_rows(&tail, &[2, 0, 1]).unwrap();
        prop_assert_eq!(&hashes.values()[cut..], &tail_hashes.values()[..]);

        let mut changed = rows;
        changed[cut].0 = Some(changed[cut].0.map_or(0, |id| id + 1));
        let mut other = ContentHash::default();
        other.add_batch(&batch(&changed)).unwrap();
        prop_assert_ne!(one.to_hex(), other.to_hex());
        prop_assert_eq!(concat_batches(whole.schema_ref(), [&head, &tail]).unwrap(), shuffled);
    }
}
