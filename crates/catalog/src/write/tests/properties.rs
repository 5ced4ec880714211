//! What a table's properties do to its files.

use arrow::array::{ArrayRef, Float64Array};
use iceberg::spec::Datum;
use icecore_core::ErrorKind;
use icecore_testkit::Random;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::{
    ColumnChunkMetaData, PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader,
};

use super::*;

fn layout<'a>(properties: &'a [(&'a str, &'a str)]) -> Layout<'a> {
    Layout { properties, ..Layout::default() }
}

async fn footer(bench: &Bench, file: &DataFile) -> ParquetMetaData {
    let mut reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Required);
    reader.try_parse(&bench.bytes(file).await).unwrap();
    reader.finish().unwrap()
}

async fn written(layout: &Layout<'_>, rows: RecordBatch) -> (Bench, DataFile) {
    let bench = Bench::in_memory(&events_schema(), layout);
    let (written, _) = bench.write(vec![rows], Limits::default()).await.unwrap();
    let file = written.files.first().unwrap().clone();
    (bench, file)
}

async fn refused(name: &str, value: &str) -> String {
    let properties = [(name, value)];
    let bench = Bench::in_memory(&events_schema(), &layout(&properties));
    let error = bench.write(vec![events(0..3)], Limits::default()).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported));
    assert!(error.to_string().contains(name), "{error}");
    error.to_string()
}

fn has_filter(metadata: &ParquetMetaData, column: usize) -> bool {
    metadata.row_group(0).column(column).bloom_filter_offset().is_some()
}

#[tokio::test]
async fn pages_can_be_skipped_and_are_as_large_as_the_table_says() {
    let (bench, file) = written(&Layout::default(), events(0..50_000)).await;
    let metadata = footer(&bench, &file).await;
    let pages =
        |metadata: &ParquetMetaData| metadata.offset_index().unwrap()[0][0].page_locations().len();
    // Twenty thousand rows a page.
    assert_eq!(pages(&metadata), 3);
    assert_eq!(metadata.column_index().unwrap()[0].len(), 3);
    let small = [("write.parquet.page-row-limit", "1000"), ("write.parquet.dict-size-bytes", "1")];
    let (bench, file) = written(&layout(&small), events(0..50_000)).await;
    assert!(pages(&footer(&bench, &file).await) > 20);
    let small = [("write.parquet.page-size-bytes", "4096"), ("write.parquet.dict-size-bytes", "1")];
    let (bench, file) = written(&layout(&small), events(0..50_000)).await;
    assert!(pages(&footer(&bench, &file).await) > 20);
}

#[tokio::test]
async fn where_single_rows_are_looked_for_little_has_to_be_read_for_one() {
    let keyed = Layout { sort_by: &["id"], ..Layout::default() };
    let (bench, file) = written(&keyed, events(0..50_000)).await;
    let metadata = footer(&bench, &file).await;
    let pages = |column: usize| metadata.offset_index().unwrap()[0][column].page_locations().len();
    assert!(pages(0) >= 10 && pages(1) >= 10, "{} {}", pages(0), pages(1));
    let dictionary = |metadata: &ParquetMetaData| {
        let column = metadata.row_group(0).column(0);
        column.data_page_offset() - column.dictionary_page_offset().unwrap()
    };
    let said = [("write.parquet.dict-size-bytes", "1000000")];
    let (bench, file) = written(&Layout { properties: &said, ..keyed }, events(0..50_000)).await;
    let (small, large) = (dictionary(&metadata), dictionary(&footer(&bench, &file).await));
    assert!(2 * small < large, "{small} {large}");
}

#[tokio::test]
async fn key_columns_get_bloom_filters() {
    let (bench, file) = written(&Layout::default(), events(0..9000)).await;
    let plain = footer(&bench, &file).await;
    assert!((0..3).all(|column| !has_filter(&plain, column)));
    let keyed =
        Layout { partition_by: &["bucket(1, id)"], sort_by: &["user", "at"], ..Layout::default() };
    let (bench, file) = written(&keyed, events(0..9000)).await;
    let metadata = footer(&bench, &file).await;
    // Nobody looks for one moment.
    assert_eq!([0, 1, 2].map(|column| has_filter(&metadata, column)), [true, true, false]);
    let length = |metadata: &ParquetMetaData, column: usize| {
        metadata.row_group(0).column(column).bloom_filter_length().unwrap()
    };
    // The filter of a hundred users is smaller than that of nine thousand numbers.
    assert!(length(&metadata, 0) > length(&metadata, 1));
    assert!(length(&metadata, 1) < 1024);
    let said = [
        ("write.parquet.bloom-filter-enabled.column.user", "false"),
        ("write.parquet.bloom-filter-enabled.column.at", "true"),
        ("write.parquet.bloom-filter-max-bytes", "2048"),
    ];
    let said = Layout { properties: &said, ..keyed };
    let (bench, file) = written(&said, events(0..9000)).await;
    let metadata = footer(&bench, &file).await;
    assert_eq!([0, 1, 2].map(|column| has_filter(&metadata, column)), [true, false, true]);
    assert!(length(&metadata, 0) < 2200, "{}", length(&metadata, 0));
    refused("write.parquet.bloom-filter-max-bytes", "many").await;
}

#[tokio::test]
async fn a_manifest_says_as_much_of_a_column_as_the_table_wants() {
    let rows = || {
        RecordBatch::try_new(
            events_schema(),
            vec![
                Arc::new(Int64Array::from(vec![5, -3])),
                Arc::new(StringArray::from(vec!["a user with a long name", "z"])),
                Arc::new(TimestampMicrosecondArray::from(vec![1, 2]).with_timezone("+00:00")),
            ],
        )
        .unwrap()
    };
    let (_, file) = written(&Layout::default(), rows()).await;
    assert_eq!(file.lower_bounds()[&2], Datum::string("a user with a lo"));
    let said = [
        ("write.metadata.metrics.default", "none"),
        ("write.metadata.metrics.column.id", "counts"),
        ("write.metadata.metrics.column.user", "full"),
    ];
    let (_, file) = written(&layout(&said), rows()).await;
    assert_eq!(file.lower_bounds(), &[(2, Datum::string("a user with a long name"))].into());
    let mut counted: Vec<i32> = file.value_counts().keys().copied().collect();
    counted.sort_unstable();
    assert_eq!(counted, [1, 2]);
    assert_eq!(file.column_sizes().len(), 3);
    // What files are sorted by tells them apart.
    let sorted = Layout { sort_by: &["at"], properties: &said[..1], ..Layout::default() };
    let (_, file) = written(&sorted, rows()).await;
    assert_eq!(file.upper_bounds().keys().collect::<Vec<_>>(), [&3]);
    refused("write.metadata.metrics.default", "a lot").await;
}

#[tokio::test]
async fn files_go_where_the_table_wants_them_in_its_codec() {
    let said = [
        ("write.data.path", "memory:///elsewhere/"),
        ("write.parquet.compression-codec", "gzip"),
        ("write.parquet.compression-level", "3"),
    ];
    let (bench, file) = written(&layout(&said), events(0..100)).await;
    assert!(file.file_path().starts_with("memory:///elsewhere/0000"), "{}", file.file_path());
    let metadata = footer(&bench, &file).await;
    assert!(matches!(metadata.row_group(0).column(0).compression(), Compression::GZIP(_)));
    assert_eq!(lines(&bench.rows(&file).await), lines(&events(0..100)));
    refused("write.parquet.compression-codec", "rar").await;
    let error = refused("write.target-file-size-bytes", "big").await;
    assert_eq!(error, "table property `write.target-file-size-bytes` is `big`, which is no number");
}

#[tokio::test]
async fn files_and_row_groups_of_no_size_are_refused() {
    // Another engine may have set it, so whoever writes has to look.
    for name in ["write.target-file-size-bytes", "write.parquet.row-group-size-bytes"] {
        assert_eq!(refused(name, "0").await, format!("table property `{name}` is `0`"));
    }
    // One byte is a size: each chunk is a row group, and each file holds one.
    let smallest =
        [("write.target-file-size-bytes", "1"), ("write.parquet.row-group-size-bytes", "1")];
    let orders: [&[&str]; 2] = [&[], &["id"]];
    for sort_by in orders {
        let layout = Layout { properties: &smallest, sort_by, ..Layout::default() };
        let bench = Bench::in_memory(&events_schema(), &layout);
        let (written, _) = bench.write(vec![events(0..10_000)], Limits::default()).await.unwrap();
        assert_eq!((written.rows, written.files.len()), (10_000, 2));
    }
}

/// A measured number, a rounded one, and one that takes few values.
fn measured() -> RecordBatch {
    let mut random = Random::new(7);
    let mut floats = |of: &mut dyn FnMut(&mut Random) -> f64| {
        Arc::new(Float64Array::from_iter_values((0..20_000).map(|_| of(&mut random)))) as ArrayRef
    };
    let measured = floats(&mut |random| random.unit().sqrt());
    let rounded = floats(&mut |random| random.below(300_000) as f64 / 1_000.0);
    let few = floats(&mut |random| random.below(9) as f64);
    RecordBatch::try_from_iter([("measured", measured), ("rounded", rounded), ("few", few)])
        .unwrap()
}

#[tokio::test]
async fn measured_numbers_have_the_codec_that_is_read_fastest() {
    async fn codecs(properties: &[(&str, &str)]) -> Vec<Compression> {
        let rows = measured();
        let bench = Bench::in_memory(&rows.schema(), &layout(properties));
        let (written, _) = bench.write(vec![rows.clone()], Limits::default()).await.unwrap();
        let file = written.files.first().unwrap();
        assert_eq!(lines(&bench.rows(file).await), lines(&rows));
        let metadata = footer(&bench, file).await;
        metadata.row_group(0).columns().iter().map(ColumnChunkMetaData::compression).collect()
    }
    let zstd = |level| Compression::ZSTD(ZstdLevel::try_new(level).unwrap());
    let quick = [Compression::UNCOMPRESSED, Compression::LZ4_RAW, zstd(1)];
    assert_eq!(codecs(&[]).await, quick);
    // A footer does not tell the level.
    assert_eq!(codecs(&[("icecore.quick-codec.enabled", "false")]).await, [zstd(1); 3]);
    let lz4 = [("write.parquet.compression-codec", "lz4")];
    assert_eq!(codecs(&lz4).await, [Compression::LZ4_RAW; 3]);
    let snappy = [("write.parquet.compression-codec", "snappy")];
    assert_eq!(codecs(&snappy).await, [Compression::SNAPPY; 3]);
    refused("icecore.quick-codec.enabled", "perhaps").await;
}
