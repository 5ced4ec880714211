//! `POST /push`, with the request of Feast's feature server.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use icecore_core::{Error, ErrorKind, Result};
use icecore_push::{Push, PushReceipt, Target};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::warn;

use super::Shared;
use super::columns::{Columns, each_once};
use super::reply::{Problem, json as reply, status_of};
use crate::ScoreService;
use crate::auth::Grant;

/// The events of a push. Other fields of Feast's requests change nothing here.
#[derive(Debug, Deserialize)]
struct Asked {
    push_source_name: String,
    #[serde(deserialize_with = "each_once")]
    df: Columns,
    #[serde(default)]
    to: Target,
}

pub(super) async fn answer(
    State(service): Shared,
    Extension(grant): Extension<Arc<Grant>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Some(_place) = service.admit() else {
        return Problem::too_busy(service.options.max_in_flight).into_response();
    };
    match take(&service, &grant, &headers, &body).await {
        Ok(receipt) => reply(StatusCode::OK, &receipt),
        Err(error) => refusal(&error),
    }
}

async fn take(
    service: &ScoreService,
    grant: &Grant,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<PushReceipt> {
    let pushes = service.pushes()?;
    let asked: Asked = serde_json::from_slice(body).map_err(|error| {
        Error::invalid(format!("the request cannot be read: {error}")).with_help(
            "send {\"push_source_name\": \"NAME\", \"df\": {\"column\": [\"value\"]}, \
             \"to\": \"online_and_offline\"}",
        )
    })?;
    let key = match headers.get("idempotency-key").map(HeaderValue::to_str) {
        None => None,
        Some(Ok(key)) => Some(key.to_owned()),
        Some(Err(_)) => return Err(Error::invalid("the `Idempotency-Key` is no text")),
    };
    grant.check_views(&pushes.views(&asked.push_source_name)?)?;
    let mut push = Push::new(asked.push_source_name, asked.df);
    (push.to, push.key) = (asked.to, key);
    pushes.push(push).await
}

#[derive(Serialize)]
struct Refusal<'a> {
    error: Inner<'a>,
}

#[derive(Serialize)]
struct Inner<'a> {
    code: &'static str,
    message: String,
    help: Option<&'a str>,
    /// Every value that does not fit.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    details: Vec<Detail<'a>>,
}

#[derive(Serialize)]
struct Detail<'a> {
    at: Option<&'a str>,
    message: String,
}

pub(super) fn refusal(error: &Error) -> Response {
    let details = error.related().iter().map(|one| Detail {
        at: one.notes().first().map(String::as_str),
        message: one.to_string(),
    });
    let inner = Inner {
        code: error.kind().code(),
        message: error.to_string(),
        help: error.help(),
        details: details.collect(),
    };
    let mut response = reply(status_of(error.kind()), &Refusal { error: inner });
    if error.kind() == ErrorKind::Unavailable {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// Commits what is pushed, as long as the service runs.
#[derive(Debug)]
pub(super) struct Committer(Option<(oneshot::Sender<()>, JoinHandle<()>)>);

impl Committer {
    pub(super) fn start(service: &ScoreService) -> Self {
        let Ok(pushes) = service.pushes() else { return Self(None) };
        let (pushes, (stop, stopped)) = (Arc::clone(pushes), oneshot::channel());
        let task = tokio::spawn(async move {
            let stopped = async {
                // A sender that is gone means the same.
                let _ = stopped.await;
            };
            pushes.run(stopped).await;
        });
        Self(Some((stop, task)))
    }

    /// Commits what is there, and ends.
    pub(super) async fn stop(self, at_most: Duration) {
        let Some((stop, task)) = self.0 else { return };
        let _ = stop.send(());
        if timeout(at_most, task).await.is_err() {
            warn!("events stay in the queue: the table did not take them in time");
        }
    }
}
