//! The serving cache: values by key, read while a request waits.

mod newest;
mod row;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::Result;

pub use newest::{DigestHasher, DigestMap, DigestSet, GatheredRows, KeyDigest, NewestRows};
pub use row::{ApplySummary, OnlineChange, RowVersion, ScanPage};

/// A value to store under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnlineEntry {
    /// The key, such as `churn:u42`.
    pub key: String,
    /// The value's bytes.
    pub value: Bytes,
    /// How long it lives; absent means until it is deleted. Below one millisecond is an error.
    pub ttl: Option<Duration>,
}

/// Values by key, read while a request waits: plain values, and rows that know how new they are.
///
/// Plain values (`put`, `get`, `delete`) are what other programs read, too. Rows (`apply`, `rows`,
/// `scan`) begin with their [`RowVersion`], and an older one never takes the place of a newer one,
/// whoever writes them in whatever order. The keys of the two are apart.
///
/// # Contract
///
/// - Batches first: one round trip (or a few, for thousands) for any number of keys.
/// - `get` and `rows` answer in the order of their keys; a value past its time to live is absent.
/// - `put` replaces; a repeated batch changes nothing but the remaining time to live.
/// - `apply` decides for each change, in one step that nothing comes between, as
///   [`OnlineChange`] says. A batch is not one step, and repeating it is safe.
/// - `scan` finds every row of a prefix that is there from its first page to its last, at least
///   once, in any order.
/// - A server that does not answer is `Unavailable`, after a bounded time.
#[async_trait]
pub trait OnlineStore: fmt::Debug + Send + Sync + 'static {
    /// Where the values are, without secrets: `embedded:PATH`, `redis://HOST:PORT/DB`.
    fn location(&self) -> &str;

    /// Stores values and returns how many.
    async fn put(&self, entries: Vec<OnlineEntry>) -> Result<u64>;

    /// Reads values, `None` where there is none.
    async fn get(&self, keys: &[String]) -> Result<Vec<Option<Bytes>>>;

    /// Removes values and returns how many were there.
    async fn delete(&self, keys: &[String]) -> Result<u64>;

    /// Writes and removes rows where no newer one is in the way.
    async fn apply(&self, changes: Vec<OnlineChange>) -> Result<ApplySummary>;

    /// As [`apply`](Self::apply), where few or none of the keys are there yet: a store may have a
    /// faster way for that.
    async fn fill(&self, rows: NewestRows) -> Result<ApplySummary> {
        self.apply(rows.into_changes()).await
    }

    /// Reads rows, `None` where there is none.
    async fn rows(&self, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>>;

    /// Reads rows as they are now, whatever was read before.
    async fn rows_now(&self, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>> {
        self.rows(keys).await
    }

    /// Reads rows whose keys begin with `prefix`, a page at a time: from the start without a
    /// cursor, then from where the page before ended.
    async fn scan(&self, prefix: &[u8], cursor: Option<Bytes>) -> Result<ScanPage>;

    /// Answers once the store is usable.
    async fn ping(&self) -> Result<()>;
}
