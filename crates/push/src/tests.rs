use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Int64Type};
use icecore_catalog::{CatalogOptions, IcebergCatalog};
use icecore_core::{
    BatchStream, CommitOptions, ErrorKind, FixedClock, NewTable, PushSource, ScanOptions,
    SnapshotCatalog, SnapshotSelector, TableName, Timestamp, WriteMode,
};
use icecore_engine::{Engine, EngineOptions};
use icecore_features::Definitions;
use icecore_materialize::{MaterializeOptions, Source, materialize_view, verify_view, view_status};
use icecore_online::{EmbeddedStore, FeatureStore, ViewRead};
use serde_json::{Value, json};

use super::*;

mod columns;
mod outage;
mod repeated;

const DEFINITIONS: &str = r#"
[[entity]]
name = "user"
[[feature_view]]
name = "account"
entities = ["user"]
source = "ml.account"
columns = ["balance"]
[[push_source]]
name = "balances"
table = "ml.account"
"#;

struct World {
    engine: Engine,
    definitions: Arc<Definitions>,
    store: FeatureStore,
    clock: Arc<FixedClock>,
    dir: tempfile::TempDir,
}

fn columns(value: Value) -> BTreeMap<String, Vec<Value>> {
    serde_json::from_value(value).unwrap()
}

fn balance(user: &str, at: &str, balance: i64) -> BTreeMap<String, Vec<Value>> {
    columns(json!({"user": [user], "event_timestamp": [at], "balance": [balance]}))
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(FixedClock(Timestamp::parse("2026-11-22T00:00:00Z").unwrap()));
        let database = format!("sqlite:{}", dir.path().join("catalog.db").display());
        let warehouse = dir.path().join("warehouse").display().to_string();
        let options = CatalogOptions::new(database, warehouse).with_clock(clock.clone());
        let catalog = IcebergCatalog::open(options).await.unwrap();
        let store = EmbeddedStore::open(&dir.path().join("online"), clock.clone()).await.unwrap();
        let users: ArrayRef = Arc::new(StringArray::from(Vec::<&str>::new()));
        let times = TimestampMicrosecondArray::from(Vec::<i64>::new()).with_timezone("+00:00");
        let times: ArrayRef = Arc::new(times);
        let balances: ArrayRef = Arc::new(Int64Array::from(Vec::<i64>::new()));
        let columns = [("user", users), ("event_timestamp", times), ("balance", balances)];
        let schema = RecordBatch::try_from_iter_with_nullable(
            columns.into_iter().map(|(name, column)| (name, column, true)),
        );
        let new = NewTable::new(schema.unwrap().schema());
        catalog.ensure_table(&table(), &new).await.unwrap();
        Self {
            engine: Engine::new(catalog, EngineOptions::default()).unwrap(),
            definitions: Arc::new(Definitions::parse("f.toml", DEFINITIONS).unwrap()),
            store: FeatureStore::new(Arc::new(store)),
            clock,
            dir,
        }
    }

    fn pushes(&self) -> Pushes {
        self.pushes_with(PushOptions::default())
    }

    fn pushes_with(&self, mut options: PushOptions) -> Pushes {
        (options.rows_max, options.commit_every) = (100, Duration::from_millis(5));
        Pushes::new(
            (self.engine.clone(), Arc::clone(&self.definitions)),
            Some(self.store.clone()),
            self.clock.clone(),
            &self.dir.path().join("push"),
            options,
        )
    }

    fn state(&self) -> PathBuf {
        self.dir.path().join("push/balances/state.json")
    }

    async fn lake(&self) -> Vec<i64> {
        let catalog = self.engine.catalog();
        let pin = catalog.pin(&table(), &SnapshotSelector::Latest).await.unwrap();
        let rows =
            catalog.scan(&pin, ScanOptions::default()).await.unwrap().concat().await.unwrap();
        let column = rows.column_by_name("balance").unwrap();
        let mut values: Vec<i64> = column.as_primitive::<Int64Type>().values().to_vec();
        values.sort_unstable();
        values
    }

    async fn online(&self, user: &str) -> Option<i64> {
        let read = ViewRead {
            view: "account".to_owned(),
            keys: vec![Arc::new(StringArray::from(vec![user]))],
            features: vec![Arc::new(Field::new("balance", DataType::Int64, true))],
            ttl: None,
        };
        let rows = self.store.read(&[read], Timestamp::from_micros(0)).await.unwrap().remove(0);
        let column = rows.columns[0].as_primitive::<Int64Type>();
        column.is_valid(0).then(|| column.value(0))
    }
}

fn table() -> TableName {
    TableName::parse("ml.account").unwrap()
}

#[tokio::test]
async fn events_are_online_at_once_and_in_the_lake_with_the_next_commit() {
    let world = World::new().await;
    let pushes = world.pushes();
    let receipt = pushes.push(Push::new("balances", balance("a", "2026-11-21", 7))).await.unwrap();
    assert_eq!((receipt.rows, receipt.online), (1, OnlineOutcome::Written));
    assert_eq!(world.online("a").await, Some(7));
    // Older events take no place.
    pushes.push(Push::new("balances", balance("a", "2026-11-20", 6))).await.unwrap();
    assert_eq!(world.online("a").await, Some(7));
    assert_eq!((world.lake().await, pushes.status()[0].rows), (vec![], 2));
    let report = pushes.commit("balances").await.unwrap();
    assert_eq!((report.rows, report.batches, world.lake().await), (2, 2, vec![6, 7]));
    assert_eq!((pushes.status()[0].rows, pushes.status()[0].committed_rows), (0, 2));
    assert_eq!(pushes.commit("balances").await.unwrap().snapshot_id, None);
    let source = Source {
        engine: &world.engine,
        definitions: &world.definitions,
        store: &world.store,
        now: world.clock.0,
    };
    materialize_view(&source, "account", MaterializeOptions::default()).await.unwrap();
    assert!(verify_view(&source, "account").await.unwrap().is_equal());
}

#[tokio::test]
async fn events_go_where_they_shall() {
    let world = World::new().await;
    let pushes = world.pushes();
    for (user, to, value) in [("on", Target::Online, 1), ("off", Target::Offline, 2)] {
        let mut push = Push::new("balances", balance(user, "2026-11-21", value));
        push.to = to;
        pushes.push(push).await.unwrap();
    }
    pushes.commit("balances").await.unwrap();
    assert_eq!((world.online("on").await, world.online("off").await), (Some(1), None));
    assert_eq!((world.lake().await, pushes.status()[0].rows), (vec![2], 0));
}

#[tokio::test]
async fn whatever_dies_between_the_commit_and_the_queue_no_event_is_lost_or_repeated() {
    let world = World::new().await;
    let pushes = world.pushes();
    pushes.push(Push::new("balances", balance("a", "2026-11-21", 1))).await.unwrap();
    pushes.commit("balances").await.unwrap();
    pushes.push(Push::new("balances", balance("b", "2026-11-21", 2))).await.unwrap();
    pushes.push(Push::new("balances", balance("c", "2026-11-21", 3))).await.unwrap();
    let before = std::fs::read_to_string(world.state()).unwrap();
    pushes.commit("balances").await.unwrap();
    drop(pushes);
    // The commit arrived, and the process died before it could write that down.
    let begun = before.replace("null", "3");
    assert_ne!(begun, before);
    std::fs::write(world.state(), &begun).unwrap();
    let pushes = world.pushes();
    assert_eq!(pushes.commit("balances").await.unwrap().rows, 0);
    assert_eq!(world.lake().await, [1, 2, 3]);
    drop(pushes);
    // The commit was begun and did not arrive; more came later. It is repeated as it was begun.
    let pushes = world.pushes();
    for value in 4..7 {
        pushes.push(Push::new("balances", balance("d", "2026-11-21", value))).await.unwrap();
    }
    let state = std::fs::read_to_string(world.state()).unwrap();
    drop(pushes);
    std::fs::write(world.state(), state.replace("null", "5")).unwrap();
    let pushes = world.pushes();
    assert_eq!(pushes.commit("balances").await.unwrap().rows, 3);
    assert_eq!(world.lake().await, [1, 2, 3, 4, 5, 6]);
    let catalog = world.engine.catalog();
    let history = catalog.history(&table()).await.unwrap();
    let positions = history.iter().filter_map(|s| s.summary.get(PushSource::POSITION_FIELD));
    assert_eq!(positions.collect::<Vec<_>>(), ["1", "3", "5", "6"]);
}

#[tokio::test]
async fn nothing_is_accepted_of_a_push_with_a_mistake_and_all_mistakes_are_named() {
    let world = World::new().await;
    let pushes = world.pushes();
    let wrong = columns(json!({
        "user": ["a", null, "c"], "event_timestamp": ["2026-11-21", "2026-11-21", "soon"],
        "balance": [1, "x", 3],
    }));
    let error = pushes.push(Push::new("balances", wrong)).await.unwrap_err();
    let places: Vec<&str> = error.related().iter().map(|e| e.notes()[0].as_str()).collect();
    assert_eq!(places, ["df.balance[1]", "df.event_timestamp[2]"]);
    let null = columns(json!({"user": [null], "event_timestamp": ["2026-11-21"], "balance": [1]}));
    let error = pushes.push(Push::new("balances", null)).await.unwrap_err();
    assert_eq!((error.kind(), error.related().len()), (ErrorKind::InvalidInput, 1));
    let unknown = columns(json!({"usr": ["a"]}));
    let error = pushes.push(Push::new("balances", unknown)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let error = pushes.push(Push::new("balance", balance("a", "2026-11-21", 1))).await.unwrap_err();
    assert_eq!(error.help(), Some("did you mean `balances`?"));
    let many: Vec<Value> = (0..101).map(|_| json!("a")).collect();
    let many = BTreeMap::from([("user".to_owned(), many)]);
    let error = pushes.push(Push::new("balances", many)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
    assert!(pushes.push(Push::new("balances", BTreeMap::new())).await.is_err());
    assert_eq!(pushes.status()[0].batches, 0);
}

#[tokio::test]
async fn a_service_that_stops_has_committed_everything_and_a_key_is_remembered() {
    let world = World::new().await;
    let pushes = Arc::new(world.pushes());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn({
        let pushes = Arc::clone(&pushes);
        async move { pushes.run(async { drop(stopped.await) }).await }
    });
    let mut push = Push::new("balances", balance("a", "2026-11-21", 1));
    push.key = Some("k".to_owned());
    for round in 0..3 {
        assert_eq!(pushes.push(push.clone()).await.unwrap().repeated, round > 0);
    }
    pushes.push(Push::new("balances", balance("b", "2026-11-21", 2))).await.unwrap();
    stop.send(()).unwrap();
    running.await.unwrap();
    assert_eq!(world.lake().await, [1, 2]);
    assert!(pushes.push(push).await.unwrap().repeated);
}

#[tokio::test]
async fn a_column_that_came_later_is_null_in_events_from_before() {
    let world = World::new().await;
    let pushes = world.pushes();
    pushes.push(Push::new("balances", balance("a", "2026-11-21", 1))).await.unwrap();
    let more: ArrayRef = Arc::new(Int64Array::from(vec![5]));
    let batch = RecordBatch::try_from_iter_with_nullable([("tier", more, true)]).unwrap();
    let catalog = world.engine.catalog();
    catalog.evolve(&table(), &batch.schema()).await.unwrap();
    let rows = BatchStream::from_batches(batch.schema(), vec![batch]);
    catalog.commit(&table(), rows, CommitOptions::new(WriteMode::Append)).await.unwrap();
    assert_eq!(pushes.commit("balances").await.unwrap().rows, 1);
    assert_eq!(world.lake().await.len(), 2);
}

#[tokio::test]
async fn a_view_that_another_job_brings_up_to_date_is_left_to_it_until_that_is_silent_for_long() {
    let world = World::new().await;
    let pushes = world.pushes();
    let source = Source {
        engine: &world.engine,
        definitions: &world.definitions,
        store: &world.store,
        now: world.clock.0,
    };
    let catalog = world.engine.catalog();
    let pin = catalog.pin(&table(), &SnapshotSelector::Latest).await.unwrap();
    for (seconds, state) in [(60, "running"), (3_600, "current")] {
        // As a release wrote it that said only when a job began.
        let at = Timestamp::from_micros(world.clock.0.micros() - seconds * 1_000_000);
        let marker = json!({"source": null, "towards": pin, "schema": 0, "shape": "", "at": at});
        let (key, value) = ("icecore:view:account".to_owned(), marker.to_string().into());
        let entry = icecore_core::OnlineEntry { key, value, ttl: None };
        world.store.store().put(vec![entry]).await.unwrap();
        let event = balance(state, "2026-11-21", seconds);
        pushes.push(Push::new("balances", event)).await.unwrap();
        assert_eq!(pushes.commit("balances").await.unwrap().rows, 1);
        let status = view_status(&source, "account").await.unwrap();
        assert_eq!(status.state, state, "{seconds} seconds");
    }
    assert!(verify_view(&source, "account").await.unwrap().is_equal());
}

// What Feast's clients send: all columns that a view once had, those without a value as nulls.
#[tokio::test]
async fn a_column_that_the_table_does_not_have_is_refused_if_it_has_a_value() {
    let world = World::new().await;
    let pushes = world.pushes();
    assert_eq!(pushes.source_of("account").unwrap(), "balances");
    assert_eq!(pushes.source_of("nobody").unwrap_err().kind(), ErrorKind::NotFound);
    let mut columns = balance("u1", "2026-11-21T00:00:00", 7);
    columns.insert("driver_config".to_owned(), vec![Value::Null]);
    let receipt = pushes.push(Push::new("balances", columns.clone())).await.unwrap();
    assert_eq!(receipt.rows, 1);
    columns.insert("driver_config".to_owned(), vec![json!("a value")]);
    let error = pushes.push(Push::new("balances", columns)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    let nothing = BTreeMap::from([("driver_config".to_owned(), vec![Value::Null])]);
    let error = pushes.push(Push::new("balances", nothing)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}
