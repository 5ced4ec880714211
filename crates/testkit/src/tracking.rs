//! The contracts of [`RunTracker`], [`ModelRegistry`] and [`ArtifactStore`], line by line.
#![expect(clippy::expect_used, clippy::panic, reason = "a suite fails by panicking")]

use std::collections::BTreeMap;
use std::fmt;

use icecore_core::{
    ArtifactStore, ErrorKind, ModelRegistry, ModelSelector, NewRun, PinnedTable, Result,
    RunEntries, RunId, RunStatus, RunTracker, SnapshotId, TableName,
};

const EXPERIMENT: &str = "/ml/churn-prediction";
const HASHES: [&str; 2] = [
    "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752",
];

#[track_caller]
fn expect_kind<T: fmt::Debug>(result: Result<T>, kind: ErrorKind) {
    match result {
        Err(error) => assert_eq!(error.kind(), kind, "{error:?}"),
        Ok(value) => panic!("expected {kind:?}, found {value:?}"),
    }
}

fn text<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

fn numbers<const N: usize>(pairs: [(&str, f64); N]) -> BTreeMap<String, f64> {
    pairs.map(|(key, value)| (key.to_owned(), value)).into()
}

/// Checks that an empty tracker keeps the contract of [`RunTracker`].
///
/// # Panics
///
/// If the tracker breaks the contract.
pub async fn check_run_tracker(tracker: &dyn RunTracker) {
    assert!(tracker.list(None).await.expect("an empty list").is_empty());
    let unknown = RunId::new("0123456789abcdef0123456789abcdef");
    expect_kind(tracker.get(&unknown).await, ErrorKind::NotFound);
    expect_kind(tracker.log(&unknown, RunEntries::default()).await, ErrorKind::NotFound);
    expect_kind(tracker.finish(&unknown, RunStatus::Failed).await, ErrorKind::NotFound);

    let run = keeps_what_a_run_starts_with(tracker).await;
    adds_entries(tracker, &run).await;
    refuses_another_value_of_a_parameter_whole(tracker, &run).await;
    ends_a_run_once(tracker, &run).await;
    lists_newest_first(tracker, &run).await;
}

async fn keeps_what_a_run_starts_with(tracker: &dyn RunTracker) -> RunId {
    let pin = |table: &str, snapshot| PinnedTable {
        table: TableName::parse(table).expect("a table's name"),
        uuid: "6d3e1a3c-9a0b-4a51-8f1e-0d3f4b5a6c7d".to_owned(),
        snapshot: SnapshotId::new(snapshot),
    };
    // Ids exceed 2^53, and the order of inputs is kept.
    let inputs = vec![pin("ml_training.churn", i64::MAX), pin("events.raw", 3)];
    let new = NewRun::new(EXPERIMENT, "churn-gbm-snapshot-7")
        .with_inputs(inputs.clone())
        .with_tag("git_commit", "5a1d934");
    let id = tracker.start(new).await.expect("a run starts");
    let run = tracker.get(&id).await.expect("a run that started is there");
    assert_eq!((run.id, run.experiment.as_str()), (id.clone(), EXPERIMENT));
    assert_eq!((run.name.as_str(), run.status), ("churn-gbm-snapshot-7", RunStatus::Running));
    assert_eq!((run.ended_at, run.inputs), (None, inputs));
    assert_eq!(run.tags, text([("git_commit", "5a1d934")]));
    assert!(run.params.is_empty() && run.metrics.is_empty());
    id
}

async fn adds_entries(tracker: &dyn RunTracker, run: &RunId) {
    let first = RunEntries {
        params: text([("max_depth", "5")]),
        metrics: numbers([("auc", 0.5), ("loss", f64::NAN), ("worst", f64::NEG_INFINITY)]),
        tags: text([("stage", "fit")]),
    };
    tracker.log(run, first.clone()).await.expect("entries are added");
    let again = RunEntries {
        params: first.params,
        metrics: numbers([("auc", 0.1 + 0.2)]),
        tags: text([("stage", "done"), ("owner", "Zoë \u{1F9CA}")]),
    };
    tracker.log(run, again).await.expect("the same parameter again is fine");
    let run = tracker.get(run).await.expect("the run is there");
    assert_eq!(run.params, text([("max_depth", "5")]));
    assert_eq!(run.metrics.get("auc"), Some(&(0.1 + 0.2)), "the last value counts, every bit");
    assert!(run.metrics.get("loss").is_some_and(|loss| loss.is_nan()));
    assert_eq!(run.metrics.get("worst"), Some(&f64::NEG_INFINITY));
    let tags = [("git_commit", "5a1d934"), ("owner", "Zoë \u{1F9CA}"), ("stage", "done")];
    assert_eq!(run.tags, text(tags));
}

async fn refuses_another_value_of_a_parameter_whole(tracker: &dyn RunTracker, id: &RunId) {
    let before = tracker.get(id).await.expect("the run is there");
    let mixed = RunEntries {
        params: text([("aaa_new", "1"), ("max_depth", "6")]),
        metrics: numbers([("auc", 0.9)]),
        tags: text([("stage", "wrong")]),
    };
    expect_kind(tracker.log(id, mixed).await, ErrorKind::InvalidInput);
    let after = tracker.get(id).await.expect("the run is there");
    assert_eq!(after.params, before.params, "one call is one step: nothing of it is stored");
    assert_eq!(after.tags, before.tags);
    assert_eq!(after.metrics.get("auc"), before.metrics.get("auc"));
}

async fn ends_a_run_once(tracker: &dyn RunTracker, id: &RunId) {
    expect_kind(tracker.finish(id, RunStatus::Running).await, ErrorKind::InvalidInput);
    tracker.finish(id, RunStatus::Finished).await.expect("a run ends");
    let ended = tracker.get(id).await.expect("the run is there");
    assert_eq!(ended.status, RunStatus::Finished);
    assert!(ended.ended_at.is_some_and(|end| end >= ended.started_at));
    tracker.finish(id, RunStatus::Finished).await.expect("ending alike again is a retry");
    expect_kind(tracker.finish(id, RunStatus::Failed).await, ErrorKind::InvalidInput);
    let still = tracker.get(id).await.expect("the run is there");
    assert_eq!((still.status, still.ended_at), (ended.status, ended.ended_at));
}

async fn lists_newest_first(tracker: &dyn RunTracker, first: &RunId) {
    let second = tracker.start(NewRun::new("/ml/other", "b")).await.expect("a run starts");
    let third = tracker.start(NewRun::new(EXPERIMENT, "c")).await.expect("a run starts");
    let ids = async |experiment| {
        let runs = tracker.list(experiment).await.expect("a list");
        runs.into_iter().map(|run| run.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(None).await, [third.clone(), second, first.clone()]);
    assert_eq!(ids(Some(EXPERIMENT)).await, [third, first.clone()]);
    assert_eq!(ids(Some("/ml/none")).await, []);
    let listed = tracker.list(Some(EXPERIMENT)).await.expect("a list").pop();
    let got = tracker.get(first).await.expect("the run is there");
    let listed = listed.expect("the first run is listed");
    assert_eq!((listed.params, listed.tags, listed.inputs), (got.params, got.tags, got.inputs));
}

/// Checks that an empty registry keeps the contract of [`ModelRegistry`]. The tracker makes the
/// runs that models come from; it may be the same object.
///
/// # Panics
///
/// If the registry breaks the contract.
pub async fn check_model_registry(registry: &dyn ModelRegistry, tracker: &dyn RunTracker) {
    let model = "churn-prediction-gbm";
    let new = || NewRun::new(EXPERIMENT, "churn-gbm-snapshot-7");
    let runs = [
        tracker.start(new()).await.expect("a run starts"),
        tracker.start(new()).await.expect("a run starts"),
    ];
    assert!(registry.versions(None).await.expect("an empty list").is_empty());
    expect_kind(registry.resolve(model, &ModelSelector::Latest).await, ErrorKind::NotFound);
    expect_kind(registry.set_alias(model, "Production", 1).await, ErrorKind::NotFound);
    let nobody = RunId::new("0123456789abcdef0123456789abcdef");
    let orphan = registry.register(model, &nobody, "model.json", HASHES[0]).await;
    expect_kind(orphan, ErrorKind::NotFound);

    for (run, number) in runs.iter().zip(1..) {
        for _ in 0..2 {
            let made = registry.register(model, run, "model.json", HASHES[0]).await;
            let made = made.expect("a version is registered, again too");
            assert_eq!((made.version, &made.run), (number, run));
            assert_eq!((made.artifact.as_str(), made.hash.as_str()), ("model.json", HASHES[0]));
        }
    }
    let changed = registry.register(model, &runs[0], "model.json", HASHES[1]).await;
    expect_kind(changed, ErrorKind::InvalidInput);
    let other = registry.register("another", &runs[0], "model.json", HASHES[0]).await;
    assert_eq!(other.expect("another model").version, 1, "every model counts from one");

    points_aliases(registry, model).await;
    let all = registry.versions(None).await.expect("a list");
    let all: Vec<_> = all.iter().map(|v| (v.model.as_str(), v.version)).collect();
    assert_eq!(all, [("another", 1), (model, 1), (model, 2)]);
    assert_eq!(registry.versions(Some(model)).await.expect("a list").len(), 2);
    expect_kind(registry.versions(Some("nothing")).await, ErrorKind::NotFound);
}

async fn points_aliases(registry: &dyn ModelRegistry, model: &str) {
    let production = ModelSelector::Alias("Production".to_owned());
    let number = async |selector: &ModelSelector| {
        registry.resolve(model, selector).await.map(|version| version.version)
    };
    expect_kind(number(&production).await, ErrorKind::NotFound);
    let moves = [(1, None), (2, Some(1)), (2, Some(2)), (1, Some(2))];
    for (to, from) in moves {
        let before = registry.set_alias(model, "Production", to).await;
        assert_eq!(before.expect("an alias moves"), from, "to {to}");
        assert_eq!(number(&production).await.expect("it points there"), to);
    }
    registry.set_alias(model, "champion", 1).await.expect("a version may have many aliases");
    let version = registry.resolve(model, &ModelSelector::Version(1)).await.expect("version 1");
    assert_eq!(version.aliases, ["Production", "champion"]);
    assert_eq!(number(&ModelSelector::Latest).await.expect("the latest"), 2);
    expect_kind(number(&ModelSelector::Version(3)).await, ErrorKind::NotFound);
    expect_kind(registry.set_alias(model, "Production", 3).await, ErrorKind::NotFound);
    assert_eq!(number(&production).await.expect("it did not move"), 1);
    for alias in ["", "latest", "7", "a/b", "new\nline"] {
        expect_kind(registry.set_alias(model, alias, 1).await, ErrorKind::InvalidInput);
    }
}

/// Checks that an empty store keeps the contract of [`ArtifactStore`].
///
/// # Panics
///
/// If the store breaks the contract.
pub async fn check_artifact_store(store: &dyn ArtifactStore) {
    let run = RunId::new("0123456789abcdef0123456789abcdef");
    let other = RunId::new("fedcba9876543210fedcba9876543210");
    assert!(store.list(&run).await.expect("an empty list").is_empty());
    expect_kind(store.get(&run, "model.json").await, ErrorKind::NotFound);

    let large: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    let files = [
        ("model.json", Vec::new()),
        ("model.json", b"{}".to_vec()),
        ("plots/a b/größe \u{1F9CA}.bin", large),
        ("plots/z", b"z".to_vec()),
    ];
    for (path, bytes) in files {
        store.put(&run, path, bytes.clone().into()).await.expect("a file is stored");
        assert_eq!(store.get(&run, path).await.expect("it is there"), bytes, "{path}");
    }
    store.put(&other, "theirs", "x".into()).await.expect("a file is stored");
    let listed = store.list(&run).await.expect("a list");
    assert_eq!(listed, ["model.json", "plots/a b/größe \u{1F9CA}.bin", "plots/z"]);
    assert_eq!(store.list(&other).await.expect("a list"), ["theirs"]);
    expect_kind(store.get(&run, "theirs").await, ErrorKind::NotFound);
    expect_kind(store.get(&run, "plots").await, ErrorKind::NotFound);
    expect_kind(store.put(&run, "plots", "x".into()).await, ErrorKind::InvalidInput);
    expect_kind(store.put(&run, "plots/z/under", "x".into()).await, ErrorKind::InvalidInput);

    let long = "x".repeat(256);
    let bad = [
        "",
        "/",
        "/etc/passwd",
        "..",
        "../theirs",
        "a/../../b",
        "a/..",
        "./a",
        "a//b",
        "a/",
        ".",
        "a\\b",
        "..\\b",
        "a\0b",
        "a\nb",
        &long,
    ];
    for path in bad {
        expect_kind(store.put(&run, path, "x".into()).await, ErrorKind::InvalidInput);
        expect_kind(store.get(&run, path).await, ErrorKind::InvalidInput);
    }
    for id in ["", "..", ".", "a/b", "../x", "a\\b", "\0"] {
        let run = RunId::new(id);
        expect_kind(store.put(&run, "a", "x".into()).await, ErrorKind::InvalidInput);
        expect_kind(store.get(&run, "a").await, ErrorKind::InvalidInput);
        expect_kind(store.list(&run).await, ErrorKind::InvalidInput);
    }
}
