//! What the columns of rows become.

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryViewArray, DictionaryArray, FixedSizeListArray, Float64Array,
    Int32Array, Int64Array, LargeStringArray, ListArray, StringViewArray, StructArray,
    TimestampMillisecondArray, TimestampNanosecondArray, TimestampSecondArray, UInt64Array,
    new_null_array,
};
use arrow::datatypes::{
    Fields, Int8Type, Int32Type, Int64Type, TimestampMicrosecondType, UInt32Type,
};
use icecore_core::ErrorKind;

use super::super::conform::Conform;
use super::*;

fn utc() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()))
}

fn conform(column: ArrayRef, to: Field) -> Result<ArrayRef> {
    let from = Arc::new(ArrowSchema::new(vec![Field::new("x", column.data_type().clone(), true)]));
    let conform = Conform::try_new(&from, &Arc::new(ArrowSchema::new(vec![to])))?;
    let rows = RecordBatch::try_new(from, vec![column]).unwrap();
    conform.batch(&rows).map(|rows| rows.column(0).clone())
}

fn becomes(column: ArrayRef, to: &DataType) -> ArrayRef {
    let column = conform(column, Field::new("x", to.clone(), true)).unwrap();
    assert_eq!(column.data_type(), to);
    column
}

#[test]
fn moments_keep_their_instant_and_lose_what_is_finer_towards_the_past() {
    let micros = |column: ArrayRef| {
        let column = becomes(column, &utc());
        column.as_primitive::<TimestampMicrosecondType>().values().to_vec()
    };
    let berlin = "Europe/Berlin";
    assert_eq!(
        micros(Arc::new(
            TimestampNanosecondArray::from(vec![1999, -1, -1000, -1001]).with_timezone(berlin)
        )),
        [1, -1, -1, -2]
    );
    assert_eq!(micros(Arc::new(TimestampMillisecondArray::from(vec![-5]))), [-5000]);
    // The years 1653 and 9999.
    let far = vec![-10_000_000_000, 253_402_300_799];
    assert_eq!(
        micros(Arc::new(TimestampSecondArray::from(far).with_timezone("-09:00"))),
        [-10_000_000_000_000_000, 253_402_300_799_000_000]
    );
    let beyond: ArrayRef = Arc::new(TimestampSecondArray::from(vec![i64::MAX]));
    let error = conform(beyond, Field::new("x", utc(), true)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("column `x`"), "{error}");
}

#[test]
fn whole_numbers_fit_or_fail() {
    let fits: ArrayRef = Arc::new(UInt64Array::from(vec![Some(i64::MAX as u64), None]));
    let column = becomes(fits, &DataType::Int64);
    assert_eq!(column.as_primitive::<Int64Type>(), &Int64Array::from(vec![Some(i64::MAX), None]));
    let too_large: ArrayRef = Arc::new(UInt64Array::from(vec![1 << 63]));
    let error = conform(too_large, Field::new("x", DataType::Int64, true)).unwrap_err();
    assert_eq!(error.to_string(), "column `x` holds a value that `Int64` cannot");
    let narrow: ArrayRef = Arc::new(Int64Array::from(vec![-7]));
    assert_eq!(becomes(narrow, &DataType::Int32).as_primitive::<Int32Type>().value(0), -7);
    let wide: ArrayRef = Arc::new(Int64Array::from(vec![1 << 40]));
    assert!(conform(wide, Field::new("x", DataType::Int32, true)).is_err());
}

#[test]
fn text_and_bytes_of_every_layout_are_the_same() {
    let text: [ArrayRef; 3] = [
        Arc::new(LargeStringArray::from(vec![Some("grün"), None])),
        Arc::new(StringViewArray::from(vec![Some("grün"), None])),
        Arc::new(DictionaryArray::<Int8Type>::from_iter([Some("grün"), None])),
    ];
    for column in text {
        assert_eq!(
            becomes(column, &DataType::Utf8).as_string::<i32>(),
            &StringArray::from(vec![Some("grün"), None])
        );
    }
    let long: &[u8] = b"more than twelve bytes";
    let bytes: ArrayRef = Arc::new(BinaryViewArray::from(vec![Some(long), None]));
    assert_eq!(becomes(bytes, &DataType::LargeBinary).as_binary::<i64>().value(0), long);
}

#[test]
fn lists_and_structs_are_turned_inside_out() {
    let point = Fields::from(vec![
        Field::new("y", DataType::Int64, true),
        Field::new("x", DataType::Utf8, true),
    ]);
    let to = DataType::List(Arc::new(Field::new("element", DataType::Struct(point.clone()), true)));
    let from = StructArray::from(vec![
        (
            Arc::new(Field::new("x", DataType::Utf8View, true)),
            Arc::new(StringViewArray::from(vec!["a", "b"])) as ArrayRef,
        ),
        (
            Arc::new(Field::new("y", DataType::Int32, true)),
            Arc::new(Int32Array::from(vec![None, Some(2)])) as ArrayRef,
        ),
    ]);
    let item = Arc::new(Field::new("item", from.data_type().clone(), true));
    let list = FixedSizeListArray::new(item, 2, Arc::new(from), None);
    let column = becomes(Arc::new(list), &to);
    let values = column.as_list::<i32>().value(0);
    assert_eq!(
        values.as_struct().column(0).as_primitive::<Int64Type>(),
        &Int64Array::from(vec![None, Some(2)])
    );
    assert_eq!(values.as_struct().column(1).as_string::<i32>(), &StringArray::from(vec!["a", "b"]));

    let extra = DataType::Struct(Fields::from(vec![Field::new("z", DataType::Int64, true)]));
    let error = conform(new_null_array(&extra, 1), Field::new("x", DataType::Struct(point), true))
        .unwrap_err();
    assert!(error.to_string().starts_with("column `x` is"), "{error}");
}

#[test]
fn a_slice_of_a_list_is_nothing_but_its_slice() {
    let list = ListArray::from_iter_primitive::<Int64Type, _, _>([
        Some(vec![Some(1 << 40)]),
        Some(vec![Some(2), None]),
        None,
        Some(vec![Some(1 << 41)]),
    ]);
    let to = DataType::new_list(DataType::Int32, true);
    let column = becomes(Arc::new(list.slice(1, 2)), &to);
    let expected = [Some(vec![Some(2), None]), None];
    let expected = ListArray::from_iter_primitive::<Int32Type, _, _>(expected);
    assert_eq!(column.as_list::<i32>(), &expected);
    assert!(conform(Arc::new(list), Field::new("x", to, true)).is_err());
}

#[test]
fn a_required_value_inside_of_a_list_cannot_be_missing() {
    let item = Field::new("element", DataType::Int32, false);
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some([Some(1), None])]);
    let error =
        conform(Arc::new(list), Field::new("x", DataType::List(Arc::new(item)), true)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_type_that_a_column_does_not_take_is_refused_before_any_row() {
    for (from, to) in [
        (DataType::Utf8, DataType::Int64),
        (DataType::Int64, DataType::Float64),
        (DataType::Float64, DataType::Float32),
        (DataType::Float64, DataType::Int64),
        (DataType::Utf8, utc()),
        (DataType::Boolean, DataType::Int32),
        (DataType::Decimal128(9, 4), DataType::Decimal128(9, 2)),
        (DataType::new_list(DataType::Utf8, true), DataType::Utf8),
    ] {
        let error = conform(new_null_array(&from, 0), Field::new("x", to, true)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(
            error.to_string().contains("`x`") && error.to_string().contains(&from.to_string()),
            "{error}"
        );
    }
}

#[test]
fn columns_are_matched_by_name_and_absent_ones_are_null() {
    let target = Arc::new(ArrowSchema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("score", DataType::Float64, true),
        Field::new("late", DataType::Utf8, true),
    ]));
    let rows = |fields: Vec<(&str, ArrayRef)>| RecordBatch::try_from_iter(fields).unwrap();
    let check = |rows: &RecordBatch| Conform::try_new(&rows.schema(), &target)?.batch(rows);
    let scores: ArrayRef = Arc::new(Float64Array::from(vec![0.5]));
    let ids: ArrayRef = Arc::new(Int32Array::from(vec![1]));
    let out = check(&rows(vec![("score", scores.clone()), ("id", ids.clone())])).unwrap();
    assert_eq!(lines(&out), ["1|0.5|∅"]);

    let error = check(&rows(vec![("id", ids.clone()), ("scroe", scores.clone())])).unwrap_err();
    assert_eq!(error.to_string(), "the table has no column `scroe`");
    assert_eq!(error.help(), Some("did you mean `score`?"));
    let error = check(&rows(vec![("score", scores)])).unwrap_err();
    assert_eq!(error.to_string(), "the rows lack the required column `id`");
    let nulls = RecordBatch::try_new(
        Arc::new(ArrowSchema::new(vec![Field::new("id", DataType::UInt32, true)])),
        vec![Arc::new(arrow::array::PrimitiveArray::<UInt32Type>::from(vec![None]))],
    );
    let error = check(&nulls.unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "column `id` is required, and a row has no value for it");
    let untyped = rows(vec![("id", ids), ("late", new_null_array(&DataType::Null, 1))]);
    assert_eq!(lines(&check(&untyped).unwrap()), ["1|∅|∅"]);
}
