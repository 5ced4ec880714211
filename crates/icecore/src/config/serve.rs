//! Settings of the HTTP service.

use std::path::{Path, PathBuf};

use icecore_serve::{Role, TokenGrant};
use icecore_tls::TlsOptions;
use serde::{Deserialize, Serialize};

use super::Secret;

/// How scores are served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// The model that `/invocations` asks. Absent: the one that all scoring jobs score with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
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

/// A token of the service, and what it is good for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenConfig {
    /// The token. Take it from the environment: `"${FEATURES_TOKEN}"`.
    pub token: Secret,
    /// What it may ask for: `scores`, `features`, `models`, `metrics`; empty for everything.
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
            model: None,
        }
    }
}
