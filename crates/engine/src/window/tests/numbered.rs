//! Texts from Parquet files, which stay numbers on the way.

use std::path::Path;

use arrow::array::AsArray;
use datafusion::datasource::source::DataSourceExec;
use datafusion::prelude::ParquetReadOptions;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;

use super::*;

/// Merchants as the plain texts that tables have.
fn texts(events: &[Event]) -> RecordBatch {
    let events = batch(events);
    let merchants = cast(events.column(1), &DataType::Utf8).unwrap();
    let schema = events.schema();
    let columns = schema.fields().iter().zip(events.columns());
    let columns = columns.map(|(field, column)| match field.name().as_str() {
        "merchant" => (field.name().clone(), Arc::clone(&merchants), true),
        name => (name.to_owned(), Arc::clone(column), true),
    });
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

/// Small row groups and pages; with `dictionary` bytes for the texts of a row group, beyond which
/// they are written as they are.
fn write(events: &RecordBatch, dictionary: usize, path: &Path) {
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(40))
        .set_data_page_row_count_limit(7)
        .set_write_batch_size(7)
        .set_dictionary_enabled(dictionary > 0)
        .set_dictionary_page_size_limit(dictionary);
    let file = std::fs::File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, events.schema(), Some(properties.build())).unwrap();
    // The writer calls itself for each row group that it cuts a batch into.
    for start in (0..events.num_rows()).step_by(1_000) {
        let rows = (events.num_rows() - start).min(1_000);
        writer.write(&events.slice(start, rows)).unwrap();
    }
    writer.close().unwrap();
}

async fn from_file(path: &Path, bytes: usize, run: Run) -> SessionContext {
    let mut config =
        SessionConfig::new().with_target_partitions(run.partitions).with_batch_size(run.batch_rows);
    config.options_mut().execution.parquet.schema_force_view_types = false;
    config.options_mut().execution.sort_spill_reservation_bytes = 1 << 16;
    let pool = Arc::new(FairSpillPool::new(bytes));
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(pool).build_arc().unwrap();
    let context = SessionContext::new_with_config_rt(config, runtime);
    let path = path.to_str().unwrap();
    context.register_parquet("events", path, ParquetReadOptions::default()).await.unwrap();
    context
}

/// Which columns of the file a plan reads as numbers.
fn numbered(plan: &Arc<dyn ExecutionPlan>) -> Vec<String> {
    if plan.as_any().is::<DataSourceExec>() {
        let schema = plan.schema();
        let fields = schema.fields().iter();
        let numbers = fields.filter(|it| matches!(it.data_type(), DataType::Dictionary(..)));
        return numbers.map(|it| it.name().clone()).collect();
    }
    plan.children().into_iter().flat_map(numbered).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn files_give_the_rows_that_memory_gives(
        events in prop::collection::vec(event(), 1..300),
        dictionary in prop::sample::select(vec![0_usize, 12, 1 << 20]),
        emit in prop::sample::select(vec![Emit::LastPerDay, Emit::every(Span::from_days(1))]),
    ) {
        let range = TimeRange { from: None, to: Some(Timestamp::from_micros(60 * QUARTER_DAY)) };
        let node = node(emit, range);
        let expected = direct(&events, &node);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.parquet");
        write(&texts(&events), dictionary, &path);
        let runtime = Runtime::new().unwrap();
        for (partitions, batch_rows) in [(1, 8192), (3, 8192), (2, 3), (1, 16)] {
            let run = Run { table_partitions: 1, partitions, batch_rows };
            let actual = runtime.block_on(async {
                let context = from_file(&path, 1 << 30, run).await;
                let frame = context.table("events").await.unwrap();
                let frame = window_frame(frame, node.clone()).unwrap();
                lines(&frame.collect().await.unwrap())
            });
            prop_assert_eq!(&actual, &expected, "{:?}", run);
        }
    }
}

#[tokio::test]
async fn texts_that_nothing_looks_at_stay_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.parquet");
    let merchants = |n: i64| Some(["shop", "store", "stall"][n as usize % 3].to_owned());
    let event = |n: i64| (Some((n % 7) as u8), Some(n * QUARTER_DAY), 1.5, merchants(n), None);
    let events: Vec<Event> = (0..500).map(event).collect();
    write(&texts(&events), 1 << 20, &path);
    let run = Run { table_partitions: 1, partitions: 2, batch_rows: 64 };
    let context = from_file(&path, 1 << 30, run).await;
    let node = || node(Emit::LastPerDay, TimeRange::default());
    let table = context.table("events").await.unwrap();
    let plan = window_frame(table.clone(), node()).unwrap().create_physical_plan().await.unwrap();
    assert_eq!(numbered(&plan), ["merchant", "user"]);
    // A key that a condition looks at is read as text, and gives the same rows.
    let one = table.filter(col("user").eq(lit("user 3"))).unwrap();
    let frame = window_frame(one, node()).unwrap();
    let plan = frame.clone().create_physical_plan().await.unwrap();
    assert_eq!(numbered(&plan), ["merchant"]);
    let of_one: Vec<Event> = events.iter().filter(|it| it.0 == Some(3)).cloned().collect();
    assert_eq!(lines(&frame.collect().await.unwrap()), direct(&of_one, &node()));
}

#[tokio::test]
async fn numbers_that_do_not_fit_memory_are_sorted_as_texts() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.parquet");
    let merchant = |n: i64| Some(format!("shop {}", n % 5));
    let event =
        |n: i64| (Some((n % 211) as u8), Some(n * 977 % 50 * QUARTER_DAY), 1.5, merchant(n), None);
    let events: Vec<Event> = (0..100_000).map(event).collect();
    write(&texts(&events), 1 << 20, &path);
    let run = Run { table_partitions: 1, partitions: 2, batch_rows: 500 };
    let node = node(Emit::LastPerDay, TimeRange::default());
    let context = from_file(&path, 7 << 19, run).await;
    let frame = window_frame(context.table("events").await.unwrap(), node.clone()).unwrap();
    let plan = frame.create_physical_plan().await.unwrap();
    assert_eq!(numbered(&plan), ["merchant", "user"]);
    let batches = collect(Arc::clone(&plan), context.task_ctx()).await.unwrap();
    assert_eq!(times_sorted(&plan), 1, "nothing was sorted");
    assert!(batches.iter().all(|batch| batch.column(0).as_string_opt::<i32>().is_some()));
    assert_eq!(lines(&batches), direct(&events, &node));
}

// A column that is numbers by itself stays so, whatever else is read as numbers.
#[tokio::test]
async fn dictionaries_in_memory_keep_their_type() {
    let events = payments(300);
    let numbered = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let schema = events.schema();
    let columns = schema.fields().iter().zip(events.columns());
    let columns = columns.map(|(field, column)| match field.name().as_str() {
        "user" | "merchant" => (field.name().clone(), cast(column, &numbered).unwrap(), true),
        name => (name.to_owned(), Arc::clone(column), true),
    });
    let listed = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    let run = Run { table_partitions: 2, partitions: 2, batch_rows: 50 };
    let node = node(Emit::LastPerDay, TimeRange::default());
    assert_eq!(planned(&listed, node.clone(), run).await, planned(&events, node, run).await);
}
