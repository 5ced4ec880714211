use icecore_core::{OnlineChange, RowVersion};
use icecore_testkit::{ManualClock, check_online_store};

use super::*;
use crate::EmbeddedStore;

struct Fixture {
    store: Arc<dyn OnlineStore>,
    cached: CachedStore,
    clock: Arc<ManualClock>,
    _dir: tempfile::TempDir,
}

async fn fixture(max_age: Duration) -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(Timestamp::from_micros(0)));
    let store = EmbeddedStore::open(dir.path(), clock.clone()).await.unwrap();
    let store: Arc<dyn OnlineStore> = Arc::new(store);
    let options = CacheOptions { max_age, ..CacheOptions::default() };
    let cached = CachedStore::new(Arc::clone(&store), &options);
    Fixture { store, cached, clock, _dir: dir }
}

fn entry(key: &str, value: &str) -> OnlineEntry {
    OnlineEntry { key: key.to_owned(), value: value.to_owned().into(), ttl: None }
}

async fn read(store: &dyn OnlineStore, key: &str) -> Option<Bytes> {
    store.get(&[key.to_owned()]).await.unwrap().remove(0)
}

/// Long enough that no test sees the end of it.
const LONG: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_cache_that_keeps_nothing_is_a_store() {
    let Fixture { cached, clock, .. } = fixture(Duration::ZERO).await;
    check_online_store(&cached, async |time| clock.advance(time)).await;
}

#[tokio::test]
async fn values_are_remembered_until_they_are_written_here_and_absences_are_not() {
    let Fixture { store, cached, .. } = fixture(LONG).await;
    store.put(vec![entry("a", "1")]).await.unwrap();
    assert_eq!(cached.peek("a", Instant::now()), None, "nobody has read it");
    assert_eq!(read(&cached, "a").await, Some("1".into()));
    assert_eq!(read(&cached, "b").await, None);
    store.put(vec![entry("a", "2"), entry("b", "2")]).await.unwrap();
    assert_eq!(read(&cached, "a").await, Some("1".into()), "remembered");
    assert_eq!(cached.peek("a", Instant::now()), Some("1".into()));
    assert_eq!(cached.peek("a", Instant::now() + 2 * LONG), None, "its time is over");
    assert_eq!(read(&cached, "b").await, Some("2".into()), "it was not there, and now it is");
    cached.put(vec![entry("a", "3")]).await.unwrap();
    cached.delete(&["b".to_owned()]).await.unwrap();
    assert_eq!(cached.peek("a", Instant::now()), None, "it was written");
    assert_eq!(read(&cached, "a").await, Some("3".into()));
    assert_eq!(read(&cached, "b").await, None);
    let version =
        RowVersion { event: Timestamp::from_micros(1), created: Timestamp::from_micros(1) };
    let key = Bytes::from("ic:v:{00}a");
    assert_eq!(cached.rows(std::slice::from_ref(&key)).await.unwrap(), [None]);
    let row = Some(Bytes::from(version.to_bytes().to_vec()));
    let change = OnlineChange { key: key.clone(), row: row.clone(), until: version };
    cached.apply(vec![change]).await.unwrap();
    assert_eq!(cached.rows(&[key]).await.unwrap(), [row]);
}

#[tokio::test]
async fn what_a_job_of_another_process_wrote_is_seen_when_it_says_so() {
    let Fixture { store, cached, .. } = fixture(LONG).await;
    store.put(vec![entry("a", "1")]).await.unwrap();
    assert_eq!(read(&cached, "a").await, Some("1".into()));
    store.put(vec![entry("a", "2")]).await.unwrap();
    invalidate_caches(&*store, Timestamp::from_micros(7)).await.unwrap();
    let seen = async {
        while read(&cached, "a").await != Some("2".into()) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), seen).await.unwrap();
}

#[tokio::test]
async fn who_looks_into_the_memory_may_be_gone_at_once() {
    let Fixture { store, cached, .. } = fixture(LONG).await;
    store.put(vec![entry("a", "1")]).await.unwrap();
    assert_eq!(read(&cached, "a").await, Some("1".into()));
    invalidate_caches(&*store, Timestamp::from_micros(7)).await.unwrap();
    let look = || {
        let cached = cached.clone();
        // A runtime without timers, of which nothing is left when it has looked.
        let look = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async { cached.peek("a", Instant::now()) })
        };
        tokio::task::spawn_blocking(look)
    };
    let forgotten = async {
        while look().await.unwrap().is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), forgotten).await.unwrap();
}

#[tokio::test]
async fn the_cache_does_not_outgrow_its_bounds() {
    let Fixture { store, .. } = fixture(LONG).await;
    let options = CacheOptions { bytes: 100_000, max_age: LONG };
    let cached = CachedStore::new(store, &options);
    for batch in 0..20 {
        let keys: Vec<String> = (0..1000).map(|key| format!("{batch}:{key}")).collect();
        cached.get(&keys).await.unwrap();
    }
    assert!(cached.inner.cache.weight() <= 100_000, "{}", cached.inner.cache.weight());
}
