//! What was read a moment ago, in front of any store.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use icecore_core::{
    ApplySummary, NewestRows, OnlineChange, OnlineEntry, OnlineStore, Result, ScanPage, Timestamp,
};
use quick_cache::sync::Cache;
use quick_cache::{DefaultHashBuilder, Weighter};
use tokio::runtime::Handle;
use tokio::time::Instant;
use tracing::debug;

/// Under this key a store says when it was last written by a job: caches forget what they read
/// before.
const EPOCH_KEY: &str = "icecore:epoch";
/// What jobs say of their own, such as how far they are, is under keys that begin so.
const OF_JOBS: &str = "icecore:";
/// How often a cache looks whether a job has written.
const POLL_EVERY: Duration = Duration::from_millis(250);
/// About what an entry takes beside its key and value.
const ENTRY_OVERHEAD: u64 = 96;

/// How much a [`CachedStore`] keeps, and for how long.
#[derive(Debug, Clone)]
pub struct CacheOptions {
    /// About how much memory values may take.
    pub bytes: u64,
    /// How old a value may be: what another process writes is seen after this time at the latest.
    pub max_age: Duration,
}

impl Default for CacheOptions {
    fn default() -> Self {
        Self { bytes: 64 << 20, max_age: Duration::from_secs(1) }
    }
}

/// A store behind a bounded cache in memory.
///
/// Values are kept for a bounded time, and that there is none is not: a store that was emptied and
/// filled again has what it has at once. Neither is what jobs say of their own. What is written
/// through this store is seen at once; what jobs of other processes write, after a quarter of a
/// second ([`invalidate_caches`]); anything else when its time is over. A store that is down is
/// reported as such: the cache serves nothing beyond its time.
#[derive(Debug, Clone)]
pub struct CachedStore {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<dyn OnlineStore>,
    cache: Cache<Bytes, Cached, Weight, DefaultHashBuilder>,
    max_age: Duration,
    /// Counts writes: what was read before one is not kept after it.
    writes: AtomicU64,
    polled_at_ms: AtomicU64,
    is_polling: AtomicBool,
    epoch: std::sync::Mutex<Option<Bytes>>,
    started: Instant,
    /// Where the store is asked beside the requests. Who looks into the memory may run on another
    /// runtime, which may have no timers and end at any time.
    runtime: Option<Handle>,
}

#[derive(Debug, Clone)]
struct Cached {
    value: Bytes,
    read_at: Instant,
}

#[derive(Debug, Clone)]
struct Weight;

impl Weighter<Bytes, Cached> for Weight {
    fn weight(&self, key: &Bytes, cached: &Cached) -> u64 {
        ENTRY_OVERHEAD + (key.len() + cached.value.len()) as u64
    }
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").field("store", &self.store).finish_non_exhaustive()
    }
}

impl CachedStore {
    /// Keeps what is read from a store. Jobs that write are noticed by a task of the runtime that
    /// this is called on, or of that of the first request.
    #[must_use]
    pub fn new(store: Arc<dyn OnlineStore>, options: &CacheOptions) -> Self {
        let items = usize::try_from(options.bytes / (2 * ENTRY_OVERHEAD)).unwrap_or(usize::MAX);
        let cache = Cache::with_weighter(items.max(16), options.bytes, Weight);
        let inner = Inner {
            store,
            cache,
            max_age: options.max_age,
            writes: AtomicU64::new(0),
            polled_at_ms: AtomicU64::new(0),
            is_polling: AtomicBool::new(false),
            epoch: std::sync::Mutex::default(),
            started: Instant::now(),
            runtime: Handle::try_current().ok(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The value under a key, if it is in memory and may still be answered with. This waits for
    /// nothing, and what is not in memory may be in the store.
    #[must_use]
    pub fn peek(&self, key: &str, now: Instant) -> Option<Bytes> {
        self.poll(now);
        let cached = self.inner.cache.get(key.as_bytes())?;
        (now.duration_since(cached.read_at) < self.inner.max_age).then_some(cached.value)
    }

    /// Answers from memory where it can; `None` at the places that have to be read.
    fn remembered(&self, keys: &[Bytes], now: Instant) -> Vec<Option<Bytes>> {
        let fresh = |key: &Bytes| {
            let cached = self.inner.cache.get(key)?;
            (now.duration_since(cached.read_at) < self.inner.max_age).then_some(cached.value)
        };
        keys.iter().map(fresh).collect()
    }

    /// Keeps what was read, unless something was written meanwhile.
    fn remember(&self, keys: &[Bytes], values: &[Option<Bytes>], now: Instant, writes: u64) {
        for (key, value) in keys.iter().zip(values) {
            if self.inner.writes.load(Ordering::Acquire) != writes {
                return;
            }
            if let Some(value) = value.clone() {
                self.inner.cache.insert(key.clone(), Cached { value, read_at: now });
            }
        }
    }

    async fn read(
        &self,
        keys: &[Bytes],
        ask: impl AsyncFnOnce(&[Bytes]) -> Result<Vec<Option<Bytes>>>,
    ) -> Result<Vec<Option<Bytes>>> {
        let now = Instant::now();
        self.poll(now);
        let remembered = self.remembered(keys, now);
        let missing: Vec<Bytes> = keys
            .iter()
            .zip(&remembered)
            .filter(|(_, found)| found.is_none())
            .map(|(key, _)| key.clone())
            .collect();
        if missing.is_empty() {
            return Ok(remembered);
        }
        let writes = self.inner.writes.load(Ordering::Acquire);
        let read = ask(&missing).await?;
        self.remember(&missing, &read, now, writes);
        let mut read = read.into_iter();
        let fill = |found: Option<Bytes>| found.or_else(|| read.next().flatten());
        Ok(remembered.into_iter().map(fill).collect())
    }

    /// Forgets keys around a write, so that nobody keeps what was read before it.
    fn forget<'k>(&self, keys: impl Iterator<Item = &'k [u8]>) {
        self.inner.writes.fetch_add(1, Ordering::AcqRel);
        for key in keys {
            self.inner.cache.remove(key);
        }
    }

    /// Looks now and then whether a job has written, beside the requests.
    fn poll(&self, now: Instant) {
        let inner = &self.inner;
        let at = u64::try_from(now.duration_since(inner.started).as_millis()).unwrap_or(u64::MAX);
        let last = inner.polled_at_ms.load(Ordering::Relaxed);
        let is_due = at.saturating_sub(last) >= POLL_EVERY.as_millis() as u64 || last == 0;
        if !is_due || inner.is_polling.swap(true, Ordering::AcqRel) {
            return;
        }
        inner.polled_at_ms.store(at.max(1), Ordering::Relaxed);
        let polling = Polling(Arc::clone(inner));
        let look = async move {
            if let Ok(found) = polling.0.store.get(&[EPOCH_KEY.to_owned()]).await {
                polling.0.epoch_is(found.into_iter().next().flatten());
            }
        };
        match &inner.runtime {
            Some(runtime) => runtime.spawn(look),
            None => tokio::spawn(look),
        };
    }
}

/// A look at the store, which however it ends lets the next one begin.
struct Polling(Arc<Inner>);

impl Drop for Polling {
    fn drop(&mut self) {
        self.0.is_polling.store(false, Ordering::Release);
    }
}

impl Inner {
    fn epoch_is(&self, found: Option<Bytes>) {
        let mut epoch = self.epoch.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if *epoch == found {
            return;
        }
        debug!(store = self.store.location(), "a job has written; forgetting what was read");
        *epoch = found;
        self.writes.fetch_add(1, Ordering::AcqRel);
        self.cache.clear();
    }
}

/// Tells every [`CachedStore`] in front of this store, in whatever process, to forget what it read
/// before.
///
/// # Errors
///
/// Those of the store.
pub async fn invalidate_caches(store: &dyn OnlineStore, now: Timestamp) -> Result<()> {
    let value = Bytes::from(now.micros().to_string());
    store.put(vec![OnlineEntry { key: EPOCH_KEY.to_owned(), value, ttl: None }]).await?;
    Ok(())
}

#[async_trait]
impl OnlineStore for CachedStore {
    fn location(&self) -> &str {
        self.inner.store.location()
    }

    async fn put(&self, entries: Vec<OnlineEntry>) -> Result<u64> {
        let keys: Vec<String> = entries.iter().map(|entry| entry.key.clone()).collect();
        self.forget(keys.iter().map(String::as_bytes));
        let written = self.inner.store.put(entries).await;
        self.forget(keys.iter().map(String::as_bytes));
        written
    }

    async fn get(&self, keys: &[String]) -> Result<Vec<Option<Bytes>>> {
        if keys.iter().all(|key| key.starts_with(OF_JOBS)) {
            return self.inner.store.get(keys).await;
        }
        let keys: Vec<Bytes> =
            keys.iter().map(|key| Bytes::copy_from_slice(key.as_bytes())).collect();
        self.read(&keys, async |missing| {
            let missing: Vec<String> =
                missing.iter().map(|key| String::from_utf8_lossy(key).into_owned()).collect();
            self.inner.store.get(&missing).await
        })
        .await
    }

    async fn delete(&self, keys: &[String]) -> Result<u64> {
        self.forget(keys.iter().map(String::as_bytes));
        let deleted = self.inner.store.delete(keys).await;
        self.forget(keys.iter().map(String::as_bytes));
        deleted
    }

    async fn apply(&self, changes: Vec<OnlineChange>) -> Result<ApplySummary> {
        let keys: Vec<Bytes> = changes.iter().map(|change| change.key.clone()).collect();
        self.forget(keys.iter().map(AsRef::as_ref));
        let applied = self.inner.store.apply(changes).await;
        self.forget(keys.iter().map(AsRef::as_ref));
        applied
    }

    async fn fill(&self, rows: NewestRows) -> Result<ApplySummary> {
        let keys: Vec<Bytes> = rows.changes().iter().map(|change| change.key.clone()).collect();
        self.forget(keys.iter().map(AsRef::as_ref));
        let filled = self.inner.store.fill(rows).await;
        self.forget(keys.iter().map(AsRef::as_ref));
        filled
    }

    async fn rows(&self, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>> {
        self.read(keys, async |missing| self.inner.store.rows(missing).await).await
    }

    async fn rows_now(&self, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>> {
        self.inner.store.rows_now(keys).await
    }

    async fn scan(&self, prefix: &[u8], cursor: Option<Bytes>) -> Result<ScanPage> {
        self.inner.store.scan(prefix, cursor).await
    }

    async fn ping(&self) -> Result<()> {
        self.inner.store.ping().await
    }
}

#[cfg(test)]
mod tests;
