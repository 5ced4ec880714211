use std::collections::BTreeMap;

use arrow::array::{
    ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Int64Type};
use icecore_catalog::{CatalogOptions, IcebergCatalog, RowOptions};
use icecore_core::{
    BatchStream, CommitOptions, FixedClock, Literal, NewTable, OnlineChange, OnlineEntry,
    OnlineStore, Predicate, RowVersion, TableName, WriteMode,
};
use icecore_engine::EngineOptions;
use icecore_online::{
    EmbeddedStore, FeatureStatus, Origin, RowEncoder, ViewRead, row_keys, row_prefix,
};
use icecore_testkit::{FaultyOnlineStore, Random};

use super::*;
use crate::verify_view;

const DEFINITIONS: &str = r#"
[[entity]]
name = "user"
join_keys = ["user"]
[[feature_view]]
name = "account"
entities = ["user"]
source = "ml.account"
columns = ["balance"]
[[push_source]]
name = "accounts"
table = "ml.account"
"#;

struct World {
    engine: Engine,
    definitions: Definitions,
    faulty: Arc<FaultyOnlineStore>,
    features: FeatureStore,
    table: TableName,
    _dir: tempfile::TempDir,
}

fn rows(values: &[(&str, i64, i64)]) -> RecordBatch {
    let users: ArrayRef = Arc::new(StringArray::from_iter_values(values.iter().map(|v| v.0)));
    let times = TimestampMicrosecondArray::from_iter_values(values.iter().map(|v| v.1));
    let times: ArrayRef = Arc::new(times.with_timezone("+00:00"));
    let balances: ArrayRef = Arc::new(Int64Array::from_iter_values(values.iter().map(|v| v.2)));
    RecordBatch::try_from_iter([("user", users), ("event_timestamp", times), ("balance", balances)])
        .unwrap()
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(FixedClock(Timestamp::from_micros(1_000_000)));
        let database = format!("sqlite:{}", dir.path().join("catalog.db").display());
        let warehouse = dir.path().join("warehouse").display().to_string();
        let options = CatalogOptions::new(database, warehouse).with_clock(clock.clone());
        let catalog = IcebergCatalog::open(options).await.unwrap();
        let store = EmbeddedStore::open(&dir.path().join("online"), clock).await.unwrap();
        let faulty = Arc::new(FaultyOnlineStore::new(Arc::new(store)));
        let table = TableName::parse("ml.account").unwrap();
        catalog.ensure_table(&table, &NewTable::new(rows(&[]).schema())).await.unwrap();
        Self {
            engine: Engine::new(catalog, EngineOptions::default()).unwrap(),
            definitions: Definitions::parse("f.toml", DEFINITIONS).unwrap(),
            features: FeatureStore::new(faulty.clone()),
            faulty,
            table,
            _dir: dir,
        }
    }

    fn source(&self) -> Source<'_> {
        Source {
            engine: &self.engine,
            definitions: &self.definitions,
            store: &self.features,
            now: Timestamp::from_micros(1_000_000),
        }
    }

    async fn append(&self, values: &[(&str, i64, i64)]) {
        let batch = rows(values);
        let stream = BatchStream::from_batches(batch.schema(), vec![batch]);
        let options = CommitOptions::new(WriteMode::Append);
        self.engine.catalog().commit(&self.table, stream, options).await.unwrap();
    }

    async fn delete(&self, column: &str, value: Literal) {
        let filter = Predicate::equal(column, value);
        let catalog = self.engine.catalog();
        catalog.delete(&self.table, filter, RowOptions::default()).await.unwrap();
    }

    /// Does not wait until it is known that a job before it has died.
    async fn materialize(&self) -> ViewReport {
        let options = MaterializeOptions::default().with_take_over(true);
        materialize_view(&self.source(), "account", options).await.unwrap()
    }

    async fn online(&self, users: &[&str]) -> Vec<Option<i64>> {
        let read = ViewRead {
            view: "account".to_owned(),
            keys: vec![Arc::new(StringArray::from(users.to_vec()))],
            features: vec![Arc::new(Field::new("balance", DataType::Int64, true))],
            ttl: None,
        };
        let answer =
            self.features.read(&[read], Timestamp::from_micros(0)).await.unwrap().remove(0);
        assert!((0..users.len()).all(|row| answer.status(row, 0) != FeatureStatus::Null));
        answer.columns[0].as_primitive::<Int64Type>().iter().collect()
    }

    async fn push(&self, user: &str, event: i64, balance: i64) {
        let batch = rows(&[(user, event, balance)]);
        let schema = RowSchema::try_new([batch.schema().field(2)]).unwrap();
        self.features.keep_schema(&schema).await.unwrap();
        let event = Timestamp::from_micros(event);
        let until = RowVersion { event, created: event };
        let row = RowEncoder::new(schema, Origin::Push).encode(&batch, &[until]).unwrap().remove(0);
        let users: ArrayRef = Arc::new(StringArray::from(vec![user]));
        let key = row_keys("account", &[users]).unwrap().remove(0).unwrap();
        self.faulty.sound().apply(vec![OnlineChange { key, row: Some(row), until }]).await.unwrap();
    }
}

fn counts(report: &ViewReport) -> (u64, u64, u64) {
    (report.read, report.written, report.removed)
}

#[tokio::test]
async fn only_what_changed_is_read_and_late_rows_take_no_place() {
    let world = World::new().await;
    let first = world.materialize().await;
    assert_eq!((counts(&first), first.full.is_some()), ((0, 0, 0), true));
    world.append(&[("a", 10, 1), ("b", 10, 2), ("b", 11, 3)]).await;
    let report = world.materialize().await;
    assert_eq!((report.read, report.full), (3, None));
    assert_eq!(world.online(&["a", "b", "c"]).await, [Some(1), Some(3), None]);
    let nothing = world.materialize().await;
    assert_eq!(counts(&nothing), (0, 0, 0));
    // A late row, and a new one.
    world.append(&[("a", 9, 99), ("c", 1, 4)]).await;
    let report = world.materialize().await;
    assert_eq!((report.read, report.written, report.unchanged), (2, 1, 1));
    assert_eq!(world.online(&["a", "b", "c"]).await, [Some(1), Some(3), Some(4)]);
    assert!(verify_view(&world.source(), "account").await.unwrap().is_equal());
}

#[tokio::test]
async fn a_row_that_is_gone_makes_room_for_the_one_before_it() {
    let world = World::new().await;
    world.append(&[("a", 10, 1), ("a", 20, 2), ("b", 10, 3), ("c", 5, 4)]).await;
    world.materialize().await;
    world.delete("balance", Literal::Int(2)).await;
    world.delete("user", Literal::Text("b".to_owned())).await;
    let report = world.materialize().await;
    assert_eq!((report.full, report.written, report.removed), (None, 1, 1));
    assert_eq!(world.online(&["a", "b", "c"]).await, [Some(1), None, Some(4)]);
    assert!(verify_view(&world.source(), "account").await.unwrap().is_equal());
}

#[tokio::test]
async fn a_full_job_takes_back_rows_that_are_newer_than_the_table() {
    let world = World::new().await;
    world.append(&[("a", 10, 1), ("a", 20, 2)]).await;
    world.materialize().await;
    world.delete("balance", Literal::Int(2)).await;
    let full = MaterializeOptions::default().with_full(true);
    materialize_view(&world.source(), "account", full).await.unwrap();
    assert_eq!(world.online(&["a"]).await, [Some(1)]);
    assert!(verify_view(&world.source(), "account").await.unwrap().is_equal());
}

#[tokio::test]
async fn a_dry_run_counts_and_changes_nothing() {
    let world = World::new().await;
    world.append(&[("a", 10, 1)]).await;
    let options = MaterializeOptions::default().with_dry_run(true);
    let report = materialize_view(&world.source(), "account", options).await.unwrap();
    assert_eq!(counts(&report), (1, 1, 0));
    assert_eq!(world.online(&["a"]).await, [None]);
    assert_eq!(
        verify_view(&world.source(), "account").await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
}

#[tokio::test]
async fn what_was_pushed_stays_until_the_table_has_it() {
    let world = World::new().await;
    world.append(&[("a", 10, 1)]).await;
    world.materialize().await;
    world.push("a", 30, 7).await;
    world.push("new", 30, 8).await;
    world.append(&[("a", 20, 2)]).await;
    world.materialize().await;
    assert_eq!(world.online(&["a", "new"]).await, [Some(7), Some(8)]);
    let full = MaterializeOptions::default().with_full(true);
    materialize_view(&world.source(), "account", full).await.unwrap();
    assert_eq!(world.online(&["a", "new"]).await, [Some(7), Some(8)]);
    let report = verify_view(&world.source(), "account").await.unwrap();
    assert_eq!((report.is_equal(), report.pushed_rows, report.ranges_differing), (true, 2, 0));
    world.append(&[("a", 30, 7), ("new", 30, 8)]).await;
    world.materialize().await;
    assert_eq!(verify_view(&world.source(), "account").await.unwrap().pushed_rows, 0);
}

#[tokio::test]
async fn what_was_pushed_goes_with_its_row_of_the_table() {
    let world = World::new().await;
    world.append(&[("a", 10, 1), ("b", 10, 2)]).await;
    world.materialize().await;
    for (user, value) in [("a", 7), ("b", 8), ("new", 9)] {
        world.push(user, 30, value).await;
    }
    world.push("b", 40, 10).await;
    // The table gets the first three and loses them again before anybody looks.
    world.append(&[("a", 30, 7), ("b", 30, 8), ("new", 30, 9)]).await;
    for value in [7, 8, 9] {
        world.delete("balance", Literal::Int(value)).await;
    }
    world.materialize().await;
    assert_eq!(world.online(&["a", "b", "new"]).await, [Some(1), Some(10), None]);
    let report = verify_view(&world.source(), "account").await.unwrap();
    assert_eq!((report.is_equal(), report.pushed_rows), (true, 1));
}

#[tokio::test]
async fn differences_are_found_and_named() {
    let world = World::new().await;
    let users: Vec<String> = (0..500).map(|user| format!("u{user}")).collect();
    let values: Vec<(&str, i64, i64)> = users.iter().map(|user| (user.as_str(), 10, 1)).collect();
    world.append(&values).await;
    world.materialize().await;
    let key = |user: &str| {
        let users: ArrayRef = Arc::new(StringArray::from(vec![user]));
        row_keys("account", &[users]).unwrap().remove(0).unwrap()
    };
    let last = Timestamp::from_micros(i64::MAX);
    let until = RowVersion { event: last, created: last };
    let there = world.faulty.rows(&[key("u0")]).await.unwrap().remove(0).unwrap();
    let mut flipped = there.to_vec();
    *flipped.last_mut().unwrap() ^= 1;
    let change = |user: &str, row| OnlineChange { key: key(user), row, until };
    let damage = vec![
        change("u1", None),
        change("u2", Some(flipped.into())),
        change("stranger", Some(there)),
    ];
    world.faulty.apply(damage).await.unwrap();
    let report = verify_view(&world.source(), "account").await.unwrap();
    assert_eq!((report.offline_rows, report.online_rows, report.different), (500, 500, 3));
    assert!((1..=3).contains(&report.ranges_differing), "{}", report.ranges_differing);
    let named: BTreeMap<String, String> = report
        .differences
        .iter()
        .map(|found| (found.key.clone(), format!("{:?}", found.kind)))
        .collect();
    let expected = [("u1", "Missing"), ("u2", "Values"), ("stranger", "Extra")];
    let text = |user: &str| String::from_utf8(key(user).to_vec()).unwrap();
    let expected: BTreeMap<String, String> =
        expected.iter().map(|(user, kind)| (text(user), (*kind).to_owned())).collect();
    assert_eq!(named, expected);
    let full = MaterializeOptions::default().with_full(true);
    materialize_view(&world.source(), "account", full).await.unwrap();
    assert!(verify_view(&world.source(), "account").await.unwrap().is_equal());
}

#[tokio::test]
async fn a_store_that_an_earlier_release_filled_is_brought_on_by_what_changed() {
    let world = World::new().await;
    world.append(&[("a", 10, 1)]).await;
    world.materialize().await;
    // How far it is was a value then, and is a row now.
    let (key, store) = (row_prefix("account~m"), world.faulty.sound());
    let row = store.rows(std::slice::from_ref(&key)).await.unwrap().remove(0).unwrap();
    let until = RowVersion::of_row(&row).unwrap();
    store.apply(vec![OnlineChange { key, row: None, until }]).await.unwrap();
    let (key, value) = ("icecore:view:account".to_owned(), row.slice(RowVersion::LEN..));
    store.put(vec![OnlineEntry { key, value, ttl: None }]).await.unwrap();
    world.append(&[("b", 11, 2)]).await;
    let report = world.materialize().await;
    assert_eq!((report.full, report.read), (None, 1));
    assert!(verify_view(&world.source(), "account").await.unwrap().is_equal());
}

/// Random rows, late ones, deletions, jobs that die, and stores that are emptied: after a job that
/// comes to its end, the store has the newest row of every entity.
#[tokio::test]
async fn after_catching_up_the_store_has_what_the_table_has() {
    for seed in 0..6 {
        let world = World::new().await;
        let mut random = Random::new(seed);
        let mut table: Vec<(String, i64, i64)> = Vec::new();
        let mut balance = 0;
        for _ in 0..25 {
            match random.below(10) {
                0..=3 => {
                    let mut new = Vec::new();
                    for _ in 0..1 + random.below(6) {
                        balance += 1;
                        let user = format!("u{}", random.below(8));
                        // Equal moments of one entity have no order, so there are none.
                        let event = random.below(1_000) as i64 * 100_000 + balance;
                        new.push((user, event, balance));
                    }
                    let values: Vec<(&str, i64, i64)> = new
                        .iter()
                        .map(|(user, event, value)| (user.as_str(), *event, *value))
                        .collect();
                    world.append(&values).await;
                    table.extend(new);
                }
                4 => {
                    let user = format!("u{}", random.below(8));
                    world.delete("user", Literal::Text(user.clone())).await;
                    table.retain(|row| row.0 != user);
                }
                5 | 6 if !table.is_empty() => {
                    let gone = table[random.below(table.len() as u64) as usize].2;
                    world.delete("balance", Literal::Int(gone)).await;
                    table.retain(|row| row.2 != gone);
                }
                7 => {
                    world.faulty.fail_after_batches(random.below(4));
                    let full = random.below(4) == 0;
                    let options =
                        MaterializeOptions::default().with_full(full).with_take_over(true);
                    let _ = materialize_view(&world.source(), "account", options).await;
                    world.faulty.recover();
                }
                _ => {
                    world.materialize().await;
                }
            }
        }
        world.materialize().await;
        let mut newest: BTreeMap<String, (i64, i64)> = BTreeMap::new();
        for (user, event, value) in table {
            let known = newest.entry(user).or_insert((event, value));
            *known = (*known).max((event, value));
        }
        let users: Vec<String> = (0..8).map(|user| format!("u{user}")).collect();
        let users: Vec<&str> = users.iter().map(String::as_str).collect();
        let expected: Vec<Option<i64>> =
            users.iter().map(|user| newest.get(*user).map(|(_, value)| *value)).collect();
        assert_eq!(world.online(&users).await, expected, "seed {seed}");
        let report = verify_view(&world.source(), "account").await.unwrap();
        assert!(report.is_equal(), "seed {seed}: {report:?}");
    }
}

#[tokio::test]
async fn the_first_fill_of_a_table_with_a_history_writes_each_entity_once() {
    let world = World::new().await;
    // Each commit is a file, and a batch of its own at least.
    for day in 0..6 {
        world.append(&[("a", day, day), ("b", 10 - day, day), ("c", 5, day)]).await;
    }
    let report = world.materialize().await;
    assert!(report.full.is_some());
    assert_eq!((report.read, report.written, report.unchanged), (18, 3, 0));
    assert_eq!(world.online(&["a", "b"]).await, [Some(5), Some(0)]);
    assert!(verify_view(&world.source(), "account").await.unwrap().is_equal());
    // Where everything is there, nothing is written; a dry run says how many would be looked at.
    let again = MaterializeOptions::default().with_full(true).with_take_over(true);
    let again = materialize_view(&world.source(), "account", again).await.unwrap();
    assert_eq!((again.read, again.written + again.unchanged), (18, 3));
}
