use std::path::Path;
use std::slice::from_ref;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use icecore_core::{
    ArtifactStore, ErrorKind, ModelRegistry, ModelSelector, NewRun, PinnedTable, RunEntries,
    RunTracker, SnapshotId,
};
use icecore_testkit::ManualClock;

use super::*;
use crate::{FileArtifacts, RemovedRuns, removable_runs, remove_deleted_runs};

const HASH: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
const FORCE: DeleteOptions = DeleteOptions { force: true, dry_run: false };
const DRY: DeleteOptions = DeleteOptions { force: false, dry_run: true };

struct World {
    dir: tempfile::TempDir,
    uri: String,
    clock: Arc<ManualClock>,
    tracker: SqlTracker,
    artifacts: FileArtifacts,
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(Timestamp::parse("2026-01-31T00:00:00Z").unwrap()));
        let uri = format!("sqlite:{}", dir.path().join("catalog.db").display());
        let tracker = SqlTracker::open(&uri, clock.clone()).await.unwrap();
        let artifacts = FileArtifacts::open(dir.path().join("runs")).unwrap();
        Self { dir, uri, clock, tracker, artifacts }
    }

    /// A run that ended, with an entry of each kind and a file.
    async fn run(&self, name: &str) -> RunId {
        let input = PinnedTable {
            table: "ml.churn".parse().unwrap(),
            uuid: "6d3e1a3c".to_owned(),
            snapshot: SnapshotId::new(7),
        };
        let new = NewRun::new("e", name).with_inputs(vec![input]).with_tag("k", "v");
        let run = self.tracker.start(new).await.unwrap();
        let entries = RunEntries {
            params: [("p".to_owned(), "1".to_owned())].into(),
            metrics: [("m".to_owned(), 0.5)].into(),
            ..RunEntries::default()
        };
        self.tracker.log(&run, entries).await.unwrap();
        self.artifacts.put(&run, "model/model.json", Bytes::from_static(b"{}")).await.unwrap();
        self.tracker.finish(&run, RunStatus::Finished).await.unwrap();
        run
    }

    async fn remove(&self) -> RemovedRuns {
        let now = icecore_core::Clock::now(&*self.clock);
        remove_deleted_runs(&self.tracker, &self.artifacts, now).await.unwrap()
    }

    async fn delete(&self, run: &RunId, options: DeleteOptions) -> Result<DeletedRuns> {
        self.tracker.delete_runs(from_ref(run), options).await
    }

    async fn listed(&self) -> Vec<RunId> {
        self.tracker.list(None).await.unwrap().into_iter().map(|run| run.id).collect()
    }
}

fn refused<T: std::fmt::Debug>(result: Result<T>, kind: ErrorKind, with: &str) {
    let error = result.unwrap_err();
    let text = format!("{error} {:?} {:?}", error.notes(), error.help());
    assert_eq!(error.kind(), kind, "{text}");
    assert!(text.contains(with), "`{with}` is not in `{text}`");
}

#[tokio::test]
async fn a_deleted_run_is_out_of_sight_and_comes_back_whole() {
    let world = World::new().await;
    let (run, other) = (world.run("a").await, world.run("b").await);
    let before = world.tracker.get(&run).await.unwrap();
    assert_eq!(world.delete(&run, DRY).await.unwrap().runs, from_ref(&run));
    assert_eq!(world.listed().await, [other.clone(), run.clone()], "a dry run changes nothing");

    world.delete(&run, DeleteOptions::default()).await.unwrap();
    assert_eq!(world.listed().await, from_ref(&other));
    assert_eq!(world.tracker.list(Some("e")).await.unwrap().len(), 1);
    let restore = format!("icecore runs restore {run}");
    let tracker = &world.tracker;
    refused(tracker.get(&run).await, ErrorKind::NotFound, &restore);
    refused(tracker.log(&run, RunEntries::default()).await, ErrorKind::NotFound, &restore);
    refused(tracker.finish(&run, RunStatus::Failed).await, ErrorKind::NotFound, &restore);
    refused(tracker.metric_history(&run, "m").await, ErrorKind::NotFound, &restore);
    let registered = tracker.register("m", &run, "model/model.json", HASH).await;
    refused(registered, ErrorKind::NotFound, &restore);
    refused(world.delete(&run, FORCE).await, ErrorKind::NotFound, &restore);
    let deleted = tracker.deleted_runs().await.unwrap();
    assert_eq!(deleted.iter().map(|it| &it.run).collect::<Vec<_>>(), [&before]);

    for _ in 0..2 {
        tracker.restore_runs(from_ref(&run)).await.unwrap();
        assert_eq!(tracker.get(&run).await.unwrap(), before);
        assert_eq!(world.listed().await, [other.clone(), run.clone()]);
    }
    assert_eq!(tracker.deleted_runs().await.unwrap(), []);
}

#[tokio::test]
async fn several_runs_are_deleted_or_none() {
    let world = World::new().await;
    let (first, second) = (world.run("a").await, world.run("b").await);
    let unknown = RunId::new("0123456789abcdef0123456789abcdef");
    let all = [first.clone(), unknown];
    let options = DeleteOptions::default();
    let none = world.tracker.delete_runs(&all, options).await;
    refused(none, ErrorKind::NotFound, "there is no run");
    assert_eq!(world.listed().await.len(), 2);
    let twice = [first.clone(), second.clone(), first.clone()];
    let deleted = world.tracker.delete_runs(&twice, options).await.unwrap();
    assert_eq!(deleted.runs, [first, second]);
}

#[tokio::test]
async fn what_is_needed_goes_by_force_only() {
    let world = World::new().await;
    let run = world.run("a").await;
    world.tracker.register("churn", &run, "model/model.json", HASH).await.unwrap();
    world.tracker.set_alias("churn", "Production", 1).await.unwrap();
    for options in [DeleteOptions::default(), DRY] {
        let says = "models:/churn/1 (Production)";
        refused(world.delete(&run, options).await, ErrorKind::InvalidInput, says);
        let version = world.tracker.delete_versions("churn", &[1], options).await;
        refused(version, ErrorKind::InvalidInput, "--to Production");
        let model = world.tracker.delete_model("churn", options).await;
        refused(model, ErrorKind::InvalidInput, "--to Production");
    }
    let running = world.tracker.start(NewRun::new("e", "running")).await.unwrap();
    let unended = world.delete(&running, DeleteOptions::default()).await;
    refused(unended, ErrorKind::InvalidInput, "has not ended");
    world.delete(&running, FORCE).await.unwrap();

    let dry = world.delete(&run, FORCE.with_dry_run(true)).await.unwrap();
    assert_eq!(world.tracker.versions(None).await.unwrap(), dry.versions);
    let deleted = world.delete(&run, FORCE).await.unwrap();
    assert_eq!(deleted, dry);
    assert_eq!(deleted.versions[0].aliases, ["Production"]);
    assert_eq!(world.tracker.versions(None).await.unwrap(), []);
    assert_eq!(world.listed().await, []);
}

#[tokio::test]
async fn the_number_of_a_deleted_version_is_not_given_again() {
    let world = World::new().await;
    let runs = [world.run("a").await, world.run("b").await, world.run("c").await];
    let register = async |run: &RunId| {
        world.tracker.register("churn", run, "model/model.json", HASH).await.unwrap().version
    };
    for (run, number) in runs.iter().zip(1..) {
        assert_eq!(register(run).await, number);
    }
    let options = DeleteOptions::default();
    let deleted = world.tracker.delete_versions("churn", &[3, 2, 3], options).await.unwrap();
    assert_eq!(deleted.iter().map(|version| version.version).collect::<Vec<_>>(), [3, 2]);
    assert_eq!(register(&runs[0]).await, 1, "what is registered keeps its version");
    assert_eq!(register(&runs[1]).await, 4, "the same file of the same run is a new version");
    let latest = world.tracker.resolve("churn", &ModelSelector::Latest).await.unwrap();
    assert_eq!(latest.version, 4);
    let gone = world.tracker.delete_versions("churn", &[1, 2], options).await;
    refused(gone, ErrorKind::NotFound, "versions: 1, 4");

    assert_eq!(world.tracker.delete_model("churn", options).await.unwrap().len(), 2);
    let none = world.tracker.delete_model("churn", options).await;
    refused(none, ErrorKind::NotFound, "there is no model `churn`");
    assert_eq!(register(&runs[2]).await, 5);
}

#[tokio::test]
async fn a_removed_run_leaves_nothing_behind() {
    let world = World::new().await;
    let (run, other, kept) = (world.run("a").await, world.run("b").await, world.run("kept").await);
    world.delete(&run, DeleteOptions::default()).await.unwrap();
    let moment = icecore_core::Clock::now(&*world.clock);
    world.clock.advance(Duration::from_secs(60));
    world.delete(&other, DeleteOptions::default()).await.unwrap();

    let due = removable_runs(&world.tracker, &world.artifacts, moment).await.unwrap();
    assert_eq!(due, RemovedRuns { runs: vec![run.clone()], files: 1 });
    let removed = remove_deleted_runs(&world.tracker, &world.artifacts, moment).await.unwrap();
    assert_eq!(removed, due, "what was deleted later stays");
    assert_eq!(world.remove().await.runs, from_ref(&other));
    assert_eq!(world.remove().await, RemovedRuns::default());

    let mut tx = world.tracker.database.begin_read().await.unwrap();
    for table in ["runs", "run_inputs", "run_params", "run_tags", "run_metrics"] {
        let query = format!("SELECT DISTINCT run_id FROM icecore_{table}");
        let left: Vec<String> = sqlx::query_scalar(&query).fetch_all(&mut *tx).await.unwrap();
        assert_eq!(left, [kept.as_str()], "{table}");
    }
    for run in [&run, &other] {
        assert_eq!(world.artifacts.list(run).await.unwrap(), Vec::<String>::new());
        let restored = world.tracker.restore_runs(from_ref(run)).await;
        refused(restored, ErrorKind::NotFound, "there is no run");
    }
    assert_eq!(world.artifacts.list(&kept).await.unwrap().len(), 1);
}

/// What a process that dies leaves, after each step of a removal, is ended by the next one.
#[tokio::test]
async fn a_removal_that_was_cut_off_is_ended_by_the_next() {
    for steps in 1..=3 {
        let world = World::new().await;
        let run = world.run("a").await;
        world.artifacts.put(&run, "pictures/roc.svg", Bytes::from_static(b"x")).await.unwrap();
        world.delete(&run, DeleteOptions::default()).await.unwrap();
        let now = icecore_core::Clock::now(&*world.clock);
        assert_eq!(world.tracker.begin_removal(now).await.unwrap(), from_ref(&run));
        if steps >= 2 {
            std::fs::remove_file(dir_of(&world, &run).join("model/model.json")).unwrap();
        }
        if steps >= 3 {
            world.artifacts.remove(&run).await.unwrap();
        }
        let again = SqlTracker::open(&world.uri, world.clock.clone()).await.unwrap();
        let restored = again.restore_runs(from_ref(&run)).await;
        refused(restored, ErrorKind::NotFound, "icecore runs gc");
        assert_eq!(again.deleted_runs().await.unwrap(), [], "it cannot come back");

        // Even a removal of older runs only.
        let earlier = Timestamp::from_micros(0);
        let due = removable_runs(&again, &world.artifacts, earlier).await.unwrap();
        assert_eq!(remove_deleted_runs(&again, &world.artifacts, earlier).await.unwrap(), due);
        assert_eq!(due, RemovedRuns { runs: vec![run.clone()], files: 3 - steps });
        assert!(!dir_of(&world, &run).try_exists().unwrap());
        refused(again.get(&run).await, ErrorKind::NotFound, "no run was recorded yet");
    }
}

fn dir_of(world: &World, run: &RunId) -> std::path::PathBuf {
    world.dir.path().join("runs").join(run.as_str())
}

#[tokio::test]
async fn tables_of_the_first_version_are_brought_up_to_date() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.db");
    of_first_version(&path).await;
    let uri = format!("sqlite:{}", path.display());
    let clock = Arc::new(ManualClock::new(Timestamp::from_micros(9)));
    let tracker = SqlTracker::open(&uri, clock).await.unwrap();
    let run = RunId::new("0a1b");
    assert_eq!(tracker.get(&run).await.unwrap().name, "old");
    assert_eq!(tracker.versions(Some("churn")).await.unwrap().len(), 2);
    tracker.delete_versions("churn", &[2], DeleteOptions::default()).await.unwrap();
    let next = tracker.register("churn", &run, "b", HASH).await.unwrap();
    assert_eq!(next.version, 3);
}

async fn of_first_version(path: &Path) {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let pool = sqlx::sqlite::SqlitePool::connect_with(options).await.unwrap();
    let rows = format!(
        "CREATE TABLE icecore_schema (component TEXT NOT NULL PRIMARY KEY, version INTEGER NOT NULL);
         INSERT INTO icecore_schema VALUES ('tracking', 1);
         INSERT INTO icecore_runs VALUES (1, '0a1b', 'e', 'old', 'FINISHED', 1, 2);
         INSERT INTO icecore_model_versions VALUES ('churn', 1, '0a1b', 'a', '{HASH}', 3);
         INSERT INTO icecore_model_versions VALUES ('churn', 2, '0a1b', 'b', '{HASH}', 4);"
    );
    for script in [include_str!("../../database/v1.sql"), &rows] {
        sqlx::query(script).execute(&pool).await.unwrap();
    }
    pool.close().await;
}
