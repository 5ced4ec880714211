//! Settings of the HTTP service.

mod limits;

use std::path::{Path, PathBuf};
use std::time::Duration;

use icecore_core::{Error, Result, Span, TableName};
use icecore_serve::{LogOptions, Role, TokenGrant};
use icecore_tls::TlsOptions;
use serde::{Deserialize, Serialize};

use super::Secret;

/// How scores are served.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServeConfig {
    /// The address to listen on. Port 0 picks one.
    pub listen: String,
    /// The bearer token that requests must carry. Addresses other than loopback need one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// More tokens, each with what it is good for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<TokenConfig>,
    /// The certificates of its socket. Absent: connections are not encrypted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsConfig>,
    /// Which requests are kept in tables. Absent: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<LogConfig>,
    /// The model that `/invocations` asks. Absent: the one that all scoring jobs score with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// How long the cache may take for a score before the lakehouse is asked.
    pub cache_deadline: Span,
    /// How long the lakehouse may take for a score before the default is the answer.
    pub lake_deadline: Span,
    /// How long the online store may take for features before the tables are asked.
    pub feature_deadline: Span,
    /// How long the tables may take for features.
    pub feature_lake_deadline: Span,
    /// How long a request may take in all.
    pub request_timeout: Span,
    /// How long requests may go on after the shutdown has begun.
    pub drain_timeout: Span,
    /// How long a client may be silent.
    pub idle_timeout: Span,
    /// The largest body of a request, such as `4MiB`.
    pub body_limit: String,
    /// Requests that are worked on at once; those beyond are answered with 503.
    pub max_in_flight: usize,
    /// Connections at once; those beyond wait until one is closed.
    pub connections_max: usize,
    /// Entities of one request for features.
    pub entities_max: usize,
    /// Failures in a row after which a part is left alone.
    pub breaker_failures: u32,
    /// For how long it is left alone, before one request tries again.
    pub breaker_pause: Span,
}

/// The files of the socket's certificates: PEM, relative to the project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// The server's certificate, followed by those that lead to its authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authorities of clients' certificates. Absent: clients show none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ca: Option<PathBuf>,
}

/// Which requests are kept in tables, and for how long they wait for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// The share of requests, from 0 to 1.
    pub sample: f64,
    /// The namespace of the tables `features_SERVICE`, `model_NAME` and `scores_JOB`.
    pub namespace: String,
    /// How often rows are committed.
    pub flush: Span,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { sample: 1.0, namespace: "serving".to_owned(), flush: Span::from_micros(60_000_000) }
    }
}

impl LogConfig {
    /// How the service logs.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a share that is none, a time that is shorter than a second, and a
    /// namespace that no table can be in.
    pub(crate) fn options(&self) -> Result<LogOptions> {
        TableName::parse(&format!("{}.log", self.namespace))?;
        if self.flush.micros() < 1_000_000 {
            return Err(Error::invalid("the log is flushed more often than once a second")
                .with_help("each flush is a commit: write `flush = \"1m\"` in `[serve.log]`"));
        }
        let every = Duration::from_micros(self.flush.micros().unsigned_abs());
        Ok(LogOptions::default().with_sample(self.sample)?.with_flush_every(every))
    }
}

/// A token of the service, and what it is good for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenConfig {
    /// The token. Take it from the environment: `"${FEATURES_TOKEN}"`.
    pub token: Secret,
    /// What it may ask for: `scores`, `features`, `models`, `metrics`, `push`; empty for everything.
    #[serde(default)]
    pub roles: Vec<Role>,
    /// The feature views whose values it may see; absent for all.
    #[serde(default)]
    pub views: Option<Vec<String>>,
    /// Requests in a second; absent for any number.
    #[serde(default)]
    pub requests_per_second: Option<u32>,
}

impl ServeConfig {
    /// The tokens, as the service takes them.
    pub(crate) fn grants(&self) -> Vec<TokenGrant> {
        let grant = |token: &TokenConfig| {
            let mut grant = TokenGrant::new(token.token.reveal());
            grant.roles.clone_from(&token.roles);
            grant.views.clone_from(&token.views);
            grant.requests_per_second = token.requests_per_second;
            grant
        };
        self.tokens.iter().map(grant).collect()
    }

    /// The certificates of a project in `dir`, as sockets take them.
    pub(crate) fn certificates(&self, dir: &Path) -> Option<TlsOptions> {
        let tls = self.tls.as_ref()?;
        let options = TlsOptions::new(dir.join(&tls.certificate), dir.join(&tls.key));
        Some(match &tls.client_ca {
            Some(authorities) => options.with_client_ca(dir.join(authorities)),
            None => options,
        })
    }
}

impl Default for ServeConfig {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8080".to_owned(),
            token: None,
            tokens: Vec::new(),
            tls: None,
            log: None,
            model: None,
            cache_deadline: Span::from_micros(5_000),
            lake_deadline: Span::from_micros(500_000),
            feature_deadline: Span::from_micros(100_000),
            feature_lake_deadline: Span::from_micros(2_000_000),
            request_timeout: Span::from_micros(5_000_000),
            drain_timeout: Span::from_micros(30_000_000),
            idle_timeout: Span::from_micros(75_000_000),
            body_limit: "4MiB".to_owned(),
            max_in_flight: 1_024,
            connections_max: 8_192,
            entities_max: 10_000,
            breaker_failures: 5,
            breaker_pause: Span::from_micros(500_000),
        }
    }
}
