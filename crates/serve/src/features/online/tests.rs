use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    Array, AsArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::Int64Type;
use async_trait::async_trait;
use bytes::Bytes;
use icecore_catalog::IcebergCatalog;
use icecore_core::{
    ApplySummary, BatchStream, CommitOptions, NewTable, OnlineChange, OnlineEntry, OnlineStore,
    ScanPage, SnapshotCatalog, SnapshotSelector, TableName, WriteMode,
};
use icecore_engine::{Engine, EngineOptions};
use icecore_features::Definitions;
use icecore_materialize::{
    MaterializeOptions, PushedEvents, PushedViews, Source, materialize_view,
};
use icecore_online::{EmbeddedStore, FeatureStatus};

use super::*;
use crate::features::{FeatureOptions, FeatureQuery, FeatureSource, OnlineFeatures};
use crate::lake::tests::{catalog, clock};

const DEFINITIONS: &str = r#"
[[entity]]
name = "user"
join_keys = ["user"]
[[feature_view]]
name = "account"
entities = ["user"]
source = "ml.account"
columns = ["balance"]
[[feature_view]]
name = "profile"
entities = ["user"]
source = "ml.profile"
columns = ["age"]
[[feature_view]]
name = "spend"
entities = ["user"]
source = "raw.payments"
table = "ml.spend"
online = "tiles"
[[feature_view.aggregate]]
name = "n"
function = "count"
windows = ["30d"]
"#;

/// A store that is another one at each look at it: one that is emptied and filled again between
/// them.
#[derive(Debug)]
struct Turning {
    states: Vec<EmbeddedStore>,
    /// Which of the states the next looks find; after them, it stays what it is.
    script: Mutex<VecDeque<usize>>,
    state: Mutex<usize>,
    looks: Mutex<usize>,
}

impl Turning {
    fn follow(&self, script: &[usize]) {
        *self.script.lock().unwrap() = script.iter().copied().collect();
        *self.looks.lock().unwrap() = 0;
    }

    fn look(&self) -> &EmbeddedStore {
        *self.looks.lock().unwrap() += 1;
        if let Some(next) = self.script.lock().unwrap().pop_front() {
            *self.state.lock().unwrap() = next;
        }
        self.now()
    }

    fn now(&self) -> &EmbeddedStore {
        &self.states[*self.state.lock().unwrap()]
    }
}

#[async_trait]
impl OnlineStore for Turning {
    fn location(&self) -> &str {
        "turning:"
    }
    async fn put(&self, entries: Vec<OnlineEntry>) -> Result<u64> {
        self.now().put(entries).await
    }
    async fn get(&self, keys: &[String]) -> Result<Vec<Option<Bytes>>> {
        self.now().get(keys).await
    }
    async fn delete(&self, keys: &[String]) -> Result<u64> {
        self.now().delete(keys).await
    }
    async fn apply(&self, changes: Vec<OnlineChange>) -> Result<ApplySummary> {
        self.now().apply(changes).await
    }
    async fn rows(&self, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>> {
        self.look().rows(keys).await
    }
    async fn scan(&self, prefix: &[u8], cursor: Option<Bytes>) -> Result<ScanPage> {
        self.now().scan(prefix, cursor).await
    }
    async fn ping(&self) -> Result<()> {
        self.now().ping().await
    }
}

struct World {
    turning: Arc<Turning>,
    features: OnlineFeatures,
    _dir: tempfile::TempDir,
}

fn event(user: &str, column: &str, value: i64) -> RecordBatch {
    event_of(60, user, (column, value))
}

/// An event of so many seconds ago.
fn event_of(seconds: i64, user: &str, (column, value): (&str, i64)) -> RecordBatch {
    let moment = clock().0.micros() - seconds * 1_000_000;
    let times = TimestampMicrosecondArray::from(vec![moment]).with_timezone("+00:00");
    RecordBatch::try_from_iter([
        ("user", Arc::new(StringArray::from(vec![user])) as ArrayRef),
        ("event_timestamp", Arc::new(times)),
        (column, Arc::new(Int64Array::from(vec![value]))),
    ])
    .unwrap()
}

async fn write(catalog: &IcebergCatalog, table: &str, column: &str, value: i64) {
    let rows = event("u1", column, value);
    let table = TableName::parse(table).unwrap();
    catalog.ensure_table(&table, &NewTable::new(rows.schema())).await.unwrap();
    let stream = BatchStream::from_batches(rows.schema(), vec![rows]);
    catalog.commit(&table, stream, CommitOptions::new(WriteMode::Append)).await.unwrap();
}

impl World {
    /// A store that is filled, emptied, filled again, emptied, and filled again.
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let catalog = catalog(&dir).await;
        write(&catalog, "ml.account", "balance", 7).await;
        write(&catalog, "ml.profile", "age", 33).await;
        for amount in 1..4 {
            write(&catalog, "raw.payments", "amount", amount).await;
        }
        let engine = Engine::new(catalog, EngineOptions::default()).unwrap();
        let definitions = Definitions::parse("f.toml", DEFINITIONS).unwrap();
        let mut states = Vec::new();
        for at in 0..5 {
            let path = dir.path().join(at.to_string());
            let store = EmbeddedStore::open(&path, clock()).await.unwrap();
            if at % 2 == 0 {
                let store = FeatureStore::new(Arc::new(store.clone()));
                let now = Timestamp::from_micros(clock().0.micros() + at);
                let (engine, definitions, store) = (&engine, &definitions, &store);
                let source = Source { engine, definitions, store, now };
                for view in ["account", "profile", "spend"] {
                    materialize_view(&source, view, MaterializeOptions::default()).await.unwrap();
                }
            }
            states.push(store);
        }
        let turning = Arc::new(Turning {
            states,
            script: Mutex::default(),
            state: Mutex::default(),
            looks: Mutex::default(),
        });
        // Busy machines take longer than the real deadline, which is not what is tested.
        let deadline = Duration::from_secs(60);
        let options = FeatureOptions {
            store_deadline: deadline,
            lake_deadline: deadline,
            filled_for: deadline,
            ..FeatureOptions::default()
        };
        let store = Some(FeatureStore::new(turning.clone()));
        let definitions = Arc::new(definitions);
        let features = OnlineFeatures::new(engine, definitions, store, clock(), options);
        Self { turning, features, _dir: dir }
    }

    /// A payment reaches one of the states before its table has it.
    async fn push(&self, user: &str, state: usize) {
        self.push_to("raw.payments", event(user, "amount", 1), state).await;
    }

    async fn push_to(&self, table: &str, rows: RecordBatch, state: usize) {
        let of = (&self.features.engine, &*self.features.definitions);
        let table = TableName::parse(table).unwrap();
        let pin = of.0.catalog().pin(&table, &SnapshotSelector::Latest).await.unwrap();
        let views = PushedViews::open(of.0, of.1, &pin).await.unwrap();
        let store = FeatureStore::new(Arc::new(self.turning.states[state].clone()));
        let pushed = PushedEvents { queue: "q", position: 0, rows: &rows, now: clock().0 };
        views.apply(of, &store, &pushed).await.unwrap();
    }

    /// What a user has, from where, and how often the store was looked at.
    async fn ask(
        &self,
        user: &str,
        script: &[usize],
    ) -> (Vec<Option<i64>>, Vec<FeatureStatus>, FeatureSource, usize) {
        self.ask_for(&["account:balance", "profile:age"], user, script).await
    }

    async fn ask_for(
        &self,
        features: &[&str],
        user: &str,
        script: &[usize],
    ) -> (Vec<Option<i64>>, Vec<FeatureStatus>, FeatureSource, usize) {
        self.turning.follow(script);
        let users: ArrayRef = Arc::new(StringArray::from(vec![user]));
        let query = FeatureQuery {
            features: features.iter().map(|feature| (*feature).to_owned()).collect(),
            full_feature_names: false,
            entities: BTreeMap::from([("user".to_owned(), users)]),
        };
        let answer = self.features.get(&query).await.unwrap();
        let columns = &answer.columns[answer.join_keys..];
        let value = |array: &ArrayRef| {
            let array = array.as_primitive::<Int64Type>();
            array.is_valid(0).then(|| array.value(0))
        };
        let values = columns.iter().map(|column| value(&column.values)).collect();
        let statuses = columns.iter().map(|column| column.statuses[0]).collect();
        (values, statuses, answer.source, *self.turning.looks.lock().unwrap())
    }

    /// How many payments a user has.
    async fn window(
        &self,
        user: &str,
        script: &[usize],
    ) -> (Option<i64>, FeatureStatus, FeatureSource) {
        let (values, statuses, source, _) = self.ask_for(&["spend:n_30d"], user, script).await;
        (values[0], statuses[0], source)
    }
}

#[tokio::test]
async fn what_is_missing_is_looked_for_once_more_and_then_known_by_one_look() {
    let world = World::new().await;
    let missing = [FeatureStatus::NotFound; 2];
    for looks in [4, 2, 2] {
        let (values, statuses, source, looked) = world.ask("u9", &[]).await;
        assert_eq!((values, &*statuses), (vec![None, None], &missing[..]));
        assert_eq!((source, looked), (FeatureSource::Online, looks));
    }
    let (values, _, source, looked) = world.ask("u1", &[]).await;
    assert_eq!((values, source, looked), (vec![Some(7), Some(33)], FeatureSource::Online, 1));
    // It is filled with something else now.
    for looks in [4, 2] {
        assert_eq!(world.ask("u9", &[2]).await.3, looks);
    }
}

#[tokio::test]
async fn no_row_is_missing_because_a_store_was_emptied_and_filled_between_two_looks() {
    for knows_the_first in [false, true] {
        let world = World::new().await;
        let last = world.turning.states.len() - 1;
        let mut scripts = vec![vec![]];
        // Every way from the first state on, in four looks.
        for _ in 0..4 {
            let longer = |script: &Vec<usize>| {
                let script = script.clone();
                let from = script.last().copied().unwrap_or(0);
                (from..=last).map(move |next| [&script[..], &[next]].concat())
            };
            scripts = scripts.iter().flat_map(longer).collect();
        }
        assert_eq!(scripts.len(), 70);
        for script in scripts {
            // The store is filled with nothing twice, so what was seen is new each time.
            world.features.seen.lock().clear();
            if knows_the_first {
                assert_eq!(world.ask("u9", &[0]).await.3, 4);
                assert_eq!(world.ask("u9", &[0]).await.3, 2);
            }
            let (values, statuses, source, _) = world.ask("u1", &script).await;
            assert_eq!(values, [Some(7), Some(33)], "{script:?} {statuses:?} {source:?}");
            world.features.seen.lock().clear();
            if knows_the_first {
                world.ask("u9", &[0]).await;
            }
            let (values, statuses, ..) = world.ask("u9", &script).await;
            assert_eq!(values, [None, None], "{script:?}");
            assert_eq!(statuses, [FeatureStatus::NotFound; 2], "{script:?}");
        }
    }
}

#[tokio::test]
async fn a_window_that_has_lost_its_tiles_comes_from_the_table_whatever_was_pushed_since() {
    let world = World::new().await;
    let online = FeatureSource::Online;
    let from_table = FeatureSource::Lakehouse("online_store_not_filled");
    let (present, not_found) = (FeatureStatus::Present, FeatureStatus::NotFound);
    // What is not in a store that was filled is nowhere, and an event that was pushed is the first.
    assert_eq!(world.window("u1", &[]).await, (Some(3), present, online));
    assert_eq!(world.window("u9", &[]).await, (None, not_found, online));
    world.push("u9", 0).await;
    assert_eq!(world.window("u9", &[]).await, (Some(1), present, online));
    // The store was emptied: of what was there before, a pushed event says nothing.
    assert_eq!(world.window("u1", &[1]).await, (Some(3), present, from_table));
    world.push("u1", 1).await;
    assert_eq!(world.window("u1", &[]).await, (Some(3), present, from_table));
    let (_, status, source) = world.window("u9", &[]).await;
    assert_eq!((status, source), (not_found, from_table));
    // It is filled again.
    assert_eq!(world.window("u1", &[2]).await, (Some(3), present, online));
    // It is emptied, and filled again, between two looks.
    world.push("u1", 3).await;
    for script in [vec![3, 4], vec![2, 3, 4], vec![3, 3, 4], vec![3, 4, 4]] {
        world.features.seen.lock().clear();
        assert_eq!(world.window("u1", &script).await.0, Some(3), "{script:?}");
    }
}

#[tokio::test]
async fn a_row_that_was_pushed_does_not_stand_for_a_newer_one_that_was_lost() {
    let mut world = World::new().await;
    world.features.seen = Seen::new(Duration::ZERO);
    for state in [0, 1] {
        world.push_to("ml.account", event_of(3_600, "u1", ("balance", -1)), state).await;
        world.push_to("ml.account", event_of(3_600, "u2", ("balance", 2)), state).await;
    }
    let balance = async |user: &str, state: usize| {
        let (values, _, source, _) = world.ask_for(&["account:balance"], user, &[state]).await;
        (values[0], source)
    };
    let (online, from_table) =
        (FeatureSource::Online, FeatureSource::Lakehouse("online_store_not_filled"));
    // A store that is filled has the newest rows, and what was pushed is among them.
    assert_eq!(balance("u1", 0).await, (Some(7), online));
    assert_eq!(balance("u2", 0).await, (Some(2), online));
    // Of one that was emptied nobody knows what it had.
    assert_eq!(balance("u1", 1).await, (Some(7), from_table));
    assert_eq!(balance("u2", 1).await, (None, from_table));
    assert_eq!(balance("u1", 2).await, (Some(7), online));
}
