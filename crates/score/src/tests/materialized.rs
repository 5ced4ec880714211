//! Which scores are in the serving cache, whatever became of the runs before.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use icecore_core::{
    ApplySummary, BatchStream, CommitOptions, OnlineChange, OnlineEntry, OnlineStore, OutputKind,
    Result, ScanPage, SnapshotCatalog, SystemClock, TableName, WriteMode,
};
use icecore_online::EmbeddedStore;
use icecore_testkit::FaultyOnlineStore;

use super::lake::{Lake, activity, adding, model, spec};
use crate::{MaterializeOptions, MaterializeReport, ScoringSpec, materialize};

struct Scene {
    lake: Lake,
    spec: ScoringSpec,
    _dir: tempfile::TempDir,
    store: Arc<EmbeddedStore>,
}

impl Scene {
    async fn new() -> Self {
        let spec = spec(
            "view = \"activity\"\n[materialize]\nwhere = \"score_bucket = 'high'\"\n\
             key = \"churn:{user_token}\"\nvalue = \"prediction\"",
        );
        let dir = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(dir.path(), Arc::new(SystemClock)).await.unwrap();
        Self { lake: Lake::filled().await, spec, _dir: dir, store: Arc::new(store) }
    }

    /// Scores a day on which these users are at high risk.
    async fn high(&self, users: &[&str]) {
        let rows = users.iter().map(|user| (*user, "2024-01-10T12:00:00Z", Some(90)));
        let table = TableName::parse("ml_features.activity").unwrap();
        let rows = activity(&rows.collect::<Vec<_>>());
        let rows = BatchStream::from_batches(rows.schema(), vec![rows]);
        let options = CommitOptions::new(WriteMode::Overwrite);
        self.lake.engine.catalog().commit(&table, rows, options).await.unwrap();
        let models = [model("champion", 1, adding(&["count_30d"], OutputKind::Probability))];
        self.lake.score(&self.spec, &models, None).await.unwrap();
    }

    /// A run over a store that takes so many writes, and then is gone.
    async fn fill(&self, writes: u64, options: MaterializeOptions) -> Result<MaterializeReport> {
        let store = FaultyOnlineStore::new(self.store.clone());
        store.fail_after_writes(writes);
        materialize(&self.lake.engine, &store, &self.spec, options).await
    }

    async fn there(&self, users: &[&str]) -> Vec<bool> {
        let keys: Vec<String> = users.iter().map(|user| format!("churn:{user}")).collect();
        self.store.get(&keys).await.unwrap().iter().map(Option::is_some).collect()
    }
}

// C163 D19
#[tokio::test(flavor = "multi_thread")]
async fn what_a_run_that_died_had_written_leaves_with_the_next_one() {
    let scene = Scene::new().await;
    let all = MaterializeOptions::default();
    let error = scene.fill(u64::MAX, all).await.unwrap_err();
    assert_eq!(error.help(), Some("score first: `icecore score churn`"));
    scene.high(&["u1"]).await;
    scene.fill(u64::MAX, all).await.unwrap();
    // Two runs write their scores and die before they can say that they are done.
    for users in [["u1", "u2"], ["u1", "u3"]] {
        scene.high(&users).await;
        scene.fill(2, all).await.unwrap_err();
    }
    assert_eq!(scene.there(&["u1", "u2", "u3"]).await, [true; 3]);
    scene.high(&["u1"]).await;
    let done = scene.fill(u64::MAX, all).await.unwrap();
    assert_eq!((done.unchanged, done.removed), (1, 2));
    assert_eq!(scene.there(&["u1", "u2", "u3"]).await, [true, false, false]);
}

// C163
#[tokio::test(flavor = "multi_thread")]
async fn a_full_run_removes_what_left_the_selection_too() {
    let scene = Scene::new().await;
    scene.high(&["u1", "u2"]).await;
    scene.fill(u64::MAX, MaterializeOptions::default()).await.unwrap();
    scene.high(&["u2"]).await;
    let done = scene.fill(u64::MAX, MaterializeOptions::default().with_full(true)).await.unwrap();
    assert_eq!((done.written, done.unchanged, done.removed), (1, 0, 1));
    assert_eq!(scene.there(&["u1", "u2"]).await, [false, true]);
}

// C163
#[tokio::test(flavor = "multi_thread")]
async fn scores_of_before_that_cannot_be_read_any_more_are_in_nobodys_way() {
    let scene = Scene::new().await;
    scene.high(&["u1", "u2"]).await;
    scene.fill(u64::MAX, MaterializeOptions::default()).await.unwrap();
    let gone = scene.lake.data_files("ml_predictions");
    scene.high(&["u2", "u3"]).await;
    assert!(!gone.is_empty());
    for file in gone {
        std::fs::remove_file(file).unwrap();
    }
    let full = MaterializeOptions::default().with_full(true);
    let done = scene.fill(u64::MAX, full).await.unwrap();
    assert_eq!((done.written, done.removed), (2, 0));
    // What nobody can read goes by its time to live; from here on everything is known again.
    assert_eq!(scene.there(&["u1", "u2", "u3"]).await, [true; 3]);
    let done = scene.fill(u64::MAX, MaterializeOptions::default()).await.unwrap();
    assert_eq!((done.unchanged, done.written, done.removed), (2, 0, 0));
}

// C163
#[tokio::test(flavor = "multi_thread")]
async fn what_another_run_has_begun_meanwhile_is_not_forgotten() {
    let scene = Scene::new().await;
    let all = MaterializeOptions::default();
    scene.high(&["u1"]).await;
    // Another run writes what is new by then and dies, between the scores of this one and its end.
    let meanwhile = Box::pin(async {
        scene.high(&["u1", "u2"]).await;
        scene.fill(2, all).await.unwrap_err();
        scene.high(&["u1"]).await;
    });
    let store = Crowded {
        store: Arc::clone(&scene.store),
        puts: AtomicUsize::new(0),
        gate: Gate::default(),
    };
    let run = materialize(&scene.lake.engine, &store, &scene.spec, all);
    let other = async {
        store.gate.is_reached.notified().await;
        meanwhile.await;
        store.gate.opens.notify_one();
    };
    let (done, ()) = Box::pin(async { tokio::join!(run, other) }).await;
    assert_eq!(done.unwrap().written, 1);
    assert_eq!(scene.there(&["u1", "u2"]).await, [true; 2]);
    let done = scene.fill(u64::MAX, all).await.unwrap();
    assert_eq!((done.unchanged, done.removed), (1, 1));
    assert_eq!(scene.there(&["u1", "u2"]).await, [true, false]);
}

/// Where a run waits until something else has happened.
#[derive(Debug, Default)]
struct Gate {
    is_reached: tokio::sync::Notify,
    opens: tokio::sync::Notify,
}

/// A store in which something happens after a run's scores were written, before it says so.
#[derive(Debug)]
struct Crowded {
    store: Arc<EmbeddedStore>,
    puts: AtomicUsize,
    gate: Gate,
}

#[async_trait]
impl OnlineStore for Crowded {
    fn location(&self) -> &str {
        self.store.location()
    }
    async fn put(&self, entries: Vec<OnlineEntry>) -> Result<u64> {
        let written = self.store.put(entries).await?;
        // The first are the note of what is begun, and then the scores.
        if self.puts.fetch_add(1, Ordering::Relaxed) == 1 {
            self.gate.is_reached.notify_one();
            self.gate.opens.notified().await;
        }
        Ok(written)
    }
    async fn get(&self, keys: &[String]) -> Result<Vec<Option<Bytes>>> {
        self.store.get(keys).await
    }
    async fn delete(&self, keys: &[String]) -> Result<u64> {
        self.store.delete(keys).await
    }
    async fn apply(&self, changes: Vec<OnlineChange>) -> Result<ApplySummary> {
        self.store.apply(changes).await
    }
    async fn rows(&self, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>> {
        self.store.rows(keys).await
    }
    async fn scan(&self, prefix: &[u8], cursor: Option<Bytes>) -> Result<ScanPage> {
        self.store.scan(prefix, cursor).await
    }
    async fn ping(&self) -> Result<()> {
        self.store.ping().await
    }
}
