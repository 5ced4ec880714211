//! What lies at the edges: other types, missing names, little memory, nothing at all.

use arrow::array::{ArrayRef, Date32Array, StringViewArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::functions_aggregate::expr_fn::max;
use datafusion::prelude::col;
use icecore_core::{Error, ErrorKind};

use super::*;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().unwrap().block_on(future)
}

fn frame(context: &SessionContext, batch: &RecordBatch) -> Arc<dyn FeatureSource> {
    Arc::new(Frame::of_table(context.read_batch(batch.clone()).unwrap()))
}

pub(super) fn fact(user: i32, event: i64, value: i64) -> Fact {
    Fact {
        user: Some(user),
        event: Some(event),
        created: Some(event),
        value: Some(value),
        ..Fact::default()
    }
}

fn question(user: i64, at: i64) -> Question {
    Question { user: Some(user), shop: None, at: Some(at) }
}

/// Joins a spine of one batch with the facts of `u0 event=1 value=10` and `u1 event=2 value=20`.
async fn join_batch(
    rows: RecordBatch,
    change: impl FnOnce(&mut FeatureTable),
) -> Result<RecordBatch> {
    let context = session(WHOLE);
    let mut table = table("v", PLAIN);
    change(&mut table);
    let facts = frame(&context, &fact_batch(&[fact(0, 1, 10), fact(1, 2, 20)]));
    let rows = BatchStream::from_batches(rows.schema(), vec![rows]);
    let spine = Spine { rows, event_timestamp: "seen_at".to_owned() };
    join(spine, vec![(table, facts)], ways(PitOptions::default(), &context, HELD))
        .await?
        .concat()
        .await
}

fn with_column(batch: &RecordBatch, name: &str, column: &ArrayRef) -> RecordBatch {
    let columns = batch.schema_ref().fields().iter().zip(batch.columns()).map(|(field, old)| {
        let new = if field.name() == name { column } else { old };
        (field.name().clone(), Arc::clone(new), true)
    });
    RecordBatch::try_from_iter_with_nullable(columns.collect::<Vec<_>>()).unwrap()
}

fn values(batch: &RecordBatch) -> Vec<Option<i64>> {
    batch.column_by_name("v_value").unwrap().as_primitive::<Int64Type>().iter().collect()
}

#[test]
fn a_date_is_its_midnight_and_any_unit_of_time_will_do() {
    let spine = spine_batch(&[question(0, 1), question(1, 1), question(1, 2)]);
    let dates: ArrayRef = Arc::new(Date32Array::from(vec![1, 0, 1]));
    let joined = block_on(join_batch(with_column(&spine, "seen_at", &dates), |_| ())).unwrap();
    assert_eq!(values(&joined), [Some(10), None, Some(20)]);
    assert_eq!(*joined.column_by_name("seen_at").unwrap().data_type(), DataType::Date32);

    for unit in [TimeUnit::Nanosecond, TimeUnit::Microsecond] {
        for zone in [None, Some("+02:00".into())] {
            let seen = spine.column_by_name("seen_at").unwrap();
            let seen = cast(seen, &DataType::Timestamp(unit, zone)).unwrap();
            let spine = with_column(&spine, "seen_at", &seen);
            let joined = block_on(join_batch(spine.clone(), |_| ())).unwrap();
            assert_eq!(values(&joined), [Some(10), None, Some(20)]);
            assert_eq!(joined.columns()[..4], *spine.columns());
        }
    }
}

#[test]
fn text_keys_match_in_every_encoding() {
    let facts = fact_batch(&[Fact { shop: Some("a"), ..fact(0, 1, 10) }]);
    let question = Question { shop: Some("a"), ..question(0, 1) };
    let spine = spine_batch(&[question.clone(), Question { shop: Some("b"), ..question }]);
    let dictionary = DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8));
    let encodings = [DataType::Utf8, DataType::LargeUtf8, DataType::Utf8View, dictionary];
    for (spine_type, fact_type) in
        encodings.iter().flat_map(|s| encodings.iter().map(move |f| (s, f)))
    {
        for partitions in [1, 4] {
            let context = session(Shape { partitions, ..WHOLE });
            let shops = cast(facts.column_by_name("shop").unwrap(), fact_type).unwrap();
            let source = frame(&context, &with_column(&facts, "shop", &shops));
            let stores = cast(spine.column_by_name("store").unwrap(), spine_type).unwrap();
            let rows = with_column(&spine, "store", &stores);
            let rows = BatchStream::from_batches(rows.schema(), vec![rows]);
            let tables = vec![(table("v", Rules { by_shop: true, ..PLAIN }), source)];
            let spine = Spine { rows, event_timestamp: "seen_at".to_owned() };
            let joined = block_on(async {
                join(spine, tables, ways(PitOptions::default(), &context, HELD))
                    .await?
                    .concat()
                    .await
            });
            assert_eq!(values(&joined.unwrap()), [Some(10), None], "{spine_type} {fact_type}");
        }
    }
}

#[test]
fn keys_of_bytes_match_in_every_encoding() {
    let facts = fact_batch(&[Fact { shop: Some("abcd"), ..fact(0, 1, 10) }]);
    let question = Question { shop: Some("abcd"), ..question(0, 1) };
    let spine = spine_batch(&[question.clone(), Question { shop: Some("abce"), ..question }]);
    let encodings = [
        DataType::Binary,
        DataType::LargeBinary,
        DataType::BinaryView,
        DataType::FixedSizeBinary(4),
    ];
    let encoded = |batch: &RecordBatch, name: &str, data_type: &DataType| {
        let bytes = cast(batch.column_by_name(name).unwrap(), &DataType::Binary).unwrap();
        with_column(batch, name, &cast(&bytes, data_type).unwrap())
    };
    for (spine_type, fact_type) in
        encodings.iter().flat_map(|s| encodings.iter().map(move |f| (s, f)))
    {
        for parts in [HELD, SORTED] {
            let context = session(WHOLE);
            let source = frame(&context, &encoded(&facts, "shop", fact_type));
            let rows = encoded(&spine, "store", spine_type);
            let rows = BatchStream::from_batches(rows.schema(), vec![rows]);
            let tables = vec![(table("v", Rules { by_shop: true, ..PLAIN }), source)];
            let spine = Spine { rows, event_timestamp: "seen_at".to_owned() };
            let joined = block_on(async {
                let ways = ways(PitOptions::default(), &context, parts);
                join(spine, tables, ways).await?.concat().await
            });
            assert_eq!(values(&joined.unwrap()), [Some(10), None], "{spine_type} {fact_type}");
        }
    }
}

#[test]
fn an_empty_spine_and_an_empty_table_keep_the_columns() {
    let nothing = block_on(run(&[fact(0, 1, 1)], &[], &[("v", PLAIN)], WHOLE)).unwrap();
    assert_eq!((nothing.num_rows(), nothing.num_columns()), (0, 8));
    let unknown = block_on(run(&[], &[question(0, 1)], &[("v", PLAIN)], WHOLE)).unwrap();
    assert_eq!(answers(&unknown, "v"), [None]);
    let context = session(WHOLE);
    let alone = block_on(async {
        let spine = spine(&[question(3, 1), question(1, 1)], 1);
        join(spine, Vec::new(), ways(PitOptions::default(), &context, HELD)).await?.concat().await
    });
    assert_eq!(alone.unwrap(), spine_batch(&[question(3, 1), question(1, 1)]));
}

#[test]
fn answers_from_more_batches_than_are_kept_come_out_in_order() {
    let facts: Vec<Fact> =
        (0..60 * 60).map(|n| fact(n % 60, i64::from(n / 60), i64::from(n))).collect();
    let questions: Vec<Question> =
        (0..240).map(|n| question((n * 7) % 60, (n * 11) % 70 - 2)).collect();
    let parted = Parts { bytes_max: Some(2000), count_max: 2 };
    let shapes = [(1, 50, SORTED), (3, 60, SORTED), (1, 50, HELD), (3, 60, HELD), (3, 60, parted)];
    for (partitions, batch_rows, parts) in shapes {
        let shape = Shape { partitions, batch_rows, parts };
        let joined = block_on(run(&facts, &questions, &[("v", PLAIN)], shape)).unwrap();
        let expected: Vec<Answer> = questions.iter().map(|q| oracle(&facts, q, PLAIN)).collect();
        assert_eq!(answers(&joined, "v"), expected);
    }
}

#[test]
fn a_view_that_is_a_query_runs_again_for_each_part_of_the_spine() {
    let facts: Vec<Fact> =
        (0..2000).map(|n| fact(n % 50, i64::from(n / 50), i64::from(n))).collect();
    let questions: Vec<Question> = (0..300).map(|n| question(n % 60, n % 45 - 2)).collect();
    let of = |parts: Parts| {
        let context = session(Shape { partitions: 3, batch_rows: 64, parts });
        let rows = context.read_batch(fact_batch(&facts)).unwrap();
        let keys = ["user", "happened", "ingested", "note"].map(col).to_vec();
        let rows = rows.aggregate(keys, vec![max(col("value")).alias("value")]).unwrap();
        let source: Arc<dyn FeatureSource> = Arc::new(Frame::of_table(rows));
        let ways = ways(PitOptions::default(), &context, parts);
        let tables = vec![(table("v", PLAIN), source)];
        block_on(async { join(spine(&questions, 64), tables, ways).await?.concat().await })
    };
    let whole = of(HELD).unwrap();
    assert!(values(&whole).iter().flatten().count() > 200);
    for count_max in [2, 100] {
        assert_eq!(of(Parts { bytes_max: Some(1000), count_max }).unwrap(), whole);
    }
}

#[test]
fn little_memory_spills_and_changes_nothing() {
    let facts: Vec<Fact> =
        (0..30_000).map(|n| fact(n % 1000, i64::from((n * 7919) % 30_000), i64::from(n))).collect();
    let questions: Vec<Question> =
        (0..5000).map(|n| question((n * 31) % 1000, (n * 104_729) % 30_000)).collect();
    let limited = |disk: DiskManagerMode, parts: Parts| {
        let config = SessionConfig::new()
            .with_target_partitions(2)
            .with_batch_size(128)
            .with_sort_spill_reservation_bytes(256 << 10);
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(FairSpillPool::new(3 << 20)))
            .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(disk))
            .build_arc()
            .unwrap();
        let context = SessionContext::new_with_config_rt(config, runtime);
        let tables = vec![(table("v", PLAIN), frame(&context, &fact_batch(&facts)))];
        block_on(async {
            let ways = ways(PitOptions::default(), &context, parts);
            join(spine(&questions, 512), tables, ways).await?.concat().await
        })
    };
    let joined = limited(DiskManagerMode::OsTmpDirectory, SORTED).unwrap();
    refused(
        limited(DiskManagerMode::Disabled, SORTED),
        ErrorKind::LimitExceeded,
        "the query needs more memory than it may use",
        "raise `engine.memory_limit`",
    );
    // Nor does it whether the spine is kept in memory.
    assert_eq!(limited(DiskManagerMode::OsTmpDirectory, HELD).unwrap(), joined);
    let roomy = block_on(run(&facts, &questions, &[("v", PLAIN)], WHOLE)).unwrap();
    assert_eq!(joined.columns(), &roomy.columns()[..joined.num_columns()]);
    let sample: Vec<_> = (0..5000).step_by(500).map(|n| answers(&roomy, "v")[n]).collect();
    let expected: Vec<Answer> =
        questions.iter().step_by(500).map(|q| oracle(&facts, q, PLAIN)).collect();
    assert_eq!(sample, expected);
}

#[track_caller]
fn refused(error: Result<RecordBatch>, kind: ErrorKind, message: &str, help: &str) {
    let error: Error = error.unwrap_err();
    assert_eq!((error.kind(), error.to_string().as_str()), (kind, message));
    assert_eq!(error.help().unwrap_or_default(), help);
}

#[test]
fn what_does_not_fit_is_named() {
    let spine = spine_batch(&[question(0, 1)]);
    let change = |change: fn(&mut FeatureTable)| block_on(join_batch(spine.clone(), change));
    refused(
        change(|table| table.columns.push(("valu".into(), "x".into()))),
        ErrorKind::NotFound,
        "feature view `v` has no column `valu`",
        "did you mean `value`?",
    );
    refused(
        change(|table| table.keys = vec![("user".into(), "acount".into())]),
        ErrorKind::InvalidInput,
        "the spine has no column `acount`, by which feature view `v` is joined",
        "did you mean `account`?",
    );
    refused(
        change(|table| table.keys = vec![("shop".into(), "account".into())]),
        ErrorKind::InvalidInput,
        "the spine's column `account` is Int64, but key `shop` of feature view `v` is Utf8",
        "cast it in the spine: `CAST(account AS VARCHAR) AS account`",
    );
    refused(
        change(|table| table.columns.push(("value".into(), "number".into()))),
        ErrorKind::InvalidInput,
        "column `number` comes from the spine and from feature view `v`",
        "set `full_feature_names = true`: columns are then named view__feature",
    );
    refused(
        change(|table| table.event_timestamp = "note".into()),
        ErrorKind::InvalidInput,
        "column `note` of feature view `v` is Utf8, which is neither a time nor a date",
        "",
    );
    let text: ArrayRef = Arc::new(StringViewArray::from(vec!["2024-01-15"]));
    refused(
        block_on(join_batch(with_column(&spine, "seen_at", &text), |_| ())),
        ErrorKind::InvalidInput,
        "the spine's column `seen_at` is Utf8, which is neither a time nor a date",
        "cast it in the spine: `CAST(seen_at AS TIMESTAMP) AS seen_at`",
    );
}

#[test]
fn an_error_of_the_spine_comes_out_as_itself() {
    let schema: SchemaRef = spine_batch(&[]).schema();
    for partitions in [1, 3] {
        let context = session(Shape { partitions, batch_rows: 8, ..WHOLE });
        let source = frame(&context, &fact_batch(&[]));
        let rows = futures::stream::iter([Err(Error::unavailable("the storage sleeps"))]);
        let rows = BatchStream::new(Arc::clone(&schema), rows);
        let spine = Spine { rows, event_timestamp: "seen_at".to_owned() };
        let joined = block_on(async {
            let tables = vec![(table("v", PLAIN), source)];
            join(spine, tables, ways(PitOptions::default(), &context, HELD)).await?.concat().await
        });
        refused(joined, ErrorKind::Unavailable, "the storage sleeps", "");
    }
}
