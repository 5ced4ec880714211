//! The join against an oracle that looks at every fact.

use std::sync::Arc;

use arrow::array::{
    Array, AsArray, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::compute::concat_batches;
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use datafusion::execution::TaskContext;
use datafusion::prelude::{SessionConfig, SessionContext};
use icecore_core::{
    BatchStream, FeatureTable, Knowledge, PinnedTable, PitOptions, Result, SnapshotId, Span, Spine,
    TableName,
};
use proptest::prelude::*;

mod edges;
mod tables;

use crate::exec::{Plan, run as run_plan};
use crate::parts::Parts;
use crate::sorted::single_use;
use crate::source::{FeatureSource, Frame};

#[derive(Debug, Clone, Default)]
struct Fact {
    user: Option<i32>,
    shop: Option<&'static str>,
    event: Option<i64>,
    created: Option<i64>,
    value: Option<i64>,
    note: Option<&'static str>,
}

#[derive(Debug, Clone)]
struct Question {
    user: Option<i64>,
    shop: Option<&'static str>,
    at: Option<i64>,
}

#[derive(Debug, Clone, Copy)]
struct Rules {
    by_shop: bool,
    /// Whether the view is joined by another of the spine's columns than the user's.
    by_number: bool,
    declares_created: bool,
    knowledge: Option<Knowledge>,
    strict: bool,
    ttl: Option<i64>,
    delay: Option<i64>,
}

type Answer = Option<(Option<i64>, Option<&'static str>, i64)>;

/// The question as a view hears it that is joined by these rules.
fn heard(number: usize, question: &Question, rules: Rules) -> Question {
    let user = if rules.by_number { i64::try_from(number).ok() } else { question.user };
    Question { user, ..question.clone() }
}

/// What was known at the moment of the question, by looking at every fact.
fn oracle(facts: &[Fact], question: &Question, rules: Rules) -> Answer {
    let at = question.at?;
    let user = question.user?;
    let known = at - rules.delay.unwrap_or(0);
    let by_created = rules.declares_created && rules.knowledge != Some(Knowledge::Event);
    facts
        .iter()
        .filter(|fact| fact.user.is_some_and(|own| i64::from(own) == user))
        .filter(|fact| !rules.by_shop || fact.shop.is_some() && fact.shop == question.shop)
        .filter(|fact| fact.event.is_some_and(|e| if rules.strict { e < at } else { e <= at }))
        .filter(|fact| rules.ttl.is_none_or(|ttl| fact.event.is_some_and(|e| e >= at - ttl)))
        .filter(|fact| fact.event.is_some_and(|event| event <= known))
        .filter(|fact| !by_created || fact.created.is_some_and(|created| created <= known))
        .max_by_key(|fact| {
            let created = rules.declares_created.then_some(fact.created).flatten();
            (fact.event, created, fact.value, fact.note)
        })
        .map(|fact| (fact.value, fact.note, fact.event.unwrap()))
}

fn moments(values: Vec<Option<i64>>) -> TimestampMicrosecondArray {
    TimestampMicrosecondArray::from(values).with_timezone("+00:00")
}

fn fact_batch(facts: &[Fact]) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable([
        ("user", Arc::new(Int32Array::from_iter(facts.iter().map(|f| f.user))) as _, true),
        ("shop", Arc::new(StringArray::from_iter(facts.iter().map(|f| f.shop))) as _, true),
        ("happened", Arc::new(moments(facts.iter().map(|f| f.event).collect())) as _, true),
        ("ingested", Arc::new(moments(facts.iter().map(|f| f.created).collect())) as _, true),
        ("value", Arc::new(Int64Array::from_iter(facts.iter().map(|f| f.value))) as _, true),
        ("note", Arc::new(StringArray::from_iter(facts.iter().map(|f| f.note))) as _, true),
    ])
    .unwrap()
}

fn spine_batch(questions: &[Question]) -> RecordBatch {
    let numbers = Int64Array::from_iter_values(0..questions.len() as i64);
    RecordBatch::try_from_iter_with_nullable([
        ("number", Arc::new(numbers) as _, true),
        ("store", Arc::new(StringArray::from_iter(questions.iter().map(|q| q.shop))) as _, true),
        ("account", Arc::new(Int64Array::from_iter(questions.iter().map(|q| q.user))) as _, true),
        ("seen_at", Arc::new(moments(questions.iter().map(|q| q.at).collect())) as _, true),
    ])
    .unwrap()
}

fn slices(batch: &RecordBatch, rows: usize) -> Vec<RecordBatch> {
    let starts = (0..batch.num_rows()).step_by(rows);
    starts.map(|from| batch.slice(from, rows.min(batch.num_rows() - from))).collect()
}

fn spine(questions: &[Question], rows: usize) -> Spine {
    let batch = spine_batch(questions);
    Spine {
        rows: BatchStream::from_batches(batch.schema(), slices(&batch, rows)),
        event_timestamp: "seen_at".to_owned(),
    }
}

fn table(view: &str, rules: Rules) -> FeatureTable {
    let user = if rules.by_number { "number" } else { "account" };
    let mut keys = vec![("user".to_owned(), user.to_owned())];
    if rules.by_shop {
        keys.push(("shop".to_owned(), "store".to_owned()));
    }
    FeatureTable {
        view: view.to_owned(),
        table: PinnedTable {
            table: TableName::parse("test.facts").unwrap(),
            uuid: String::new(),
            snapshot: SnapshotId::new(1),
        },
        keys,
        event_timestamp: "happened".to_owned(),
        created_timestamp: rules.declares_created.then(|| "ingested".to_owned()),
        ttl: rules.ttl.map(Span::from_micros),
        delay: rules.delay.map(Span::from_micros),
        strict: rules.strict,
        knowledge: rules.knowledge,
        columns: ["value", "note"].map(|c| (c.to_owned(), format!("{view}_{c}"))).to_vec(),
    }
}

#[derive(Debug, Clone, Copy)]
struct Shape {
    partitions: usize,
    batch_rows: usize,
    parts: Parts,
}

/// How to join, and with what.
struct Ways {
    options: PitOptions,
    context: Arc<TaskContext>,
    parts: Parts,
}

async fn join(
    spine: Spine,
    joined: Vec<(FeatureTable, Arc<dyn FeatureSource>)>,
    ways: Ways,
) -> Result<BatchStream> {
    let Ways { options, context, parts } = ways;
    let Spine { rows, event_timestamp } = spine;
    let spine = single_use(rows)?;
    let plan = Plan { spine, event_timestamp, joined, options, parts };
    let plan = plan.exec(context.session_config().options()).await?;
    run_plan(&plan, context)
}

fn ways(options: PitOptions, context: &SessionContext, parts: Parts) -> Ways {
    Ways { options, context: context.task_ctx(), parts }
}

fn session(shape: Shape) -> SessionContext {
    let config = SessionConfig::new()
        .with_target_partitions(shape.partitions)
        .with_batch_size(shape.batch_rows);
    SessionContext::new_with_config(config)
}

async fn run(
    facts: &[Fact],
    questions: &[Question],
    views: &[(&str, Rules)],
    shape: Shape,
) -> Result<RecordBatch> {
    let context = session(shape);
    let batch = fact_batch(facts);
    let parts = slices(&batch, shape.batch_rows).into_iter().map(|batch| vec![batch]);
    let mut parts: Vec<Vec<RecordBatch>> = parts.collect();
    parts.truncate(64);
    parts.push(slices(&batch, shape.batch_rows).split_off(parts.len().min(64)));
    let memory = datafusion::datasource::MemTable::try_new(batch.schema(), parts).unwrap();
    let frame = context.read_table(Arc::new(memory)).unwrap();
    let source: Arc<dyn FeatureSource> = Arc::new(Frame::of_table(frame));
    let tables = views.iter().map(|(view, rules)| (table(view, *rules), Arc::clone(&source)));
    let mut options = PitOptions::default().with_knowledge(views[0].1.knowledge);
    options = options.with_event_timestamps().with_ages();
    let ways = ways(options, &context, shape.parts);
    let stream = join(spine(questions, shape.batch_rows), tables.collect(), ways).await?;
    let schema = Arc::clone(stream.schema());
    let batches = stream.collect().await?;
    Ok(concat_batches(&schema, &batches)?)
}

fn answers(batch: &RecordBatch, view: &str) -> Vec<Answer> {
    let column = |name: &str| batch.column_by_name(&format!("{view}_{name}")).unwrap();
    let (values, notes) = (column("value").as_primitive::<Int64Type>(), column("note"));
    let notes = notes.as_string::<i32>();
    let events = column("_event_timestamp").as_primitive::<TimestampMicrosecondType>();
    let text = |row: usize| {
        notes.is_valid(row).then(|| NOTES.iter().copied().find(|n| *n == notes.value(row)).unwrap())
    };
    let answer = |row: usize| {
        let value = values.is_valid(row).then(|| values.value(row));
        events.is_valid(row).then(|| (value, text(row), events.value(row)))
    };
    (0..batch.num_rows()).map(answer).collect()
}

const NOTES: [&str; 4] = ["", "late", "low", "high"];
const PLAIN: Rules = Rules {
    by_shop: false,
    by_number: false,
    declares_created: true,
    knowledge: None,
    strict: false,
    ttl: None,
    delay: None,
};
/// Everything in memory, everything sorted.
const HELD: Parts = Parts { bytes_max: Some(usize::MAX), count_max: 1 };
const SORTED: Parts = Parts { bytes_max: None, count_max: 0 };
const WHOLE: Shape = Shape { partitions: 1, batch_rows: 8192, parts: HELD };

/// The one place that knows the texts: `u1 event=1 created=1 value=10`, one fact a line.
#[track_caller]
fn check(facts: &str, rules: Rules, question: &str, expected: Option<i64>) {
    let number = |text: &str, name: &str| -> Option<i64> {
        text.split(' ').find_map(|part| part.strip_prefix(name)).map(|n| n.parse().unwrap())
    };
    let facts: Vec<Fact> = facts
        .lines()
        .map(|line| Fact {
            user: number(line, "u").map(|user| i32::try_from(user).unwrap()),
            event: number(line, "event="),
            created: number(line, "created="),
            value: number(line, "value="),
            ..Fact::default()
        })
        .collect();
    let question =
        Question { user: number(question, "u"), shop: None, at: number(question, "at=") };
    assert_eq!(
        oracle(&facts, &question, rules).map(|(value, ..)| value),
        expected.map(Some),
        "the oracle"
    );
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for parts in [SORTED, HELD] {
        let shape = Shape { parts, ..WHOLE };
        let questions = std::slice::from_ref(&question);
        let joined = runtime.block_on(run(&facts, questions, &[("v", rules)], shape)).unwrap();
        assert_eq!(answers(&joined, "v")[0].map(|(value, ..)| value), expected.map(Some));
    }
}

#[test]
fn a_correction_stays_out_of_the_time_before_it() {
    let facts = "u1 event=1 created=1 value=10\nu1 event=1 created=9 value=11";
    check(facts, PLAIN, "u1 at=5", Some(10));
    check(facts, PLAIN, "u1 at=9", Some(11));
    let event = Rules { knowledge: Some(Knowledge::Event), ..PLAIN };
    check(facts, event, "u1 at=5", Some(11));
}

#[test]
fn the_bounds_of_the_ttl_are_inside() {
    let ttl = Rules { ttl: Some(10), ..PLAIN };
    check("u1 event=5 created=5 value=1", ttl, "u1 at=15", Some(1));
    check("u1 event=5 created=5 value=1", ttl, "u1 at=16", None);
    check("u1 event=5 created=5 value=1", ttl, "u1 at=5", Some(1));
    check("u1 event=5 created=5 value=1", ttl, "u1 at=4", None);
}

#[test]
fn strict_leaves_out_the_moment_itself_but_not_what_became_known_at_it() {
    let strict = Rules { strict: true, ..PLAIN };
    check("u1 event=5 created=5 value=1", strict, "u1 at=5", None);
    check("u1 event=4 created=5 value=1", strict, "u1 at=5", Some(1));
}

#[test]
fn a_delay_keeps_a_row_from_being_seen_for_so_long() {
    let delayed = Rules { delay: Some(10), ..PLAIN };
    check("u1 event=5 created=7 value=1", delayed, "u1 at=16", None);
    check("u1 event=5 created=7 value=1", delayed, "u1 at=17", Some(1));
    let event = Rules { knowledge: Some(Knowledge::Event), ..delayed };
    check("u1 event=5 created=7 value=1", event, "u1 at=14", None);
    check("u1 event=5 created=7 value=1", event, "u1 at=15", Some(1));
    // The age counts from the event, so that a short ttl is over before anything is seen.
    check("u1 event=5 created=7 value=1", Rules { ttl: Some(9), ..event }, "u1 at=15", None);
    // Of one event the newest version wins, delayed or not.
    check("u1 event=5 created=7 value=1\nu1 event=5 created=6 value=2", event, "u1 at=15", Some(1));
}

#[test]
fn a_row_that_was_never_known_joins_nothing() {
    check("u1 event=5 value=1", PLAIN, "u1 at=50", None);
    let event = Rules { knowledge: Some(Knowledge::Event), ..PLAIN };
    check("u1 event=5 value=1", event, "u1 at=50", Some(1));
    check("u1 event=5 value=1\nu1 event=5 created=90 value=0", event, "u1 at=50", Some(0));
}

fn facts() -> impl Strategy<Value = Vec<Fact>> {
    let fact = (
        prop::option::weighted(0.9, 0..4_i32),
        prop::option::weighted(0.9, prop::sample::select(vec!["a", "b"])),
        prop::option::weighted(0.95, 0..12_i64),
        prop::option::weighted(0.9, 0..14_i64),
        prop::option::weighted(0.8, 0..3_i64),
        prop::option::weighted(0.8, prop::sample::select(NOTES.to_vec())),
    );
    let fact = fact.prop_map(|(user, shop, event, created, value, note)| Fact {
        user,
        shop,
        event,
        created,
        value,
        note,
    });
    prop::collection::vec(fact, 0..60)
}

fn questions() -> impl Strategy<Value = Vec<Question>> {
    let question = (
        prop::option::weighted(0.9, prop::sample::select(vec![0, 1, 2, 3, 9, i64::MAX])),
        prop::option::weighted(0.9, prop::sample::select(vec!["a", "b", "c"])),
        prop::option::weighted(0.95, -2..16_i64),
    );
    let question = question.prop_map(|(user, shop, at)| Question { user, shop, at });
    prop::collection::vec(question, 0..40)
}

fn rules() -> impl Strategy<Value = (Rules, Rules)> {
    let knowledge =
        || prop::sample::select(vec![None, Some(Knowledge::Event), Some(Knowledge::Created)]);
    (
        (any::<bool>(), any::<bool>(), any::<bool>()),
        (any::<bool>(), any::<bool>()),
        (knowledge(), knowledge()),
        (prop::option::of(1..8_i64), prop::option::of(1..8_i64)),
        prop::option::weighted(0.3, 0..5_i64),
    )
        .prop_map(
            |(
                (by_shop, other_by_shop, strict),
                (created, other_created),
                (knowledge, own_knowledge),
                ttl,
                delay,
            )| {
                let asks_created = |knowledge| knowledge == Some(Knowledge::Created);
                // What all views go by is that of the first one.
                let own_knowledge = own_knowledge.or(knowledge);
                let one = Rules {
                    by_shop,
                    by_number: false,
                    declares_created: created || asks_created(knowledge),
                    knowledge,
                    strict,
                    ttl: ttl.0,
                    delay,
                };
                let other = Rules {
                    by_shop: other_by_shop,
                    declares_created: other_created || asks_created(own_knowledge),
                    knowledge: own_knowledge,
                    ttl: ttl.1,
                    delay: None,
                    strict: !strict,
                    ..one
                };
                (one, other)
            },
        )
}

/// The order in which a table gives its rows.
#[derive(Debug, Clone, Copy)]
enum Order {
    Any,
    Time,
    /// By key, and time within.
    Key,
}

impl Order {
    fn arrange(self, mut facts: Vec<Fact>) -> Vec<Fact> {
        let time = |fact: &Fact| (fact.event, fact.created);
        match self {
            Self::Any => {}
            Self::Time => facts.sort_by_key(time),
            Self::Key => facts.sort_by_key(|fact| (fact.user, fact.shop, time(fact))),
        }
        facts
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// C116, C118 and the point-in-time semantics: keys, ties, nulls, ttl, knowledge, strict, any
    /// order, any batch size, any number of partitions, several tables at once, one of them twice
    /// and by another of the spine's columns.
    #[test]
    fn the_join_agrees_with_the_oracle(
        facts in facts(),
        order in prop::sample::select(vec![Order::Any, Order::Time, Order::Key]),
        questions in questions(),
        (one, other) in rules(),
        partitions in prop::sample::select(vec![1_usize, 4]),
        batch_rows in prop::sample::select(vec![1_usize, 3, 8192]),
        bytes_max in prop::sample::select(vec![0_usize, 100, usize::MAX]),
        count_max in prop::sample::select(vec![0_usize, 1, 3, 100]),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2).enable_all().build().unwrap();
        let facts = order.arrange(facts);
        let parts = Parts { bytes_max: Some(bytes_max), count_max };
        let shape = Shape { partitions, batch_rows, parts };
        let views = [("one", one), ("other", other), ("again", Rules { by_number: true, ..one })];
        let joined = runtime.block_on(run(&facts, &questions, &views, shape)).unwrap();

        let names: Vec<String> =
            joined.schema().fields().iter().map(|field| field.name().clone()).collect();
        prop_assert_eq!(names, [
            "number", "store", "account", "seen_at",
            "one_value", "one_note", "one__event_timestamp", "one__age_us",
            "other_value", "other_note", "other__event_timestamp", "other__age_us",
            "again_value", "again_note", "again__event_timestamp", "again__age_us",
        ]);
        let asked = spine_batch(&questions);
        prop_assert_eq!(&joined.columns()[..4], asked.columns());
        for (view, rules) in views {
            let heard = questions.iter().enumerate().map(|(at, asked)| heard(at, asked, rules));
            let expected: Vec<Answer> =
                heard.map(|question| oracle(&facts, &question, rules)).collect();
            let ages = expected.iter().zip(&questions).map(|(answer, question)| {
                answer.and_then(|(_, _, event)| Some(question.at? - event))
            });
            let ages: Int64Array = ages.collect();
            let found = joined.column_by_name(&format!("{view}__age_us")).unwrap();
            prop_assert_eq!(found.as_primitive::<Int64Type>(), &ages);
            prop_assert_eq!(answers(&joined, view), expected, "{} {:?}", view, rules);
        }
    }
}
