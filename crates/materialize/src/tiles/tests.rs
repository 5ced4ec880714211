use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::compute::{cast, concat_batches};
use async_trait::async_trait;
use bytes::Bytes;
use icecore_catalog::{CatalogOptions, IcebergCatalog, RowOptions};
use icecore_core::{
    ApplySummary, BatchStream, CommitOptions, Error, ErrorKind, FixedClock, Literal, NewTable,
    OnlineChange, OnlineEntry, OnlineStore, Predicate, PushSource, Result, RowVersion, ScanPage,
    SnapshotCatalog, SnapshotSelector, TableName, Timestamp, WriteMode,
};
use icecore_engine::{Engine, EngineOptions};
use icecore_features::{AskedMoments, Definitions, MomentColumns, MomentRules, features_at};
use icecore_online::{EmbeddedStore, FeatureStatus, FeatureStore, RowStatus};
use icecore_testkit::Random;
use tokio::sync::Notify;

use crate::{
    MaterializeOptions, PushedEvents, PushedViews, Source, TileView, ViewReport, materialize_view,
    verify_view, view_status,
};

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

/// A store that fails after so many more batches: a job that dies on its way. One of them may wait,
/// and rows may be remembered as a cache does.
#[derive(Debug)]
struct Mortal {
    store: EmbeddedStore,
    batches_left: AtomicU64,
    /// So many batches come before the one that waits.
    waits_after: AtomicU64,
    is_waiting: Notify,
    goes_on: Notify,
    memory: Mutex<Option<HashMap<Bytes, Option<Bytes>>>>,
}

#[async_trait]
impl OnlineStore for Mortal {
    fn location(&self) -> &str {
        self.store.location()
    }
    async fn put(&self, entries: Vec<OnlineEntry>) -> Result<u64> {
        self.store.put(entries).await
    }
    async fn get(&self, keys: &[String]) -> Result<Vec<Option<Bytes>>> {
        self.store.get(keys).await
    }
    async fn delete(&self, keys: &[String]) -> Result<u64> {
        self.store.delete(keys).await
    }
    async fn apply(&self, mut changes: Vec<OnlineChange>) -> Result<ApplySummary> {
        let before = self.waits_after.load(Ordering::Relaxed);
        if before == 0 {
            self.waits_after.store(u64::MAX, Ordering::Relaxed);
            self.is_waiting.notify_one();
            self.goes_on.notified().await;
        } else if before < u64::MAX {
            self.waits_after.store(before - 1, Ordering::Relaxed);
        }
        let left = self.batches_left.load(Ordering::Relaxed);
        if left == 0 {
            // A part of the batch arrives.
            changes.truncate(changes.len() / 2);
            self.store.apply(changes).await?;
            return Err(Error::unavailable("dead"));
        }
        self.batches_left.store(left - 1, Ordering::Relaxed);
        self.store.apply(changes).await
    }
    async fn rows(&self, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>> {
        let found = self.store.rows(keys).await?;
        let mut memory = self.memory.lock().unwrap();
        let Some(memory) = &mut *memory else { return Ok(found) };
        let rows = keys.iter().zip(found);
        Ok(rows.map(|(key, row)| memory.entry(key.clone()).or_insert(row).clone()).collect())
    }
    async fn rows_now(&self, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>> {
        self.store.rows(keys).await
    }
    async fn scan(&self, prefix: &[u8], cursor: Option<Bytes>) -> Result<ScanPage> {
        self.store.scan(prefix, cursor).await
    }
    async fn ping(&self) -> Result<()> {
        self.store.ping().await
    }
}

struct World {
    engine: Engine,
    definitions: Definitions,
    mirror: Definitions,
    mortal: Arc<Mortal>,
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
        let mortal = Arc::new(Mortal {
            store,
            batches_left: AtomicU64::new(u64::MAX),
            waits_after: AtomicU64::new(u64::MAX),
            is_waiting: Notify::new(),
            goes_on: Notify::new(),
            memory: Mutex::default(),
        });
        for name in ["raw.events", "raw.mirror"] {
            catalog.ensure_table(&table(name), &NewTable::new(batch(&[]).schema())).await.unwrap();
        }
        Self {
            engine: Engine::new(catalog, EngineOptions::default()).unwrap(),
            definitions: definitions("raw.events"),
            mirror: definitions("raw.mirror"),
            store: FeatureStore::new(mortal.clone()),
            mortal,
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
            self.mortal.batches_left.store(self.random.below(10), Ordering::Relaxed);
            let full = self.random.below(4) == 0;
            let ended = self.run(full).await;
            self.mortal.batches_left.store(u64::MAX, Ordering::Relaxed);
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

    /// A job of another process over one of the views, which takes over.
    async fn run_elsewhere(&self, view: &str, full: bool) {
        let options = MaterializeOptions::default().with_full(full).with_take_over(true);
        self.start_elsewhere(view, options).await.unwrap();
    }

    async fn start_elsewhere(&self, view: &str, options: MaterializeOptions) -> Result<ViewReport> {
        let store = FeatureStore::new(self.mortal.store());
        let source = Source { store: &store, ..self.source() };
        Box::pin(materialize_view(&source, view, options)).await
    }

    /// Every row of a kind.
    async fn rows_of(&self, prefix: &str) -> Vec<(Bytes, Bytes)> {
        let (mut rows, mut cursor) = (Vec::new(), None);
        loop {
            let page = self.mortal.store.scan(prefix.as_bytes(), cursor).await.unwrap();
            rows.extend(page.rows);
            cursor = page.cursor;
            if cursor.is_none() {
                return rows;
            }
        }
    }

    /// Puts a row in the place of whatever is there.
    async fn force(&self, key: Bytes, row: Bytes) {
        let until = RowVersion::of_row(&[u8::MAX; RowVersion::LEN]).unwrap();
        let change = OnlineChange { key, row: Some(row), until };
        self.mortal.store.apply(vec![change]).await.unwrap();
    }

    /// A job over `ever`, of which a batch waits until something else has happened.
    async fn run_around(
        &self,
        full: bool,
        batch: u64,
        meanwhile: impl Future<Output = ()>,
    ) -> Result<ViewReport> {
        self.mortal.waits_after.store(batch, Ordering::Relaxed);
        let (source, options) = (self.source(), MaterializeOptions::default().with_full(full));
        let job = Box::pin(materialize_view(&source, "ever", options));
        let other = Box::pin(async {
            self.mortal.is_waiting.notified().await;
            meanwhile.await;
            self.mortal.goes_on.notify_one();
        });
        let both = async { tokio::join!(job, other).0 };
        tokio::time::timeout(Duration::from_secs(120), both).await.unwrap()
    }

    /// Takes everything out of the store.
    async fn empty(&self) {
        let until = RowVersion::of_row(&[u8::MAX; RowVersion::LEN]).unwrap();
        let page = self.mortal.store.scan(b"ic:", None).await.unwrap();
        let gone = page.rows.into_iter().map(|(key, _)| OnlineChange { key, row: None, until });
        self.mortal.store.apply(gone.collect()).await.unwrap();
    }

    async fn state(&self, view: &str) -> &'static str {
        view_status(&self.source(), view).await.unwrap().state
    }

    /// Compares what a request would get with what the view gives for the moment, to the bit.
    async fn check(&self, what: &str) {
        let mut all = self.lake.clone();
        all.extend(self.queue.iter().flat_map(|(_, events)| events.clone()));
        self.commit("raw.mirror", &all, CommitOptions::new(WriteMode::Overwrite)).await;
        let catalog = self.engine.catalog();
        let pin = catalog.pin(&table("raw.mirror"), &SnapshotSelector::Latest).await.unwrap();
        for name in ["spend", "ever"] {
            let view = self.mirror.view(name).unwrap();
            let expected = self.offline(name, &pin).await;
            let tiles = TileView::open(&self.engine, &self.definitions, view, &pin).await.unwrap();
            let keys: Vec<ArrayRef> = vec![Arc::new(StringArray::from(USERS.to_vec()))];
            let now = Timestamp::from_micros(self.now);
            let found = tiles.read(&*self.mortal.store(), &keys, now).await.unwrap().rows;
            for (at, field) in tiles.fields().iter().enumerate() {
                let online = &found.columns[at];
                let offline =
                    cast(expected.column_by_name(field.name()).unwrap(), online.data_type());
                let offline = offline.unwrap();
                let bits = online.as_ref() == offline.as_ref();
                assert!(
                    bits,
                    "{what}: `{name}:{}` at {now} is {online:?}, and should be {offline:?}",
                    field.name()
                );
            }
            for (row, user) in USERS.iter().enumerate() {
                let newest = all.iter().filter(|event| {
                    event.user == *user && event.at <= self.now && is_in(name, event)
                });
                let newest = newest.map(|event| event.at).max();
                let version = found.versions[row].map(|version| version.event.micros());
                if found.rows[row] == RowStatus::Found {
                    assert_eq!(version, newest, "{what}: {name} of {user}");
                }
                assert_eq!(found.rows[row] == RowStatus::NotFound, version.is_none());
                assert_eq!(
                    found.status(row, 0) == FeatureStatus::Present,
                    found.rows[row] == RowStatus::Found
                );
            }
        }
    }

    /// The features of every user at the moment, in the order of users.
    async fn offline(&self, name: &str, pin: &icecore_core::PinnedTable) -> RecordBatch {
        let view = self.mirror.view(name).unwrap();
        let users: ArrayRef = Arc::new(StringArray::from(USERS.to_vec()));
        let at = TimestampMicrosecondArray::from(vec![self.now; USERS.len()]);
        let at: ArrayRef = Arc::new(at.with_timezone("+00:00"));
        let spine = RecordBatch::try_from_iter([("user", users), ("at", at)]).unwrap();
        let spine = self.engine.rows(spine).await.unwrap();
        let keys = [("user".to_owned(), "user".to_owned())];
        let asked = AskedMoments::of(&self.engine, spine, &keys, "at").await.unwrap();
        let pins = std::slice::from_ref(pin);
        let rules = MomentRules::default();
        let frame = features_at(&self.engine, (&self.mirror, view), pins, &asked, rules);
        let rows = self.engine.stream(frame.await.unwrap()).await.unwrap().concat().await.unwrap();
        assert!(rows.column_by_name(MomentColumns::ANSWERED).is_some());
        let order: BTreeMap<String, usize> = (0..rows.num_rows())
            .map(|row| (rows.column(0).as_string::<i32>().value(row).to_owned(), row))
            .collect();
        let rows: Vec<RecordBatch> = USERS.iter().map(|user| rows.slice(order[*user], 1)).collect();
        concat_batches(&rows[0].schema(), &rows).unwrap()
    }
}

impl Mortal {
    fn store(&self) -> Arc<dyn OnlineStore> {
        Arc::new(self.store.clone())
    }
}

fn is_in(view: &str, event: &Event) -> bool {
    view == "ever" || event.kind.is_some_and(|kind| kind != "void")
}

async fn history(seed: u64) {
    let mut world = World::new(seed).await;
    let events = world.events(40);
    world.commit("raw.events", &events, CommitOptions::default()).await;
    world.lake.extend(events);
    world.push(3).await;
    world.materialize(false).await;
    world.check("at the start").await;
    for round in 0..6 {
        let what = format!("seed {seed}, round {round}");
        world.now += [1, 1_000_000, DAY / 3, 3 * DAY, 0][world.random.below(5) as usize];
        if world.random.below(2) == 0 {
            world.change_lake().await;
            world.materialize(false).await;
            world.check(&format!("{what}, after a run")).await;
        }
        let count = world.random.below(4) + 1;
        world.push(count).await;
        world.check(&format!("{what}, after a push")).await;
        world.commit_pushed().await;
        world.check(&format!("{what}, after the commit of a push")).await;
        if world.random.below(2) == 0 {
            world.materialize(true).await;
            world.repeat().await;
            world.check(&format!("{what}, after a run")).await;
        }
    }
    while !world.queue.is_empty() {
        world.commit_pushed().await;
    }
    world.materialize(true).await;
    world.check(&format!("seed {seed}, at the end")).await;
    for view in ["spend", "ever"] {
        let report = verify_view(&world.source(), view).await.unwrap();
        assert!(report.is_equal(), "seed {seed}: {report:?}");
        assert!(report.offline_rows > 0 && report.pushed_rows == 0, "seed {seed}: {report:?}");
        assert_eq!(view_status(&world.source(), view).await.unwrap().state, "current");
    }
}

// C97 C98
#[tokio::test]
async fn whatever_is_pushed_committed_and_materialized_a_value_is_that_of_the_moment_to_the_bit() {
    let seeds = std::env::var("ICECORE_TILES_SEEDS").ok().and_then(|text| text.parse().ok());
    for seed in 0..seeds.unwrap_or(3) {
        history(seed).await;
    }
}

#[tokio::test]
async fn tiles_that_were_changed_behind_the_jobs_back_are_found_and_made_anew() {
    let mut world = World::new(99).await;
    let events = world.events(30);
    world.commit("raw.events", &events, CommitOptions::default()).await;
    world.lake.extend(events);
    world.run(false).await.unwrap();
    assert!(verify_view(&world.source(), "ever").await.unwrap().is_equal());
    let store = world.mortal.store();
    let page = store.scan(b"ic:ever~t:", None).await.unwrap();
    let (key, row) = page.rows[0].clone();
    let mut tiles = super::stored::Tiles::read(&row).unwrap();
    assert_eq!(super::stored::Tiles::read(&tiles.write()).unwrap(), tiles);
    let first = *tiles.tiles.keys().next().unwrap();
    tiles.tiles.remove(&first);
    let change = OnlineChange { key, row: Some(tiles.write()), until: tiles.tag };
    store.apply(vec![change]).await.unwrap();
    let report = verify_view(&world.source(), "ever").await.unwrap();
    assert!(report.different == 1 && report.ranges_differing == 1, "{report:?}");
    world.run(true).await.unwrap();
    assert!(verify_view(&world.source(), "ever").await.unwrap().is_equal());
    assert!(super::stored::Tiles::read(&row.slice(..row.len() - 1)).is_err());
}

#[tokio::test]
async fn a_job_adds_to_what_the_store_has_and_not_to_what_was_read_of_it_before() {
    let mut world = World::new(5).await;
    let events = world.events(20);
    world.ingest(events.clone()).await;
    world.run(false).await.unwrap();
    *world.mortal.memory.lock().unwrap() = Some(HashMap::new());
    for view in ["spend", "ever"] {
        for kind in ["t", "c"] {
            let prefix = format!("ic:{view}~{kind}:");
            let page = world.mortal.scan(prefix.as_bytes(), None).await.unwrap();
            let keys: Vec<Bytes> = page.rows.into_iter().map(|(key, _)| key).collect();
            assert!(!keys.is_empty());
            world.mortal.rows(&keys).await.unwrap();
        }
    }
    // More of the same tiles: first by a job of another process, and then by one of this.
    let more = |from: i64| {
        let next = events.iter().enumerate();
        next.map(|(at, event)| Event { id: from + at as i64, ..event.clone() }).collect::<Vec<_>>()
    };
    world.ingest(more(1_000)).await;
    for view in ["spend", "ever"] {
        world.run_elsewhere(view, false).await;
    }
    world.ingest(more(2_000)).await;
    world.run(false).await.unwrap();
    *world.mortal.memory.lock().unwrap() = None;
    world.check("after a job beside another one").await;
    for view in ["spend", "ever"] {
        assert!(verify_view(&world.source(), view).await.unwrap().is_equal());
    }
}

#[tokio::test]
async fn a_job_that_another_one_takes_over_from_ends_and_harms_nothing() {
    let mut world = World::new(7).await;
    let events = world.events(20);
    world.ingest(events).await;
    world.run(false).await.unwrap();
    for full in [true, false] {
        // The marker of the begin, events of tiles, tiles, and the marker of the end.
        for batch in 0..4 {
            let events = world.events(6);
            world.ingest(events).await;
            let later = world.events(6);
            let other = async {
                world.commit("raw.events", &later, CommitOptions::default()).await;
                world.run_elsewhere("ever", full).await;
            };
            let what = format!("full {full}, batch {batch}");
            let error = world.run_around(full, batch, other).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Conflict, "{what}: {error:?}");
            assert!(error.to_string().contains("has taken over"), "{what}: {error}");
            world.lake.extend(later);
            assert_eq!(world.state("ever").await, "current", "{what}");
            let report = verify_view(&world.source(), "ever").await.unwrap();
            assert!(report.is_equal(), "{what}: {report:?}");
        }
    }
    world.run(false).await.unwrap();
    world.check("at the end").await;
}

#[tokio::test]
async fn a_store_that_is_emptied_under_a_job_is_not_said_to_be_filled() {
    let mut world = World::new(8).await;
    let events = world.events(20);
    world.ingest(events).await;
    // Events of tiles are on their way, or tiles.
    for batch in [1, 2] {
        let error = world.run_around(true, batch, world.empty()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "batch {batch}: {error:?}");
        assert_eq!(world.state("ever").await, "never", "batch {batch}");
    }
    world.run(false).await.unwrap();
    world.check("at the end").await;
}

#[tokio::test]
async fn a_job_of_which_nothing_is_heard_for_long_was_interrupted() {
    let mut world = World::new(9).await;
    let events = world.events(20);
    world.ingest(events).await;
    world.mortal.batches_left.store(2, Ordering::Relaxed);
    world.run(true).await.unwrap_err();
    world.mortal.batches_left.store(u64::MAX, Ordering::Relaxed);
    assert_eq!(world.state("spend").await, "running");
    let ordinary = MaterializeOptions::default();
    let error = world.start_elsewhere("spend", ordinary.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    world.now += 3_600_000_000;
    assert_eq!(world.state("spend").await, "interrupted");
    world.start_elsewhere("spend", ordinary).await.unwrap();
    assert_eq!(world.state("spend").await, "current");
    // One that is told to takes over at once.
    world.mortal.batches_left.store(2, Ordering::Relaxed);
    world.run(true).await.unwrap_err();
    world.mortal.batches_left.store(u64::MAX, Ordering::Relaxed);
    assert_eq!(world.state("spend").await, "running");
    world.run(false).await.unwrap();
    assert_eq!(world.state("spend").await, "current");
    world.check("at the end").await;
}

#[tokio::test]
async fn a_job_that_takes_longer_than_its_schedule_comes_to_its_end() {
    let mut world = World::new(11).await;
    let events = world.events(20);
    world.ingest(events).await;
    // Events of tiles are on their way, or tiles.
    for batch in [1, 2] {
        let next = async {
            let next = world.start_elsewhere("ever", MaterializeOptions::default()).await;
            assert_eq!(next.unwrap_err().kind(), ErrorKind::Conflict, "batch {batch}");
        };
        let report = world.run_around(true, batch, next).await.unwrap();
        assert!(report.written > 0, "batch {batch}: {report:?}");
        assert_eq!(world.state("ever").await, "current", "batch {batch}");
    }
    world.run(false).await.unwrap();
    world.check("at the end").await;
}

#[tokio::test]
async fn what_a_job_of_an_earlier_release_did_beside_a_later_one_is_counted_once() {
    let mut world = World::new(12).await;
    let events = world.events(20);
    world.ingest(events).await;
    world.run(false).await.unwrap();
    let marker = world.rows_of("ic:ever~m:").await.remove(0);
    let more = world.events(20);
    world.ingest(more).await;
    // It finds nothing of its own, and writes everything under the number 1, over whatever is there.
    world.run_elsewhere("ever", true).await;
    let said = world.rows_of("ic:ever~m:").await.remove(0).1;
    for kind in ["t", "c"] {
        for (key, row) in world.rows_of(&format!("ic:ever~{kind}:")).await {
            let version = RowVersion::of_row(&row).unwrap();
            let version = RowVersion { event: Timestamp::from_micros(1), ..version };
            let row = [&version.to_bytes()[..], &row[RowVersion::LEN..]].concat();
            world.force(key, row.into()).await;
        }
    }
    world.force(marker.0, marker.1).await;
    let (key, value) = ("icecore:view:ever".to_owned(), said.slice(RowVersion::LEN..));
    let entry = OnlineEntry { key: key.clone(), value, ttl: None };
    world.mortal.store.put(vec![entry]).await.unwrap();
    let report = world.start_elsewhere("ever", MaterializeOptions::default()).await.unwrap();
    assert!(report.full.is_some(), "{report:?}");
    let report = verify_view(&world.source(), "ever").await.unwrap();
    assert!(report.is_equal(), "{report:?}");
    assert_eq!(world.mortal.store.get(&[key]).await.unwrap(), [None]);
    world.run(false).await.unwrap();
    world.check("at the end").await;
}

#[tokio::test]
async fn whether_an_entity_has_no_tiles_is_said_whatever_was_pushed() {
    let mut world = World::new(10).await;
    let events = world.events(20);
    world.ingest(events).await;
    world.run(false).await.unwrap();
    let view = world.definitions.view("ever").unwrap();
    let catalog = world.engine.catalog();
    let pin = catalog.pin(&table("raw.events"), &SnapshotSelector::Latest).await.unwrap();
    let tiles = TileView::open(&world.engine, &world.definitions, view, &pin).await.unwrap();
    let event = Event { user: "new", at: world.now, amount: 1.0, kind: None, id: 0 };
    let rows = batch(&[event]);
    let now = Timestamp::from_micros(world.now);
    let pushed = PushedEvents { queue: "q", position: 0, rows: &rows, now };
    let of = (&world.engine, &world.definitions);
    world.views().await.apply(of, &world.store, &pushed).await.unwrap();
    let read = async |users: Vec<Option<&str>>| {
        let keys: Vec<ArrayRef> = vec![Arc::new(StringArray::from(users))];
        let found = tiles.read(&*world.mortal.store(), &keys, now).await.unwrap();
        (found.rows.rows[0], found.lacks_tiles)
    };
    assert_eq!(read(vec![Some("a"), None]).await, (RowStatus::Found, false));
    assert_eq!(read(vec![Some("new")]).await, (RowStatus::Found, true));
    assert_eq!(read(vec![Some("a"), Some("nobody")]).await, (RowStatus::Found, true));
    world.empty().await;
    assert_eq!(read(vec![Some("a")]).await, (RowStatus::NotFound, true));
}
