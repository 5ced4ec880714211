//! What every request passes: its span, its deadline, its token; and the short way of scores.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::{Router, http};
use hyper::body::Incoming;
use hyper::service::Service as LibraryService;
use icecore_traces::continue_trace;
use tokio::time::{Instant, timeout};
use tower_service::Service;
use tracing::field::Empty;
use tracing::{Instrument, Span, info_span};

use super::arriving::arriving;
use super::reply::{Problem, Whole, whole};
use super::{Shared, named, router};
use crate::ScoreService;
use crate::auth::{Grant, Role};
use crate::openapi;
use crate::route::{Route, decode_key};

type Answered = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

/// Answers requests. Scores by key are most of them, and answered in microseconds: they take a way
/// of their own, past the router and its layers.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    service: Arc<ScoreService>,
    router: Router,
}

impl Entry {
    pub(super) fn new(service: Arc<ScoreService>) -> Self {
        Self { router: router(Arc::clone(&service)), service }
    }
}

impl LibraryService<http::Request<Incoming>> for Entry {
    type Response = Response;
    type Error = Infallible;
    type Future = Answered;

    fn call(&self, request: http::Request<Incoming>) -> Answered {
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        if is_read && self.service.routes.find(request.uri().path()).is_some() {
            let service = Arc::clone(&self.service);
            let (head, _) = request.into_parts();
            return Box::pin(
                async move { Ok(scored(&service, &head, None).await.map(Body::from)) },
            );
        }
        Box::pin(self.router.clone().call(request.map(Body::new)))
    }
}

/// The answer to a request for a score.
pub(super) async fn scored(service: &ScoreService, head: &Parts, span: Option<Span>) -> Whole {
    let started = Instant::now();
    let path = head.uri.path();
    let Some((route, sent)) = service.routes.find(path) else {
        return Problem::no_route(path, &openapi::paths(service)).whole();
    };
    let span = span.unwrap_or_else(|| score_span(&head.method, route));
    continue_trace(&span, &head.headers);
    let answered = score(service, &head.headers, route, sent);
    let answered = bounded(service, answered.instrument(span.clone())).await;
    let response = answered.unwrap_or_else(Problem::whole);
    finish(&span, response.status());
    service.telemetry.scored(route, response.status(), started.elapsed());
    response
}

/// The span of a request for a score, which is not part of the caller's trace yet.
pub(super) fn score_span(method: &Method, route: &Route) -> Span {
    span(method, &route.declared.path)
}

async fn score(service: &ScoreService, headers: &HeaderMap, route: &Route, sent: &str) -> Whole {
    let authorization = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    if let Err(refusal) = granted(service, authorization, Some(Role::Scores)) {
        return refusal.whole();
    }
    let key = match decode_key(sent) {
        Ok(key) => key,
        Err(error) => return Problem::of(StatusCode::BAD_REQUEST, &error).whole(),
    };
    let Some(_place) = service.admit() else {
        return Problem::too_busy(service.options.max_in_flight).whole();
    };
    let answer = service.score(route, &key).await;
    let sampled = service.sampled(headers);
    if let Some((log, sampled)) = &sampled {
        log.score(sampled, &answer);
    }
    named(whole(StatusCode::OK, &answer), sampled)
}

/// An answer, or that it took too long.
async fn bounded<T>(service: &ScoreService, answer: impl Future<Output = T>) -> Result<T, Problem> {
    let limit = service.options.request_timeout;
    timeout(limit, answer).await.map_err(|_| Problem::timed_out(limit))
}

/// Lets only those through who carry a token that is good for the path.
pub(super) async fn authorize(
    State(service): Shared,
    mut request: Request,
    next: Next,
) -> Response {
    let role = Role::of_path(request.uri().path());
    let authorization = request.headers().get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    match granted(&service, authorization, role) {
        Ok(grant) => {
            request.extensions_mut().insert(Arc::clone(grant));
            next.run(request).await
        }
        Err(refusal) => (*refusal).into_response(),
    }
}

/// What a request may do that brings this in its header of authorization.
pub(super) fn granted<'s>(
    service: &'s ScoreService,
    authorization: Option<&[u8]>,
    role: Option<Role>,
) -> Result<&'s Arc<Grant>, Box<Problem>> {
    let sent = authorization.and_then(|value| {
        let (scheme, rest) = value.split_at_checked(b"Bearer ".len())?;
        scheme.eq_ignore_ascii_case(b"Bearer ").then(|| rest.trim_ascii())
    });
    let grant = service.access.grant(sent).ok_or_else(|| Box::new(Problem::unauthorized()))?;
    if !grant.allows(role) {
        return Err(Box::new(Problem::denied()));
    }
    if !grant.is_in_rate() {
        return Err(Box::new(Problem::too_often()));
    }
    Ok(grant)
}

/// Bounds and measures every request but those for scores, which are bounded and measured above.
pub(super) async fn observe(State(service): Shared, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let label = label(&service, request.uri());
    let span = span(request.method(), &label);
    continue_trace(&span, request.headers());
    let (request, awaited) = arriving(request, service.options.idle_timeout);
    let answered = bounded(&service, next.run(request).instrument(span.clone())).await;
    let response = match answered {
        // Whatever the time was that is over, it was the client who had it.
        _ if awaited.is_true() => Problem::no_body().into_response(),
        Ok(response) => response,
        Err(late) => late.into_response(),
    };
    finish(&span, response.status());
    service.telemetry.request(&label, response.status().as_u16(), started.elapsed());
    response
}

/// The route of a path, as measurements name it.
fn label(service: &ScoreService, uri: &http::Uri) -> String {
    match uri.path() {
        path @ ("/healthz"
        | "/health"
        | "/ping"
        | "/readyz"
        | "/metrics"
        | "/openapi.json"
        | "/get-online-features"
        | "/push"
        | "/write-to-online-store"
        | "/materialize"
        | "/materialize-incremental"
        | "/version"
        | "/invocations"
        | "/v2") => path.to_owned(),
        path if path.starts_with("/v2/models/") => match path.rsplit('/').next() {
            Some("infer") => "/v2/models/{name}/infer".to_owned(),
            _ => "/v2/models/{name}".to_owned(),
        },
        // Paths that nobody declared share a label: anyone could make up any number of them.
        path => service
            .routes
            .find(path)
            .map_or_else(|| "none".to_owned(), |(route, _)| route.declared.path.clone()),
    }
}

fn span(method: &Method, route: &str) -> Span {
    info_span!(
        "request",
        otel.name = format!("{method} {route}"),
        otel.kind = "server",
        http.request.method = %method,
        http.route = route,
        http.response.status_code = Empty,
        otel.status_code = Empty,
    )
}

fn finish(span: &Span, status: StatusCode) {
    span.record("http.response.status_code", status.as_u16());
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
}
