//! The serving cache: values by key, read while a request waits.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::Result;

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

/// Values by key, read while a request waits.
///
/// # Contract
///
/// - Batches first: one round trip (or a few, for thousands) for any number of keys.
/// - `get` answers in the order of its keys; a value past its time to live is absent.
/// - `put` replaces; a repeated batch changes nothing but the remaining time to live.
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

    /// Answers once the store is usable.
    async fn ping(&self) -> Result<()>;
}
