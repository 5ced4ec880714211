//! Answers that are in memory.
//!
//! Nothing is waited for here, so nothing has to be bounded, and what a connection needs for an
//! answer it keeps for the next one.

use axum::http::StatusCode;
use tokio::time::Instant;
use tracing::Span;

use super::parse::Asked;
use super::write::{End, write, write_score};
use crate::ScoreService;
use crate::answer::{Answer, Outcome};
use crate::auth::Role;
use crate::http::entry::granted;
use crate::http::reply::{Problem, Whole};
use crate::route::is_plain_key;

/// What answers are made in.
#[derive(Debug, Default)]
pub(super) struct Desk {
    key: String,
    body: Vec<u8>,
}

impl Desk {
    /// Writes the answer to a request for a score that is in memory. `false` where it is not there,
    /// and where a request is traced or may be logged: then nothing was done.
    pub(super) fn answer(
        &mut self,
        service: &ScoreService,
        (asked, span, started): (&Asked<'_>, &Span, Instant),
        to: &mut Vec<u8>,
        end: End<'_>,
    ) -> bool {
        if !span.is_disabled() || service.log.is_some() || !is_plain_key(asked.sent) {
            return false;
        }
        let (route, key) = (asked.route, asked.sent);
        let remembered = service.remembered(route, key, &mut self.key, started);
        let Some((probability, latency_path)) = remembered else { return false };
        let refuse = |reply: Whole, to: &mut Vec<u8>| {
            write(to, &reply, end);
            service.telemetry.scored(route, reply.status(), started.elapsed());
            true
        };
        if let Err(refusal) = granted(service, asked.authorization, Some(Role::Scores)) {
            return refuse(refusal.whole(), to);
        }
        let Some(_place) = service.admit() else {
            return refuse(Problem::too_busy(service.options.max_in_flight).whole(), to);
        };
        let answer = Answer { route, key, outcome: Outcome::Cache(probability), latency_path };
        self.body.clear();
        if serde_json::to_writer(&mut self.body, &answer).is_err() {
            // A number and text have a form in JSON.
            return false;
        }
        write_score(to, &self.body, end);
        let took = started.elapsed();
        service.telemetry.answer(&answer, took);
        service.telemetry.scored(route, StatusCode::OK, took);
        true
    }
}
