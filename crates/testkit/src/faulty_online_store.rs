//! An online store that fails, waits and remembers when it is told to.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use icecore_core::{ApplySummary, Error, OnlineChange, OnlineEntry, OnlineStore, Result, ScanPage};
use tokio::sync::Notify;

type Remembered = HashMap<Bytes, Option<Bytes>>;

/// A store that goes down under a job, as seen by that job: one that dies on its way, that is slower
/// than another one, or that has a cache.
#[derive(Debug)]
pub struct FaultyOnlineStore {
    store: Arc<dyn OnlineStore>,
    /// Batches of rows, and writes of values, that still arrive.
    batches_left: AtomicU64,
    writes_left: AtomicU64,
    /// Reads of rows that are not answered.
    unanswered: AtomicU64,
    /// Batches that come before the one that waits.
    waits_after: AtomicU64,
    is_waiting: Notify,
    goes_on: Notify,
    memory: Mutex<Option<Remembered>>,
}

impl FaultyOnlineStore {
    /// A store that does what this one does, until it is told otherwise.
    #[must_use]
    pub fn new(store: Arc<dyn OnlineStore>) -> Self {
        Self {
            store,
            batches_left: AtomicU64::new(u64::MAX),
            writes_left: AtomicU64::new(u64::MAX),
            unanswered: AtomicU64::new(0),
            waits_after: AtomicU64::new(u64::MAX),
            is_waiting: Notify::new(),
            goes_on: Notify::new(),
            memory: Mutex::default(),
        }
    }

    /// The store as others see it, without a fault.
    #[must_use]
    pub fn sound(&self) -> Arc<dyn OnlineStore> {
        Arc::clone(&self.store)
    }

    /// Lets so many more batches of rows arrive, and half of the next one.
    pub fn fail_after_batches(&self, batches: u64) {
        self.batches_left.store(batches, Ordering::Relaxed);
    }

    /// Lets so many more writes and removals of values arrive.
    pub fn fail_after_writes(&self, writes: u64) {
        self.writes_left.store(writes, Ordering::Relaxed);
    }

    /// Takes batches and writes again.
    pub fn recover(&self) {
        self.fail_after_batches(u64::MAX);
        self.fail_after_writes(u64::MAX);
    }

    /// Leaves the next reads of rows without an answer.
    pub fn leave_unanswered(&self, reads: u64) {
        self.unanswered.store(reads, Ordering::Relaxed);
    }

    /// How many reads are still to be left without an answer.
    #[must_use]
    pub fn unanswered(&self) -> u64 {
        self.unanswered.load(Ordering::Relaxed)
    }

    /// Lets one batch wait, after so many others, until [`go_on`](Self::go_on).
    pub fn wait_after_batches(&self, batches: u64) {
        self.waits_after.store(batches, Ordering::Relaxed);
    }

    /// Comes back when the batch waits.
    pub async fn until_waiting(&self) {
        self.is_waiting.notified().await;
    }

    /// Lets the batch go on that waits.
    pub fn go_on(&self) {
        self.goes_on.notify_one();
    }

    /// Answers from now on what rows were when they were read first, as a cache does.
    pub fn remember(&self) {
        *self.memory() = Some(Remembered::new());
    }

    /// Answers again what rows are.
    pub fn forget(&self) {
        *self.memory() = None;
    }

    fn memory(&self) -> MutexGuard<'_, Option<Remembered>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn wait_if_told(&self) {
        let before = self.waits_after.load(Ordering::Relaxed);
        if before == 0 {
            self.waits_after.store(u64::MAX, Ordering::Relaxed);
            self.is_waiting.notify_one();
            self.goes_on.notified().await;
        } else if before < u64::MAX {
            self.waits_after.store(before - 1, Ordering::Relaxed);
        }
    }

    async fn ask(&self, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>> {
        match take_one(&self.unanswered) {
            true => Err(Error::unavailable("no answer")),
            false => self.store.rows(keys).await,
        }
    }

    fn write_one(&self) -> Result<()> {
        match take_one(&self.writes_left) {
            true => Ok(()),
            false => Err(Error::unavailable("the store is gone")),
        }
    }
}

/// Takes one of what is left; `false` where nothing is.
fn take_one(left: &AtomicU64) -> bool {
    let one_less = |left: u64| left.checked_sub(1);
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok()
}

#[async_trait]
impl OnlineStore for FaultyOnlineStore {
    fn location(&self) -> &str {
        self.store.location()
    }
    async fn put(&self, entries: Vec<OnlineEntry>) -> Result<u64> {
        self.write_one()?;
        self.store.put(entries).await
    }
    async fn get(&self, keys: &[String]) -> Result<Vec<Option<Bytes>>> {
        self.store.get(keys).await
    }
    async fn delete(&self, keys: &[String]) -> Result<u64> {
        self.write_one()?;
        self.store.delete(keys).await
    }
    async fn apply(&self, mut changes: Vec<OnlineChange>) -> Result<ApplySummary> {
        self.wait_if_told().await;
        if take_one(&self.batches_left) {
            return self.store.apply(changes).await;
        }
        // A part of the batch arrives.
        changes.truncate(changes.len() / 2);
        self.store.apply(changes).await?;
        Err(Error::unavailable("dead"))
    }
    async fn rows(&self, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>> {
        let found = self.ask(keys).await?;
        let mut memory = self.memory();
        let Some(memory) = &mut *memory else { return Ok(found) };
        let rows = keys.iter().zip(found);
        Ok(rows.map(|(key, row)| memory.entry(key.clone()).or_insert(row).clone()).collect())
    }
    async fn rows_now(&self, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>> {
        self.ask(keys).await
    }
    async fn scan(&self, prefix: &[u8], cursor: Option<Bytes>) -> Result<ScanPage> {
        self.store.scan(prefix, cursor).await
    }
    async fn ping(&self) -> Result<()> {
        self.store.ping().await
    }
}
