//! What partitions rows lie in: the values that PyIceberg computes.
//!
//! Each line of `transforms.txt` is a type, a transform, and values with what they become.

use arrow::array::{
    ArrayRef, AsArray, Date32Array, Decimal128Array, FixedSizeBinaryArray, Int32Array, Int64Array,
    LargeBinaryArray, Time64MicrosecondArray, TimestampNanosecondArray,
};
use arrow::datatypes::{Date32Type, Decimal128Type, Int32Type, Int64Type};
use iceberg::spec::{NestedField, Schema, Transform};

use super::super::transform::Source;
use super::*;
use crate::ColumnType;

fn schema_of(column_type: &str) -> (Schema, SchemaRef) {
    let column_type = ColumnType::parse(column_type).unwrap();
    let field = NestedField::optional(1, "x", column_type.as_iceberg().clone());
    let schema = Schema::builder().with_fields([Arc::new(field)]).build().unwrap();
    let arrow = schema::to_arrow(&schema).unwrap();
    (schema, arrow)
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

fn column_of(data_type: &DataType, texts: &[&str]) -> ArrayRef {
    let numbers = || texts.iter().map(|text| text.parse::<i64>().unwrap());
    match data_type {
        DataType::Int32 => Arc::new(Int32Array::from_iter_values(numbers().map(|n| n as i32))),
        DataType::Date32 => Arc::new(Date32Array::from_iter_values(numbers().map(|n| n as i32))),
        DataType::Int64 => Arc::new(Int64Array::from_iter_values(numbers())),
        DataType::Time64(_) => Arc::new(Time64MicrosecondArray::from_iter_values(numbers())),
        DataType::Timestamp(_, zone) => Arc::new(
            TimestampMicrosecondArray::from_iter_values(numbers()).with_timezone_opt(zone.clone()),
        ),
        DataType::Utf8 => Arc::new(StringArray::from(texts.to_vec())),
        DataType::LargeBinary => {
            Arc::new(LargeBinaryArray::from_iter_values(texts.iter().map(|text| hex(text))))
        }
        DataType::FixedSizeBinary(_) => Arc::new(
            FixedSizeBinaryArray::try_from_iter(texts.iter().map(|text| hex(text))).unwrap(),
        ),
        DataType::Decimal128(precision, scale) => {
            let unscaled = texts.iter().map(|text| text.replace('.', "").parse().unwrap());
            let column = Decimal128Array::from_iter_values(unscaled);
            Arc::new(column.with_precision_and_scale(*precision, *scale).unwrap())
        }
        other => panic!("no values of {other}"),
    }
}

fn shown(column: &ArrayRef, row: usize) -> String {
    match column.data_type() {
        DataType::Int32 => column.as_primitive::<Int32Type>().value(row).to_string(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::Date32 => column.as_primitive::<Date32Type>().value(row).to_string(),
        DataType::Decimal128(..) => column.as_primitive::<Decimal128Type>().value_as_string(row),
        DataType::LargeBinary => {
            column.as_binary::<i64>().value(row).iter().map(|byte| format!("{byte:02x}")).collect()
        }
        _ => column.as_string::<i32>().value(row).to_owned(),
    }
}

#[test]
fn every_transform_gives_the_values_that_pyiceberg_gives() {
    let mut checked = 0;
    for line in include_str!("transforms.txt").lines() {
        let mut cells = line.split('|');
        let (schema, arrow) = schema_of(cells.next().unwrap());
        let transform: Transform = cells.next().unwrap().parse().unwrap();
        let pairs: Vec<(&str, &str)> = cells.map(|cell| cell.split_once(" -> ").unwrap()).collect();
        let texts: Vec<&str> = pairs.iter().map(|(text, _)| *text).collect();
        let column = column_of(arrow.field(0).data_type(), &texts);
        let rows = RecordBatch::try_new(arrow, vec![column]).unwrap();
        let source = Source::find(&schema, 1, transform).unwrap().unwrap();
        let values = source.values(&rows).unwrap();
        for (row, (text, expected)) in pairs.iter().enumerate() {
            assert_eq!(shown(&values, row), *expected, "{transform} of {text}: {line}");
            checked += 1;
        }
    }
    assert!(checked > 250);
}

#[test]
fn moments_in_nanoseconds_lie_where_their_microsecond_does() {
    let moments =
        [0_i64, -1, 999, -1000, -1001, 3_600_000_000_000, -86_400_000_000_001, -86_400_500_000_001];
    let (coarse_schema, coarse) = schema_of("timestamp");
    let (fine_schema, fine) = schema_of("timestamp_ns");
    for transform in
        [Transform::Year, Transform::Month, Transform::Day, Transform::Hour, Transform::Bucket(9)]
    {
        let values = |schema: &Schema, arrow: &SchemaRef, column: ArrayRef| {
            let rows = RecordBatch::try_new(arrow.clone(), vec![column]).unwrap();
            let source = Source::find(schema, 1, transform).unwrap().unwrap();
            source.values(&rows).unwrap()
        };
        let micros = moments.map(|nanos| nanos.div_euclid(1000));
        let micros = Arc::new(TimestampMicrosecondArray::from(micros.to_vec()));
        let nanos = Arc::new(TimestampNanosecondArray::from(moments.to_vec()));
        assert_eq!(
            &values(&coarse_schema, &coarse, micros),
            &values(&fine_schema, &fine, nanos),
            "{transform}"
        );
    }
}
