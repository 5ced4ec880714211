//! Which scores are in the serving cache, whatever became of the runs before.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use icecore_core::{
    ApplySummary, BatchStream, CommitOptions, Error, OnlineChange, OnlineEntry, OnlineStore,
    OutputKind, Result, ScanPage, SnapshotCatalog, SystemClock, TableName, WriteMode,
};
use icecore_online::EmbeddedStore;

use super::lake::{Lake, activity, adding, model, spec};
use crate::{MaterializeOptions, MaterializeReport, ScoringSpec, materialize};

/// A store that takes so many writes, and then is gone.
#[derive(Debug)]
struct Mortal {
    store: Arc<EmbeddedStore>,
    writes_left: AtomicUsize,
}

impl Mortal {
    fn dies(&self) -> Result<()> {
        let left = |left: usize| left.checked_sub(1);
        let taken = self.writes_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left);
        taken.map(|_| ()).map_err(|_| Error::unavailable("the store is gone"))
    }
}

#[async_trait]
impl OnlineStore for Mortal {
    fn location(&self) -> &str {
        self.store.location()
    }
    async fn put(&self, entries: Vec<OnlineEntry>) -> Result<u64> {
        self.dies()?;
        self.store.put(entries).await
    }
    async fn get(&self, keys: &[String]) -> Result<Vec<Option<Bytes>>> {
        self.store.get(keys).await
    }
    async fn delete(&self, keys: &[String]) -> Result<u64> {
        self.dies()?;
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

    async fn fill(&self, writes: usize, options: MaterializeOptions) -> Result<MaterializeReport> {
        let store = Mortal { store: Arc::clone(&self.store), writes_left: writes.into() };
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
    let error = scene.fill(usize::MAX, all).await.unwrap_err();
    assert_eq!(error.help(), Some("score first: `icecore score churn`"));
    scene.high(&["u1"]).await;
    scene.fill(usize::MAX, all).await.unwrap();
    // Two runs write their scores and die before they can say that they are done.
    for users in [["u1", "u2"], ["u1", "u3"]] {
        scene.high(&users).await;
        scene.fill(2, all).await.unwrap_err();
    }
    assert_eq!(scene.there(&["u1", "u2", "u3"]).await, [true; 3]);
    scene.high(&["u1"]).await;
    let done = scene.fill(usize::MAX, all).await.unwrap();
    assert_eq!((done.unchanged, done.removed), (1, 2));
    assert_eq!(scene.there(&["u1", "u2", "u3"]).await, [true, false, false]);
}

// C163
#[tokio::test(flavor = "multi_thread")]
async fn a_full_run_removes_what_left_the_selection_too() {
    let scene = Scene::new().await;
    scene.high(&["u1", "u2"]).await;
    scene.fill(usize::MAX, MaterializeOptions::default()).await.unwrap();
    scene.high(&["u2"]).await;
    let done = scene.fill(usize::MAX, MaterializeOptions::default().with_full(true)).await.unwrap();
    assert_eq!((done.written, done.unchanged, done.removed), (1, 0, 1));
    assert_eq!(scene.there(&["u1", "u2"]).await, [false, true]);
}
