//! The service on a socket.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use icecore_core::{Error, Result};
use icecore_tls::{Connection, Protocol, TlsListener};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::time::{interval, sleep, timeout};
use tracing::{info, warn};

use crate::log::{REQUEST_ID, RequestLog, Sampled};
use crate::{ScoreService, openapi};

mod arriving;
mod columns;
mod connections;
mod entry;
mod feast;
mod features;
mod front;
mod models;
mod push;
mod reply;
mod sending;
mod unrepeated;

use connections::{Arrivals, Place, Room, answer_all};
use entry::{Entry, authorize, observe};
use front::Front;
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
    let service = Arc::new(service.asking_on(Handle::current()));
    let (stop, stopping) = watch::channel(false);
    let stopped = tokio::spawn(async move {
        shutdown.await;
        info!("shutting down");
        let _ = stop.send(true);
        // Who waits for the end has to learn of it, however late.
        stop.closed().await;
    });
    let room = Room::new(&service.options);
    let served = match service.options.tls.clone() {
        Some(tls) => {
            let listener = TlsListener::new(listener, tls, Protocol::Http1)?;
            info!(%address, tls = true, "serving");
            let no_front = std::future::ready(());
            answer(service, Encrypted { listener, room }, (stopping, no_front)).await
        }
        None => match Front::start(Arc::clone(&service), listener, room, stopping.clone()) {
            Ok((front, handed_over)) => {
                info!(%address, "serving");
                answer(service, front, (stopping, handed_over)).await
            }
            Err(error) => Err(error),
        },
    };
    stopped.abort();
    served
}

/// Waits for the shutdown to begin.
async fn begun(stopping: &mut watch::Receiver<bool>) {
    if stopping.wait_for(|is_stopping| *is_stopping).await.is_err() {
        // Nobody is left who could begin it.
        std::future::pending::<()>().await;
    }
}

/// A socket whose connections have shaken hands.
struct Encrypted {
    listener: TlsListener,
    room: Room,
}

impl Arrivals for Encrypted {
    type Stream = Connection;

    async fn next(&mut self) -> (Connection, Place) {
        let place = self.room.place().await;
        (self.listener.accept().await.0, place)
    }
}

async fn answer(
    service: Arc<ScoreService>,
    arrivals: impl Arrivals,
    shutdown: (watch::Receiver<bool>, impl Future<Output = ()> + Send + 'static),
) -> Result<()> {
    let (stop_log, stopped) = oneshot::channel();
    let log = service.take_log_writer().map(|writer| tokio::spawn(writer.run(stopped)));
    let served = until_drained(&service, arrivals, shutdown).await;
    // The last requests are logged, too.
    let _ = stop_log.send(());
    if let Some(log) = log
        && timeout(service.options.drain_timeout, log).await.is_err()
    {
        warn!("gave up requests that could not be logged in time");
    }
    count_logged(&service);
    served
}

async fn until_drained(
    service: &Arc<ScoreService>,
    arrivals: impl Arrivals,
    (mut stopping, handed_over): (watch::Receiver<bool>, impl Future<Output = ()> + Send + 'static),
) -> Result<()> {
    let drain_timeout = service.options.drain_timeout;
    let mut draining = stopping.clone();
    let give_up = async move {
        begun(&mut draining).await;
        sleep(drain_timeout).await;
    };
    let shutdown = async move {
        begun(&mut stopping).await;
        handed_over.await;
    };
    let entry = Entry::new(Arc::clone(service));
    let server = answer_all(arrivals, entry, &service.options, shutdown);
    let committer = push::Committer::start(service);
    let ended = tokio::select! {
        () = server => Ok(()),
        () = give_up => {
            warn!("gave up requests that did not end in time");
            Ok(())
        }
        () = fold(service) => Ok(()),
    };
    committer.stop(drain_timeout).await;
    ended
}

/// Folds measurements for ever.
async fn fold(service: &ScoreService) {
    let mut ticks = interval(FOLD_EVERY);
    loop {
        ticks.tick().await;
        service.telemetry.fold();
        count_logged(service);
    }
}

/// Counts what was written to the request log, or dropped, since the last time.
fn count_logged(service: &ScoreService) {
    if let Some(log) = &service.log {
        let (written, dropped) = log.take_counts();
        service.telemetry.logged(written, dropped);
        service.telemetry.folded(log.take_folded());
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
        .fallback(no_route);
    if service.features().is_ok() {
        guarded = guarded
            .route("/get-online-features", post(features::answer))
            .route("/materialize", post(feast::materialize))
            .route("/materialize-incremental", post(feast::materialize));
    }
    if service.pushes().is_ok() {
        guarded = guarded
            .route("/push", post(push::answer))
            .route("/write-to-online-store", post(feast::write));
    }
    if service.models().is_ok() {
        guarded = guarded
            .route("/version", get(models::version))
            .route("/v2", get(models::server))
            .route("/v2/health/live", get(models::live))
            .route("/v2/health/ready", get(models::ready))
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
    json(StatusCode::OK, &openapi::document(&service).await)
}

async fn metrics(State(service): Shared) -> Response {
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    if let Ok(pushes) = service.pushes() {
        service.telemetry.pushes(&pushes.status(), service.now());
    }
    count_logged(&service);
    ([(header::CONTENT_TYPE, kind)], service.telemetry.render()).into_response()
}

/// What no other route answers.
async fn no_route(State(service): Shared, request: Request) -> Response {
    let path = request.uri().path();
    match service.routes.find(path) {
        Some(_) => Problem::wrong_method(request.method()).into_response(),
        None => Problem::no_route(path, &openapi::paths(&service)).into_response(),
    }
}

/// An answer that is logged says under which name.
fn named<B>(
    mut response: axum::http::Response<B>,
    sampled: Option<(&RequestLog, Sampled)>,
) -> axum::http::Response<B> {
    if let Some((_, sampled)) = sampled
        && let Ok(id) = HeaderValue::from_str(&sampled.id)
    {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

#[cfg(test)]
mod tests;
