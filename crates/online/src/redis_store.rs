//! The store on a Redis or Valkey server.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use icecore_core::{
    ApplySummary, Error, NewestRows, OnlineChange, OnlineEntry, OnlineStore, Result, ScanPage,
};
use redis::{Cmd, FromRedisValue, RedisError};
use tracing::debug;

mod failure;
mod line;
mod network;
mod place;
mod rows;

use failure::server_error;
use network::{Network, Unit};
use place::Place;

/// Commands of one round trip at most: enough to hide the network, few enough that a chunk is
/// answered long before the response time is over and never fills the server's output buffer.
const CHUNK_LEN: usize = 1000;

/// How long to wait for a Redis server.
#[derive(Debug, Clone)]
pub struct RedisOptions {
    /// For a connection, name resolution and sign-in included.
    pub connect_timeout: Duration,
    /// For the answer to one round trip.
    pub response_timeout: Duration,
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self { connect_timeout: Duration::from_secs(1), response_timeout: Duration::from_secs(1) }
    }
}

/// An [`OnlineStore`] on a Redis or Valkey server.
///
/// Values are strings, so any client reads them: `GET churn:u42`. One connection to each server
/// carries all requests of a tokio runtime, so that those of many callers share round trips; it is
/// made at the first one, made anew when it breaks, and ends with the runtime. A batch is pipelined, not transactional: after an error, a
/// part of it may be stored, and repeating it is safe. Whether a row is older than what is there
/// is decided on the server, in one step.
#[derive(Clone)]
pub struct RedisStore {
    inner: Arc<Inner>,
}

struct Inner {
    network: Network,
    location: String,
    patience: Duration,
}

impl RedisStore {
    /// A store on one server, on the master that sentinels know, or on a cluster:
    ///
    /// - `redis://[USER][:PASSWORD@]HOST[:PORT][/DB]`
    /// - `redis+sentinel://[USER][:PASSWORD@]HOST[:PORT][,HOST…]/MASTER[/DB]`
    /// - `redis+cluster://[USER][:PASSWORD@]HOST[:PORT][,HOST…]`
    ///
    /// With `rediss` instead of `redis` connections are encrypted, and the server's certificate is
    /// checked against the system's, or against those in a file with `?ca=FILE`;
    /// `&cert=FILE&key=FILE` is what the client shows.
    ///
    /// The server is not contacted yet: a service may start before its cache does.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if that is no such address, `NotFound` for a certificate that is not there.
    pub async fn connect(url: &str, options: RedisOptions) -> Result<Self> {
        let place = Place::parse(url)?;
        let location = place.location.clone();
        let patience = options.connect_timeout.saturating_add(options.response_timeout);
        let network =
            Network::new(place, options).map_err(|source| server_error(&location, source))?;
        debug!(%location, "set up the online store on redis");
        Ok(Self { inner: Arc::new(Inner { network, location, patience }) })
    }

    fn network(&self) -> &Network {
        &self.inner.network
    }

    fn place_name(&self) -> &str {
        &self.inner.location
    }

    /// Waits for an answer, but not for ever.
    async fn wait<T>(&self, asked: impl Future<Output = Result<T, RedisError>>) -> Result<T> {
        let Inner { location, patience, .. } = &*self.inner;
        match tokio::time::timeout(*patience, asked).await {
            Ok(answer) => answer.map_err(|source| server_error(location, source)),
            Err(elapsed) => Err(Error::unavailable(format!(
                "`{location}` did not answer within {} ms",
                patience.as_millis()
            ))
            .with_source(elapsed)),
        }
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").field("location", &self.inner.location).finish()
    }
}

#[async_trait]
impl OnlineStore for RedisStore {
    fn location(&self) -> &str {
        &self.inner.location
    }

    async fn put(&self, entries: Vec<OnlineEntry>) -> Result<u64> {
        let ttls = entries.iter().map(crate::lifetime::ttl_ms).collect::<Result<Vec<_>>>()?;
        let mut written = 0_u64;
        for (entries, ttls) in entries.chunks(CHUNK_LEN).zip(ttls.chunks(CHUNK_LEN)) {
            let units: Vec<Unit<'_>> = entries
                .iter()
                .zip(ttls)
                .map(|(entry, ttl)| Unit {
                    key: entry.key.as_bytes(),
                    command: store_command(entry, *ttl),
                })
                .collect();
            self.wait(self.network().run(units, CHUNK_LEN))
                .await
                .map_err(|error| error.with_note(format!("{written} values were stored before")))?;
            written += entries.len() as u64;
        }
        Ok(written)
    }

    async fn get(&self, keys: &[String]) -> Result<Vec<Option<Bytes>>> {
        let keys: Vec<Bytes> =
            keys.iter().map(|key| Bytes::copy_from_slice(key.as_bytes())).collect();
        self.read_rows(&keys).await
    }

    async fn delete(&self, keys: &[String]) -> Result<u64> {
        let mut deleted = 0;
        for keys in keys.chunks(CHUNK_LEN) {
            // Keys of several slots cannot stand in one command.
            let step = if self.network().is_cluster() { 1 } else { CHUNK_LEN };
            let units: Vec<Unit<'_>> = keys
                .chunks(step)
                .map(|keys| Unit {
                    key: keys.first().map_or(&[], |key| key.as_bytes()),
                    command: redis::cmd("UNLINK").arg(keys).take(),
                })
                .collect();
            for answer in self.wait(self.network().run(units, CHUNK_LEN)).await? {
                let found = u64::from_redis_value(answer);
                deleted += found.map_err(|error| server_error(self.place_name(), error.into()))?;
            }
        }
        Ok(deleted)
    }

    async fn apply(&self, changes: Vec<OnlineChange>) -> Result<ApplySummary> {
        self.apply_rows(&changes).await
    }

    async fn fill(&self, rows: NewestRows) -> Result<ApplySummary> {
        self.fill_rows(rows.into_changes()).await
    }

    async fn rows(&self, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>> {
        self.read_rows(keys).await
    }

    async fn scan(&self, prefix: &[u8], cursor: Option<Bytes>) -> Result<ScanPage> {
        self.scan_rows(prefix, cursor).await
    }

    async fn ping(&self) -> Result<()> {
        let mut request = redis::pipe();
        request.cmd("PING");
        for line in self.wait(self.network().lines()).await? {
            self.wait(line.ask::<(String,)>(&request)).await?;
        }
        Ok(())
    }
}

fn store_command(entry: &OnlineEntry, ttl_ms: Option<u64>) -> Cmd {
    let value = entry.value.as_ref();
    match ttl_ms {
        None => redis::cmd("SET").arg(&entry.key).arg(value).take(),
        Some(ms) if ms % 1000 == 0 => {
            redis::cmd("SETEX").arg(&entry.key).arg(ms / 1000).arg(value).take()
        }
        Some(ms) => redis::cmd("PSETEX").arg(&entry.key).arg(ms).arg(value).take(),
    }
}

#[cfg(test)]
mod tests;
