//! Which requests are answered before the HTTP library.

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, Uri, header};
use httparse::Status;

use crate::route::Routes;

/// Headers of a request. One with more is not answered here.
const HEADERS_MAX: usize = 32;

/// A request for a score.
pub(super) struct Asked {
    pub(super) head: Parts,
    /// How many bytes it takes.
    pub(super) len: usize,
    /// Whether the client wants no other answer on this connection.
    pub(super) is_last: bool,
}

/// The request for a score that has come next; nothing where anything else has, such as a part of
/// a request. The library parses with the same parser, so both agree on what a request is.
pub(super) fn next_score(bytes: &[u8], routes: &Routes) -> Option<Asked> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let Ok(Status::Complete(len)) = request.parse(bytes) else { return None };
    if request.method != Some("GET") || request.version != Some(1) {
        return None;
    }
    let uri = Uri::try_from(request.path.filter(|path| path.starts_with('/'))?).ok()?;
    routes.find(uri.path())?;
    let mut sent = HeaderMap::with_capacity(request.headers.len());
    let mut is_last = false;
    for header in request.headers.iter() {
        let name = HeaderName::from_bytes(header.name.as_bytes()).ok()?;
        let value = HeaderValue::from_bytes(header.value).ok()?;
        match name {
            header::CONNECTION if value.as_bytes().eq_ignore_ascii_case(b"close") => is_last = true,
            header::CONNECTION if value.as_bytes().eq_ignore_ascii_case(b"keep-alive") => {}
            // There is a body, or something is asked of the connection.
            header::CONNECTION
            | header::CONTENT_LENGTH
            | header::TRANSFER_ENCODING
            | header::TRAILER
            | header::TE
            | header::UPGRADE
            | header::EXPECT => return None,
            _ => {}
        }
        sent.append(name, value);
    }
    let (mut head, ()) = Request::new(()).into_parts();
    (head.uri, head.headers) = (uri, sent);
    Some(Asked { head, len, is_last })
}
