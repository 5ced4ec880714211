//! Replies in JSON.

use std::time::Duration;

use axum::body::Body as HttpBody;
use axum::http::{self, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use icecore_core::{Error, ErrorKind};
use serde::Serialize;

/// A reply that is there as a whole.
pub(super) type Whole = http::Response<Vec<u8>>;

/// A reply with this body.
pub(super) fn json(code: StatusCode, body: &impl Serialize) -> Response {
    whole(code, body).map(HttpBody::from)
}

/// As [`json`], for who sends it by itself.
pub(super) fn whole(code: StatusCode, body: &impl Serialize) -> Whole {
    let mut reply = Whole::default();
    match serde_json::to_vec(body) {
        Ok(body) => {
            *reply.status_mut() = code;
            *reply.body_mut() = body;
            let headers = reply.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        Err(error) => {
            tracing::error!(%error, "an answer cannot be written");
            *reply.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        }
    }
    reply
}

/// The status that says what a kind of error says.
pub(super) const fn status_of(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::InvalidInput | ErrorKind::Unsupported => StatusCode::BAD_REQUEST,
        ErrorKind::Conflict | ErrorKind::AlreadyExists => StatusCode::CONFLICT,
        ErrorKind::LimitExceeded => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorKind::Denied => StatusCode::FORBIDDEN,
        ErrorKind::Unavailable | ErrorKind::OutcomeUnknown => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Why a request has no answer: `{"error": {code, message, help}}`.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    header: Option<(HeaderName, HeaderValue)>,
    code: &'static str,
    message: String,
    help: Option<String>,
    routes: Option<Vec<String>>,
}

#[derive(Serialize)]
struct Body<'a> {
    error: Inner<'a>,
}

#[derive(Serialize)]
struct Inner<'a> {
    code: &'static str,
    message: &'a str,
    help: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    routes: Option<&'a [String]>,
}

impl Problem {
    fn new(status: StatusCode, kind: ErrorKind, message: impl Into<String>) -> Self {
        let (code, message) = (kind.code(), message.into());
        Self { status, header: None, code, message, help: None, routes: None }
    }

    /// A problem with a request, as an error says it.
    pub(super) fn of(status: StatusCode, error: &Error) -> Self {
        let help = error.help().map(str::to_owned);
        Self { help, ..Self::new(status, error.kind(), error.to_string()) }
    }

    /// A problem with a request, with the status of its kind.
    pub(super) fn of_kind(error: &Error) -> Self {
        Self::of(status_of(error.kind()), error)
    }

    pub(super) fn denied() -> Self {
        let message = "the token of this request may not ask for this";
        Self::new(StatusCode::FORBIDDEN, ErrorKind::Denied, message)
    }

    pub(super) fn too_often() -> Self {
        let message = "the token of this request asks more often than it may";
        Self {
            header: Some((header::RETRY_AFTER, HeaderValue::from_static("1"))),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, ErrorKind::LimitExceeded, message)
        }
    }

    pub(super) fn no_route(path: &str, routes: &[String]) -> Self {
        let shown: String = path.chars().take(100).collect();
        let message = format!("there is no route `{shown}`");
        let help = format!("the routes are: {}", routes.join(", "));
        Self {
            help: Some(help),
            routes: Some(routes.to_vec()),
            ..Self::new(StatusCode::NOT_FOUND, ErrorKind::NotFound, message)
        }
    }

    pub(super) fn wrong_method(method: &Method) -> Self {
        let message = format!("scores are read with `GET`, not with `{method}`");
        Self {
            header: Some((header::ALLOW, HeaderValue::from_static("GET, HEAD"))),
            ..Self::new(StatusCode::METHOD_NOT_ALLOWED, ErrorKind::InvalidInput, message)
        }
    }

    pub(super) fn unauthorized() -> Self {
        let message = "the request does not carry the token of this service";
        Self {
            header: Some((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
            help: Some("send the header `Authorization: Bearer TOKEN`".to_owned()),
            ..Self::new(StatusCode::UNAUTHORIZED, ErrorKind::Denied, message)
        }
    }

    pub(super) fn too_busy(max_in_flight: usize) -> Self {
        let message = format!("the service works on {max_in_flight} requests already");
        Self {
            header: Some((header::RETRY_AFTER, HeaderValue::from_static("1"))),
            help: Some("try again in a moment".to_owned()),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, ErrorKind::LimitExceeded, message)
        }
    }

    pub(super) fn no_body() -> Self {
        let message = "the body of the request has not come in time";
        Self {
            header: Some((header::CONNECTION, HeaderValue::from_static("close"))),
            ..Self::new(StatusCode::REQUEST_TIMEOUT, ErrorKind::Unavailable, message)
        }
    }

    pub(super) fn timed_out(limit: Duration) -> Self {
        let message = format!("the request took longer than {} ms", limit.as_millis());
        Self::new(StatusCode::GATEWAY_TIMEOUT, ErrorKind::Unavailable, message)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.whole().map(HttpBody::from)
    }
}

impl Problem {
    pub(super) fn whole(self) -> Whole {
        let error = Inner {
            code: self.code,
            message: &self.message,
            help: self.help.as_deref(),
            routes: self.routes.as_deref(),
        };
        let mut response = whole(self.status, &Body { error });
        if let Some((name, value)) = self.header {
            response.headers_mut().insert(name, value);
        }
        response
    }
}
