//! Manifests are read by other engines: with partitions of every type, in every codec, in both
//! versions of the format, those that a rewrite makes among them.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, FixedSizeBinaryArray,
    Int32Array, Int64Array, RecordBatch, StringArray, Time64MicrosecondArray,
    TimestampMicrosecondArray, TimestampNanosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema};
use icecore_catalog::{CatalogOptions, IcebergCatalog, RowOptions};
use icecore_core::{
    BatchStream, CommitOptions, CompareOp, Literal, NewTable, Predicate, ScanOptions,
    SnapshotCatalog as _, SnapshotSelector, TableName,
};
use serde_json::{Value as Json, json};

use crate::matrix::scratch;
use crate::readers::Readers;

/// Columns of every type that a partition may have, by row: one in five is null.
fn columns(version: u8) -> Vec<(&'static str, ArrayRef)> {
    let rows: Vec<i64> = (0..20).collect();
    let some = |row: &i64| row % 5 != 4;
    let class = |row: &i64| some(row).then_some(row % 3);
    let bytes = |row: &i64| class(row).map(|class| vec![class as u8, 0xff]);
    let fixed = |width: usize| {
        let values = rows.iter().map(|row| class(row).map(|class| vec![class as u8; width]));
        FixedSizeBinaryArray::try_from_sparse_iter_with_size(values, width as i32).unwrap()
    };
    let decimals = |precision: u8, by: i128| {
        let values = rows.iter().map(|row| class(row).map(|class| i128::from(class - 1) * by));
        Decimal128Array::from_iter(values).with_precision_and_scale(precision, 2).unwrap()
    };
    let micros = || rows.iter().map(|row| class(row).map(|class| (class - 1) * 86_400_000_123));
    let mut columns: Vec<(&'static str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from(rows.clone()))),
        (
            "flag",
            Arc::new(BooleanArray::from_iter(rows.iter().map(|row| class(row).map(|c| c > 1)))),
        ),
        (
            "small",
            Arc::new(Int32Array::from_iter(
                rows.iter().map(|row| class(row).map(|c| c as i32 - 1)),
            )),
        ),
        (
            "day",
            Arc::new(Date32Array::from_iter(
                rows.iter().map(|row| class(row).map(|c| c as i32 * 99 - 70)),
            )),
        ),
        ("clock", Arc::new(Time64MicrosecondArray::from_iter(rows.iter().map(class)))),
        ("at", Arc::new(TimestampMicrosecondArray::from_iter(micros()).with_timezone("+00:00"))),
        ("local", Arc::new(TimestampMicrosecondArray::from_iter(micros()))),
        (
            "größe in m",
            Arc::new(StringArray::from_iter(
                rows.iter().map(|row| class(row).map(|c| format!("é{c}"))),
            )),
        ),
        ("raw", Arc::new(BinaryArray::from_iter(rows.iter().map(bytes)))),
        ("code", Arc::new(fixed(3))),
        ("other_code", Arc::new(fixed(3))),
        ("key", Arc::new(fixed(16))),
        ("price", Arc::new(decimals(9, 65))),
        ("other_price", Arc::new(decimals(9, 1_000_000))),
        ("wide", Arc::new(decimals(38, 10_i128.pow(30)))),
    ];
    if version > 2 {
        // The one reader has no finer unit than a microsecond.
        let nanos = rows.iter().map(|row| class(row).map(|class| class * 1_000));
        columns.push(("fine", Arc::new(TimestampNanosecondArray::from_iter(nanos))));
    }
    columns
}

fn batch(version: u8) -> RecordBatch {
    let columns = columns(version);
    let field = |(name, column): &(&str, ArrayRef)| {
        let field = Field::new(*name, column.data_type().clone(), true);
        let is_uuid = *column.data_type() == DataType::FixedSizeBinary(16);
        let uuid = [("ARROW:extension:name".to_owned(), "arrow.uuid".to_owned())];
        if is_uuid { field.with_metadata(uuid.into()) } else { field }
    };
    let fields: Vec<Field> = columns.iter().map(field).collect();
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

#[test]
fn manifests_of_every_partition_and_codec_are_read_by_others() {
    let Some(mut readers) = Readers::start() else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut wrong = Vec::new();
    for version in [2, 3] {
        for codec in ["gzip", "zstd", "snappy", "uncompressed"] {
            wrong.extend(runtime.block_on(check(&mut readers, version, codec)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is wrong with tables of one version and codec, one for each type of partition.
async fn check(readers: &mut Readers, version: u8, codec: &str) -> Vec<String> {
    let root = scratch();
    let path = |name: &str| root.path().join(name).display().to_string();
    let options = CatalogOptions::new(format!("sqlite:{}", path("catalog.db")), path("warehouse"));
    let catalog = IcebergCatalog::open(options).await.unwrap();
    let rows = batch(version);
    let mut wrong = Vec::new();
    for (place, field) in rows.schema().fields().iter().enumerate().skip(1) {
        let table = TableName::parse(&format!("ns.by_{place}")).unwrap();
        let new = NewTable::new(rows.schema())
            .with_format_version(version)
            .with_partition_by([field.name().clone()]);
        catalog.ensure_table(&table, &new).await.unwrap();
        let set = BTreeMap::from([("write.avro.compression-codec".to_owned(), codec.to_owned())]);
        catalog.set_properties(&table, set, Vec::new()).await.unwrap();
        let stream = BatchStream::from_batches(rows.schema(), vec![rows.clone()]);
        catalog.commit(&table, stream, CommitOptions::default()).await.unwrap();
        // The manifest is written again, with files that stay, that go and that are new.
        let gone = Predicate::compare("id", CompareOp::Lt, Literal::Int(3));
        catalog.delete(&table, gone, RowOptions::default()).await.unwrap();
        let found = read(readers, &catalog, &table, (codec, field.name())).await;
        let of = || format!("v{version}, {codec}, by `{}`", field.name());
        wrong.extend(found.err().map(|what| format!("{}: {what}", of())));
    }
    wrong
}

/// What a reader says of a table that it cannot read.
fn refusal(reader: &str, codec: &str, partition: &str) -> Option<&'static str> {
    match (reader, codec, partition) {
        ("duckdb", "zstd", _) => Some("unknown codec"),
        // The package for it is not among its dependencies.
        ("pyiceberg", "snappy", _) => Some("Snappy support not installed"),
        ("pyiceberg", _, "fine") => Some("timestamp-nanos"),
        _ => None,
    }
}

/// Whether all readers see the same 17 rows, but for one that refuses.
async fn read(
    readers: &mut Readers,
    catalog: &IcebergCatalog,
    table: &TableName,
    (codec, partition): (&str, &str),
) -> Result<(), String> {
    let pin = catalog.pin(table, &SnapshotSelector::Latest).await.unwrap();
    let ours = catalog.scan(&pin, ScanOptions::default()).await.unwrap().concat().await;
    let ours = ours.map_err(|error| error.to_string())?;
    if ours.num_rows() != 17 {
        return Err(format!("icecore sees {} rows", ours.num_rows()));
    }
    let shown = catalog.describe(table).await.unwrap();
    let mut states = Vec::new();
    for reader in ["pyiceberg", "duckdb"] {
        let request = json!({ "reader": reader, "metadata": shown.metadata_location });
        let state = match (readers.ask(&request), refusal(reader, codec, partition)) {
            (Err((_, said)), Some(words)) if said.contains(words) => continue,
            (Err(error), _) => return Err(format!("{reader}: {error:?}")),
            (Ok(state), _) => state,
        };
        if state["rows"] != 17 {
            return Err(format!("{reader} sees {} rows", state["rows"]));
        }
        states.push(state);
    }
    // What each renders alike, column by column; one shows UUIDs as text, the other as bytes.
    let [theirs, others] = states.as_slice() else { return Ok(()) };
    let columns = |of: &Json| {
        let columns = of["columns"].as_array().cloned().unwrap_or_default();
        columns.into_iter().filter(|column| column["name"] != "key").collect::<Vec<_>>()
    };
    if columns(theirs) == columns(others) { Ok(()) } else { Err("readers disagree".to_owned()) }
}
