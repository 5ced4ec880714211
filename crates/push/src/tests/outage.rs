//! While the online store is down, and after it.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use icecore_core::{ApplySummary, Error, OnlineChange, OnlineEntry, OnlineStore, Result, ScanPage};

use super::*;

/// A store that fails, or does not answer, when it is told to. It keeps what it has.
#[derive(Debug)]
struct Frail {
    store: Arc<dyn OnlineStore>,
    is_down: AtomicBool,
    hangs: AtomicBool,
    /// Whether someone waits for an answer.
    is_asked: AtomicBool,
}

impl Frail {
    fn goes_down(&self) {
        self.is_down.store(true, Ordering::Relaxed);
    }

    fn comes_back(&self) {
        self.is_down.store(false, Ordering::Relaxed);
        self.hangs.store(false, Ordering::Relaxed);
    }

    async fn check(&self) -> Result<()> {
        if self.hangs.load(Ordering::Relaxed) {
            self.is_asked.store(true, Ordering::Relaxed);
            std::future::pending::<()>().await;
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

async fn frail_world() -> (World, Arc<Frail>) {
    let mut world = World::new().await;
    let frail = Arc::new(Frail {
        store: Arc::clone(world.store.store()),
        is_down: AtomicBool::new(false),
        hangs: AtomicBool::new(false),
        is_asked: AtomicBool::new(false),
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

async fn materialize(world: &World) {
    let source = Source {
        engine: &world.engine,
        definitions: &world.definitions,
        store: &world.store,
        now: world.clock.0,
    };
    materialize_view(&source, "account", MaterializeOptions::default()).await.unwrap();
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
