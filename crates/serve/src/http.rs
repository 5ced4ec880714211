//! The service on a socket.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::{Listener, ListenerExt};
use icecore_core::{Error, Result};
use icecore_tls::{Connection, Protocol, TlsListener};
use icecore_traces::continue_trace;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::{Instant, interval, sleep, timeout};
use tracing::field::Empty;
use tracing::{Instrument, info, info_span, warn};

use crate::auth::Role;
use crate::log::{REQUEST_ID, RequestLog, Sampled};
use crate::route::decode_key;
use crate::{ScoreService, openapi};

mod features;
mod models;
mod reply;

use reply::{Problem, json};

/// How often measurements are folded into their buckets.
const FOLD_EVERY: Duration = Duration::from_secs(5);

type Shared = State<Arc<ScoreService>>;

/// Answers requests on a socket until `shutdown` is over, and then those that are in flight.
///
/// # Errors
///
/// `InvalidInput` if the socket is reachable from other machines and neither a token nor a client's
/// certificate is asked for, and for certificates that cannot be used; `Unavailable` if the socket
/// fails.
pub async fn serve(
    service: ScoreService,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    let address = listener
        .local_addr()
        .map_err(|error| Error::unavailable("the socket is closed").with_source(error))?;
    service.check_address(address)?;
    let service = Arc::new(service);
    match service.options.tls.clone() {
        Some(tls) => {
            let listener = TlsListener::new(listener, tls, Protocol::Http1)?;
            info!(%address, tls = true, "serving");
            answer(service, Encrypted(listener), shutdown).await
        }
        None => {
            // Answers are small, and waiting to fill a packet would cost more than all the rest.
            let listener = listener.tap_io(|stream| {
                if let Err(error) = stream.set_nodelay(true) {
                    warn!(%error, "cannot set TCP_NODELAY");
                }
            });
            info!(%address, "serving");
            answer(service, listener, shutdown).await
        }
    }
}

/// A socket whose connections have shaken hands.
struct Encrypted(TlsListener);

impl Listener for Encrypted {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        self.0.accept().await
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

async fn answer(
    service: Arc<ScoreService>,
    listener: impl Listener<Addr: std::fmt::Debug>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    let (stop_log, stopped) = oneshot::channel();
    let log = service.take_log_writer().map(|writer| tokio::spawn(writer.run(stopped)));
    let served = until_drained(&service, listener, shutdown).await;
    // The last requests are logged, too.
    let _ = stop_log.send(());
    if let Some(log) = log
        && timeout(service.options.drain_timeout, log).await.is_err()
    {
        warn!("gave up requests that could not be logged in time");
    }
    served
}

async fn until_drained(
    service: &Arc<ScoreService>,
    listener: impl Listener<Addr: std::fmt::Debug>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    let (began, draining) = oneshot::channel();
    let drain_timeout = service.options.drain_timeout;
    let give_up = async move {
        // The sender is dropped, not used, where the server ends by itself.
        if draining.await.is_err() {
            std::future::pending::<()>().await;
        }
        sleep(drain_timeout).await;
    };
    let shutdown = async move {
        shutdown.await;
        info!("shutting down");
        let _ = began.send(());
    };
    let server = axum::serve(listener, router(Arc::clone(service)))
        .with_graceful_shutdown(shutdown)
        .into_future();
    tokio::select! {
        ended = server => {
            ended.map_err(|error| Error::unavailable("the socket failed").with_source(error))
        }
        () = give_up => {
            warn!("gave up requests that did not end in time");
            Ok(())
        }
        () = fold(service) => Ok(()),
    }
}

/// Folds measurements for ever.
async fn fold(service: &ScoreService) {
    let mut ticks = interval(FOLD_EVERY);
    loop {
        ticks.tick().await;
        service.telemetry.fold();
        if let Some(log) = &service.log {
            let (written, dropped) = log.take_counts();
            service.telemetry.logged(written, dropped);
        }
    }
}

fn router(service: Arc<ScoreService>) -> Router {
    let open = Router::new()
        .route("/healthz", get(health))
        .route("/health", get(health))
        .route("/ping", get(health))
        .route("/readyz", get(ready));
    let mut guarded = Router::new()
        .route("/metrics", get(metrics))
        .route("/openapi.json", get(openapi))
        .fallback(score);
    if service.features().is_ok() {
        guarded = guarded.route("/get-online-features", post(features::answer));
    }
    if service.models().is_ok() {
        guarded = guarded
            .route("/v2", get(models::server))
            .route("/v2/health/live", get(models::live))
            .route("/v2/health/ready", get(models::live))
            .route("/invocations", post(models::invocations));
        for base in ["/v2/models/{name}", "/v2/models/{name}/versions/{version}"] {
            guarded = guarded
                .route(base, get(models::describe))
                .route(&format!("{base}/ready"), get(models::is_ready))
                .route(&format!("{base}/infer"), post(models::infer));
        }
    }
    let guarded = guarded
        .layer(DefaultBodyLimit::max(service.options.body_bytes_max))
        .layer(middleware::from_fn_with_state(Arc::clone(&service), authorize));
    open.fallback_service(guarded.with_state(Arc::clone(&service)))
        .layer(middleware::from_fn_with_state(Arc::clone(&service), observe))
        .with_state(service)
}

async fn health() -> Response {
    json(StatusCode::OK, &serde_json::json!({ "status": "ok" }))
}

async fn ready(State(service): Shared) -> Response {
    let readiness = service.readiness().await;
    let code = match readiness.status {
        "unavailable" => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::OK,
    };
    json(code, &readiness)
}

async fn openapi(State(service): Shared) -> Response {
    json(StatusCode::OK, &openapi::document(&service))
}

async fn metrics(State(service): Shared) -> Response {
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], service.telemetry.render()).into_response()
}

async fn score(State(service): Shared, request: Request) -> Response {
    let path = request.uri().path();
    let Some((route, sent)) = service.routes.find(path) else {
        return Problem::no_route(path, &service.routes.paths()).into_response();
    };
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Problem::wrong_method(request.method()).into_response();
    }
    let key = match decode_key(sent) {
        Ok(key) => key,
        Err(error) => return Problem::of(StatusCode::BAD_REQUEST, &error).into_response(),
    };
    let Some(_place) = service.admit() else {
        return Problem::too_busy(service.options.max_in_flight).into_response();
    };
    let answer = service.score(route, &key).await;
    let sampled = service.sampled(request.headers());
    if let Some((log, sampled)) = &sampled {
        log.score(sampled, &answer);
    }
    named(json(StatusCode::OK, &answer), sampled)
}

/// An answer that is logged says under which name.
fn named(mut response: Response, sampled: Option<(&RequestLog, Sampled)>) -> Response {
    if let Some((_, sampled)) = sampled
        && let Ok(id) = HeaderValue::from_str(&sampled.id)
    {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// Lets only those through who carry a token that is good for the path.
async fn authorize(State(service): Shared, mut request: Request, next: Next) -> Response {
    let sent = request.headers().get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    let sent = sent.and_then(|value| {
        let (scheme, rest) = value.split_at_checked(b"Bearer ".len())?;
        scheme.eq_ignore_ascii_case(b"Bearer ").then(|| rest.trim_ascii())
    });
    let Some(grant) = service.access.grant(sent) else {
        return Problem::unauthorized().into_response();
    };
    if !grant.allows(Role::of_path(request.uri().path())) {
        return Problem::denied().into_response();
    }
    if !grant.is_in_rate() {
        return Problem::too_often().into_response();
    }
    request.extensions_mut().insert(grant);
    next.run(request).await
}

/// Bounds and measures every request.
async fn observe(State(service): Shared, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let path = request.uri().path();
    let label = match path {
        "/healthz"
        | "/health"
        | "/ping"
        | "/readyz"
        | "/metrics"
        | "/openapi.json"
        | "/get-online-features"
        | "/invocations"
        | "/v2" => path.to_owned(),
        path if path.starts_with("/v2/models/") => match path.rsplit('/').next() {
            Some("infer") => "/v2/models/{name}/infer".to_owned(),
            _ => "/v2/models/{name}".to_owned(),
        },
        // Paths that nobody declared share a label: anyone could make up any number of them.
        _ => service
            .routes
            .find(path)
            .map_or_else(|| "none".to_owned(), |(route, _)| route.declared.path.clone()),
    };
    let span = info_span!(
        "request",
        otel.name = format!("{} {label}", request.method()),
        otel.kind = "server",
        http.request.method = %request.method(),
        http.route = label,
        http.response.status_code = Empty,
        otel.status_code = Empty,
    );
    continue_trace(&span, request.headers());
    let answered = timeout(service.options.request_timeout, next.run(request));
    let response = match answered.instrument(span.clone()).await {
        Ok(response) => response,
        Err(_) => Problem::timed_out(service.options.request_timeout).into_response(),
    };
    span.record("http.response.status_code", response.status().as_u16());
    if response.status().is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
    service.telemetry.request(&label, response.status().as_u16(), started.elapsed());
    response
}

#[cfg(test)]
mod tests;
