//! A world of payments whose windows are kept as tiles.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use bytes::Bytes;
use icecore_catalog::{CatalogOptions, IcebergCatalog, RowOptions};
use icecore_core::{
    BatchStream, CommitOptions, ErrorKind, FixedClock, Literal, NewTable, OnlineChange,
    OnlineEntry, OnlineStore, Predicate, PushSource, Result, RowVersion, SnapshotCatalog,
    SnapshotSelector, TableName, Timestamp, WriteMode,
};
use icecore_engine::{Engine, EngineOptions};
use icecore_features::Definitions;
use icecore_online::{EmbeddedStore, FeatureStore, RowStatus};
use icecore_testkit::{FaultyOnlineStore, Random};

use crate::{
    MaterializeOptions, PushedEvents, PushedViews, Source, TileView, ViewReport, materialize_view,
    verify_view, view_status,
};

mod jobs;
mod moments;
mod stored;

const DAY: i64 = 86_400_000_000;
const USERS: [&str; 4] = ["a", "b", "c{}", "nobody"];

const DEFINITIONS: &str = r#"
        [[entity]]
        name = "user"
        [[feature_view]]
        name = "spend"
        entities = ["user"]
        source = "SOURCE"
        table = "ml.spend"
        online = "tiles"
        where = "kind <> 'void'"
        ttl = "20d"
        [[feature_view.aggregate]]
        name = "n"
        function = "count"
        windows = ["1h", "7d", "30d", "7d offset 7d", "tumbling 1d", "hopping 2d every 1d", "to date 1d"]
        [[feature_view.aggregate]]
        name = "total"
        function = "sum"
        column = "amount"
        windows = ["7d", "30d"]
        [[feature_view.aggregate]]
        name = "big"
        function = "mean"
        column = "amount"
        where = "amount > 10"
        windows = ["30d"]
        closed = "right"
        [[feature_view.aggregate]]
        name = "most"
        function = "max"
        column = "amount"
        windows = ["7d"]
        closed = "none"
        [[feature_view.aggregate]]
        name = "spread"
        function = "stddev"
        column = "amount"
        windows = ["30d"]
        [[feature_view.aggregate]]
        name = "kinds"
        function = "count_distinct"
        column = "kind"
        windows = ["30d"]
        [[feature_view.aggregate]]
        name = "recent"
        function = "last_k"
        k = 3
        column = "kind"
        windows = ["30d"]
        [[feature_view.aggregate]]
        name = "since"
        function = "days_since_last"
        windows = ["30d"]
        [[feature_view.derived]]
        name = "share"
        expression = "n_7d / greatest(n_30d, 1)"
        [[feature_view]]
        name = "ever"
        entities = ["user"]
        source = "SOURCE"
        table = "ml.ever"
        online = "tiles"
        [[feature_view.aggregate]]
        name = "n"
        function = "count"
        windows = ["lifetime", "3d"]
        [[feature_view.aggregate]]
        name = "median"
        function = "approx_percentile"
        percentile = 0.5
        column = "amount"
        windows = ["lifetime"]
        [[feature_view.aggregate]]
        name = "first"
        function = "first"
        column = "kind"
        windows = ["lifetime offset 1d"]
        "#;

fn definitions(source: &str) -> Definitions {
    Definitions::parse("f.toml", &DEFINITIONS.replace("SOURCE", source)).unwrap()
}

#[derive(Debug, Clone, PartialEq)]
struct Event {
    user: &'static str,
    at: i64,
    amount: f64,
    kind: Option<&'static str>,
    id: i64,
}

fn batch(events: &[Event]) -> RecordBatch {
    let users: ArrayRef = Arc::new(StringArray::from_iter_values(events.iter().map(|e| e.user)));
    let times = TimestampMicrosecondArray::from_iter_values(events.iter().map(|e| e.at));
    let times: ArrayRef = Arc::new(times.with_timezone("+00:00"));
    let amounts: ArrayRef =
        Arc::new(Float64Array::from_iter_values(events.iter().map(|e| e.amount)));
    let kinds: ArrayRef = Arc::new(events.iter().map(|e| e.kind).collect::<StringArray>());
    let ids = arrow::array::Int64Array::from_iter_values(events.iter().map(|e| e.id));
    RecordBatch::try_from_iter_with_nullable([
        ("user", users, true),
        ("event_timestamp", times, true),
        ("amount", amounts, true),
        ("kind", kinds, true),
        ("id", Arc::new(ids), true),
    ])
    .unwrap()
}

struct World {
    engine: Engine,
    definitions: Definitions,
    mirror: Definitions,
    faulty: Arc<FaultyOnlineStore>,
    store: FeatureStore,
    random: Random,
    now: i64,
    /// What the table has, and what was pushed and it does not have yet.
    lake: Vec<Event>,
    queue: Vec<(u64, Vec<Event>)>,
    /// Everything that was ever pushed.
    pushed: Vec<Vec<Event>>,
    position: u64,
    next_id: i64,
    _dir: tempfile::TempDir,
}

fn table(name: &str) -> TableName {
    TableName::parse(name).unwrap()
}

impl World {
    async fn new(seed: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(FixedClock(Timestamp::from_micros(1_000_000)));
        let database = format!("sqlite:{}", dir.path().join("catalog.db").display());
        let warehouse = dir.path().join("warehouse").display().to_string();
        let options = CatalogOptions::new(database, warehouse).with_clock(clock.clone());
        let catalog = IcebergCatalog::open(options).await.unwrap();
        let store = EmbeddedStore::open(&dir.path().join("online"), clock).await.unwrap();
        let faulty = Arc::new(FaultyOnlineStore::new(Arc::new(store)));
        for name in ["raw.events", "raw.mirror"] {
            catalog.ensure_table(&table(name), &NewTable::new(batch(&[]).schema())).await.unwrap();
        }
        Self {
            engine: Engine::new(catalog, EngineOptions::default()).unwrap(),
            definitions: definitions("raw.events"),
            mirror: definitions("raw.mirror"),
            store: FeatureStore::new(faulty.clone()),
            faulty,
            random: Random::new(seed),
            now: 1_700_000_000_000_000,
            lake: Vec::new(),
            queue: Vec::new(),
            pushed: Vec::new(),
            position: 0,
            next_id: 0,
            _dir: dir,
        }
    }

    fn source(&self) -> Source<'_> {
        Source {
            engine: &self.engine,
            definitions: &self.definitions,
            store: &self.store,
            now: Timestamp::from_micros(self.now),
        }
    }

    /// Events around the ends of windows and tiles.
    fn events(&mut self, count: u64) -> Vec<Event> {
        let back =
            [0, 1, 3_600_000_000, DAY, 2 * DAY, 7 * DAY, 14 * DAY, 20 * DAY, 30 * DAY, 45 * DAY];
        let one = |world: &mut Self| {
            world.next_id += 1;
            let back = back[world.random.below(back.len() as u64) as usize];
            let near = world.random.below(5) as i64 - 2;
            let anywhere = world.random.below((40 * DAY) as u64) as i64;
            let at = match world.random.below(4) {
                0 => world.now - anywhere,
                1 => (world.now - anywhere).div_euclid(DAY / 2) * (DAY / 2) + near,
                _ => world.now - back + near,
            };
            let amounts = [0.1, 0.2, 0.3, 11.5, -7.25, 1e17, 0.0, -0.0, 33.3];
            let kinds = [Some("card"), Some("cash"), Some("void"), None, Some("é")];
            Event {
                user: USERS[world.random.below(3) as usize],
                at,
                amount: amounts[world.random.below(amounts.len() as u64) as usize],
                kind: kinds[world.random.below(kinds.len() as u64) as usize],
                id: world.next_id,
            }
        };
        (0..count).map(|_| one(self)).collect()
    }

    async fn commit(&self, name: &str, events: &[Event], options: CommitOptions) {
        let rows = batch(events);
        let rows = BatchStream::from_batches(rows.schema(), vec![rows]);
        self.engine.catalog().commit(&table(name), rows, options).await.unwrap();
    }

    async fn ingest(&mut self, events: Vec<Event>) {
        self.commit("raw.events", &events, CommitOptions::default()).await;
        self.lake.extend(events);
    }

    async fn push(&mut self, count: u64) {
        let events = self.events(count);
        self.queue.push((self.position, events.clone()));
        self.pushed.push(events);
        self.position += 1;
        self.write(self.position - 1).await;
        self.repeat().await;
    }

    /// A process that begins again writes again what it does not know to be written.
    async fn repeat(&mut self) {
        for _ in 0..self.random.below(3) {
            let position = self.random.below(self.position);
            self.write(position).await;
        }
    }

    async fn write(&self, position: u64) {
        let rows = batch(&self.pushed[position as usize]);
        let now = Timestamp::from_micros(self.now);
        let pushed = PushedEvents { queue: "q", position, rows: &rows, now };
        let of = (&self.engine, &self.definitions);
        self.views().await.apply(of, &self.store, &pushed).await.unwrap();
    }

    async fn views(&self) -> PushedViews {
        let catalog = self.engine.catalog();
        let pin = catalog.pin(&table("raw.events"), &SnapshotSelector::Latest).await.unwrap();
        PushedViews::open(&self.engine, &self.definitions, &pin).await.unwrap()
    }

    /// Commits some of what was pushed.
    async fn commit_pushed(&mut self) {
        let count = self.random.below(self.queue.len() as u64 + 1) as usize;
        let Some(end) = self.queue.iter().take(count).map(|(at, _)| at + 1).next_back() else {
            return;
        };
        let events: Vec<Event> = self.queue.drain(..count).flat_map(|(_, events)| events).collect();
        let options = CommitOptions::new(WriteMode::Append)
            .with_summary(PushSource::QUEUE_FIELD, "q")
            .with_summary(PushSource::POSITION_FIELD, end.to_string());
        self.commit("raw.events", &events, options).await;
        self.lake.extend(events);
    }

    /// What others do to the table: it is online after the next run.
    async fn change_lake(&mut self) {
        for _ in 0..1 + self.random.below(3) {
            if self.random.below(3) > 0 || self.lake.is_empty() {
                let count = self.random.below(12) + 1;
                let events = self.events(count);
                self.commit("raw.events", &events, CommitOptions::default()).await;
                self.lake.extend(events);
            } else {
                let at = self.random.below(self.lake.len() as u64) as usize;
                let gone = self.lake.remove(at);
                let filter = Predicate::equal("id", Literal::Int(gone.id));
                let catalog = self.engine.catalog();
                catalog.delete(&table("raw.events"), filter, RowOptions::default()).await.unwrap();
            }
        }
    }

    async fn run(&self, full: bool) -> Result<()> {
        for view in ["spend", "ever"] {
            let options = MaterializeOptions::default().with_full(full).with_take_over(true);
            let _: ViewReport = materialize_view(&self.source(), view, options).await?;
        }
        Ok(())
    }

    /// Runs until one comes to its end; some die before. Where nothing but pushed events came, a
    /// request sees no difference.
    async fn materialize(&mut self, is_same: bool) {
        for _ in 0..self.random.below(3) {
            self.faulty.fail_after_batches(self.random.below(10));
            let full = self.random.below(4) == 0;
            let ended = self.run(full).await;
            self.faulty.recover();
            if ended.is_err() && self.random.below(2) == 0 {
                // The table goes on meanwhile.
                self.commit_pushed().await;
            }
            self.repeat().await;
            if is_same {
                self.check("after a run that died").await;
            }
        }
        let full = self.random.below(6) == 0;
        self.run(full).await.unwrap();
    }

    async fn state(&self, view: &str) -> &'static str {
        view_status(&self.source(), view).await.unwrap().state
    }

    /// Takes everything out of the store.
    async fn empty(&self) {
        let until = RowVersion::of_row(&[u8::MAX; RowVersion::LEN]).unwrap();
        let page = self.faulty.sound().scan(b"ic:", None).await.unwrap();
        let gone = page.rows.into_iter().map(|(key, _)| OnlineChange { key, row: None, until });
        self.faulty.sound().apply(gone.collect()).await.unwrap();
    }
}
