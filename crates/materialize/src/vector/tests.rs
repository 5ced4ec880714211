use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field};
use icecore_catalog::{CatalogOptions, IcebergCatalog, RowOptions};
use icecore_core::{
    BatchStream, CommitOptions, FixedClock, Literal, NewTable, Predicate, SnapshotCatalog,
    SnapshotSelector, Span, TableName,
};
use icecore_engine::{Engine, EngineOptions};
use icecore_online::{CacheOptions, CachedStore, EmbeddedStore, FeatureStore, ViewRead, ViewRows};
use icecore_testkit::Random;

use super::*;
use crate::{MaterializeOptions, PushedEvents, PushedViews, materialize_view};

const DEFINITIONS: &str = r#"
[[entity]]
name = "user"
[[feature_view]]
name = "account"
entities = ["user"]
source = "ml.account"
columns = ["n"]
ttl = "100us"
[[feature_view]]
name = "profile"
entities = ["user"]
source = "ml.profile"
columns = ["n"]
[[feature_service]]
name = "churn_v1"
features = ["account:n", "profile:n"]
online = "vector"
"#;
const USERS: [&str; 5] = ["a", "b", "c", "d", "é"];

fn rows(values: &[(&str, i64, Option<i64>)]) -> RecordBatch {
    let users: ArrayRef = Arc::new(StringArray::from_iter_values(values.iter().map(|v| v.0)));
    let times = TimestampMicrosecondArray::from_iter_values(values.iter().map(|v| v.1));
    let times: ArrayRef = Arc::new(times.with_timezone("+00:00"));
    let numbers: ArrayRef = Arc::new(values.iter().map(|v| v.2).collect::<Int64Array>());
    let columns = [("user", users, true), ("event_timestamp", times, true), ("n", numbers, true)];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

struct World {
    engine: Engine,
    definitions: Definitions,
    store: FeatureStore,
    /// What another process sees.
    cached: FeatureStore,
    random: Random,
    now: i64,
    _dir: tempfile::TempDir,
}

impl World {
    async fn new(seed: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(FixedClock(Timestamp::from_micros(1)));
        let database = format!("sqlite:{}", dir.path().join("catalog.db").display());
        let warehouse = dir.path().join("warehouse").display().to_string();
        let options = CatalogOptions::new(database, warehouse).with_clock(clock.clone());
        let catalog = IcebergCatalog::open(options).await.unwrap();
        let store = Arc::new(EmbeddedStore::open(&dir.path().join("online"), clock).await.unwrap());
        for name in ["ml.account", "ml.profile"] {
            let table = TableName::parse(name).unwrap();
            catalog.ensure_table(&table, &NewTable::new(rows(&[]).schema())).await.unwrap();
        }
        let cached = CachedStore::new(store.clone(), &CacheOptions::default());
        Self {
            engine: Engine::new(catalog, EngineOptions::default()).unwrap(),
            definitions: Definitions::parse("f.toml", DEFINITIONS).unwrap(),
            store: FeatureStore::new(store),
            cached: FeatureStore::new(Arc::new(cached)),
            random: Random::new(seed),
            now: 1_000,
            _dir: dir,
        }
    }

    fn source(&self) -> Source<'_> {
        let now = Timestamp::from_micros(self.now);
        Source { engine: &self.engine, definitions: &self.definitions, store: &self.store, now }
    }

    fn table(&mut self) -> TableName {
        TableName::parse(["ml.account", "ml.profile"][self.random.below(2) as usize]).unwrap()
    }

    fn some(&mut self) -> RecordBatch {
        let count = self.random.below(3) + 1;
        let one = |world: &mut Self| {
            let user = USERS[world.random.below(4) as usize];
            let at = world.now - world.random.below(200) as i64;
            let value = (world.random.below(4) > 0).then(|| world.random.below(1000) as i64);
            (user, at, value)
        };
        let values: Vec<_> = (0..count).map(|_| one(self)).collect();
        rows(&values)
    }

    async fn step(&mut self) {
        self.now += self.random.below(60) as i64;
        let table = self.table();
        match self.random.below(5) {
            0 => {
                let rows = self.some();
                let rows = BatchStream::from_batches(rows.schema(), vec![rows]);
                let catalog = self.engine.catalog();
                catalog.commit(&table, rows, CommitOptions::default()).await.unwrap();
            }
            1 => {
                let user = USERS[self.random.below(4) as usize];
                let filter = Predicate::equal("user", Literal::Text(user.to_owned()));
                let catalog = self.engine.catalog();
                catalog.delete(&table, filter, RowOptions::default()).await.unwrap();
            }
            2 => {
                // By a service, which may remember rows that jobs have written since.
                let catalog = self.engine.catalog();
                let pin = catalog.pin(&table, &SnapshotSelector::Latest).await.unwrap();
                let views = PushedViews::open(&self.engine, &self.definitions, &pin).await.unwrap();
                let rows = self.some();
                let now = Timestamp::from_micros(self.now);
                let pushed = PushedEvents { queue: "q", position: 0, rows: &rows, now };
                let of = (&self.engine, &self.definitions);
                views.apply(of, &self.cached, &pushed).await.unwrap();
            }
            _ => {
                let view = table.table();
                let full = self.random.below(4) == 0;
                let options = MaterializeOptions::default().with_full(full);
                materialize_view(&self.source(), view, options).await.unwrap();
            }
        }
    }

    fn reads(&self, users: &[&str]) -> Vec<ViewRead> {
        let read = |view: &str| ViewRead {
            view: view.to_owned(),
            keys: vec![Arc::new(StringArray::from(users.to_vec()))],
            features: vec![Arc::new(Field::new("n", DataType::Int64, true))],
            ttl: (view == "account").then(|| Span::from_micros(100)),
        };
        vec![read("account"), read("profile")]
    }
}

fn text(rows: &[ViewRows]) -> String {
    let one = |rows: &ViewRows| {
        let statuses: Vec<_> = (0..rows.rows.len()).map(|row| rows.status(row, 0)).collect();
        format!("{statuses:?} {:?} {:?}", rows.versions, rows.columns)
    };
    rows.iter().map(one).collect()
}

#[tokio::test]
async fn a_vector_says_what_the_rows_of_its_views_say_whoever_writes_them() {
    let (mut read, mut absent) = (0, 0);
    for seed in 0..6 {
        let mut world = World::new(seed).await;
        let vectors = vectors_of(&world.definitions, "churn_v1").unwrap().unwrap();
        for step in 0..40 {
            world.step().await;
            let now = Timestamp::from_micros(world.now);
            for user in USERS {
                let reads = world.reads(&[user]);
                let expected = world.store.read(&reads, now).await.unwrap();
                match vectors.read(&world.store, &reads, now).await.unwrap() {
                    Some(found) => {
                        assert_eq!(
                            text(&found),
                            text(&expected),
                            "seed {seed}, step {step}: {user}"
                        );
                        read += 1;
                    }
                    // Nobody ever wrote a row of it.
                    None => {
                        assert!(expected.iter().all(|rows| rows.versions == [None]));
                        absent += 1;
                    }
                }
            }
            let reads = world.reads(&USERS);
            assert!(vectors.read(&world.store, &reads, now).await.unwrap().is_none());
        }
    }
    assert!(read > 300 && absent > 100, "{read} {absent}");
}

#[tokio::test]
async fn vectors_of_rows_that_are_there_are_made_once_and_those_of_other_views_are_not_read() {
    let mut world = World::new(1).await;
    let plain = DEFINITIONS.replace("online = \"vector\"", "");
    let vector =
        std::mem::replace(&mut world.definitions, Definitions::parse("f.toml", &plain).unwrap());
    for _ in 0..30 {
        world.step().await;
    }
    assert_eq!(materialize_service(&world.source(), "churn_v1", false).await.unwrap(), None);
    world.definitions = vector;
    let vectors = vectors_of(&world.definitions, "churn_v1").unwrap().unwrap();
    let now = Timestamp::from_micros(world.now);
    let reads = world.reads(&["a"]);
    assert!(vectors.read(&world.store, &reads, now).await.unwrap().is_none());
    let made = materialize_service(&world.source(), "churn_v1", false).await.unwrap().unwrap();
    assert!(made.made >= 2, "{made:?}");
    let again = materialize_service(&world.source(), "churn_v1", false).await.unwrap().unwrap();
    assert_eq!(again.made, 0);
    let found = vectors.read(&world.store, &reads, now).await.unwrap().unwrap();
    assert_eq!(text(&found), text(&world.store.read(&reads, now).await.unwrap()));
    let other = Vectors::new("churn_v1", vec!["profile".to_owned(), "account".to_owned()]);
    assert!(other.read(&world.store, &reads, now).await.unwrap().is_none());
    let wrong = DEFINITIONS.replace(
        "name = \"profile\"\nentities = [\"user\"]",
        "name = \"profile\"\nentities = [\"shop\"]",
    );
    let wrong = format!("{wrong}\n[[entity]]\nname = \"shop\"\n");
    let error = Definitions::parse("f.toml", &wrong).unwrap_err();
    assert!(error.to_string().contains("cannot be a vector"), "{error:?}");
}
