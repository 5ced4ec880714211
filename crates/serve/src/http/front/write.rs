//! Replies as bytes.

use std::io::Write;
use std::time::{Duration, SystemTime};

use icecore_core::Timestamp;

use crate::http::reply::Whole;

/// The date of replies, which is written anew once in a second.
#[derive(Debug, Default)]
pub(super) struct Dates {
    second: Option<i64>,
    text: String,
}

impl Dates {
    pub(super) fn at(&mut self, now: Timestamp) -> &str {
        let second = now.micros().div_euclid(1_000_000);
        if self.second != Some(second) {
            let since = Duration::from_secs(u64::try_from(second).unwrap_or(0));
            self.text = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + since);
            self.second = Some(second);
        }
        &self.text
    }
}

/// How replies end.
#[derive(Debug, Clone, Copy)]
pub(super) struct End<'d> {
    pub(super) date: &'d str,
    /// Whether the connection ends with it.
    pub(super) is_last: bool,
}

/// Writes a reply.
pub(super) fn write(to: &mut Vec<u8>, reply: &Whole, end: End<'_>) {
    let status = reply.status();
    to.extend_from_slice(b"HTTP/1.1 ");
    to.extend_from_slice(status.as_str().as_bytes());
    to.push(b' ');
    to.extend_from_slice(status.canonical_reason().unwrap_or("").as_bytes());
    for (name, value) in reply.headers() {
        to.extend_from_slice(b"\r\n");
        to.extend_from_slice(name.as_str().as_bytes());
        to.extend_from_slice(b": ");
        to.extend_from_slice(value.as_bytes());
    }
    finish(to, reply.body(), end);
}

/// Writes a score: what [`write`] does with what [`whole`](crate::http::reply::whole) makes of it.
pub(super) fn write_score(to: &mut Vec<u8>, body: &[u8], end: End<'_>) {
    to.extend_from_slice(
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncache-control: no-store",
    );
    finish(to, body, end);
}

fn finish(to: &mut Vec<u8>, body: &[u8], end: End<'_>) {
    if end.is_last {
        to.extend_from_slice(b"\r\nconnection: close");
    }
    // A vector takes everything.
    let _ = write!(to, "\r\ncontent-length: {}\r\ndate: ", body.len());
    to.extend_from_slice(end.date.as_bytes());
    to.extend_from_slice(b"\r\n\r\n");
    to.extend_from_slice(body);
}
