//! Files whose columns are not quite those of the table.

use arrow::array::{ArrayRef, Decimal128Array, Float64Array, Int32Array, ListArray, StructArray};
use arrow::datatypes::FieldRef;

use super::*;

fn field(name: &str, data_type: DataType) -> FieldRef {
    Arc::new(Field::new(name, data_type, true))
}

fn point(fields: &[(&str, DataType)]) -> DataType {
    DataType::Struct(fields.iter().map(|(name, kind)| field(name, kind.clone())).collect())
}

fn nested() -> SchemaRef {
    let list = DataType::List(field("element", point(&[("x", DataType::Int64)])));
    let entries = point(&[("key", DataType::Utf8), ("value", DataType::Float64)]);
    let entries = Arc::new(Field::new("key_value", entries, false));
    Arc::new(Schema::new(vec![
        field("a", point(&[("x", DataType::Int64), ("y", DataType::Date32)])),
        field("l", list),
        field("m", DataType::Map(entries, false)),
        field("u", DataType::FixedSizeBinary(2)),
    ]))
}

fn parquet(folder: &Folder, name: &str, columns: Vec<(&str, ArrayRef)>) -> PathBuf {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let path = folder.0.path().join(name);
    let rows = BatchStream::from_batches(batch.schema(), vec![batch]);
    run(write_parquet(rows, &path)).unwrap();
    path
}

fn messages(error: &Error) -> Vec<String> {
    let related = error.related().iter().map(ToString::to_string);
    std::iter::once(error.to_string()).chain(related).collect()
}

#[test]
fn json_is_the_value_of_a_nested_column() {
    let lines = "{\"a\": {\"y\": \"2026-01-02\"}, \"l\": [{\"x\": 1}, {}, null], \
                 \"m\": {\"k\": 1.5, \"n\": null}, \"u\": \"0aff\"}\n\
                 {\"a\": null, \"l\": [], \"m\": {}}\n";
    let options = FileReadOptions::default().with_target(nested());
    let batch = one("a.json", lines, options.clone()).unwrap();
    assert_eq!(batch.schema(), nested());
    let expected = ["{x: , y: 2026-01-02}|[{x: 1}, {x: }, ]|{k: 1.5, n: }|0aff", "[]|{}"];
    let found: Vec<String> = cells(&batch);
    assert_eq!(found, expected);
    let csv = "a,u\n\"{\"\"x\"\": 7}\",00-01\n";
    let batch = one("a.csv", csv, options).unwrap();
    assert_eq!(cells(&batch), ["{x: 7, y: }|||0001"]);
}

#[test]
fn what_a_nested_column_cannot_hold_is_named_by_its_place() {
    let lines = "{\"a\": {\"x\": \"one\"}}\n{\"a\": {\"x\": 1, \"z\": 2}}\n{\"a\": 5}\n\
                 {\"l\": [{\"x\": 1}, {\"x\": 1.5}]}\n{\"m\": {\"k\": \"v\"}}\n{\"u\": \"no\"}\n";
    let options = FileReadOptions::default().with_target(nested());
    let error = one("a.json", lines, options.clone()).unwrap_err();
    let expected = [
        "column `a.x`: expected a whole number, found `\"one\"`",
        "the table's column `a` has no field `a.z`",
        "column `a`: expected `struct<x: long, y: date>`, as JSON, found `5`",
        "column `l.element.x`: expected a whole number, found `1.5`",
        "column `m.value`: expected a number, found `\"v\"`",
        "column `u`: expected 4 hexadecimal digits, found `no`",
    ];
    assert_eq!(messages(&error), expected);
    assert_eq!(place(&error), (1, 2));
    let help = error.related().first().and_then(Error::help);
    assert_eq!(help, Some("leave it out, or add the field to the table first"));
    let error = one("a.csv", "a\n{x\n", options.clone()).unwrap_err();
    assert!(error.to_string().contains("as JSON, found `{x`"), "{error}");
    let mut options = options;
    options.extra_columns = ExtraColumns::Drop;
    let batch = one("a.json", "{\"a\": {\"x\": 1, \"z\": 2}}\n", options).unwrap();
    assert_eq!(cells(&batch), ["{x: 1, y: }"]);
}

#[test]
fn fields_that_files_have_more_come_in_and_numbers_are_read_as_wide_as_they_are() {
    let folder = Folder::new();
    let structs: ArrayRef = Arc::new(StructArray::from(vec![
        (field("z", DataType::Utf8), Arc::new(StringArray::from(vec!["new"])) as ArrayRef),
        (field("x", DataType::Int64), Arc::new(Int64Array::from(vec![1 << 40])) as ArrayRef),
    ]));
    let floats: ArrayRef = Arc::new(Float64Array::from(vec![0.1]));
    let cents = Decimal128Array::from(vec![123_456]).with_precision_and_scale(12, 2).unwrap();
    let path = parquet(
        &folder,
        "a.parquet",
        vec![
            ("a", structs),
            ("f", floats),
            ("d", Arc::new(cents)),
            ("small", Arc::new(Int64Array::from(vec![7]))),
            ("large", Arc::new(Int64Array::from(vec![-(1 << 33)]))),
        ],
    );
    let target: SchemaRef = Arc::new(Schema::new(vec![
        field("a", point(&[("x", DataType::Int32), ("y", DataType::Utf8)])),
        field("f", DataType::Float32),
        field("d", DataType::Decimal128(9, 2)),
        field("small", DataType::Int32),
        field("large", DataType::Int32),
    ]));
    let options = FileReadOptions::default().with_target(Arc::clone(&target));
    let (batch, rows) = read(std::slice::from_ref(&path), options.clone()).unwrap();
    assert_eq!(rows.unknown_columns, ["a.z"]);
    let widened: Vec<String> = rows
        .widened_columns
        .iter()
        .map(|wide| format!("{}: {} to {}", wide.column, wide.from, wide.to))
        .collect();
    let expected = [
        "a.x: int to long",
        "f: float to double",
        "d: decimal(9, 2) to decimal(12, 2)",
        "large: int to long",
    ];
    assert_eq!(widened, expected);
    let row = "{x: 1099511627776, y: , z: new}|0.1|1234.56|7|-8589934592";
    assert_eq!(cells(&batch), [row]);
    let mut options = options;
    options.extra_columns = ExtraColumns::Drop;
    let error = read(&[path], options).unwrap_err();
    let expected = "row 1: column `a.x`: expected a whole number that fits Int32, found \
                    `1099511627776`";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn lists_of_structs_lack_fields_too_and_other_types_are_named() {
    let folder = Folder::new();
    let structs = StructArray::from(vec![(
        field("x", DataType::Int32),
        Arc::new(Int32Array::from(vec![1, 2])) as ArrayRef,
    )]);
    let lists = ListArray::new(
        field("item", structs.data_type().clone()),
        arrow::buffer::OffsetBuffer::from_lengths([2]),
        Arc::new(structs),
        None,
    );
    let path = parquet(&folder, "a.parquet", vec![("l", Arc::new(lists) as ArrayRef)]);
    let wide = point(&[("w", DataType::Utf8), ("x", DataType::Int64)]);
    let target = Schema::new(vec![field("l", DataType::List(field("element", wide)))]);
    let options = FileReadOptions::default().with_target(Arc::new(target));
    let (batch, rows) = read(std::slice::from_ref(&path), options).unwrap();
    assert!(rows.unknown_columns.is_empty() && rows.widened_columns.is_empty());
    assert_eq!(cells(&batch), ["[{w: , x: 1}, {w: , x: 2}]"]);
    let target = Schema::new(vec![field("l", point(&[("x", DataType::Int64)]))]);
    let options = FileReadOptions::default().with_target(Arc::new(target));
    let error = read(&[path], options).unwrap_err();
    let expected = "row 1: column `l`: `list<struct<x: int>>` cannot become `struct<x: long>`";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_file_of_broken_lines_alone_says_which_and_why() {
    for (text, message, at) in [
        ("{\"a\":1,\"a\":2}\n", "not a JSON object: key `a` stands twice", (1, 10)),
        ("\n{\"a\":1}{\"a\":2}\n", "not a JSON object: trailing characters", (2, 8)),
        ("{\"a\":1e400}\n", "not a JSON object: number out of range", (1, 10)),
    ] {
        for on_error in [OnError::Fail, OnError::Skip] {
            let options = FileReadOptions::default().with_on_error(on_error);
            let error = one("a.json", text, options).unwrap_err();
            assert_eq!(error.to_string(), message);
            assert_eq!(place(&error), at, "{text}");
        }
    }
    let error = one("a.json", "{1}\n{2}\n", FileReadOptions::default()).unwrap_err();
    assert_eq!(error.related().len(), 1);
    let error = one("a.json", "\n\n", FileReadOptions::default()).unwrap_err();
    assert_eq!(error.to_string(), "the files have no columns");
}
