use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{Array, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow::util::pretty::pretty_format_batches;
use icecore_core::{Error, ErrorKind};
use proptest::prelude::*;

use super::value::moment;
use super::*;

mod growth;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
}

fn read(paths: &[PathBuf], options: FileReadOptions) -> Result<(RecordBatch, FileRows)> {
    run(async {
        let mut rows = read_files(paths, options).await?;
        let schema = rows.stream.schema().clone();
        let stream = std::mem::replace(&mut rows.stream, BatchStream::from_batches(schema, vec![]));
        Ok((stream.concat().await?, rows))
    })
}

fn one(name: &str, text: impl AsRef<[u8]>, options: FileReadOptions) -> Result<RecordBatch> {
    let folder = Folder::new();
    read(&[folder.write(name, text)], options).map(|(batch, _)| batch)
}

fn types(batch: &RecordBatch) -> Vec<String> {
    let schema = batch.schema();
    schema.fields().iter().map(|field| format!("{}:{}", field.name(), field.data_type())).collect()
}

fn cells(batch: &RecordBatch) -> Vec<String> {
    let table = pretty_format_batches(std::slice::from_ref(batch)).unwrap().to_string();
    let lines: Vec<&str> = table.lines().collect();
    lines[3..lines.len() - 1]
        .iter()
        .map(|line| line.split('|').map(str::trim).collect::<Vec<_>>().join("|"))
        .map(|line| line.trim_matches('|').to_owned())
        .collect()
}

fn place(error: &Error) -> (usize, usize) {
    let location = error.location().expect("a location");
    (location.line, location.column)
}

const STAMP: &str = "Timestamp(µs, \"+00:00\")";

#[test]
fn types_are_inferred_from_the_values() {
    let text = "id,amount,ok,day,at,code,empty,big\n\
                1,2,true,2026-01-02,2026-01-02T03:04:05Z,007,,99999999999999999999\n\
                -2,2.5,FALSE,2026-01-03,2026-01-02 03:04:05.25,a,,1\n";
    let batch = one("a.csv", text, FileReadOptions::default()).unwrap();
    let stamp = format!("at:{STAMP}");
    let expected = [
        "id:Int64",
        "amount:Float64",
        "ok:Boolean",
        "day:Date32",
        &stamp,
        "code:Utf8",
        "empty:Utf8",
        "big:Utf8",
    ];
    assert_eq!(types(&batch), expected);
    let at = batch.column(4).as_primitive::<arrow::datatypes::TimestampMicrosecondType>();
    assert_eq!(at.value(0), 1_767_323_045_000_000);
    assert_eq!(at.value(1), 1_767_323_045_250_000, "a time without a zone is in UTC");
    assert_eq!(batch.column(6).null_count(), 2);
    assert_eq!(batch.column(5).as_string::<i32>().value(0), "007");
}

#[test]
fn offsets_of_times_are_honoured() {
    let text = "at\n2026-01-02T03:04:05+02:00\n2026-01-02T01:04:05Z\n2026-01-02\n";
    let batch = one("a.csv", text, FileReadOptions::default()).unwrap();
    let at = batch.column(0).as_primitive::<arrow::datatypes::TimestampMicrosecondType>();
    assert_eq!(at.value(0), at.value(1));
    assert_eq!(at.value(2), 1_767_312_000_000_000);
}

#[test]
fn an_empty_field_is_null_and_a_quoted_one_is_empty_text() {
    let options = FileReadOptions { nulls: vec!["NA".into()], ..FileReadOptions::default() };
    let batch = one("a.csv", "a,b\n,\"\"\nx,NA\n", options).unwrap();
    assert!(batch.column(0).is_null(0));
    assert!(batch.column(1).is_valid(0));
    assert!(batch.column(1).is_null(1));
}

#[test]
fn delimiters_are_found() {
    for (name, text) in [
        ("a.csv", "a,b\n1,2;3\n2,x\n"),
        ("a.csv", "a;b\n1;\"2;3\"\n2;x\n"),
        ("a.csv", "a\tb\n1\t2;3\n2\tx\n"),
        ("a.csv", "a|b\n1|2;3\n2|x\n"),
        ("a.tsv", "a\tb\n1\t2;3\n2\tx\n"),
        ("a.csv", "\u{feff}a,b\r\n1,2;3\r\n2,x\r\n"),
        ("a.csv", "a;b\n1;2,5\n2;3,5\n"),
    ] {
        let batch = one(name, text, FileReadOptions::default()).unwrap();
        assert_eq!(types(&batch), ["a:Int64", "b:Utf8"], "{text:?}");
        assert_eq!(batch.num_rows(), 2);
    }
}

fn target() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("amount", DataType::Float64, true),
        Field::new("day", DataType::Date32, true),
        Field::new("at", moment(), true),
        Field::new("ok", DataType::Boolean, true),
        Field::new("small", DataType::Int32, true),
    ]))
}

/// A file, the place of its mistake, and what the message has to say.
const MISTAKES: &[(&str, &str, (usize, usize), &str)] = &[
    ("a.csv", "id,amount\n1,2\n2,x1\n", (3, 3), "`amount`: expected a number, found `x1`"),
    ("a.csv", "id,amount\nyes,2\n", (2, 1), "`id`: expected a whole number, found `yes`"),
    ("a.csv", "id\n1.5\n", (2, 1), "`id`: expected a whole number, found `1.5`"),
    ("a.csv", "id\n99999999999999999999\n", (2, 1), "whole number"),
    ("a.csv", "id,small\n1,3000000000\n", (2, 3), "fits Int32, found `3000000000`"),
    ("a.csv", "id,day\n1,2026-02-30\n", (2, 3), "expected a date such as"),
    ("a.csv", "id,at\n1,yesterday\n", (2, 3), "expected a time such as"),
    ("a.csv", "id,ok\n1,maybe\n", (2, 3), "`true` or `false`"),
    ("a.csv", "id,amount\n,2\n", (2, 1), "`id` must have a value"),
    ("a.csv", "id,amount\n1,2,3\n", (2, 5), "expected 2 fields, found 3"),
    ("a.csv", "id,amount\n1,2\n3\n", (3, 2), "expected 2 fields, found 1"),
    ("a.csv", "id,amount\n1,\"2\n3,4\n", (2, 3), "quote is never closed"),
    ("a.csv", "id,amount\n1,\"2\"3\n", (2, 6), "goes on after its closing quote"),
    ("a.csv", "id,note\n1,\"two\nlines\"\nx,\"\"\n", (4, 1), "found `x`"),
    ("a.csv", "id,note,amount\n1,\"é\nü\",x\n", (3, 4), "found `x`"),
    ("a.csv", "id,amount\r\n1,2\r\n\r\n2,x\r\n", (4, 3), "found `x`"),
    ("a.csv", "\u{feff}id,amount\n1,x\n", (2, 3), "found `x`"),
    ("a.jsonl", "{\"id\": 1}\n{\"id\": \"x\"}\n", (2, 2), "`id`: expected a whole number"),
    ("a.jsonl", "{\"id\": 1}\n\n{\"id\": 1.5}\n", (3, 2), "found `1.5`"),
    ("a.jsonl", "{\"id\": 1, \"small\": 3000000000}\n", (1, 11), "fits Int32"),
    ("a.jsonl", "{\"id\": 1, \"ok\": 1}\n", (1, 11), "`true` or `false`"),
    ("a.jsonl", "{\"id\": 1, \"at\": 1700000000}\n", (1, 11), "a time such as"),
    ("a.jsonl", "{\"amount\": 1}\n", (1, 0), "`id` must have a value"),
    ("a.jsonl", "{\"id\": 1}\n{\"id\": 2,}\n", (2, 10), "not a JSON object: trailing comma"),
    ("a.jsonl", "{\"id\": 1}\n{\"id\": 2\n", (2, 8), "not a JSON object: EOF"),
    ("a.jsonl", "{\"id\": 1}\n[1]\n", (2, 1), "expected a JSON object"),
    ("a.jsonl", "{\"id\": 1, \"id\": 2}\n", (1, 14), "key `id` stands twice"),
];

#[test]
fn a_mistake_is_named_by_its_line_and_column() {
    for (name, text, expected, message) in MISTAKES {
        let options = FileReadOptions::default().with_target(target());
        let error = one(name, text, options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{text:?}");
        assert!(error.to_string().contains(message), "{text:?}: {error}");
        assert_eq!(place(&error), *expected, "{text:?}: {error}");
        assert!(error.location().unwrap().file.ends_with(name));
    }
}

#[test]
fn a_mistake_costs_its_row_where_rows_are_skipped() {
    for (name, text, (line, column), message) in MISTAKES {
        let folder = Folder::new();
        let options = FileReadOptions::default().with_target(target()).with_on_error(OnError::Skip);
        let (batch, rows) = read(&[folder.write(name, text)], options).unwrap();
        let rejects = rows.rejects.list();
        assert_eq!(rows.rejects.count(), rejects.len() as u64);
        assert_eq!((rejects[0].line, rejects[0].column), (*line, *column), "{text:?}");
        assert!(rejects[0].message.contains(message), "{text:?}");
        assert!(!rejects[0].raw.is_empty());
        for id in batch.column(0).as_primitive::<arrow::datatypes::Int64Type>() {
            assert!(id.is_some(), "{text:?}");
        }
    }
}

#[test]
fn text_that_is_not_utf8_is_a_mistake_of_its_row() {
    for (name, bytes, expected) in [
        ("a.csv", &b"id,note\n1,ok\n2,\xe9t\xe9\n3,ok\n"[..], (3, 3)),
        ("a.csv", &b"id,note\n1,ok\n2,\"a\nb\xff\"\n3,ok\n"[..], (4, 2)),
        ("a.jsonl", &b"{\"id\":1}\n{\"id\":2,\"note\":\"\xe9\"}\n{\"id\":3}\n"[..], (2, 17)),
    ] {
        let error = one(name, bytes, FileReadOptions::default()).unwrap_err();
        assert_eq!(place(&error), expected, "{error}");
        assert!(error.to_string().contains("not UTF-8"));
        let skip = FileReadOptions::default().with_on_error(OnError::Skip);
        assert_eq!(one(name, bytes, skip).unwrap().num_rows(), 2);
    }
    let error = one("a.csv", b"\xff\xfea\0,\0", FileReadOptions::default()).unwrap_err();
    assert!(error.to_string().contains("UTF-16"));
}

#[test]
fn headers_must_name_every_column_once() {
    for (text, expected, message) in [
        ("a,b,a\n1,2,3\n", (1, 5), "columns 1 and 3 are both named `a`"),
        ("a,,c\n1,2,3\n", (1, 3), "column 2 has no name"),
        ("a,b,\n1,2,3\n", (1, 5), "column 3 has no name"),
        ("a,\"b\n1,2\n", (1, 3), "the header's quote is never closed"),
        ("a,b\u{0}\n", (0, 0), ""),
    ] {
        let outcome = one("a.csv", text, FileReadOptions::default());
        if message.is_empty() {
            assert!(outcome.is_ok());
            continue;
        }
        let error = outcome.unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
        assert_eq!(place(&error), expected, "{text:?}");
    }
}

#[test]
fn empty_files_and_files_of_a_header_alone() {
    for text in ["", "\n\n", "\u{feff}"] {
        let error = one("a.csv", text, FileReadOptions::default()).unwrap_err();
        assert!(error.to_string().contains("is empty"), "{text:?}: {error}");
        let error = one("a.jsonl", text, FileReadOptions::default()).unwrap_err();
        assert!(error.to_string().contains("no columns"), "{text:?}: {error}");
    }
    let batch = one("a.csv", "a,b\n", FileReadOptions::default()).unwrap();
    assert_eq!((batch.num_rows(), types(&batch)), (0, vec!["a:Utf8".into(), "b:Utf8".into()]));
    let folder = Folder::new();
    let paths = [folder.write("a.csv", "a,b\n"), folder.write("b.csv", "b,a\n1,2\n")];
    let (batch, _) = read(&paths, FileReadOptions::default()).unwrap();
    assert_eq!(types(&batch), ["a:Int64", "b:Int64"]);
    assert_eq!(cells(&batch), ["2|1"]);
}

#[test]
fn one_error_names_up_to_twenty_more_places() {
    let mut text = "id\n".to_owned();
    (0..50).for_each(|n| text.push_str(&format!("x{n}\n")));
    let error = one("a.csv", text, FileReadOptions::default().with_target(target())).unwrap_err();
    assert_eq!(place(&error).0, 2);
    assert_eq!(error.related().len(), 20);
    assert_eq!(place(&error.related()[19]).0, 22);
}

#[test]
fn files_of_several_formats_become_one_schema() {
    let folder = Folder::new();
    let schema = Arc::new(Schema::new(vec![
        Field::new("at", DataType::Timestamp(TimeUnit::Nanosecond, None), true),
        Field::new("id", DataType::Int32, true),
    ]));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(arrow::array::TimestampNanosecondArray::from(vec![1_500_000])),
        Arc::new(arrow::array::Int32Array::from(vec![7])),
    ];
    let batch = RecordBatch::try_new(schema.clone(), columns).unwrap();
    let path = folder.0.path().join("c.parquet");
    let file = std::fs::File::create(&path).unwrap();
    let mut writer = ::parquet::arrow::ArrowWriter::try_new(file, schema, None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let paths = [
        folder.write("a.csv", "id,amount\n1,2\n"),
        folder.write("b.jsonl", "{\"amount\": 2.5, \"tags\": [1, {\"a\": null}], \"id\": 3}\n"),
        path,
    ];
    let (batch, _) = read(&paths, FileReadOptions::default()).unwrap();
    let stamp = format!("at:{STAMP}");
    assert_eq!(types(&batch), ["id:Int64", "amount:Float64", "tags:Utf8", &stamp]);
    assert_eq!(
        cells(&batch),
        ["1|2.0||", "3|2.5|[1,{\"a\":null}]|", "7|||1970-01-01T00:00:00.001500Z"]
            .map(|row| row.trim_end_matches('|').to_owned())
    );
}

use arrow::array::ArrayRef;

#[test]
fn a_target_gives_the_types_and_the_order() {
    let folder = Folder::new();
    let path = folder.write("a.csv", "extra,amount,id\nx,1,2\n");
    let options = FileReadOptions::default().with_target(target());
    let (batch, rows) = read(std::slice::from_ref(&path), options.clone()).unwrap();
    assert_eq!(rows.unknown_columns, ["extra"]);
    assert_eq!(batch.num_columns(), 7);
    assert_eq!(batch.schema().field(6).name(), "extra");
    let mut options = options;
    options.extra_columns = ExtraColumns::Drop;
    let (batch, rows) = read(&[path], options.clone()).unwrap();
    assert_eq!(rows.unknown_columns, ["extra"]);
    assert_eq!(batch.schema(), target());
    let error = one("a.csv", "amount,idd\n1,2\n", options).unwrap_err();
    assert!(error.to_string().contains("no column `id`"), "{error}");
    assert_eq!(error.help(), Some("did you mean `idd`?"));
}

#[test]
fn declared_types_come_before_inferred_ones() {
    let mut options = FileReadOptions::default();
    options.columns.insert("zip".into(), DataType::Utf8);
    options.columns.insert("price".into(), DataType::Decimal128(10, 2));
    options.timestamp_columns = vec!["at".into()];
    let batch = one("a.csv", "zip,at,price\n123,2026-01-02,1.25\n", options.clone()).unwrap();
    let stamp = format!("at:{STAMP}");
    assert_eq!(types(&batch), ["zip:Utf8", &stamp, "price:Decimal128(10, 2)"]);
    let error = one("a.csv", "zipp,at,price\n1,2026-01-02,1\n", options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(error.help(), Some("did you mean `zipp`?"));
}

#[test]
fn a_column_that_one_value_makes_text_is_noted() {
    let folder = Folder::new();
    let mut text = "id,name\n".to_owned();
    (0..100).for_each(|n| text.push_str(&format!("{n},n{n}\n")));
    text.push_str("oops,x\n");
    let path = folder.write("a.csv", &text);
    let (batch, rows) = read(&[path], FileReadOptions::default()).unwrap();
    assert_eq!(types(&batch)[0], "id:Utf8");
    assert_eq!(rows.notes.len(), 1);
    assert!(rows.notes[0].contains("`oops`") && rows.notes[0].contains(":102"), "{:?}", rows.notes);
}

#[test]
fn a_value_beyond_the_sample_says_where_its_type_comes_from() {
    let options = FileReadOptions { sample_rows: 1, ..FileReadOptions::default() };
    let error = one("a.csv", "id\n1\nx\n", options).unwrap_err();
    assert_eq!(place(&error), (3, 1));
    assert!(error.help().unwrap().contains("name the type of `id`"));
}

#[test]
fn files_that_are_not_there_or_not_what_they_say() {
    let missing = run(read_files(&["no.csv".into()], FileReadOptions::default())).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    let error = one("a.parquet", "PAR0", FileReadOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DataCorrupt);
    let error = one("a.xml", "<a/>", FileReadOptions::default()).unwrap_err();
    assert!(error.notes()[0].contains(".ndjson"));
    let document = one("a.json", "[\n  {\"id\": 1}\n]\n", FileReadOptions::default()).unwrap_err();
    assert!(document.help().unwrap().contains("line of its own"));
    let nothing = run(read_files(&[], FileReadOptions::default())).unwrap_err();
    assert_eq!(nothing.kind(), ErrorKind::InvalidInput);
}

#[test]
fn lines_have_a_limit() {
    let mut text = b"id,note\n1,".to_vec();
    text.resize(text.len() + (17 << 20), b'x');
    let error = one("a.csv", &text, FileReadOptions::default()).unwrap_err();
    assert_eq!((error.kind(), place(&error)), (ErrorKind::LimitExceeded, (2, 0)));
    let mut text = b"{\"note\": \"".to_vec();
    text.resize(text.len() + (17 << 20), b'x');
    let error = one("a.jsonl", &text, FileReadOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
}

#[test]
fn a_quote_that_is_never_closed_costs_one_line_of_a_long_file() {
    let mut text = "id,note\n1,\"stray\n".to_owned();
    (2..600_000).for_each(|n| text.push_str(&format!("{n},some plain text of a line\n")));
    let folder = Folder::new();
    let options = FileReadOptions::default().with_on_error(OnError::Skip);
    let (batch, rows) = read(&[folder.write("a.csv", &text)], options).unwrap();
    assert_eq!((batch.num_rows(), rows.rejects.count()), (599_998, 1));
    assert_eq!(rows.rejects.list()[0].line, 2);
}

#[test]
fn blocks_join_without_a_seam() {
    // Several blocks of 1 MiB, whose ends fall into every part of a line.
    let mut text = "id,note\r\n".to_owned();
    for n in 0..60_000 {
        let note = "\"é \"\"\n\"".repeat(n % 7 / 6);
        text.push_str(&format!(
            "{n},{}{}\r\n",
            note,
            if note.is_empty() { "x".repeat(n % 40) } else { String::new() }
        ));
    }
    text.push_str("last,");
    let folder = Folder::new();
    let path = folder.write("a.csv", &text);
    let mut options = FileReadOptions::default().with_on_error(OnError::Skip);
    options.columns.insert("id".into(), DataType::Int64);
    let (batch, rows) = read(&[path], options).unwrap();
    assert_eq!(rows.rejects.count(), 1);
    let breaks = text.bytes().filter(|byte| *byte == b'\n').count();
    assert_eq!(rows.rejects.list()[0].line, breaks + 1);
    let ids: &Int64Array = batch.column(0).as_primitive();
    assert!(ids.values().iter().copied().eq(0..60_000));
}

#[test]
fn a_dropped_stream_stops_the_reader() {
    run(async {
        let folder = Folder::new();
        let mut text = "id\n".to_owned();
        (0..200_000).for_each(|n| text.push_str(&format!("{n}\n")));
        let path = folder.write("a.csv", &text);
        let rows = read_files(&[path], FileReadOptions::default()).await.unwrap();
        drop(rows.stream);
        // The runtime waits for the reader when it ends: this test hangs if it does not stop.
    });
}

#[test]
fn files_without_a_header_take_the_names_of_the_target() {
    let options = FileReadOptions { header: false, ..FileReadOptions::default() };
    let batch = one("a.csv", "1,x\n2,y\n", options.clone()).unwrap();
    assert_eq!(types(&batch), ["column_1:Int64", "column_2:Utf8"]);
    assert_eq!(batch.num_rows(), 2);
    let options = options.with_target(target());
    let batch = one("a.csv", "1,2.5\n2,3\n", options).unwrap();
    assert_eq!(batch.schema(), target());
    assert_eq!(batch.column(1).null_count(), 0);
}

/// How a careful program writes a field.
fn spell(value: Option<&str>) -> String {
    match value {
        None => String::new(),
        Some(text) => format!("\"{}\"", text.replace('"', "\"\"")),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_was_written_is_read(
        rows in proptest::collection::vec(
            (any::<i64>(), proptest::option::of("[a-zé\",;\\n\\r\t|{}:\\\\]{0,6}")), 1..20),
        delimiter in proptest::sample::select(vec![b',', b';', b'\t', b'|']),
        line_end in proptest::sample::select(vec!["\n", "\r\n", "\r"]),
    ) {
        let separator = delimiter as char;
        let mut csv = format!("id{separator}note{line_end}");
        let mut json = String::new();
        for (id, note) in &rows {
            csv.push_str(&format!("{id}{separator}{}{line_end}", spell(note.as_deref())));
            json.push_str(&format!("{}\n", serde_json::json!({ "id": id, "note": note })));
        }
        let ids = Int64Array::from_iter_values(rows.iter().map(|row| row.0));
        let notes: StringArray = rows.iter().map(|row| row.1.as_deref()).collect();
        for (name, text) in [("a.csv", csv), ("a.json", json)] {
            let mut options = FileReadOptions {
                delimiter: Some(delimiter),
                batch_rows: 3,
                ..FileReadOptions::default()
            };
            options.columns.insert("note".into(), DataType::Utf8);
            let batch = one(name, &text, options).unwrap();
            prop_assert_eq!(batch.column(0).as_primitive(), &ids);
            prop_assert_eq!(batch.column(1).as_string(), &notes, "{:?}", text);
        }
    }
}
