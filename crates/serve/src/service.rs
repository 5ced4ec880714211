//! From a key to a score: the cache, the lakehouse, the default.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::HeaderMap;
use icecore_core::{Clock, Error, ErrorKind, OnlineStore, Result};
use icecore_online::CachedStore;
use icecore_push::Pushes;
use icecore_tls::TlsOptions;
use serde::Serialize;
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout};
use tracing::{Instrument, debug, info_span, warn};

use crate::answer::{Answer, Outcome, Reason};
use crate::auth::{Access, TokenGrant};
use crate::breaker::Breaker;
use crate::lake::Apart;
use crate::log::{LogOptions, RequestLog, RequestSink, Sampled, Writer};
use crate::models::{ModelSource, Models};
use crate::places::{Place, Places};
use crate::route::{Route, Routes};
use crate::telemetry::Telemetry;
use crate::{LakeScore, OnlineFeatures, ScoreLookup, ServeOptions};

/// How long a check of readiness waits for each part.
const CHECK_DEADLINE: Duration = Duration::from_secs(1);

/// Answers requests for scores. [`serve`](crate::serve) puts it on a socket.
#[derive(Debug)]
pub struct ScoreService {
    store: Option<Arc<dyn OnlineStore>>,
    lake: Arc<dyn ScoreLookup>,
    clock: Arc<dyn Clock>,
    /// The memory in front of the store, if the store has such.
    memory: Option<CachedStore>,
    in_flight: Places,
    cache_breaker: Breaker,
    /// One for each route: a table that cannot be read is no reason not to read the others.
    lake_breakers: Vec<Breaker>,
    features: Option<OnlineFeatures>,
    models: Option<Models>,
    pub(crate) log: Option<RequestLog>,
    log_writer: Mutex<Option<Writer>>,
    pushes: Option<Arc<Pushes>>,
    pub(crate) access: Access,
    pub(crate) routes: Routes,
    pub(crate) options: ServeOptions,
    pub(crate) telemetry: Telemetry,
}

impl ScoreService {
    /// A service over a cache (if there is one) and a lakehouse.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a route that cannot be meant, for two that cannot be told apart, for an
    /// empty token, for certificates that cannot be used, and for options that let no client in.
    pub fn new(
        store: Option<Arc<dyn OnlineStore>>,
        lake: Arc<dyn ScoreLookup>,
        clock: Arc<dyn Clock>,
        mut options: ServeOptions,
    ) -> Result<Self> {
        options.check()?;
        let mut tokens = std::mem::take(&mut options.tokens);
        tokens.extend(options.token.take().map(TokenGrant::new));
        let access = Access::new(tokens)?;
        options.tls.as_ref().map_or(Ok(()), TlsOptions::check)?;
        let routes = Routes::try_new(std::mem::take(&mut options.routes))?;
        let in_flight = Places::new(options.max_in_flight);
        let lake_breakers = routes.iter().map(|_| Breaker::new(options.breaker)).collect();
        let telemetry = Telemetry::new(routes.iter().map(|route| route.declared.path.as_str()));
        Ok(Self {
            store,
            lake,
            clock,
            memory: None,
            in_flight,
            cache_breaker: Breaker::new(options.breaker),
            lake_breakers,
            features: None,
            models: None,
            log: None,
            log_writer: Mutex::default(),
            pushes: None,
            access,
            routes,
            options,
            telemetry,
        })
    }

    /// Answers with scores that are in the memory of this cache, which is the store of this service,
    /// without asking for them.
    #[must_use]
    pub fn with_memory(mut self, cached: CachedStore) -> Self {
        self.memory = Some(cached);
        self
    }

    /// Asks the lakehouse on this runtime, whichever thread a request is answered on.
    pub(crate) fn asking_on(mut self, runtime: Handle) -> Self {
        self.lake = Arc::new(Apart::new(self.lake, runtime));
        self
    }

    /// Answers requests for features, too.
    #[must_use]
    pub fn with_features(mut self, features: OnlineFeatures) -> Self {
        self.features = Some(features);
        self
    }

    /// Answers requests for predictions, too.
    #[must_use]
    pub fn with_models(mut self, source: Arc<dyn ModelSource>) -> Self {
        self.models = Some(Models::new(source));
        self
    }

    /// Whether an address may be listened on: others reach it only with a token, or with a
    /// certificate of their own.
    ///
    /// # Errors
    ///
    /// `Denied` for an address other than loopback where neither is asked for.
    pub fn check_address(&self, address: SocketAddr) -> Result<()> {
        let asks_for_certificates =
            self.options.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        if address.ip().to_canonical().is_loopback()
            || self.access.is_guarded()
            || asks_for_certificates
        {
            return Ok(());
        }
        let message = format!("`{address}` can be reached by others, and there is no token");
        Err(Error::new(ErrorKind::Denied, message)
            .with_help("set `serve.token` in icecore.toml, or listen on 127.0.0.1"))
    }

    /// Logs a share of the requests.
    #[must_use]
    pub fn with_log(mut self, sink: Arc<dyn RequestSink>, options: LogOptions) -> Self {
        let (log, writer) = RequestLog::new(sink, Arc::clone(&self.clock), options);
        self.log = Some(log);
        self.log_writer = Mutex::new(Some(writer));
        self
    }

    /// The log, and as what it has a request, if it is one of those that are logged.
    pub(crate) fn sampled(&self, headers: &HeaderMap) -> Option<(&RequestLog, Sampled)> {
        let log = self.log.as_ref()?;
        Some((log, log.sampled(headers)?))
    }

    /// What takes logged rows to their sink; there is one, once.
    pub(crate) fn take_log_writer(&self) -> Option<Writer> {
        self.log_writer.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Takes events that clients push, too, and commits them as long as it serves.
    #[must_use]
    pub fn with_pushes(mut self, pushes: Arc<Pushes>) -> Self {
        self.pushes = Some(pushes);
        self
    }

    pub(crate) fn now(&self) -> icecore_core::Timestamp {
        self.clock.now()
    }

    pub(crate) fn pushes(&self) -> Result<&Arc<Pushes>> {
        self.pushes.as_ref().ok_or_else(|| Error::not_found("this service has no push sources"))
    }

    pub(crate) fn features(&self) -> Result<&OnlineFeatures> {
        let none = || Error::not_found("this service has no features");
        self.features.as_ref().ok_or_else(none)
    }

    pub(crate) fn models(&self) -> Result<&Models> {
        self.models.as_ref().ok_or_else(|| Error::not_found("this service has no models"))
    }

    /// A place among the requests that are worked on, if there is one left.
    pub(crate) fn admit(&self) -> Option<Place<'_>> {
        self.in_flight.take()
    }

    /// The score of an entity that is in memory, and its path. Nothing where it has to be looked
    /// for, or something else than a score is there. `room` is where the key is written.
    pub(crate) fn remembered(
        &self,
        route: &Route,
        key: &str,
        room: &mut String,
        now: Instant,
    ) -> Option<(f64, &str)> {
        let memory = self.memory.as_ref()?;
        route.write_cache_key(key, room)?;
        // The breaker is not asked: it would take this for the request that tries the store again.
        let probability = parsed(&memory.peek(room, now)?)?;
        Some((probability, cache_kind(memory.location())))
    }

    /// The score of an entity. There always is an answer (C164, C165), and it says its source
    /// (C166).
    pub(crate) async fn score<'a>(&'a self, route: &'a Route, key: &'a str) -> Answer<'a> {
        let started = Instant::now();
        let (outcome, latency_path) = match self.cached(route, key).await {
            Some((probability, path)) => (Outcome::Cache(probability), path),
            None => match self.stored(route, key).await {
                Ok(Some(score)) => (Outcome::Lakehouse(score), self.lake.latency_path()),
                Ok(None) => (Outcome::Default(None), "no_score_found"),
                Err(reason) => (Outcome::Default(Some(reason)), "no_score_found"),
            },
        };
        let answer = Answer { route, key, outcome, latency_path };
        self.telemetry.answer(&answer, started.elapsed());
        answer
    }

    /// The fast path: nothing if the cache has no score, is down or takes too long.
    async fn cached(&self, route: &Route, key: &str) -> Option<(f64, &str)> {
        let (store, cache_key) = (self.store.as_ref()?, route.cache_key(key)?);
        let path = &route.declared.path;
        let keys = [cache_key];
        if !self.cache_breaker.may_ask() {
            self.telemetry.fallback(path, "cache_circuit_open");
            return None;
        }
        let value = match timeout(self.options.cache_deadline, store.get(&keys))
            .instrument(info_span!("look up the score in the cache", store = store.location()))
            .await
        {
            Ok(Ok(values)) => {
                self.cache_breaker.succeeded();
                values.into_iter().next().flatten()?
            }
            Ok(Err(error)) => {
                self.cache_breaker.failed();
                warn!(route = path, %error, "the cache is unavailable");
                self.telemetry.fallback(path, "cache_unavailable");
                return None;
            }
            Err(_) => {
                self.cache_breaker.failed();
                debug!(route = path, "the cache takes too long");
                self.telemetry.fallback(path, "cache_timeout");
                return None;
            }
        };
        let Some(probability) = parsed(&value) else {
            warn!(route = path, "the cache has something else than a score");
            self.telemetry.fallback(path, "cache_corrupt");
            return None;
        };
        Some((probability, cache_kind(store.location())))
    }

    /// The slow path: the newest score that the lakehouse has.
    async fn stored(&self, route: &Route, key: &str) -> Result<Option<LakeScore>, Reason> {
        let (declared, breaker) = (&route.declared, self.lake_breakers.get(route.at));
        if breaker.is_some_and(|breaker| !breaker.may_ask()) {
            return Err(Reason::LakehouseCircuitOpen);
        }
        let lookup = self.lake.lookup(declared, key);
        let span = info_span!("look up the score in the lakehouse", table = %declared.table);
        let found = timeout(self.options.lake_deadline, lookup).instrument(span).await;
        match (&found, breaker) {
            (Ok(Ok(_)), Some(breaker)) => breaker.succeeded(),
            (Ok(Err(_)) | Err(_), Some(breaker)) => breaker.failed(),
            (_, None) => {}
        }
        match found {
            Ok(Ok(None)) => Ok(None),
            Ok(Ok(Some(mut score))) => {
                let age = self.clock.now().date().days().saturating_sub(score.score_date.days());
                if declared.max_age_days.is_some_and(|max| i64::from(age) > i64::from(max)) {
                    return Err(Reason::ScoreTooOld(score.score_date));
                }
                if !score.probability.is_finite() {
                    return Ok(None);
                }
                score.probability = rounded(score.probability, declared.round);
                Ok(Some(score))
            }
            Ok(Err(error)) => {
                warn!(route = declared.path, %error, "the lakehouse is unavailable");
                Err(Reason::LakehouseUnavailable)
            }
            Err(_) => {
                warn!(route = declared.path, "the lakehouse takes too long");
                Err(Reason::LakehouseTimeout)
            }
        }
    }

    /// What the service could answer with now.
    pub(crate) async fn readiness(&self) -> Readiness {
        let cache = match &self.store {
            None => "none",
            Some(store) => word(&timeout(CHECK_DEADLINE, store.ping()).await),
        };
        let mut lakehouse = "ok";
        for route in self.routes.iter() {
            let check = self.lake.check(&route.declared);
            if word(&timeout(CHECK_DEADLINE, check).await) != "ok" {
                lakehouse = "unavailable";
                break;
            }
        }
        let status = match (cache, lakehouse) {
            ("ok" | "none", "ok") => "ready",
            ("ok", _) | (_, "ok") => "degraded",
            _ => "unavailable",
        };
        Readiness { status, cache, lakehouse }
    }
}

/// What a service could answer with.
#[derive(Debug, Serialize)]
pub(crate) struct Readiness {
    pub(crate) status: &'static str,
    cache: &'static str,
    lakehouse: &'static str,
}

fn word<E>(checked: &Result<Result<()>, E>) -> &'static str {
    if matches!(checked, Ok(Ok(()))) { "ok" } else { "unavailable" }
}

/// A score as caches have it; nothing for something else.
fn parsed(value: &[u8]) -> Option<f64> {
    let number: f64 = std::str::from_utf8(value).ok()?.trim().parse().ok()?;
    number.is_finite().then_some(number)
}

/// The kind of a cache, from its location: `redis`, `embedded`.
fn cache_kind(location: &str) -> &str {
    location.split_once(':').map_or(location, |(kind, _)| kind)
}

/// Rounds half away from zero, as materialization does.
fn rounded(value: f64, decimals: Option<u32>) -> f64 {
    match decimals.and_then(|decimals| i32::try_from(decimals).ok()) {
        None => value,
        Some(decimals) => {
            let scale = 10_f64.powi(decimals.min(15));
            (value * scale).round() / scale
        }
    }
}
