//! The join over tables of a catalog: pins, files that are not read, states as they were.

use std::sync::atomic::{AtomicI64, Ordering};

use icecore_catalog::{CatalogOptions, IcebergCatalog};
use icecore_core::{
    Clock, CommitOptions, ErrorKind, NewTable, PointInTimeJoin, SnapshotCatalog, SnapshotSelector,
    Timestamp, WriteMode,
};
use icecore_engine::{Engine, EngineOptions};

use super::*;
use crate::MergeJoin;

/// A clock that tests set.
#[derive(Debug, Default)]
struct SetClock(AtomicI64);

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

struct Lake {
    _dir: tempfile::TempDir,
    clock: Arc<SetClock>,
    engine: Engine,
}

impl Lake {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        let clock = Arc::new(SetClock::default());
        let options = CatalogOptions::new(format!("sqlite:{}", at("catalog.db")), at("warehouse"));
        let options = options.with_clock(Arc::clone(&clock) as Arc<dyn Clock>);
        let catalog = IcebergCatalog::open(options).await.unwrap();
        let options = EngineOptions::default().with_threads(2).with_memory_limit(64 << 20);
        Self { _dir: dir, clock, engine: Engine::new(catalog, options).unwrap() }
    }

    /// Commits facts at a moment, in microseconds.
    async fn commit(&self, at: i64, facts: &[Fact], mode: WriteMode) -> PinnedTable {
        let (name, batch) = (TableName::parse("test.facts").unwrap(), fact_batch(facts));
        self.clock.0.store(at, Ordering::SeqCst);
        let catalog = self.engine.catalog();
        catalog.ensure_table(&name, &NewTable::new(batch.schema())).await.unwrap();
        let rows = BatchStream::from_batches(batch.schema(), vec![batch]);
        catalog.commit(&name, rows, CommitOptions::new(mode)).await.unwrap().pinned
    }

    async fn join(
        &self,
        pin: &PinnedTable,
        questions: &[Question],
        rules: Rules,
    ) -> Result<RecordBatch> {
        let mut feature = table("v", rules);
        feature.table = pin.clone();
        let options = PitOptions::default().with_event_timestamps().with_knowledge(rules.knowledge);
        let join = MergeJoin::new(self.engine.clone());
        join.join(spine(questions, 7), vec![feature], options).await?.concat().await
    }
}

fn fact(user: i32, event: i64, value: i64) -> Fact {
    Fact { user: Some(user), event: Some(event), value: Some(value), ..Fact::default() }
}

fn question(user: i64, at: i64) -> Question {
    Question { user: Some(user), shop: None, at: Some(at) }
}

fn values(joined: &RecordBatch) -> Vec<Option<i64>> {
    answers(joined, "v").into_iter().map(|answer| answer.and_then(|(value, ..)| value)).collect()
}

const EVENT: Rules = Rules { declares_created: false, ..PLAIN };

#[tokio::test(flavor = "multi_thread")]
async fn a_pin_is_read_whatever_was_committed_since() {
    let lake = Lake::new().await;
    let first = lake.commit(1_000_000, &[fact(1, 5, 50)], WriteMode::Append).await;
    let second = lake.commit(2_000_000, &[fact(1, 6, 60)], WriteMode::Overwrite).await;
    for (pin, expected) in [(&first, 50), (&second, 60)] {
        let joined = lake.join(pin, &[question(1, 9)], EVENT).await.unwrap();
        assert_eq!(values(&joined), [Some(expected)]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_no_row_can_see_are_not_opened() {
    let lake = Lake::new().await;
    lake.commit(1000, &[fact(5, 10, 1)], WriteMode::Append).await;
    lake.commit(2000, &[fact(5, 5000, 3)], WriteMode::Append).await;
    lake.commit(3000, &[fact(1, 1000, 4), fact(3, 1000, 4)], WriteMode::Append).await;
    lake.commit(4000, &[fact(8, 1000, 5)], WriteMode::Append).await;
    let pin = lake.commit(5000, &[fact(5, 1000, 2)], WriteMode::Append).await;
    let rules = Rules { ttl: Some(500), ..EVENT };
    let asked = [question(5, 1200), question(4, 1300)];
    // What is too old, in the future, or of keys that nobody asks for, may as well be gone.
    let files = lake.engine.catalog().plan_files(&pin, None).await.unwrap().files;
    assert_eq!(files.len(), 5);
    let unseen = |name: &str, low: i64, high: i64| {
        let range = |file: &icecore_catalog::PlannedFile| {
            let column = file.columns().get(name).unwrap();
            (column.min.clone().unwrap(), column.max.clone().unwrap())
        };
        let number = |literal: icecore_core::Literal| match literal {
            icecore_core::Literal::Int(value) => value,
            icecore_core::Literal::Timestamp(at) => at.micros(),
            other => panic!("{other:?}"),
        };
        let outside = files.iter().filter(move |file| {
            let (min, max) = range(file);
            number(max) < low || number(min) > high
        });
        outside.map(|file| file.path()).collect::<Vec<_>>()
    };
    let mut gone = unseen("happened", 700, 1300);
    assert_eq!(gone.len(), 2);
    gone.extend(unseen("user", 4, 5));
    let store = lake.engine.catalog().object_store();
    for path in &gone {
        let path = path.as_ref().strip_prefix("file/").unwrap();
        std::fs::remove_file(format!("/{path}")).unwrap();
    }
    drop(store);
    let wide = [question(1, 9000)];
    assert!(lake.join(&pin, &wide, EVENT).await.is_err(), "the files are gone");
    let joined = lake.join(&pin, &asked, rules).await.unwrap();
    assert_eq!(values(&joined), [Some(2), None]);
}

// C117, D22: each moment sees the table as it was, and a commit after midnight comes too late for
// what was observed at midnight.
#[tokio::test(flavor = "multi_thread")]
async fn states_decide_where_they_are_asked_to() {
    let lake = Lake::new().await;
    let at = |text: &str| Timestamp::parse(text).unwrap().micros();
    let midnight = at("2024-01-15");
    let nightly = [fact(1, midnight, 3)];
    lake.commit(at("2024-01-15T00:30:00Z"), &nightly, WriteMode::Append).await;
    let corrected = [fact(1, midnight, 4)];
    let pin = lake.commit(at("2024-01-20T00:30:00Z"), &corrected, WriteMode::Overwrite).await;
    let days = ["2024-01-15", "2024-01-16", "2024-01-20", "2024-01-21"];
    let asked = days.map(|day| question(1, at(day)));
    let states = Rules { knowledge: Some(Knowledge::Snapshot), ..EVENT };
    let joined = lake.join(&pin, &asked, states).await.unwrap();
    assert_eq!(values(&joined), [None, Some(3), Some(3), Some(4)]);
    let joined = lake.join(&pin, &asked, EVENT).await.unwrap();
    assert_eq!(values(&joined), [Some(4); 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn states_agree_with_the_oracle_asked_of_each() {
    let lake = Lake::new().await;
    let mut states: Vec<(i64, Vec<Fact>)> = Vec::new();
    let mut pin = None;
    for n in 0..9_i64 {
        let new: Vec<Fact> = (0..8)
            .map(|i| fact(((n * 5 + i * 3) % 6) as i32, (n * 977 + i * 1733) % 9000, n * 100 + i))
            .collect();
        let (at, append) = (n * 1000 + 500, n % 3 != 2);
        let before = states.last().filter(|_| append).map(|(_, facts)| facts.clone());
        let now: Vec<Fact> = before.unwrap_or_default().into_iter().chain(new.clone()).collect();
        let mode = if append { WriteMode::Append } else { WriteMode::Overwrite };
        // Iceberg keeps milliseconds of a commit's time.
        pin = Some(lake.commit(at * 1000, &new, mode).await);
        states.push((at * 1000, now));
    }
    let asked: Vec<Question> =
        (0..90).map(|n| question(n % 7, ((n * 7919) % 10_000) * 1000)).collect();
    for ttl in [None, Some(4000)] {
        let rules = Rules { knowledge: Some(Knowledge::Snapshot), ttl, ..EVENT };
        let expected: Vec<Answer> = asked
            .iter()
            .map(|question| {
                let (_, facts) = states.iter().rev().find(|(at, _)| Some(*at) <= question.at)?;
                oracle(facts, question, rules)
            })
            .collect();
        let joined = lake.join(pin.as_ref().unwrap(), &asked, rules).await.unwrap();
        assert_eq!(answers(&joined, "v"), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_without_a_commit_joins_nothing() {
    let lake = Lake::new().await;
    let name = TableName::parse("test.facts").unwrap();
    let catalog = lake.engine.catalog();
    let schema = fact_batch(&[]).schema();
    catalog.ensure_table(&name, &NewTable::new(schema)).await.unwrap();
    let pin = catalog.pin(&name, &SnapshotSelector::Latest).await.unwrap();
    assert_eq!(pin.snapshot, PinnedTable::EMPTY);
    for knowledge in [None, Some(Knowledge::Snapshot)] {
        let rules = Rules { knowledge, ..EVENT };
        let joined = lake.join(&pin, &[question(1, 9)], rules).await.unwrap();
        assert_eq!(values(&joined), [None]);
    }
    let rules = Rules { knowledge: Some(Knowledge::Created), ..EVENT };
    let error = lake.join(&pin, &[question(1, 9)], rules).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.help().unwrap().contains("leave `knowledge` out"), "{error}");
}

// The join is a plan like any other: it can be looked at, says how many rows come out, and tells the
// readers of features what no row can see.
#[tokio::test(flavor = "multi_thread")]
async fn the_join_is_a_plan() {
    let lake = Lake::new().await;
    let facts: Vec<Fact> = (0..8).map(|at| edges::fact(1, at, at)).collect();
    let pin = lake.commit(10, &facts, WriteMode::Append).await;
    let spine = spine_batch(&[Question { user: Some(1), shop: None, at: Some(5) }]);
    let mut feature = table("v", Rules { ttl: Some(3), ..PLAIN });
    feature.table = pin;
    let join = MergeJoin::new(lake.engine.clone());
    let frame = lake.engine.rows(spine).await.unwrap();
    let tables = vec![(feature, None)];
    let options = PitOptions::default();
    let plan = join.plan(frame.clone(), "seen_at", tables.clone(), options).await.unwrap();
    let statistics = plan.partition_statistics(None).unwrap();
    assert_eq!(statistics.num_rows, datafusion::common::stats::Precision::Exact(1));
    assert_eq!(statistics.column_statistics.len(), plan.schema().fields().len());
    assert_eq!(plan.children().len(), 2);

    let text = join.explain(frame, "seen_at", tables, options).await.unwrap();
    let first = text.lines().next().unwrap();
    let shown =
        "PointInTimeExec: moment=seen_at, views=[v(by user, ttl 3us)], statistics=[Rows=Exact(1)";
    assert!(first.starts_with(shown), "{text}");
    assert!(text.contains("DynamicFilter"), "{text}");

    let rows = datafusion::physical_plan::collect(plan, lake.engine.task_context()).await.unwrap();
    let values = rows[0].column_by_name("v_value").unwrap().as_primitive::<Int64Type>();
    assert_eq!(values.values(), &[5]);
}
