//! Which requests are answered before the HTTP library.

use std::mem::MaybeUninit;

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, Uri};
use httparse::{Header, Status};

use crate::route::{Route, Routes};

/// Headers of a request. One with more is not answered here.
const HEADERS_MAX: usize = 32;

/// Where the headers of a request are put.
pub(super) struct Headers<'b>([MaybeUninit<Header<'b>>; HEADERS_MAX]);

impl Headers<'_> {
    pub(super) const fn new() -> Self {
        Self([const { MaybeUninit::uninit() }; HEADERS_MAX])
    }
}

/// A request for a score.
pub(super) struct Asked<'r> {
    pub(super) route: &'r Route,
    /// The key in its path, as it was sent.
    pub(super) sent: &'r str,
    pub(super) authorization: Option<&'r [u8]>,
    /// How many bytes it takes.
    pub(super) len: usize,
    /// Whether the client wants no other answer on this connection.
    pub(super) is_last: bool,
    target: &'r str,
    headers: &'r [Header<'r>],
}

impl Asked<'_> {
    /// The request as the library would have it.
    pub(super) fn head(&self) -> Option<Parts> {
        let mut sent = HeaderMap::with_capacity(self.headers.len());
        for header in self.headers {
            let name = HeaderName::from_bytes(header.name.as_bytes()).ok()?;
            sent.append(name, HeaderValue::from_bytes(header.value).ok()?);
        }
        let (mut head, ()) = Request::new(()).into_parts();
        (head.uri, head.headers) = (Uri::try_from(self.target).ok()?, sent);
        Some(head)
    }
}

/// The request for a score that has come next; nothing where anything else has, such as a part of
/// a request. The library parses with the same parser, so both agree on what a request is.
pub(super) fn next_score<'r>(
    bytes: &'r [u8],
    room: &'r mut Headers<'r>,
    routes: &'r Routes,
) -> Option<Asked<'r>> {
    let mut request = httparse::Request::new(&mut []);
    let parsed = request.parse_with_uninit_headers(bytes, &mut room.0);
    let Ok(Status::Complete(len)) = parsed else { return None };
    if request.method != Some("GET") || request.version != Some(1) {
        return None;
    }
    let target = request.path.filter(|target| is_plain(target))?;
    let path = target.split_once('?').map_or(target, |(path, _)| path);
    let (route, sent) = routes.find(path)?;
    let headers: &[Header<'_>] = request.headers;
    let (mut is_last, mut authorization) = (false, None);
    for header in headers {
        match meaning(header.name.as_bytes()) {
            Meaning::None => {}
            Meaning::Authorization => authorization = authorization.or(Some(header.value)),
            Meaning::Connection if header.value.eq_ignore_ascii_case(b"close") => is_last = true,
            Meaning::Connection if header.value.eq_ignore_ascii_case(b"keep-alive") => {}
            Meaning::Connection | Meaning::Body => return None,
        }
    }
    Some(Asked { route, sent, authorization, len, is_last, target, headers })
}

/// What a header says of its request.
enum Meaning {
    None,
    Authorization,
    Connection,
    /// There is a body, or something is asked of the connection.
    Body,
}

fn meaning(name: &[u8]) -> Meaning {
    let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
    let is_one_of = |others: &[&str]| others.iter().any(|other| is(other));
    // Most headers are told by their length.
    match name.len() {
        2 if is("te") => Meaning::Body,
        6 if is("expect") => Meaning::Body,
        7 if is_one_of(&["trailer", "upgrade"]) => Meaning::Body,
        10 if is("connection") => Meaning::Connection,
        13 if is("authorization") => Meaning::Authorization,
        14 if is("content-length") => Meaning::Body,
        17 if is("transfer-encoding") => Meaning::Body,
        _ => Meaning::None,
    }
}

/// Whether a target is a path, with or without a query, and has nothing but what RFC 3986 lets
/// stand in one (section 3.3), so that nobody can read it in another way.
fn is_plain(target: &str) -> bool {
    let is_plain =
        |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/%?".contains(&byte);
    target.starts_with('/') && target.bytes().all(is_plain)
}
