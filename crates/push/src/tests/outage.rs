//! While the online store is down, and after it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use icecore_core::{ApplySummary, Error, OnlineChange, OnlineEntry, OnlineStore, Result, ScanPage};

use super::*;

/// A store that fails, or does not answer, when it is told to. It keeps what it has.
#[derive(Debug)]
pub(super) struct Frail {
    store: Arc<dyn OnlineStore>,
    is_down: AtomicBool,
    hangs: AtomicBool,
    /// Whether someone waits for an answer.
    is_asked: AtomicBool,
    /// Rows that have this in their key are refused so, or without a kind not answered.
    refuses: Mutex<Option<(&'static str, Option<ErrorKind>)>>,
}

impl Frail {
    fn refuse(&self, refused: Option<(&'static str, Option<ErrorKind>)>) {
        *self.refuses.lock().unwrap() = refused;
    }

    /// How rows are refused of which one is to be.
    fn refusal(&self, changes: &[OnlineChange]) -> Option<Option<ErrorKind>> {
        let (text, kind) = (*self.refuses.lock().unwrap())?;
        let has = |change: &OnlineChange| String::from_utf8_lossy(&change.key).contains(text);
        changes.iter().any(has).then_some(kind)
    }

    async fn no_answer(&self) {
        self.is_asked.store(true, Ordering::Relaxed);
        std::future::pending::<()>().await;
    }

    pub(super) fn goes_down(&self) {
        self.is_down.store(true, Ordering::Relaxed);
    }

    pub(super) fn comes_back(&self) {
        self.is_down.store(false, Ordering::Relaxed);
        self.hangs.store(false, Ordering::Relaxed);
    }

    async fn check(&self) -> Result<()> {
        if self.hangs.load(Ordering::Relaxed) {
            self.no_answer().await;
        }
        match self.is_down.load(Ordering::Relaxed) {
            true => Err(Error::unavailable("the store is down")),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl OnlineStore for Frail {
    fn location(&self) -> &str {
        self.store.location()
    }
    async fn put(&self, entries: Vec<OnlineEntry>) -> Result<u64> {
        self.check().await?;
        self.store.put(entries).await
    }
    async fn get(&self, keys: &[String]) -> Result<Vec<Option<Bytes>>> {
        self.check().await?;
        self.store.get(keys).await
    }
    async fn delete(&self, keys: &[String]) -> Result<u64> {
        self.check().await?;
        self.store.delete(keys).await
    }
    async fn apply(&self, changes: Vec<OnlineChange>) -> Result<ApplySummary> {
        self.check().await?;
        match self.refusal(&changes) {
            Some(Some(kind)) => return Err(Error::new(kind, "the store does not take it")),
            Some(None) => self.no_answer().await,
            None => {}
        }
        self.store.apply(changes).await
    }
    async fn rows(&self, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>> {
        self.check().await?;
        self.store.rows(keys).await
    }
    async fn scan(&self, prefix: &[u8], cursor: Option<Bytes>) -> Result<ScanPage> {
        self.check().await?;
        self.store.scan(prefix, cursor).await
    }
    async fn ping(&self) -> Result<()> {
        self.check().await?;
        self.store.ping().await
    }
}

pub(super) async fn frail_world() -> (World, Arc<Frail>) {
    let mut world = World::new().await;
    let frail = Arc::new(Frail {
        store: Arc::clone(world.store.store()),
        is_down: AtomicBool::new(false),
        hangs: AtomicBool::new(false),
        is_asked: AtomicBool::new(false),
        refuses: Mutex::default(),
    });
    world.store = FeatureStore::new(frail.clone());
    (world, frail)
}

fn unmaterialized() -> PushOptions {
    PushOptions { materialize: false, ..PushOptions::default() }
}

fn event(user: &str, at: &str, value: i64, to: Target) -> Push {
    let mut push = Push::new("balances", balance(user, at, value));
    push.to = to;
    push
}

fn source(world: &World) -> Source<'_> {
    Source {
        engine: &world.engine,
        definitions: &world.definitions,
        store: &world.store,
        now: world.clock.0,
    }
}

async fn materialize(world: &World) {
    materialize_view(&source(world), "account", MaterializeOptions::default()).await.unwrap();
}

async fn run_until(pushes: &Pushes, mut is_so: impl AsyncFnMut() -> bool) {
    let reached = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let run = Box::pin(pushes.run(reached));
    tokio::time::timeout(Duration::from_secs(30), run).await.unwrap();
}

#[tokio::test]
async fn what_came_during_an_outage_is_online_after_it_also_if_the_table_had_it_before() {
    for (materializes, is_filled) in [(true, true), (true, false), (false, true)] {
        let (world, store) = frail_world().await;
        let options = PushOptions { materialize: materializes, ..PushOptions::default() };
        let pushes = world.pushes_with(options);
        let before = event("a", "2026-11-20", 7, Target::OnlineAndOffline);
        assert_eq!(pushes.push(before).await.unwrap().online, OnlineOutcome::Written);
        pushes.commit("balances").await.unwrap();
        if is_filled {
            materialize(&world).await;
        }
        store.goes_down();
        let during = event("a", "2026-11-21", 8, Target::OnlineAndOffline);
        assert_eq!(pushes.push(during).await.unwrap().online, OnlineOutcome::Later);
        assert_eq!(pushes.commit("balances").await.unwrap().rows, 1);
        assert_eq!((pushes.status()[0].rows, pushes.status()[0].behind), (0, 1));
        store.comes_back();
        assert_eq!(world.online("a").await, Some(7));
        run_until(&pushes, async || pushes.status()[0].behind == 0).await;
        assert_eq!(world.online("a").await, Some(8), "{materializes} {is_filled}");
        assert_eq!(world.lake().await, [7, 8]);
    }
}

#[tokio::test]
async fn views_that_could_not_be_materialized_are_when_the_store_is_back() {
    let (world, store) = frail_world().await;
    let pushes = world.pushes();
    pushes.push(event("a", "2026-11-20", 7, Target::Offline)).await.unwrap();
    pushes.commit("balances").await.unwrap();
    materialize(&world).await;
    store.goes_down();
    pushes.push(event("a", "2026-11-21", 8, Target::Offline)).await.unwrap();
    assert_eq!(pushes.commit("balances").await.unwrap().rows, 1);
    store.comes_back();
    assert_eq!(world.online("a").await, Some(7));
    run_until(&pushes, async || world.online("a").await == Some(8)).await;
}

#[tokio::test]
async fn what_only_the_store_lacks_outlives_the_process_and_is_in_the_table_once() {
    let (world, store) = frail_world().await;
    let pushes = world.pushes_with(unmaterialized());
    store.goes_down();
    for (user, to, value) in [("on", Target::Online, 1), ("both", Target::OnlineAndOffline, 2)] {
        let receipt = pushes.push(event(user, "2026-11-21", value, to)).await.unwrap();
        assert_eq!(receipt.online, OnlineOutcome::Later);
    }
    assert_eq!(pushes.commit("balances").await.unwrap().rows, 1);
    let status = pushes.status().remove(0);
    assert_eq!((status.rows, status.behind, status.bytes > 0), (0, 2, true));
    drop(pushes);
    // A process that finds no store leaves it to the next one.
    let mut pushes = world.pushes_with(unmaterialized());
    pushes.store = None;
    pushes.push(event("off", "2026-11-21", 3, Target::Offline)).await.unwrap();
    assert_eq!(pushes.commit("balances").await.unwrap().rows, 1);
    drop(pushes);
    store.comes_back();
    let pushes = world.pushes_with(unmaterialized());
    assert_eq!(pushes.commit("balances").await.unwrap().rows, 0);
    assert_eq!((world.online("on").await, world.online("both").await), (Some(1), Some(2)));
    assert_eq!(world.lake().await, [2, 3]);
    let status = pushes.status().remove(0);
    assert_eq!((status.rows, status.behind, status.bytes), (0, 0, 0));
    let state = std::fs::read_to_string(world.state()).unwrap();
    assert!(!state.contains("behind"), "{state}");
}

#[tokio::test]
async fn what_the_store_does_not_take_fills_the_queue_also_after_its_commit() {
    let (world, store) = frail_world().await;
    let pushes = world.pushes_with(PushOptions { queue_bytes: 1, ..PushOptions::default() });
    store.goes_down();
    // An empty queue takes any batch.
    pushes.push(event("a", "2026-11-20", 7, Target::Online)).await.unwrap();
    pushes.commit("balances").await.unwrap();
    for to in [Target::Online, Target::Offline] {
        let error = pushes.push(event("a", "2026-11-21", 8, to)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }
    store.comes_back();
    pushes.commit("balances").await.unwrap();
    assert_eq!(world.online("a").await, Some(7));
    let after = event("a", "2026-11-21", 8, Target::Online);
    assert_eq!(pushes.push(after).await.unwrap().online, OnlineOutcome::Written);
}

#[tokio::test]
async fn a_push_that_waits_for_the_store_while_its_batch_is_committed_is_not_forgotten() {
    let (world, store) = frail_world().await;
    let pushes = world.pushes_with(unmaterialized());
    store.hangs.store(true, Ordering::Relaxed);
    let commit = async {
        while !store.is_asked.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        pushes.commit("balances").await.unwrap()
    };
    let push = pushes.push(event("a", "2026-11-21", 7, Target::Online));
    let (receipt, report) = tokio::join!(push, commit);
    assert_eq!((receipt.unwrap().online, report.batches), (OnlineOutcome::Later, 1));
    store.comes_back();
    pushes.commit("balances").await.unwrap();
    assert_eq!(world.online("a").await, Some(7));
}

#[tokio::test]
async fn what_came_before_a_column_gets_into_views_that_have_it() {
    let (mut world, store) = frail_world().await;
    let pushes = world.pushes();
    store.goes_down();
    pushes.push(event("a", "2026-11-21", 7, Target::Online)).await.unwrap();
    drop(pushes);
    store.comes_back();
    let more: ArrayRef = Arc::new(Int64Array::from(vec![5]));
    let batch = RecordBatch::try_from_iter_with_nullable([("tier", more, true)]).unwrap();
    let catalog = world.engine.catalog();
    catalog.evolve(&table(), &batch.schema()).await.unwrap();
    let rows = BatchStream::from_batches(batch.schema(), vec![batch]);
    catalog.commit(&table(), rows, CommitOptions::new(WriteMode::Append)).await.unwrap();
    let text = DEFINITIONS.replace(r#"["balance"]"#, r#"["balance", "tier"]"#);
    world.definitions = Arc::new(Definitions::parse("f.toml", &text).unwrap());
    let pushes = world.pushes();
    pushes.commit("balances").await.unwrap();
    assert_eq!(world.online("a").await, Some(7));
}

#[tokio::test]
async fn what_the_store_cannot_take_is_left_to_the_table_and_fills_no_queue() {
    let (world, store) = frail_world().await;
    let pushes = world.pushes_with(PushOptions { queue_bytes: 1, ..unmaterialized() });
    store.refuse(Some(("ic:account:", Some(ErrorKind::InvalidInput))));
    for (user, value) in [("a", 1), ("b", 2), ("c", 3)] {
        // The queue takes each, because the one before has left it.
        let both = event(user, "2026-11-21", value, Target::OnlineAndOffline);
        assert_eq!(pushes.push(both).await.unwrap().online, OnlineOutcome::Later);
        assert_eq!(pushes.commit("balances").await.unwrap().rows, 1);
        let status = pushes.status().remove(0);
        assert_eq!((status.behind, status.bytes, status.left_to_table), (0, 0, value as u64));
        pushes.push(event(user, "2026-11-20", value, Target::Offline)).await.unwrap();
        pushes.commit("balances").await.unwrap();
    }
    store.refuse(None);
    materialize(&world).await;
    assert!(verify_view(&source(&world), "account").await.unwrap().is_equal());
}

#[tokio::test]
async fn what_is_for_the_store_alone_and_cannot_be_taken_is_dropped_after_an_hour() {
    let (mut world, store) = frail_world().await;
    let pushes = world.pushes();
    store.refuse(Some(("ic:account:", Some(ErrorKind::InvalidInput))));
    pushes.push(event("a", "2026-11-21", 1, Target::Online)).await.unwrap();
    drop(pushes);
    let begun = world.clock.0;
    for (minutes, expected) in [(0, (1, 0)), (59, (1, 0)), (61, (0, 1))] {
        let later = Timestamp::from_micros(begun.micros() + minutes * 60_000_000);
        world.clock = Arc::new(FixedClock(later));
        let pushes = world.pushes();
        pushes.commit("balances").await.unwrap();
        let status = pushes.status().remove(0);
        assert_eq!((status.behind, status.dropped), expected, "after {minutes} minutes");
    }
}

#[tokio::test]
async fn a_batch_that_fails_is_not_in_the_way_of_those_after_it() {
    let (world, store) = frail_world().await;
    let pushes = world.pushes();
    store.goes_down();
    for user in ["stuck", "b", "c"] {
        pushes.push(event(user, "2026-11-21", 7, Target::Online)).await.unwrap();
    }
    store.comes_back();
    // As it may fail again and again where others write the same row.
    store.refuse(Some(("stuck", Some(ErrorKind::Conflict))));
    for _ in 0..2 {
        pushes.commit("balances").await.unwrap();
    }
    assert_eq!((world.online("b").await, world.online("c").await), (Some(7), Some(7)));
    assert_eq!(pushes.status()[0].behind, 1);
    store.refuse(None);
    for _ in 0..2 {
        pushes.commit("balances").await.unwrap();
    }
    assert_eq!((world.online("stuck").await, pushes.status()[0].behind), (Some(7), 0));
}

#[tokio::test]
async fn a_view_that_cannot_be_materialized_keeps_nothing_of_what_the_table_has() {
    let (mut world, store) = frail_world().await;
    let other = DEFINITIONS.replace("[[push_source]]", OTHER);
    world.definitions = Arc::new(Definitions::parse("f.toml", &other).unwrap());
    let pushes = world.pushes();
    pushes.push(event("a", "2026-11-20", 7, Target::Offline)).await.unwrap();
    pushes.commit("balances").await.unwrap();
    for view in ["account", "other"] {
        let options = MaterializeOptions::default();
        materialize_view(&source(&world), view, options).await.unwrap();
    }
    store.goes_down();
    let during = event("a", "2026-11-21", 8, Target::OnlineAndOffline);
    assert_eq!(pushes.push(during).await.unwrap().online, OnlineOutcome::Later);
    pushes.commit("balances").await.unwrap();
    assert_eq!(pushes.status()[0].behind, 1);
    store.comes_back();
    store.refuse(Some(("ic:other~m:", Some(ErrorKind::InvalidInput))));
    pushes.commit("balances").await.unwrap();
    let status = pushes.status().remove(0);
    assert_eq!((status.behind, status.bytes, status.left_to_table), (0, 0, 1));
    assert_eq!(world.online("a").await, Some(8));
    // It is tried again, and has it then.
    store.refuse(None);
    pushes.commit("balances").await.unwrap();
    for view in ["account", "other"] {
        assert_eq!(view_status(&source(&world), view).await.unwrap().state, "current");
        assert!(verify_view(&source(&world), view).await.unwrap().is_equal(), "{view}");
    }
}

const OTHER: &str = r#"[[feature_view]]
name = "other"
entities = ["user"]
source = "ml.account"
columns = ["balance"]
[[push_source]]"#;

#[tokio::test]
async fn a_service_that_stops_has_let_go_of_the_view_that_it_was_filling() {
    let (world, store) = frail_world().await;
    let pushes = world.pushes();
    pushes.push(event("a", "2026-11-20", 7, Target::Offline)).await.unwrap();
    pushes.commit("balances").await.unwrap();
    materialize(&world).await;
    store.refuse(Some(("slow", None)));
    pushes.push(event("slow", "2026-11-21", 8, Target::Offline)).await.unwrap();
    run_until(&pushes, async || store.is_asked.load(Ordering::Relaxed)).await;
    assert_eq!(view_status(&source(&world), "account").await.unwrap().state, "interrupted");
    store.refuse(None);
    materialize(&world).await;
    assert_eq!(world.online("slow").await, Some(8));
}
