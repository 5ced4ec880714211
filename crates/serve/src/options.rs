//! How scores are served.

use std::fmt;
use std::time::Duration;

use icecore_core::{Error, Result};
use icecore_tls::TlsOptions;

use crate::{BreakerOptions, ScoreRoute, TokenGrant};

/// How scores are served.
#[derive(Clone)]
pub struct ServeOptions {
    /// The routes.
    pub routes: Vec<ScoreRoute>,
    /// How long the cache may take before the lakehouse is asked.
    pub cache_deadline: Duration,
    /// How long the lakehouse may take before the default is the answer.
    pub lake_deadline: Duration,
    /// How long a request may take in all, whatever it asks for.
    pub request_timeout: Duration,
    /// How long requests that are in flight may go on after the shutdown has begun.
    pub drain_timeout: Duration,
    /// The bearer token that requests must carry, except those for `/healthz` and `/readyz`.
    /// Addresses other than loopback need one.
    pub token: Option<String>,
    /// More tokens, each with what it is good for.
    pub tokens: Vec<TokenGrant>,
    /// The certificates of the socket. Absent: connections are not encrypted.
    pub tls: Option<TlsOptions>,
    /// The largest body of a request, in bytes.
    pub body_bytes_max: usize,
    /// Score requests at once; those beyond are answered with 503.
    pub max_in_flight: usize,
    /// Connections at once, at least one; those beyond wait in the system's queue until one is
    /// closed.
    pub connections_max: usize,
    /// How long a client may be silent: without a request, or in the middle of a request. Its
    /// connection is closed then. It is more than nothing.
    pub idle_timeout: Duration,
    /// How long a client may take nothing of what it is sent, not how long all of it may take. Its
    /// connection is closed then. It is more than nothing; if it is less than `drain_timeout`, no
    /// shutdown waits for clients that have stopped reading.
    pub send_timeout: Duration,
    /// When the cache, or a route's table, is left alone that keeps failing.
    pub breaker: BreakerOptions,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            routes: Vec::new(),
            cache_deadline: Duration::from_millis(5),
            lake_deadline: Duration::from_millis(500),
            request_timeout: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(30),
            token: None,
            tokens: Vec::new(),
            tls: None,
            body_bytes_max: 4 << 20,
            max_in_flight: 1024,
            connections_max: 8192,
            idle_timeout: Duration::from_secs(75),
            send_timeout: Duration::from_secs(10),
            breaker: BreakerOptions::default(),
        }
    }
}

impl ServeOptions {
    /// Refuses what would let no client in.
    pub(crate) fn check(&self) -> Result<()> {
        if self.connections_max == 0 {
            return Err(Error::invalid("`connections_max` is 0: nobody could connect")
                .with_help("set it to 1 or more"));
        }
        if self.breaker.failures == 0 {
            return Err(Error::invalid("`breaker.failures` is 0: no part would ever be asked")
                .with_help("set it to 1 or more"));
        }
        for (name, timeout) in
            [("idle_timeout", self.idle_timeout), ("send_timeout", self.send_timeout)]
        {
            if timeout.is_zero() {
                let message = format!("`{name}` is 0: every connection would be closed");
                return Err(Error::invalid(message).with_help("set it to a second or more"));
            }
        }
        Ok(())
    }
}

impl fmt::Debug for ServeOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServeOptions")
            .field("routes", &self.routes)
            .field("cache_deadline", &self.cache_deadline)
            .field("lake_deadline", &self.lake_deadline)
            .field("request_timeout", &self.request_timeout)
            .field("drain_timeout", &self.drain_timeout)
            .field("token", &self.token.as_ref().map(|_| "hidden"))
            .field("tokens", &self.tokens)
            .field("tls", &self.tls)
            .field("body_bytes_max", &self.body_bytes_max)
            .field("max_in_flight", &self.max_in_flight)
            .field("connections_max", &self.connections_max)
            .field("idle_timeout", &self.idle_timeout)
            .field("send_timeout", &self.send_timeout)
            .field("breaker", &self.breaker)
            .finish()
    }
}
