mod numbered;
mod wide;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use arrow::array::{
    Array, ArrayRef, BooleanArray, DictionaryArray, Float64Array, Int32Array, Int64Array,
    RecordBatch, StringArray, TimestampMicrosecondArray, UInt64Array,
};
use arrow::compute::{SortColumn, cast, concat_batches, lexsort_to_indices, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::util::pretty::pretty_format_batches;
use datafusion::datasource::MemTable;
use datafusion::error::DataFusionError;
use datafusion::execution::memory_pool::{
    FairSpillPool, GreedyMemoryPool, MemoryConsumer, MemoryPool, UnboundedMemoryPool,
};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, collect};
use datafusion::prelude::{SessionConfig, SessionContext, col, lit};
use icecore_core::{
    AggregateFunction, Closed, Emit, ErrorKind, Span, TimeRange, Timestamp, Window,
};
use icecore_kernel::{EntityEvents, WindowColumn, WindowKernel, WindowSpec};
use proptest::prelude::*;
use tokio::runtime::Runtime;

use super::gather::{Column, Gathered, Room, gather};
use super::{WindowNode, window_frame};
use crate::from_datafusion;

/// (user, time in microseconds, amount, merchant, declined)
type Event = (Option<u8>, Option<i64>, f64, Option<String>, Option<bool>);

const QUARTER_DAY: i64 = 6 * 3_600_000_000;

fn event() -> impl Strategy<Value = Event> {
    let time = (0..60i64).prop_map(|quarter| quarter * QUARTER_DAY);
    (
        prop::option::weighted(0.95, 0..6u8),
        prop::option::weighted(0.95, time),
        (0..500i32).prop_map(|cents| f64::from(cents) / 100.0),
        prop::option::weighted(0.9, "[a-c]"),
        prop::option::of(any::<bool>()),
    )
}

fn batch(events: &[Event]) -> RecordBatch {
    let users = events.iter().map(|e| e.0.map(|user| format!("user {user}")));
    let times = events.iter().map(|e| e.1).collect::<TimestampMicrosecondArray>();
    let merchants = events.iter().map(|e| e.3.clone()).collect::<StringArray>();
    let merchants = cast(&merchants, &DataType::Utf8View).unwrap();
    RecordBatch::try_from_iter_with_nullable([
        (
            "Amount",
            Arc::new(Float64Array::from_iter_values(events.iter().map(|e| e.2))) as ArrayRef,
            true,
        ),
        ("merchant", merchants, true),
        ("at", Arc::new(times.with_timezone("+00:00")), true),
        ("user", Arc::new(users.collect::<StringArray>()), true),
        ("declined", Arc::new(events.iter().map(|e| e.4).collect::<BooleanArray>()), true),
    ])
    .unwrap()
}

fn days(days: i64) -> Window {
    Window::last(Span::from_days(days))
}

fn node(emit: Emit, range: TimeRange) -> WindowNode {
    let column = |name: &str, function, input, mask, window| WindowColumn {
        name: name.into(),
        function,
        input,
        mask,
        window,
        closed: Closed::Both,
    };
    let columns = vec![
        column("payments_3d", AggregateFunction::Count, None, None, days(3)),
        column("declined_3d", AggregateFunction::Count, None, Some(0), days(3)),
        column("spend_7d", AggregateFunction::Sum, Some(0), None, days(7)),
        column("merchants_7d", AggregateFunction::CountDistinct, Some(1), None, days(7)),
        column("favourite_7d", AggregateFunction::Last, Some(1), None, days(7)),
    ];
    WindowNode {
        keys: vec!["user".into()],
        time: "at".into(),
        spec: WindowSpec { columns, emit, idle: Some(Span::from_days(2)) },
        inputs: vec!["Amount".into(), "merchant".into()],
        masks: vec!["declined".into()],
        range,
        output_time: "event_timestamp".into(),
        asked: None,
    }
}

/// How to run a plan: partitions of the table, partitions of the plan, rows of a batch.
#[derive(Debug, Clone, Copy)]
struct Run {
    table_partitions: usize,
    partitions: usize,
    batch_rows: usize,
}

fn context(events: &RecordBatch, run: Run) -> SessionContext {
    let config =
        SessionConfig::new().with_target_partitions(run.partitions).with_batch_size(run.batch_rows);
    let context = SessionContext::new_with_config(config);
    let rows = events.num_rows();
    let cut = |part: usize| rows * part / run.table_partitions;
    let part = |part| vec![events.slice(cut(part), cut(part + 1) - cut(part))];
    let parts = (0..run.table_partitions).map(part).collect();
    let table = MemTable::try_new(events.schema(), parts).unwrap();
    context.register_table("events", Arc::new(table)).unwrap();
    context
}

/// The rows of the plan, as sorted text lines.
async fn planned(events: &RecordBatch, node: WindowNode, run: Run) -> Vec<String> {
    let frame = context(events, run).table("events").await.unwrap();
    let frame = window_frame(frame, node).unwrap();
    let batches = frame.collect().await.unwrap();
    assert!(batches.iter().all(|batch| batch.num_rows() <= run.batch_rows));
    lines(&batches)
}

fn lines(batches: &[RecordBatch]) -> Vec<String> {
    if batches.is_empty() {
        return Vec::new();
    }
    let text = pretty_format_batches(batches).unwrap().to_string();
    let mut lines = text.lines().skip(3).filter(|line| line.starts_with('|'));
    let mut lines = lines.by_ref().map(|line| line.replace(' ', "")).collect::<Vec<_>>();
    lines.sort();
    lines
}

/// The rows that the kernel gives for all events at once, sorted here and grouped by a look at
/// every one.
fn direct(events: &[Event], node: &WindowNode) -> Vec<String> {
    let mut events = events.iter().filter(|event| event.1.is_some()).cloned().collect::<Vec<_>>();
    events.sort_by_key(|event| (event.0, event.1));
    let rows = batch(&events);
    let times = events.iter().map(|event| event.1.unwrap()).collect::<Vec<_>>();
    let starts = (0..events.len()).filter(|row| *row == 0 || events[row - 1].0 != events[*row].0);
    let starts = starts.chain([events.len()]).collect::<Vec<_>>();
    let entities = starts.windows(2).map(|pair| pair[0]..pair[1]).collect::<Vec<Range<_>>>();
    let inputs = [rows.column(0).clone(), rows.column(1).clone()];
    let masks = [events.iter().map(|event| event.4).collect::<BooleanArray>()];
    let types = inputs.each_ref().map(|input| input.data_type().clone());
    let kernel = WindowKernel::try_new(node.spec.clone(), &types).unwrap();
    let all = EntityEvents { times: &times, entities: &entities, inputs: &inputs, masks: &masks };
    let out = kernel.evaluate(&all, node.range).unwrap();
    let indices: &UInt64Array = &out.source_rows;
    let keys = take_record_batch(&rows, indices).unwrap().column(3).clone();
    let moments = TimestampMicrosecondArray::from(out.times).with_timezone("+00:00");
    let mut columns = vec![("user".to_owned(), keys, true)];
    columns.push(("event_timestamp".to_owned(), Arc::new(moments) as ArrayRef, true));
    let named = kernel.output_fields().iter().zip(out.columns);
    columns.extend(named.map(|(field, column)| (field.name().clone(), column, true)));
    lines(&[RecordBatch::try_from_iter_with_nullable(columns).unwrap()])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    // C41 C44 C148 D6: partitions, batches and the filter on time change nothing.
    #[test]
    fn the_plan_gives_the_kernels_rows(
        events in prop::collection::vec(event(), 0..120),
        emit in prop::sample::select(vec![
            Emit::EachEvent, Emit::LastPerDay, Emit::every(Span::from_days(1)),
        ]),
        from in prop::option::of(0..60i64),
        to in prop::option::of(0..60i64),
    ) {
        // The last row of a day that the range cuts is where the filter on time could go wrong.
        let quarter = |quarter: i64| Timestamp::from_micros(quarter * QUARTER_DAY + 1);
        let to = to.or_else(|| emit.is_scheduled().then_some(60));
        let range = TimeRange { from: from.map(quarter), to: to.map(quarter) };
        let node = node(emit, range);
        let expected = direct(&events, &node);
        let table = batch(&events);
        let runtime = Runtime::new().unwrap();
        for (partitions, batch_rows) in [(1, 8192), (4, 8192), (4, 1), (1, 3), (3, 17)] {
            let run = Run { table_partitions: 3, partitions, batch_rows };
            let actual = runtime.block_on(planned(&table, node.clone(), run));
            prop_assert_eq!(&actual, &expected, "{:?}", run);
        }
    }
}

fn payments(count: i64) -> RecordBatch {
    let event = |n: i64| {
        let user = Some((n % 7) as u8);
        (user, Some(n * 977 % 50 * QUARTER_DAY), 1.5, Some("shop".to_owned()), Some(n % 3 == 0))
    };
    batch(&(0..count).map(event).collect::<Vec<Event>>())
}

#[tokio::test]
async fn plans_gather_events_instead_of_sorting_them() {
    let run = Run { table_partitions: 3, partitions: 4, batch_rows: 64 };
    let frame = context(&payments(500), run).table("events").await.unwrap();
    let frame = window_frame(frame, node(Emit::LastPerDay, TimeRange::default())).unwrap();
    let explained = frame.explain(false, false).unwrap().collect().await.unwrap();
    let plan = pretty_format_batches(&explained).unwrap().to_string();
    let node = "GatheredFeatureWindow: keys=[user], time=at, columns=5, emit=LastPerDay";
    assert!(plan.contains(node), "{plan}");
    assert!(!plan.contains("SortExec") && !plan.contains("Hash("), "{plan}");
}

/// A table of events that says that it comes in order, in a pool of so many bytes.
fn in_order(events: &RecordBatch, bytes: usize) -> SessionContext {
    let pool = Arc::new(GreedyMemoryPool::new(bytes));
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(pool).build_arc().unwrap();
    let config = SessionConfig::new().with_target_partitions(1).with_batch_size(100);
    let context = SessionContext::new_with_config_rt(config, runtime);
    let order = vec![vec![col("user").sort(true, true), col("at").sort(true, true)]];
    let table = MemTable::try_new(events.schema(), vec![vec![events.clone()]]).unwrap();
    context.register_table("events", Arc::new(table.with_sort_order(order))).unwrap();
    context
}

#[tokio::test]
async fn events_that_come_in_order_are_taken_as_they_come() {
    let events = payments(700);
    let order = ["user", "at"].map(|name| SortColumn {
        values: Arc::clone(events.column_by_name(name).unwrap()),
        options: None,
    });
    let order = lexsort_to_indices(&order, None).unwrap();
    let sorted = take_record_batch(&events, &order).unwrap();
    let frame = in_order(&sorted, usize::MAX).table("events").await.unwrap();
    let node = node(Emit::EachEvent, TimeRange::default());
    let frame = window_frame(frame, node.clone()).unwrap();
    let plan = frame.clone().create_physical_plan().await.unwrap();
    let plan = datafusion::physical_plan::displayable(plan.as_ref()).indent(false).to_string();
    assert!(!plan.contains("SortExec") && !plan.contains("Gathered"), "{plan}");
    let run = Run { table_partitions: 2, partitions: 2, batch_rows: 50 };
    assert_eq!(lines(&frame.collect().await.unwrap()), planned(&events, node, run).await);
}

/// How often the operators of a plan sorted events on disk.
fn times_sorted(plan: &Arc<dyn ExecutionPlan>) -> usize {
    let own = plan.metrics().and_then(|metrics| metrics.sum_by_name("sorted_on_disk"));
    let below: usize = plan.children().into_iter().map(times_sorted).sum();
    own.map_or(0, |own| own.as_usize()) + below
}

// What does not fit memory is sorted on disk, and gives the same rows.
#[tokio::test]
async fn events_that_do_not_fit_memory_are_sorted_on_disk() {
    let events = payments(30_000);
    let users = (0..30_000).map(|n| Some(format!("user {}", n % 211)));
    let mut columns = events.columns().to_vec();
    columns[3] = Arc::new(users.collect::<StringArray>());
    let events = RecordBatch::try_new(events.schema(), columns).unwrap();
    let run = Run { table_partitions: 3, partitions: 2, batch_rows: 500 };
    let node = node(Emit::LastPerDay, TimeRange::default());
    let expected = planned(&events, node.clone(), run).await;
    let pool = Arc::new(FairSpillPool::new(7 << 19));
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(pool).build_arc().unwrap();
    let config = SessionConfig::new().with_target_partitions(2).with_batch_size(500);
    let config = config.with_sort_spill_reservation_bytes(1 << 16);
    let context = SessionContext::new_with_config_rt(config, runtime);
    let parts = (0..3).map(|part| {
        let batches = (0..20).map(|batch| events.slice((part * 20 + batch) * 500, 500));
        batches.collect()
    });
    let table = MemTable::try_new(events.schema(), parts.collect()).unwrap();
    context.register_table("events", Arc::new(table)).unwrap();
    let frame = window_frame(context.table("events").await.unwrap(), node).unwrap();
    let plan = frame.create_physical_plan().await.unwrap();
    let batches = collect(Arc::clone(&plan), context.task_ctx()).await.unwrap();
    assert_eq!(lines(&batches), expected);
    assert_eq!(times_sorted(&plan), 1, "nothing was sorted");
}

/// Gathers events of one user in memory without a bound: what was gathered, and what it was taken
/// to need.
async fn gathered(merchants: Vec<ArrayRef>) -> (Gathered, usize) {
    let fields = [("user", DataType::Utf8), ("merchant", DataType::Utf8)];
    let fields = fields.map(|(name, data_type)| Field::new(name, data_type, true));
    let schema = Arc::new(Schema::new(fields.to_vec()));
    let batches = merchants.into_iter().map(|merchants| {
        let users: ArrayRef = Arc::new(StringArray::from(vec!["one"; merchants.len()]));
        let columns = [("user", users, true), ("merchant", merchants, true)];
        let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
        Ok::<_, DataFusionError>(batch)
    });
    let stream = futures::stream::iter(batches.collect::<Vec<_>>());
    let stream = Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&schema), stream));
    let pool: Arc<dyn MemoryPool> = Arc::new(UnboundedMemoryPool::default());
    let room = Arc::new(Room {
        memory: MemoryConsumer::new("test").register(&pool),
        bytes_max: usize::MAX,
        rows: AtomicUsize::new(0),
        is_short: AtomicBool::new(false),
    });
    let gathered = gather(stream, (schema, 1), Arc::clone(&room)).await.unwrap();
    (gathered, room.memory.size())
}

// With too many different texts, all numbers so far become texts again: the largest step of all.
#[tokio::test]
async fn texts_that_are_numbers_no_more_are_counted() {
    let long = "a merchant with a name that is long ".repeat(3);
    let same: ArrayRef = Arc::new(StringArray::from(vec![long.as_str(); 100_000]));
    let different: ArrayRef =
        Arc::new((0..70_000).map(|n| Some(format!("{n}"))).collect::<StringArray>());
    let last: ArrayRef = Arc::new(StringArray::from(vec!["last"]));
    let (gathered, counted) = gathered(vec![same, different, last]).await;
    let Column::Plain(texts) = &gathered.part.columns[0] else { panic!("texts are numbers") };
    let bytes: usize = texts.iter().map(Array::get_array_memory_size).sum();
    assert!(bytes > 100_000 * long.len());
    assert!(counted >= bytes + 170_001 * 8, "{counted} of {bytes}");
}

// A list of which few texts are in use, and our numbers for all of them.
#[tokio::test]
async fn lists_of_texts_are_counted() {
    let list: ArrayRef =
        Arc::new((0..500_000).map(|n| Some(format!("{n}"))).collect::<StringArray>());
    let bytes = list.get_array_memory_size() + 500_000 * size_of::<u32>();
    let numbers = Int32Array::from(vec![0, 499_999]);
    let texts: ArrayRef = Arc::new(DictionaryArray::try_new(numbers, list).unwrap());
    let (gathered, counted) = gathered(vec![texts]).await;
    assert_eq!(gathered.part.rows, 2);
    assert!(counted >= bytes, "{counted} of {bytes}");
}

#[tokio::test]
async fn a_condition_on_keys_comes_before_the_windows() {
    let run = Run { table_partitions: 1, partitions: 2, batch_rows: 64 };
    let frame = context(&payments(500), run).table("events").await.unwrap();
    let frame = window_frame(frame, node(Emit::EachEvent, TimeRange::default())).unwrap();
    let all = frame.clone().collect().await.unwrap();
    let one =
        frame.filter(col("user").eq(lit("user 3")).and(col("payments_3d").gt(lit(1)))).unwrap();
    let plan = one.clone().into_optimized_plan().unwrap().display_indent().to_string();
    let (above, below) = plan.split_once("FeatureWindow").unwrap();
    assert!(above.contains("payments_3d > Int64(1)") && below.contains("user 3"), "{plan}");
    let all = lines(&all);
    let counts = |line: &&String| line.split('|').nth(3).unwrap().parse::<i64>().unwrap();
    let expected = all.iter().filter(|line| line.contains("|user3|") && counts(line) > 1);
    let expected = expected.cloned().collect::<Vec<_>>();
    assert_eq!(lines(&one.collect().await.unwrap()), expected);
    assert!(!expected.is_empty());
}

#[tokio::test]
async fn rows_come_out_sorted_so_that_nobody_sorts_them_again() {
    let run = Run { table_partitions: 1, partitions: 1, batch_rows: 16 };
    let frame = context(&payments(500), run).table("events").await.unwrap();
    let frame = window_frame(frame, node(Emit::EachEvent, TimeRange::default())).unwrap();
    let order = || vec![col("user").sort(true, true), col("event_timestamp").sort(true, true)];
    let sorted = frame.sort(order()).unwrap();
    let plan = sorted.clone().create_physical_plan().await.unwrap();
    let plan = datafusion::physical_plan::displayable(plan.as_ref()).indent(false).to_string();
    assert!(!plan.contains("SortExec"), "{plan}");
    let batches = sorted.collect().await.unwrap();
    let rows = concat_batches(&batches[0].schema(), &batches).unwrap();
    let users = cast(rows.column(0), &DataType::Utf8).unwrap();
    let users = users.as_any().downcast_ref::<StringArray>().unwrap().iter();
    let times = rows.column(1).as_any().downcast_ref::<TimestampMicrosecondArray>().unwrap();
    assert!(users.zip(times.values()).is_sorted());
}

#[tokio::test]
async fn no_keys_make_one_entity() {
    let run = Run { table_partitions: 2, partitions: 3, batch_rows: 10 };
    let mut whole = node(Emit::EachEvent, TimeRange::default());
    whole.keys.clear();
    whole.spec.columns.truncate(1);
    whole.spec.columns[0].window = Window::LIFETIME;
    let frame = context(&payments(95), run).table("events").await.unwrap();
    let batches = window_frame(frame, whole).unwrap().collect().await.unwrap();
    let rows = concat_batches(&batches[0].schema(), &batches).unwrap();
    let counts = rows.column(1).as_any().downcast_ref::<Int64Array>().unwrap();
    assert_eq!((counts.len(), counts.values().iter().max()), (95, Some(&95)));
}

async fn refuse(change: impl FnOnce(&mut WindowNode)) -> (ErrorKind, String, Option<String>) {
    let run = Run { table_partitions: 1, partitions: 1, batch_rows: 10 };
    let mut node = node(Emit::EachEvent, TimeRange::default());
    change(&mut node);
    let frame = context(&payments(9), run).table("events").await.unwrap();
    let error = match window_frame(frame, node) {
        Ok(frame) => from_datafusion(frame.collect().await.unwrap_err()),
        Err(error) => error,
    };
    (error.kind(), error.to_string(), error.help().map(str::to_owned))
}

#[tokio::test]
async fn mistakes_are_named() {
    let (kind, message, help) = refuse(|node| node.inputs[1] = "merchnt".into()).await;
    assert_eq!(
        (kind, message.as_str()),
        (ErrorKind::NotFound, "the events have no column `merchnt`")
    );
    assert_eq!(help.as_deref(), Some("did you mean `merchant`?"));
    let (_, message, _) = refuse(|node| node.time = "Amount".into()).await;
    assert_eq!(message, "`Amount` has the type `Float64`, which is not a time");
    let (_, message, _) = refuse(|node| node.masks[0] = "Amount".into()).await;
    assert_eq!(message, "`Amount` has the type `Float64`, which is not a condition");
    let sum_of_text = |node: &mut WindowNode| node.spec.columns[2].input = Some(1);
    let (kind, message, _) = refuse(sum_of_text).await;
    assert_eq!(kind, ErrorKind::InvalidInput);
    assert_eq!(message, "`spend_7d` adds up values of type `Utf8`");
    let (_, message, _) = refuse(|node| node.output_time = "user".into()).await;
    assert_eq!(message, "two columns of the window features are named `user`");
}
