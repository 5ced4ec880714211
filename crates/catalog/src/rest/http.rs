//! Requests to one server, and what their answers say about whether something happened.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use icecore_core::{Error, ErrorKind, Result};
use reqwest::{Client, Method, RequestBuilder, Response, Url, redirect};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::auth::{Auth, Credentials};
use super::wire::{ErrorModel, ErrorResponse};
use crate::ids::Ids;
use crate::storage::unread_column;
use crate::timer::Timer;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(60);
const TRIES_MAX: u32 = 5;
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// The longest that a server may ask a client to wait.
const RETRY_AFTER_MAX: u64 = 30;
/// Letters of a server's message that are passed on.
const MESSAGE_MAX: usize = 400;

/// How to reach a REST catalog.
#[derive(Debug)]
pub(crate) struct RestOptions {
    pub(crate) uri: String,
    pub(crate) credentials: Credentials,
    /// Speak without encryption to another machine.
    pub(crate) allow_http: bool,
    /// The largest answer, in bytes.
    pub(crate) answer_bytes: u64,
    pub(crate) ids: Arc<dyn Ids>,
    pub(crate) timer: Arc<dyn Timer>,
}

/// One server.
#[derive(Debug)]
pub(super) struct Http {
    client: Client,
    base: String,
    auth: Auth,
    answer_bytes: u64,
    ids: Arc<dyn Ids>,
    timer: Arc<dyn Timer>,
}

/// What was answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) etag: Option<String>,
    pub(super) body: Bytes,
}

/// What became of a request.
#[derive(Debug)]
pub(super) enum Delivery {
    Answered(Answer),
    /// It did not reach the server.
    NotSent(Error),
    /// It may have reached the server, whose answer did not come.
    Lost(Error),
}

/// A change: what it says, and the key by which the server knows it again.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) json: Vec<u8>,
    pub(super) key: String,
}

impl Http {
    pub(super) fn new(options: RestOptions) -> Result<Self> {
        let base = options.uri.trim_end_matches('/').to_owned();
        let auth = Auth::new(options.credentials, &base);
        for address in [base.as_str(), auth.endpoint()] {
            check_address(address, options.allow_http)?;
        }
        let client = Client::builder()
            // A redirect would carry the token, or a change, to a server that nobody named.
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .user_agent(concat!("icecore/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Error::internal("cannot make an HTTP client").with_source(error))?;
        let (ids, timer) = (options.ids, options.timer);
        Ok(Self { client, base, auth, answer_bytes: options.answer_bytes, ids, timer })
    }

    /// The server's address.
    pub(super) fn shown(&self) -> &str {
        &self.base
    }

    /// Reads a table, with credentials for its files. `known` is the mark of what is known already,
    /// of which neither comes again.
    pub(super) async fn get_table(&self, path: &str, known: Option<&str>) -> Result<Answer> {
        let build = || {
            let request = self.request(Method::GET, path);
            let request = request.header("x-iceberg-access-delegation", "vended-credentials");
            match known {
                Some(mark) => request.header("if-none-match", mark),
                None => request,
            }
        };
        self.get(&build).await
    }

    /// Reads, again if the server does not answer.
    async fn get(&self, build: &(dyn Fn() -> RequestBuilder + Sync)) -> Result<Answer> {
        let mut number = 0;
        loop {
            number += 1;
            let (sent, wait) = self.send(build).await;
            let error = match sent {
                Delivery::Answered(answer) if matches!(answer.status, 429 | 500..) => {
                    self.refusal(&answer)
                }
                Delivery::Answered(answer) if matches!(answer.status, 200..300 | 304 | 404) => {
                    return Ok(answer);
                }
                Delivery::Answered(answer) => return Err(self.refusal(&answer)),
                Delivery::NotSent(error) | Delivery::Lost(error) => error,
            };
            if number == TRIES_MAX || error.kind() != ErrorKind::Unavailable {
                return Err(error);
            }
            self.pause(number, wait).await;
        }
    }

    /// Reads a document, or `None` where there is none.
    pub(super) async fn get_json<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>> {
        let answer = self.get(&|| self.request(Method::GET, path)).await?;
        if answer.status == 404 { Ok(None) } else { self.parse(&answer).map(Some) }
    }

    pub(super) async fn delete(&self, path: &str) -> Delivery {
        self.change(&|| self.request(Method::DELETE, path)).await
    }

    pub(super) async fn post(&self, path: &str, body: Body) -> Delivery {
        let build = || {
            self.request(Method::POST, path)
                .header("content-type", "application/json")
                .header("idempotency-key", &body.key)
                .body(body.json.clone())
        };
        self.change(&build).await
    }

    /// Sends a change, again only if it is certain that nothing happened.
    async fn change(&self, build: &(dyn Fn() -> RequestBuilder + Sync)) -> Delivery {
        let mut number = 0;
        loop {
            number += 1;
            let (sent, wait) = self.send(build).await;
            let again = match &sent {
                Delivery::NotSent(error) => error.kind() == ErrorKind::Unavailable,
                Delivery::Answered(answer) => answer.status == 429,
                Delivery::Lost(_) => false,
            };
            if !again || number == TRIES_MAX {
                return sent;
            }
            self.pause(number, wait).await;
        }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base))
    }

    /// Sends a request with a token, and with another one if that is not let in. Also says how long
    /// the server wants to be left alone.
    async fn send(
        &self,
        build: &(dyn Fn() -> RequestBuilder + Sync),
    ) -> (Delivery, Option<Duration>) {
        let mut refused = None;
        loop {
            let token = match self.auth.token(&self.client, refused.as_deref()).await {
                Ok(token) => token,
                Err(error) => return (Delivery::NotSent(error), None),
            };
            let request = match &token {
                Some(token) => build().bearer_auth(token),
                None => build(),
            };
            let response = match request.send().await {
                Ok(response) => response,
                Err(error) => return (self.unsent(error), None),
            };
            let is_refused = matches!(response.status().as_u16(), 401 | 419);
            if is_refused && refused.is_none() && self.auth.can_refresh() {
                refused = token;
                continue;
            }
            let wait = retry_after(&response);
            return (self.answered(response).await, wait);
        }
    }

    fn unsent(&self, error: reqwest::Error) -> Delivery {
        let connects = error.is_connect() || error.is_builder();
        let ours = Error::unavailable(format!("the catalog at `{}` does not answer", self.base))
            .with_source(error.without_url());
        if connects { Delivery::NotSent(ours) } else { Delivery::Lost(ours) }
    }

    async fn answered(&self, mut response: Response) -> Delivery {
        let status = response.status().as_u16();
        let etag = response.headers().get("etag").and_then(|mark| mark.to_str().ok());
        let etag = etag.map(str::to_owned);
        let mut body = BytesMut::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => break,
                Err(error) => return self.unsent(error),
            }
            if body.len() as u64 > self.answer_bytes {
                return Delivery::Lost(Error::new(
                    ErrorKind::LimitExceeded,
                    format!("the catalog answers more than {} bytes", self.answer_bytes),
                ));
            }
        }
        Delivery::Answered(Answer { status, etag, body: body.freeze() })
    }

    /// Waits as long as the server wants, or a random time that grows with the number of tries.
    async fn pause(&self, number: u32, wait: Option<Duration>) {
        let longest = PAUSE_MIN.saturating_mul(1 << number.min(16)).min(PAUSE_MAX);
        let part = (self.ids.bits() % 1024) as f64 / 1024.0;
        let pause = longest.mul_f64(part);
        self.timer.sleep(wait.unwrap_or_default() + pause).await;
    }

    /// The document in an answer.
    pub(super) fn parse<T: DeserializeOwned>(&self, answer: &Answer) -> Result<T> {
        serde_json::from_slice(&answer.body).map_err(|error| {
            let json = serde_json::from_slice::<Value>(&answer.body).unwrap_or_default();
            let unread = json.get("metadata").and_then(|metadata| {
                let table = metadata.get("location").and_then(Value::as_str);
                unread_column(table.unwrap_or_default(), metadata)
            });
            unread.unwrap_or_else(|| {
                Error::corrupt(format!("the catalog at `{}` answers what has no form", self.base))
                    .with_source(error)
            })
        })
    }

    /// The answer to a request that must succeed.
    pub(super) fn success(&self, sent: Delivery) -> Result<Answer> {
        match sent {
            Delivery::Answered(answer) if (200..300).contains(&answer.status) => Ok(answer),
            Delivery::Answered(answer) => Err(self.refusal(&answer)),
            Delivery::NotSent(error) | Delivery::Lost(error) => Err(error),
        }
    }

    /// What an answer says that is no success.
    pub(super) fn refusal(&self, answer: &Answer) -> Error {
        let kind = match answer.status {
            401 | 403 | 419 => ErrorKind::Denied,
            404 => ErrorKind::NotFound,
            409 | 412 => ErrorKind::Conflict,
            405 | 406 | 501 => ErrorKind::Unsupported,
            429 | 500.. => ErrorKind::Unavailable,
            300..=399 => ErrorKind::Denied,
            _ => ErrorKind::InvalidInput,
        };
        let error =
            Error::new(kind, format!("the catalog at `{}` refuses ({})", self.base, answer.status));
        let said = serde_json::from_slice::<ErrorResponse>(&answer.body).ok();
        match said.map(|said| said.error) {
            Some(ErrorModel::Full { message, kind }) => {
                error.with_note(format!("{kind}: {}", short(&message)))
            }
            Some(ErrorModel::Short(message)) => error.with_note(short(&message)),
            None if (300..400).contains(&answer.status) => {
                error.with_note("it sends clients to another address, which is not followed")
            }
            None => error,
        }
    }
}

/// The first line of a message, as far as it is of a length to be read.
fn short(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    line.chars().filter(|letter| !letter.is_control()).take(MESSAGE_MAX).collect()
}

/// How long a server wants to be left alone.
fn retry_after(response: &Response) -> Option<Duration> {
    let text = response.headers().get("retry-after")?.to_str().ok()?;
    let seconds: u64 = text.trim().parse().ok()?;
    Some(Duration::from_secs(seconds.min(RETRY_AFTER_MAX)))
}

/// Secrets go to a server over an encrypted connection, or stay on the machine.
fn check_address(address: &str, allow_http: bool) -> Result<()> {
    let url = Url::parse(address).map_err(|error| {
        Error::invalid("the address of the catalog has no form").with_source(error)
    })?;
    let host = url.host_str().unwrap_or_default();
    let is_here = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Error::invalid("the address of the catalog holds a name or a password")
            .with_help("set `catalog.token` or `catalog.credential` instead"));
    }
    match url.scheme() {
        "https" => Ok(()),
        "http" if is_here || allow_http => Ok(()),
        "http" => {
            Err(Error::invalid(format!("the catalog at `{host}` is asked without encryption"))
                .with_help("use `https://`, or set `storage.allow_http` on a network of your own"))
        }
        scheme => Err(Error::unsupported(format!("`{scheme}` is no protocol of a catalog"))),
    }
}
