//! The store on a Redis or Valkey server.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use icecore_core::{Error, OnlineEntry, OnlineStore, Result};
use redis::{Client, Cmd, ConnectionAddr, ConnectionInfo, FromRedisValue, Pipeline, RedisError};
use tracing::debug;

mod failure;
mod line;

use failure::server_error;
use line::Line;

/// Commands of one round trip at most: enough to hide the network, few enough that a chunk is
/// answered long before the response time is over and never fills the server's output buffer.
const CHUNK_LEN: usize = 1000;

/// How long sent bytes may stay unacknowledged before a connection counts as broken.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(5);

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
/// Values are strings, so any client reads them: `GET churn:u42`. One connection carries all
/// requests; it is made at the first one and made anew when it breaks. A batch is pipelined, not
/// transactional: after an error, a part of it may be stored, and repeating it is safe.
#[derive(Clone)]
pub struct RedisStore {
    inner: Arc<Inner>,
}

struct Inner {
    line: Arc<Line>,
    location: String,
    patience: Duration,
}

impl RedisStore {
    /// A store at `redis://[USER][:PASSWORD@]HOST[:PORT][/DB]`.
    ///
    /// The server is not contacted yet: a service may start before its cache does.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if that is no such address, `Unsupported` for `rediss://`.
    pub async fn connect(url: &str, options: RedisOptions) -> Result<Self> {
        let info = parse(url)?;
        let location = location(&info)?;
        let client = Client::open(info).map_err(|source| server_error(&location, source))?;
        let line = Arc::new(Line::new(client, &options));
        debug!(%location, "set up the online store on redis");
        let patience = options.connect_timeout.saturating_add(options.response_timeout);
        Ok(Self { inner: Arc::new(Inner { line, location, patience }) })
    }

    /// Does one round trip.
    async fn ask<T: FromRedisValue>(&self, request: &Pipeline) -> Result<T> {
        let Inner { line, location, patience } = &*self.inner;
        match tokio::time::timeout(*patience, line.ask(request)).await {
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
            let mut pipeline = Pipeline::with_capacity(entries.len());
            for (entry, ttl_ms) in entries.iter().zip(ttls) {
                pipeline.add_command(store_command(entry, *ttl_ms)).ignore();
            }
            self.ask::<()>(&pipeline)
                .await
                .map_err(|error| error.with_note(format!("{written} values were stored before")))?;
            written += entries.len() as u64;
        }
        Ok(written)
    }

    async fn get(&self, keys: &[String]) -> Result<Vec<Option<Bytes>>> {
        let mut values = Vec::with_capacity(keys.len());
        for keys in keys.chunks(CHUNK_LEN) {
            let mut request = redis::pipe();
            request.cmd("MGET").arg(keys);
            let (found,): (Vec<Option<Bytes>>,) = self.ask(&request).await?;
            if found.len() != keys.len() {
                return Err(Error::corrupt(format!(
                    "`{}` answered {} keys with {} values",
                    self.inner.location,
                    keys.len(),
                    found.len()
                )));
            }
            values.extend(found);
        }
        Ok(values)
    }

    async fn delete(&self, keys: &[String]) -> Result<u64> {
        let mut deleted = 0;
        for keys in keys.chunks(CHUNK_LEN) {
            let mut request = redis::pipe();
            request.cmd("UNLINK").arg(keys);
            let (found,): (u64,) = self.ask(&request).await?;
            deleted += found;
        }
        Ok(deleted)
    }

    async fn ping(&self) -> Result<()> {
        let mut request = redis::pipe();
        request.cmd("PING");
        self.ask::<(String,)>(&request).await?;
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

fn parse(url: &str) -> Result<ConnectionInfo> {
    const FORM: &str = "write `redis://[USER][:PASSWORD@]HOST[:PORT][/DB]`";
    if url.starts_with("rediss://") {
        return Err(Error::unsupported("redis over tls (`rediss://`) is not built in")
            .with_help("use `redis://` inside a private network, or through a local tls proxy"));
    }
    if !url.starts_with("redis://") {
        return Err(Error::invalid("that is not the address of a redis server").with_help(FORM));
    }
    // Neither the address nor the reason is repeated: both may hold a password.
    let info: ConnectionInfo = url.parse().map_err(|_: RedisError| {
        Error::invalid("the address of the redis server cannot be read")
            .with_help(FORM)
            .with_note("write reserved characters of a password as `%XX`")
    })?;
    let tcp = info.tcp_settings().clone().set_nodelay(true);
    // Callers with a deadline of their own give up before the response time is over, so only the
    // kernel notices a server whose machine is gone.
    #[cfg(target_os = "linux")]
    let tcp = tcp.set_user_timeout(UNACKNOWLEDGED_MAX);
    Ok(info.set_tcp_settings(tcp))
}

fn location(info: &ConnectionInfo) -> Result<String> {
    match info.addr() {
        ConnectionAddr::Tcp(host, port) if host.contains(':') => {
            Ok(format!("redis://[{host}]:{port}/{}", info.redis_settings().db()))
        }
        ConnectionAddr::Tcp(host, port) => {
            Ok(format!("redis://{host}:{port}/{}", info.redis_settings().db()))
        }
        _ => Err(Error::unsupported("redis is reached over tcp only")),
    }
}

#[cfg(test)]
mod tests;
