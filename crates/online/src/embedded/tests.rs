use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use icecore_core::{ErrorKind, SystemClock, Timestamp};
use icecore_testkit::{ManualClock, check_online_store};

use super::*;

/// In the environment of a child process: the directory of the store that it writes to.
const CHILD_DIR: &str = "ICECORE_TEST_STORE_DIR";
/// And whether it shares the store.
const CHILD_SHARES: &str = "ICECORE_TEST_STORE_SHARED";
const CHILD_BATCH: usize = 50;

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(Timestamp::parse("2026-01-31T12:00:00Z").unwrap()))
}

fn entry(key: impl Into<String>, value: &str, ttl_ms: Option<u64>) -> OnlineEntry {
    let value = value.to_owned().into();
    OnlineEntry { key: key.into(), value, ttl: ttl_ms.map(Duration::from_millis) }
}

async fn rows(store: &EmbeddedStore) -> (u64, u64) {
    store.run("count", table::stored_rows).await.unwrap()
}

#[tokio::test]
async fn the_embedded_store_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    let clock = clock();
    let store = EmbeddedStore::open(dir.path(), clock.clone()).await.unwrap();
    check_online_store(&store, async |time| clock.advance(time)).await;
}

#[tokio::test]
async fn shared_access_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    let clock = clock();
    let options = EmbeddedOptions { access: EmbeddedAccess::Shared, ..Default::default() };
    let store = EmbeddedStore::open_with(dir.path(), clock.clone(), options).await.unwrap();
    check_online_store(&store, async |time| clock.advance(time)).await;
}

#[tokio::test]
async fn values_are_there_after_it_was_closed_and_opened() {
    let dir = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(dir.path(), clock()).await.unwrap();
    store.put(vec![entry("k", "v", Some(1000))]).await.unwrap();
    drop(store);
    assert!(!dir.path().join("online.holder").is_file(), "the note goes with the store");
    let store = EmbeddedStore::open(dir.path(), clock()).await.unwrap();
    assert_eq!(store.get(&["k".to_owned()]).await.unwrap(), [Some("v".into())]);
}

#[tokio::test]
async fn a_value_lives_until_its_last_microsecond() {
    let dir = tempfile::tempdir().unwrap();
    let clock = clock();
    let store = EmbeddedStore::open(dir.path(), clock.clone()).await.unwrap();
    store.put(vec![entry("k", "v", Some(86_400_000))]).await.unwrap();
    clock.advance(Duration::from_secs(86_400) - Duration::from_micros(1));
    assert_eq!(store.get(&["k".to_owned()]).await.unwrap(), [Some("v".into())]);
    clock.advance(Duration::from_micros(1));
    assert_eq!(store.get(&["k".to_owned()]).await.unwrap(), [None]);
}

#[tokio::test]
async fn later_batches_sweep_what_has_expired_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let clock = clock();
    let store = EmbeddedStore::open(dir.path(), clock.clone()).await.unwrap();
    let batch = (0..3000).map(|i| entry(format!("day1:{i}"), "1", Some(1000))).collect();
    store.put(batch).await.unwrap();
    store.put(vec![entry("ever", "1", None), entry("long", "1", Some(9000))]).await.unwrap();
    assert_eq!(rows(&store).await, (3002, 3001));

    clock.advance(Duration::from_secs(2));
    store.put(vec![entry("a", "1", None)]).await.unwrap();
    assert_eq!(rows(&store).await, (2001, 1999), "one batch sweeps a bounded number of keys");
    for _ in 0..2 {
        store.put(vec![entry("a", "1", None)]).await.unwrap();
    }
    assert_eq!(rows(&store).await, (3, 1), "what is left is `ever`, `long` and `a`");
}

#[tokio::test]
async fn the_index_follows_every_change_of_a_life() {
    let dir = tempfile::tempdir().unwrap();
    let clock = clock();
    let store = EmbeddedStore::open(dir.path(), clock.clone()).await.unwrap();
    for ttl in [Some(1000), Some(1000), Some(5000), None, Some(2000)] {
        store.put(vec![entry("k", "v", ttl)]).await.unwrap();
        assert_eq!(rows(&store).await, (1, u64::from(ttl.is_some())), "{ttl:?}");
    }
    store.delete(&["k".to_owned()]).await.unwrap();
    assert_eq!(rows(&store).await, (0, 0));
}

#[tokio::test]
async fn a_second_opener_learns_who_may_hold_it() {
    let dir = tempfile::tempdir().unwrap();
    let _store = EmbeddedStore::open(dir.path(), clock()).await.unwrap();
    let shared = EmbeddedOptions { access: EmbeddedAccess::Shared, ..Default::default() };
    for options in [EmbeddedOptions::default(), shared] {
        let error = EmbeddedStore::open_with(dir.path(), clock(), options).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        let holder = format!("process {}", std::process::id());
        assert!(error.notes()[0].contains(&holder), "{:?}", error.notes());
        assert!(error.help().unwrap().contains("stop that process"));
    }
}

#[tokio::test]
async fn a_file_that_is_not_a_store_is_corrupt() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(FILE_NAME), "not a store".repeat(1000)).unwrap();
    let error = EmbeddedStore::open(dir.path(), clock()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DataCorrupt, "{error:?}");
}

/// The child of the tests below: writes batches for ever and says which were stored.
#[test]
#[ignore = "the child process of other tests"]
fn child_writes_until_it_is_killed() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else { return };
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let shares = std::env::var(CHILD_SHARES).is_ok_and(|shares| shares == "true");
        let access = if shares { EmbeddedAccess::Shared } else { EmbeddedAccess::Exclusive };
        let options = EmbeddedOptions { access, ..Default::default() };
        let clock = Arc::new(SystemClock);
        let store = EmbeddedStore::open_with(Path::new(&dir), clock, options).await.unwrap();
        for round in 0.. {
            let value = round.to_string();
            let batch = (0..CHILD_BATCH).map(|i| entry(format!("k{i}"), &value, None)).collect();
            store.put(batch).await.unwrap();
            println!("stored {round}");
        }
    });
}

fn writing_child(
    dir: &Path,
    access: EmbeddedAccess,
) -> (std::process::Child, impl Iterator<Item = u64>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "embedded::tests::child_writes_until_it_is_killed"])
        .args(["--ignored", "--nocapture"])
        .env(CHILD_DIR, dir)
        .env(CHILD_SHARES, (access == EmbeddedAccess::Shared).to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // The test harness prints lines of its own, and its first line may share one with ours.
    let rounds = lines.filter_map(|line| {
        let line = line.unwrap();
        line.rsplit_once("stored ").map(|(_, round)| round.parse().unwrap())
    });
    (child, rounds)
}

async fn values(store: &EmbeddedStore) -> Vec<u64> {
    let keys: Vec<String> = (0..CHILD_BATCH).map(|i| format!("k{i}")).collect();
    let values = store.get(&keys).await.unwrap();
    let number = |value: Bytes| std::str::from_utf8(&value).unwrap().parse().unwrap();
    values.into_iter().map(|value| number(value.unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_writer_loses_no_batch_that_was_stored_and_leaves_none_half() {
    let dir = tempfile::tempdir().unwrap();
    let mut stored_before = 0;
    for access in [EmbeddedAccess::Exclusive, EmbeddedAccess::Shared, EmbeddedAccess::Exclusive] {
        let (mut child, mut rounds) = writing_child(dir.path(), access);
        let acknowledged = rounds.nth(3).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let acknowledged = rounds.last().unwrap_or(acknowledged);

        let store = EmbeddedStore::open(dir.path(), clock()).await.unwrap();
        let found = values(&store).await;
        assert!(found.iter().all(|value| *value == found[0]), "half a batch: {found:?}");
        assert!(found[0] >= acknowledged, "{} was stored, {} is there", acknowledged, found[0]);
        stored_before += found[0];
    }
    assert!(stored_before > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn shared_access_lets_a_service_read_what_another_process_writes() {
    let dir = tempfile::tempdir().unwrap();
    let options = EmbeddedOptions { access: EmbeddedAccess::Shared, ..Default::default() };
    let store = EmbeddedStore::open_with(dir.path(), clock(), options).await.unwrap();
    let (mut child, mut rounds) = writing_child(dir.path(), EmbeddedAccess::Shared);
    for _ in 0..5 {
        let acknowledged = rounds.next().unwrap();
        let found = values(&store).await;
        assert!(found.iter().all(|value| *value == found[0]), "half a batch: {found:?}");
        assert!(found[0] >= acknowledged, "{} was stored, {} is there", acknowledged, found[0]);
    }
    // Our own writes wait for the child's transactions, not for the child.
    store.put(vec![entry("ours", "1", None)]).await.unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(store.get(&["ours".to_owned()]).await.unwrap(), [Some("1".into())]);
    store.put(vec![entry("ours", "2", None)]).await.unwrap();
}
