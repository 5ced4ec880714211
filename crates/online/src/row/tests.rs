use std::sync::Arc;

use arrow::array::{
    BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array,
    Int64Array, ListArray, StringArray, StructArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Int64Type};
use icecore_core::Timestamp;
use proptest::prelude::*;

use super::*;

fn version(event: i64) -> RowVersion {
    RowVersion { event: Timestamp::from_micros(event), created: Timestamp::from_micros(event) }
}

fn read_back(batch: &RecordBatch) -> Vec<ArrayRef> {
    let schema = RowSchema::try_new(batch.schema().fields().iter().map(AsRef::as_ref)).unwrap();
    let versions: Vec<RowVersion> = (0..batch.num_rows() as i64).map(version).collect();
    let encoder = RowEncoder::new(schema.clone(), Origin::Push);
    let rows = encoder.encode(batch, &versions).unwrap();
    let rows: Vec<Row> = rows.into_iter().map(|row| Row::parse(row).unwrap()).collect();
    let kept = RowSchema::of_bytes(&schema.to_bytes().unwrap()).unwrap();
    assert_eq!(kept, schema);
    let cells: Vec<_> = rows.iter().map(|row| row.cells(&kept).unwrap()).collect();
    for (row, version) in rows.iter().zip(versions) {
        assert_eq!((row.version(), row.origin()), (version, Origin::Push));
        assert_eq!(row.schema_id(), schema.id());
    }
    let column = |place: usize, field: &Field| {
        let cells: Vec<Option<&[u8]>> = cells.iter().map(|row| row[place]).collect();
        decode(field.data_type(), &cells).unwrap()
    };
    kept.fields().iter().enumerate().map(|(place, field)| column(place, field)).collect()
}

fn everything() -> RecordBatch {
    let list = ListArray::from_iter_primitive::<Int64Type, _, _>([
        Some(vec![Some(1), None, Some(3)]),
        Some(vec![]),
        None,
    ]);
    let ints: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]));
    let texts: ArrayRef = Arc::new(StringArray::from(vec![None, Some("ü"), Some("")]));
    let pairs = StructArray::from(vec![
        (Arc::new(Field::new("n", DataType::Int64, true)), Arc::clone(&ints)),
        (Arc::new(Field::new("t", DataType::Utf8, true)), Arc::clone(&texts)),
    ]);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("f64", Arc::new(Float64Array::from(vec![Some(f64::NAN), Some(-0.0), None]))),
        ("f32", Arc::new(Float32Array::from(vec![Some(1.5), None, Some(f32::MIN)]))),
        ("i64", ints),
        ("bool", Arc::new(BooleanArray::from(vec![Some(true), Some(false), None]))),
        ("text", texts),
        ("bytes", Arc::new(BinaryArray::from_opt_vec(vec![Some(&[0, 255]), None, Some(&[])]))),
        ("date", Arc::new(Date32Array::from(vec![Some(-1), None, Some(20_000)]))),
        (
            "time",
            Arc::new(
                TimestampMicrosecondArray::from(vec![1, i64::MIN, -1]).with_timezone("+00:00"),
            ),
        ),
        (
            "dec",
            Arc::new(
                Decimal128Array::from(vec![Some(-5), None, Some(i128::MAX / 10)])
                    .with_precision_and_scale(38, 2)
                    .unwrap(),
            ),
        ),
        ("list", Arc::new(list)),
        ("pair", Arc::new(pairs)),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

#[test]
fn every_type_reads_as_it_was_written() {
    let batch = everything();
    for (column, read) in batch.columns().iter().zip(read_back(&batch)) {
        assert_eq!(read.to_data(), column.to_data());
    }
}

#[test]
fn a_slice_is_written_from_where_it_begins() {
    let batch = everything().slice(1, 2);
    for (column, read) in batch.columns().iter().zip(read_back(&batch)) {
        let compact = arrow::compute::concat(&[&**column]).unwrap();
        assert_eq!(read.len(), 2);
        assert_eq!(format!("{read:?}"), format!("{compact:?}"));
    }
}

#[test]
fn a_row_that_is_cut_off_anywhere_is_found_out() {
    let batch = everything();
    let schema = RowSchema::try_new(batch.schema().fields().iter().map(AsRef::as_ref)).unwrap();
    let versions = [version(1), version(2), version(3)];
    let rows = RowEncoder::new(schema.clone(), Origin::Table).encode(&batch, &versions).unwrap();
    for row in rows {
        for len in 0..row.len() {
            let read = Row::parse(row.slice(..len)).and_then(|row| row.cells(&schema).map(|_| ()));
            assert!(read.is_err(), "{len} of {} bytes", row.len());
        }
    }
}

#[test]
fn types_that_rows_do_not_hold_are_named() {
    let field = Field::new("m", DataType::Null, true);
    let error = RowSchema::try_new([&field]).unwrap_err();
    assert!(error.to_string().contains("`m`"), "{error}");
}

#[test]
fn eight_numbers_take_as_many_bytes_as_the_document_says() {
    let column: ArrayRef = Arc::new(Float64Array::from(vec![1.0]));
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let batch = RecordBatch::try_from_iter(names.map(|n| (n, Arc::clone(&column)))).unwrap();
    let schema = RowSchema::try_new(batch.schema().fields().iter().map(AsRef::as_ref)).unwrap();
    let rows = RowEncoder::new(schema, Origin::Table).encode(&batch, &[version(1)]).unwrap();
    assert_eq!(rows[0].len(), 16 + 4 + 1 + 64);
}

proptest! {
    #[test]
    fn any_values_read_as_they_were_written(
        values in prop::collection::vec((any::<Option<i64>>(), any::<Option<String>>(), any::<Option<bool>>()), 1..20)
    ) {
        let ints: ArrayRef = Arc::new(values.iter().map(|v| v.0).collect::<Int64Array>());
        let texts: ArrayRef = Arc::new(values.iter().map(|v| v.1.clone()).collect::<StringArray>());
        let flags: ArrayRef = Arc::new(values.iter().map(|v| v.2).collect::<BooleanArray>());
        let batch = RecordBatch::try_from_iter([("i", ints), ("t", texts), ("b", flags)]).unwrap();
        for (column, read) in batch.columns().iter().zip(read_back(&batch)) {
            prop_assert_eq!(&read, column);
        }
    }
}
