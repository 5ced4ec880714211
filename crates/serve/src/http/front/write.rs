//! Replies as bytes.

use std::io::Write;
use std::time::{Duration, SystemTime};

use icecore_core::Timestamp;
use tokio::time::Instant;

use crate::http::reply::Whole;

/// For how long a date is good: what it says is a second.
const GOOD_FOR: Duration = Duration::from_millis(100);

/// The date of replies. The clock is asked for it now and then, since that takes as long as a good
/// part of an answer.
#[derive(Debug, Default)]
pub(super) struct Dates {
    asked_at: Option<Instant>,
    second: Option<i64>,
    text: String,
}

impl Dates {
    pub(super) fn at(&mut self, at: Instant, now: impl FnOnce() -> Timestamp) -> &str {
        let is_good = |asked_at| at.saturating_duration_since(asked_at) < GOOD_FOR;
        if self.asked_at.is_some_and(is_good) {
            return &self.text;
        }
        self.asked_at = Some(at);
        self.write(now());
        &self.text
    }

    fn write(&mut self, now: Timestamp) {
        let second = now.micros().div_euclid(1_000_000);
        if self.second != Some(second) {
            let since = Duration::from_secs(u64::try_from(second).unwrap_or(0));
            self.text = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + since);
            self.second = Some(second);
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_asked_for_again_when_it_is_not_good_any_more() {
        let (mut dates, start) = (Dates::default(), Instant::now());
        let second = |second: i64| move || Timestamp::from_micros(second * 1_000_000);
        assert_eq!(dates.at(start, second(0)), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(dates.at(start + GOOD_FOR / 2, second(9)), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(dates.at(start + GOOD_FOR, second(9)), "Thu, 01 Jan 1970 00:00:09 GMT");
    }
}
