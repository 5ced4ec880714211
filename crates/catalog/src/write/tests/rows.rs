//! Files, their order, their number, their bytes, and what is held in memory.

use arrow::array::{Array, AsArray, Float64Array};
use arrow::datatypes::Int64Type;
use iceberg::spec::Datum;
use icecore_core::{Error, ErrorKind};
use proptest::prelude::*;

use super::*;

#[tokio::test]
async fn rows_become_one_file_of_which_the_manifest_knows_everything() {
    let schema = Arc::new(ArrowSchema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("score", DataType::Float64, true),
        Field::new("name", DataType::Utf8, true),
        Field::new("none", DataType::Int32, true),
    ]));
    let long = "ä".repeat(500);
    let batch = RecordBatch::try_new(
        schema.clone(),
        vec![
            Arc::new(Int64Array::from(vec![5, -3, 9])),
            Arc::new(Float64Array::from(vec![Some(f64::NAN), Some(1.5), None])),
            Arc::new(StringArray::from(vec![Some(long.as_str()), None, Some("z")])),
            arrow::array::new_null_array(&DataType::Int32, 3),
        ],
    )
    .unwrap();
    let bench = Bench::new(&schema, &Layout::default());
    let (written, _) = bench.write(vec![batch.clone()], Limits::default()).await.unwrap();
    assert_eq!((written.rows, written.files.len()), (3, 1));
    let file = &written.files[0];
    assert_eq!(lines(&bench.rows(file).await), lines(&batch));
    let on_disk = bench.files();
    let (path, bytes) = on_disk.first_key_value().unwrap();
    assert_eq!(path.to_str().unwrap(), "data/00000000-0000-0000-0000-000000000007-00000.parquet");
    assert_eq!(file.file_size_in_bytes(), bytes.len() as u64);
    assert!(file.file_path().ends_with(path.to_str().unwrap()) && on_disk.len() == 1);

    assert_eq!(file.record_count(), 3);
    assert_eq!(file.value_counts()[&2], 3);
    assert_eq!([1, 2, 3, 4].map(|id| file.null_value_counts()[&id]), [0, 1, 1, 3]);
    assert_eq!(file.nan_value_counts(), &[(2, 1)].into());
    assert_eq!(
        (&file.lower_bounds()[&1], &file.upper_bounds()[&1]),
        (&Datum::long(-3), &Datum::long(9))
    );
    assert_eq!(
        (&file.lower_bounds()[&2], &file.upper_bounds()[&2]),
        (&Datum::double(1.5), &Datum::double(1.5))
    );
    // Text is cut, and its bounds stay bounds.
    assert_eq!(file.lower_bounds()[&3], Datum::string("z"));
    let upper = file.upper_bounds()[&3].to_string();
    assert!(upper.len() < 200 && upper.trim_matches('"') > long.as_str(), "{upper}");
    assert!(!file.lower_bounds().contains_key(&4));
    assert_eq!(file.split_offsets(), Some(&[4][..]));
    assert_eq!(file.sort_order_id(), None);
}

#[tokio::test]
async fn no_rows_make_no_file() {
    let bench = Bench::new(&events_schema(), &Layout::default());
    for batches in [vec![], vec![events(0..0)]] {
        let (written, _) = bench.write(batches, Limits::default()).await.unwrap();
        assert_eq!((written.rows, written.files.len()), (0, 0));
    }
    assert!(bench.files().is_empty());
}

#[tokio::test]
async fn rows_of_a_file_are_in_the_tables_order() {
    let layout =
        Layout { sort_by: &["user", "at"], partition_by: &["bucket(3, id)"], ..Layout::default() };
    let bench = Bench::new(&events_schema(), &layout);
    let small = Limits { waiting_bytes: 60_000, ..Limits::default() };
    let rows = events(0..9000);
    let (written, _) = bench.write(cut(&rows, &[700]), small).await.unwrap();
    assert!(written.files.len() > 3, "pressure makes more files than partitions");
    for file in &written.files {
        assert_eq!(file.sort_order_id(), Some(1));
        let rows = bench.rows(file).await;
        let (users, times) = (rows.column(1).as_string::<i32>(), rows.column(2));
        let times = times.as_primitive::<arrow::datatypes::TimestampMicrosecondType>();
        let key = |row: usize| {
            let user = (!users.is_null(row)).then(|| users.value(row));
            (user, (!times.is_null(row)).then(|| times.value(row)))
        };
        // `None < Some`, and so nulls come first.
        assert!((1..rows.num_rows()).all(|row| key(row - 1) <= key(row)));
    }
    let mut found = bench.lines(&written.files).await;
    let mut expected = lines(&rows);
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_file_that_is_large_enough_is_followed_by_another() {
    let layout = Layout {
        properties: &[
            ("write.target-file-size-bytes", "20000"),
            ("write.parquet.compression-codec", "snappy"),
        ],
        ..Layout::default()
    };
    let bench = Bench::new(&events_schema(), &layout);
    let limits = Limits { group_rows: CHUNK_ROWS, ..Limits::default() };
    let rows = events(0..40_000);
    let (written, _) = bench.write(vec![rows.clone()], limits).await.unwrap();
    assert!(written.files.len() > 1);
    assert!(written.files.iter().all(|file| file.file_size_in_bytes() < 200_000));
    let found = bench.lines(&written.files).await;
    assert_eq!(found, lines(&rows), "rows keep their order from file to file");
}

#[tokio::test]
async fn the_same_rows_make_the_same_bytes_however_they_come() {
    let rows = events(0..30_000);
    for layout in [
        Layout { partition_by: &["day(at)"], ..Layout::default() },
        Layout { partition_by: &["bucket(7, user)"], sort_by: &["at"], ..Layout::default() },
        Layout::default(),
    ] {
        let limits =
            Limits { waiting_bytes: 200_000, open_files: 3, group_rows: 4096, ..Limits::default() };
        let mut seen = None;
        for sizes in [&[30_000][..], &[1000, 1, 77], &[8192], &[5000, 3]] {
            let bench = Bench::in_memory(&events_schema(), &layout);
            let (written, _) = bench.write(cut(&rows, sizes), limits).await.unwrap();
            assert!(written.files.len() > 1 || layout.partition_by.is_empty());
            let mut files = BTreeMap::new();
            for file in &written.files {
                files.insert(file.file_path().to_owned(), bench.bytes(file).await);
            }
            assert!(*seen.get_or_insert_with(|| files.clone()) == files, "{sizes:?}");
        }
    }
}

#[tokio::test]
async fn hundreds_of_partitions_are_written_in_bounded_memory() {
    let layout = Layout { partition_by: &["day(at)"], ..Layout::default() };
    let bench = Bench::in_memory(&events_schema(), &layout);
    let limits = Limits {
        waiting_bytes: 1 << 20,
        encoding_bytes: 1 << 19,
        open_files: 16,
        ..Limits::default()
    };
    let all = events(0..200_000);
    let (written, peak) = bench.write(cut(&all, &[8192]), limits).await.unwrap();
    let partitions: std::collections::HashSet<_> =
        written.files.iter().map(|file| file.partition().clone()).collect();
    assert!(partitions.len() > 300, "{}", partitions.len());
    // One chunk may come in on top, and small pieces are dearer than their values.
    let most = limits.waiting_bytes + limits.encoding_bytes + (1 << 20);
    assert!(peak > limits.waiting_bytes && peak < most, "{peak}");
    assert!(all.get_array_memory_size() > 2 * peak, "the rows would not have fitted");
    assert_eq!(written.files.iter().map(DataFile::record_count).sum::<u64>(), 200_000);
}

#[tokio::test]
async fn after_a_failure_nothing_remains() {
    let layout = Layout { partition_by: &["bucket(5, id)"], ..Layout::default() };
    let bench = Bench::new(&events_schema(), &layout);
    let limits = Limits { waiting_bytes: 10_000, open_files: 2, ..Limits::default() };
    let mut batches: Vec<_> = cut(&events(0..50_000), &[8192]).into_iter().map(Ok).collect();
    batches.push(Err(Error::unavailable("the source went away")));
    let rows = BatchStream::new(events_schema(), futures::stream::iter(batches));
    let columns = bench.target.metadata.current_schema();
    let error = write_within(&bench.target, columns, rows, limits).await.unwrap_err();
    assert_eq!(error.to_string(), "the source went away");
    assert_eq!(bench.files().keys().collect::<Vec<_>>(), Vec::<&PathBuf>::new());
}

#[tokio::test]
async fn a_wrong_property_is_named() {
    for property in [
        ("write.target-file-size-bytes", "large"),
        ("write.parquet.compression-codec", "lzma"),
        ("write.parquet.compression-level", "99"),
    ] {
        let layout = Layout { properties: &[property], ..Layout::default() };
        let bench = Bench::new(&events_schema(), &layout);
        let error = bench.write(vec![], Limits::default()).await.unwrap_err();
        assert!(
            error.to_string().contains(property.0) && error.to_string().contains(property.1),
            "{error}"
        );
        assert!(matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported));
    }
}

#[tokio::test]
async fn a_bloom_filter_is_written_where_it_is_asked_for() {
    let layout = Layout {
        properties: &[("write.parquet.bloom-filter-enabled.column.user", "true")],
        ..Layout::default()
    };
    let (with, without) =
        (Bench::new(&events_schema(), &layout), Bench::new(&events_schema(), &Layout::default()));
    let size = async |bench: &Bench| {
        let (written, _) = bench.write(vec![events(0..100)], Limits::default()).await.unwrap();
        written.files[0].file_size_in_bytes()
    };
    assert!(size(&with).await > size(&without).await);
}

fn layouts() -> impl Strategy<Value = (Vec<&'static str>, Vec<&'static str>)> {
    let partition_by = prop::sample::select(vec![
        vec![],
        vec!["id"],
        vec!["user"],
        vec!["bucket(4, user)"],
        vec!["truncate(6, user)"],
        vec!["truncate(10, id)"],
        vec!["year(at)"],
        vec!["month(at)"],
        vec!["day(at)"],
        vec!["hour(at)"],
        vec!["day(at)", "bucket(3, id)"],
    ]);
    let sort_by = prop::sample::select(vec![vec![], vec!["at"], vec!["user", "id"]]);
    (partition_by, sort_by)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever the partitions, the order, the batches and the limits: no row is lost, made up or
    /// changed, and every file's rows are of one partition.
    #[test]
    fn rows_that_are_written_are_rows_that_are_there(
        rows in prop::collection::vec((any::<i64>(), prop::option::of("[a-zA-Z/=ä€ 0-9%]{0,9}"), prop::option::of(-4_000_000_000_000_000_i64..8_000_000_000_000_000)), 0..200),
        (partition_by, sort_by) in layouts(),
        sizes in prop::collection::vec(1_usize..70, 1..4),
        (waiting_bytes, open_files, group_rows) in (500_usize..20_000, 1_usize..5, 1_usize..100),
    ) {
        let batch = RecordBatch::try_new(events_schema(), vec![
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0))),
            Arc::new(StringArray::from_iter(rows.iter().map(|row| row.1.as_deref()))),
            Arc::new(TimestampMicrosecondArray::from_iter(rows.iter().map(|row| row.2)).with_timezone("+00:00")),
        ]).unwrap();
        let layout = Layout { partition_by: &partition_by, sort_by: &sort_by, ..Layout::default() };
        let bench = Bench::in_memory(&events_schema(), &layout);
        let limits = Limits { waiting_bytes, open_files, group_rows, ..Limits::default() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (written, _) = runtime.block_on(bench.write(cut(&batch, &sizes), limits)).unwrap();
        prop_assert_eq!(written.rows, rows.len() as u64);
        let mut found = Vec::new();
        for file in &written.files {
            let batch = runtime.block_on(bench.rows(file));
            prop_assert_eq!(batch.num_rows() as u64, file.record_count());
            let ids = batch.column(0).as_primitive::<Int64Type>();
            let (least, greatest) = (ids.values().iter().min().unwrap(), ids.values().iter().max().unwrap());
            prop_assert_eq!(&file.lower_bounds()[&1], &Datum::long(*least));
            prop_assert_eq!(&file.upper_bounds()[&1], &Datum::long(*greatest));
            found.extend(lines(&batch));
        }
        let mut expected = lines(&batch);
        found.sort();
        expected.sort();
        prop_assert_eq!(found, expected);
    }
}
