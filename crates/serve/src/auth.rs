//! Who may ask for what, and how often.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use icecore_core::{Error, Result};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// What a token may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Role {
    /// Scores by key.
    Scores,
    /// Features by entity.
    Features,
    /// Predictions of models.
    Models,
    /// Measurements.
    Metrics,
    /// Pushing events, and bringing the online store up to the tables.
    Push,
}

impl Role {
    /// What a path is for; `None` for what every token may read.
    pub(crate) fn of_path(path: &str) -> Option<Self> {
        match path {
            "/openapi.json" => None,
            "/metrics" => Some(Self::Metrics),
            "/get-online-features" => Some(Self::Features),
            "/push" | "/write-to-online-store" | "/materialize" | "/materialize-incremental" => {
                Some(Self::Push)
            }
            "/invocations" | "/v2" | "/version" => Some(Self::Models),
            path if path.starts_with("/v2/") => Some(Self::Models),
            _ => Some(Self::Scores),
        }
    }
}

/// A bearer token, and what it is good for.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenGrant {
    /// What the request has to carry.
    pub token: String,
    /// What it may ask for; empty for everything.
    pub roles: Vec<Role>,
    /// The feature views whose values it may see; absent for all.
    pub views: Option<Vec<String>>,
    /// Requests in a second, and as many at once; absent for any number.
    pub requests_per_second: Option<u32>,
}

impl TokenGrant {
    /// A token that may ask for everything.
    pub fn new(token: impl Into<String>) -> Self {
        Self { token: token.into(), roles: Vec::new(), views: None, requests_per_second: None }
    }
}

impl fmt::Debug for TokenGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenGrant")
            .field("token", &"hidden")
            .field("roles", &self.roles)
            .field("views", &self.views)
            .field("requests_per_second", &self.requests_per_second)
            .finish()
    }
}

/// The tokens of a service.
#[derive(Debug)]
pub(crate) struct Access {
    grants: Vec<Arc<Grant>>,
    /// What requests have without a token, where there are none.
    everyone: Arc<Grant>,
}

/// What a request may do.
#[derive(Debug)]
pub(crate) struct Grant {
    declared: TokenGrant,
    rate: Option<Rate>,
}

impl Access {
    pub(crate) fn new(tokens: Vec<TokenGrant>) -> Result<Self> {
        for (at, grant) in tokens.iter().enumerate() {
            if grant.token.trim().is_empty() {
                return Err(Error::invalid("a token of the service is empty").with_help(
                    "leave it out for a service on loopback, or choose a long random one",
                ));
            }
            if grant.requests_per_second == Some(0) {
                return Err(Error::invalid("a token of the service has no request in a second")
                    .with_help("leave the rate out for any number, or leave the token out"));
            }
            let mut before = tokens.iter().take(at);
            if before.any(|other| other.token.trim() == grant.token.trim()) {
                // Which one it is stays out of the message: logs have no token.
                return Err(Error::invalid(format!(
                    "token {} of the service was given before",
                    at + 1
                ))
                .with_help("give each token once, with all that it may ask for"));
            }
        }
        let grant = |declared: TokenGrant| {
            let rate = declared.requests_per_second.map(Rate::new);
            Arc::new(Grant { declared, rate })
        };
        let everyone = grant(TokenGrant::new(""));
        Ok(Self { grants: tokens.into_iter().map(grant).collect(), everyone })
    }

    /// Whether requests need a token.
    pub(crate) fn is_guarded(&self) -> bool {
        !self.grants.is_empty()
    }

    /// What a request with this token may do. Every token is compared, in a time that does not
    /// depend on where they differ.
    pub(crate) fn grant(&self, sent: Option<&[u8]>) -> Option<&Arc<Grant>> {
        if !self.is_guarded() {
            return Some(&self.everyone);
        }
        let sent = sent?;
        let mut found = None;
        for grant in &self.grants {
            if is_equal(sent, grant.declared.token.trim().as_bytes()) {
                found = Some(grant);
            }
        }
        found
    }
}

impl Grant {
    pub(crate) fn allows(&self, role: Option<Role>) -> bool {
        let roles = &self.declared.roles;
        role.is_none_or(|role| roles.is_empty() || roles.contains(&role))
    }

    /// Fails for a view whose values may not be seen.
    pub(crate) fn check_views<'v>(
        &self,
        views: impl IntoIterator<Item = &'v String>,
    ) -> Result<()> {
        let Some(allowed) = &self.declared.views else { return Ok(()) };
        match views.into_iter().find(|view| !allowed.contains(view)) {
            None => Ok(()),
            Some(view) => Err(Error::new(
                icecore_core::ErrorKind::Denied,
                format!("this token may not use feature view `{view}`"),
            )),
        }
    }

    /// Takes a place in the rate; `false` where there is none left.
    pub(crate) fn is_in_rate(&self) -> bool {
        self.rate.as_ref().is_none_or(Rate::take)
    }
}

/// A bound on requests in a second (generic cell rate algorithm, ITU-T I.371, annex A).
#[derive(Debug)]
struct Rate {
    started: Instant,
    /// Nanoseconds between requests, and how far ahead of them bursts may be.
    every: u64,
    burst: u64,
    /// When the next one would be due if they came evenly.
    due: AtomicU64,
}

impl Rate {
    fn new(per_second: u32) -> Self {
        let every = 1_000_000_000 / u64::from(per_second.max(1));
        Self { started: Instant::now(), every, burst: 1_000_000_000, due: AtomicU64::new(0) }
    }

    fn take(&self) -> bool {
        self.take_at(u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    fn take_at(&self, now: u64) -> bool {
        self.due
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |due| {
                let next = due.max(now).saturating_add(self.every);
                (next <= now.saturating_add(self.burst)).then_some(next)
            })
            .is_ok()
    }
}

/// Compares in a time that does not depend on where the two differ.
fn is_equal(left: &[u8], right: &[u8]) -> bool {
    let difference = left.iter().zip(right).fold(0, |all, (l, r)| all | (l ^ r));
    left.len() == right.len() && std::hint::black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_allows_a_burst_and_then_so_many_in_a_second() {
        let rate = Rate::new(10);
        assert_eq!((0..100).filter(|_| rate.take_at(0)).count(), 10);
        assert_eq!((0..100).filter(|_| rate.take_at(350_000_000)).count(), 3);
    }

    #[test]
    fn a_token_is_given_once_and_may_ask_for_something() {
        let mut narrow = TokenGrant::new(" secret ");
        narrow.roles = vec![Role::Metrics];
        let error = Access::new(vec![TokenGrant::new("secret"), narrow]).unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
        let mut never = TokenGrant::new("other");
        never.requests_per_second = Some(0);
        Access::new(vec![never]).unwrap_err();
        assert!(Access::new(vec![TokenGrant::new("secret"), TokenGrant::new("other")]).is_ok());
    }

    #[test]
    fn a_token_sees_its_views_and_does_what_its_roles_say() {
        let mut declared = TokenGrant::new("secret");
        declared.roles = vec![Role::Features];
        declared.views = Some(vec!["account".to_owned()]);
        assert!(!format!("{declared:?}").contains("secret"));
        let access = Access::new(vec![declared]).unwrap();
        assert!(access.grant(None).is_none() && access.grant(Some(b"secre")).is_none());
        let grant = access.grant(Some(b"secret")).unwrap();
        assert!(grant.allows(Role::of_path("/get-online-features")) && grant.allows(None));
        assert!(!grant.allows(Role::of_path("/churn-score/u1")));
        assert!(!grant.allows(Role::of_path("/v2/models/m/infer")));
        assert!(!grant.allows(Role::of_path("/materialize")));
        assert!(grant.check_views([&"account".to_owned()]).is_ok());
        assert!(grant.check_views([&"account".to_owned(), &"salary".to_owned()]).is_err());
    }
}
