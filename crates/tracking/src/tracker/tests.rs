use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use icecore_core::{
    ModelRegistry, ModelSelector, NewRun, RunEntries, RunStatus, RunTracker, SystemClock,
};
use icecore_testkit::{ManualClock, check_model_registry, check_run_tracker};

use super::*;

const HASH: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

async fn open(dir: &Path) -> SqlTracker {
    let uri = format!("sqlite:{}", dir.join("state/catalog.db").display());
    SqlTracker::open(&uri, Arc::new(SystemClock)).await.unwrap()
}

// C51 C52 C54 C55 C57 C176
#[tokio::test]
async fn the_tracker_keeps_the_contract_of_runs() {
    let dir = tempfile::tempdir().unwrap();
    check_run_tracker(&open(dir.path()).await).await;
}

// C61 C124
#[tokio::test]
async fn the_tracker_keeps_the_contract_of_models() {
    let dir = tempfile::tempdir().unwrap();
    let tracker = open(dir.path()).await;
    check_model_registry(&tracker, &tracker).await;
}

// C63
#[tokio::test]
async fn everything_is_there_after_it_was_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(Timestamp::parse("2026-01-31T00:00:00Z").unwrap()));
    let uri = format!("sqlite:{}", dir.path().join("catalog.db").display());
    let tracker = SqlTracker::open(&uri, clock.clone()).await.unwrap();
    let id = tracker.start(NewRun::new("e", "r").with_tag("k", "v")).await.unwrap();
    clock.advance(Duration::from_micros(1_500_001));
    tracker.finish(&id, RunStatus::Finished).await.unwrap();
    tracker.register("m", &id, "model.json", HASH).await.unwrap();
    tracker.set_alias("m", "Production", 1).await.unwrap();
    let (run, models) = (tracker.get(&id).await.unwrap(), tracker.versions(None).await.unwrap());
    drop(tracker);

    let again = SqlTracker::open(&uri, clock).await.unwrap();
    assert_eq!(again.get(&id).await.unwrap(), run);
    assert_eq!(again.versions(None).await.unwrap(), models);
    let took = run.ended_at.unwrap().micros() - run.started_at.micros();
    assert_eq!(took, 1_500_001, "times are kept to the microsecond");
}

#[tokio::test]
async fn run_ids_are_32_hexadecimal_digits() {
    let dir = tempfile::tempdir().unwrap();
    let id = open(dir.path()).await.start(NewRun::new("e", "r")).await.unwrap();
    assert_eq!(id.as_str().len(), 32);
    assert!(id.as_str().bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')), "{id}");
}

#[tokio::test]
async fn a_metric_keeps_its_history() {
    let dir = tempfile::tempdir().unwrap();
    let tracker = open(dir.path()).await;
    let run = tracker.start(NewRun::new("e", "r")).await.unwrap();
    let metrics = |value: f64| -> BTreeMap<String, f64> { [("loss".to_owned(), value)].into() };
    for (step, value) in [(0, 0.9), (2, f64::INFINITY), (1, 0.7), (1, 0.6)] {
        tracker.log_steps(&run, step, &metrics(value)).await.unwrap();
    }
    tracker.log(&run, RunEntries { metrics: metrics(0.8), ..Default::default() }).await.unwrap();
    let history = tracker.metric_history(&run, "loss").await.unwrap();
    let history: Vec<_> = history.iter().map(|point| (point.step, point.value)).collect();
    assert_eq!(history, [(0, 0.9), (0, 0.8), (1, 0.7), (1, 0.6), (2, f64::INFINITY)]);
    assert_eq!(tracker.get(&run).await.unwrap().metrics, metrics(f64::INFINITY));
    let error = tracker.metric_history(&run, "los").await.unwrap_err();
    assert_eq!(error.help(), Some("did you mean `loss`?"));
}

#[tokio::test]
async fn errors_say_what_exists() {
    let dir = tempfile::tempdir().unwrap();
    let tracker = open(dir.path()).await;
    let run = tracker.start(NewRun::new("e", "nightly")).await.unwrap();
    tracker.register("churn", &run, "model.json", HASH).await.unwrap();
    tracker.set_alias("churn", "Production", 1).await.unwrap();

    let mut close = run.as_str().to_owned();
    close.replace_range(0..1, "x");
    let error = tracker.get(&RunId::new(close)).await.unwrap_err();
    assert!(error.notes()[0].contains(&format!("{run} (nightly)")), "{error:?}");
    assert_eq!(error.help(), Some(format!("did you mean `{run}`?").as_str()));

    let error = tracker.resolve("chrun", &ModelSelector::Latest).await.unwrap_err();
    assert_eq!(
        (error.notes()[0].as_str(), error.help()),
        ("models: churn", Some("did you mean `churn`?"))
    );

    let error = tracker.resolve("churn", &ModelSelector::Version(2)).await.unwrap_err();
    assert_eq!(error.notes(), ["versions: 1 (Production)"]);

    let wrong = ModelSelector::Alias("production".to_owned());
    let error = tracker.resolve("churn", &wrong).await.unwrap_err();
    assert_eq!(error.help(), Some("did you mean `Production`?"));

    for hash in ["", "abc", &HASH.to_uppercase(), &HASH.replace('9', "g")] {
        let error = tracker.register("churn", &run, "other", hash).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{hash}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_trackers_on_one_file_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path()).await;
    let shared = first.start(NewRun::new("e", "shared")).await.unwrap();
    let writers = (0..4).map(|writer| {
        let (dir, shared) = (dir.path().to_owned(), shared.clone());
        tokio::spawn(async move {
            // Opened inside, so that opening runs at the same time, too.
            let tracker = open(&dir).await;
            for i in 0..8 {
                let run = tracker.start(NewRun::new("e", format!("{writer}/{i}"))).await.unwrap();
                tracker.register("m", &run, "model.json", HASH).await.unwrap();
                let params = [(format!("p{writer}_{i}"), "1".to_owned())].into();
                let entries = RunEntries { params, ..Default::default() };
                tracker.log(&shared, entries).await.unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let versions: Vec<u32> =
        first.versions(Some("m")).await.unwrap().iter().map(|v| v.version).collect();
    assert_eq!(versions, (1..=32).collect::<Vec<_>>(), "versions have no gaps and no twins");
    assert_eq!(first.get(&shared).await.unwrap().params.len(), 32);
    assert_eq!(first.list(Some("e")).await.unwrap().len(), 33);
}

#[tokio::test(flavor = "multi_thread")]
async fn trackers_may_be_opened_at_once_on_a_file_that_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let opening = (0..6).map(|_| {
        let dir = dir.path().to_owned();
        tokio::spawn(async move { open(&dir).await.start(NewRun::new("e", "r")).await.unwrap() })
    });
    for opened in opening.collect::<Vec<_>>() {
        opened.await.unwrap();
    }
    assert_eq!(open(dir.path()).await.list(None).await.unwrap().len(), 6);
}

#[tokio::test]
async fn tables_of_a_newer_version_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let tracker = open(dir.path()).await;
    let mut tx = tracker.database.begin_write().await.unwrap();
    sqlx::query("UPDATE icecore_schema SET version = 99").execute(&mut *tx).await.unwrap();
    crate::database::commit(tx).await.unwrap();
    let uri = format!("sqlite:{}", dir.path().join("state/catalog.db").display());
    let error = SqlTracker::open(&uri, Arc::new(SystemClock)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("99"), "{error}");
}

#[tokio::test]
async fn what_is_not_a_database_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("catalog.db");
    std::fs::write(&path, "not a database".repeat(1000)).unwrap();
    let cases = [
        (format!("sqlite:{}", path.display()), ErrorKind::DataCorrupt),
        ("sqlite:".to_owned(), ErrorKind::InvalidInput),
        ("postgres://user:hunter2@host/db".to_owned(), ErrorKind::Unsupported),
    ];
    for (uri, kind) in cases {
        let error = SqlTracker::open(&uri, Arc::new(SystemClock)).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error:?}");
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }
}
