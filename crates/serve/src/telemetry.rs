//! What the service measures, in Prometheus's terms.

mod durations;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::http::StatusCode;
use icecore_core::Timestamp;
use icecore_push::PushStatus;
use metrics::{
    Counter, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use crate::answer::{Answer, Outcome};
use crate::log::Folded;
use crate::route::Route;
use durations::{Durations, Family};

/// Bounds around the deadlines of features and models.
const BUCKETS: [f64; 13] =
    [0.000_25, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// The measurements of a route of scores, found once and not by name for each request.
struct RouteMeters {
    answered: Arc<Durations>,
    cache: Counter,
    lakehouse: Counter,
    default: Counter,
    /// By the path that answered; there are three or four.
    paths: RwLock<Vec<(String, Arc<Durations>)>>,
}

impl RouteMeters {
    fn new(route: &str, requests: &Family) -> Self {
        let scores = |source: &'static str| counter!("icecore_score_requests_total", "route" => route.to_owned(), "source" => source);
        Self {
            answered: requests.of([route, "200"]),
            cache: scores("cache"),
            lakehouse: scores("lakehouse"),
            default: scores("default"),
            paths: RwLock::default(),
        }
    }

    /// Measures one that a path has answered.
    fn path(&self, route: &str, path: &str, took: Duration, scores: &Family) {
        let paths = self.paths.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, durations)) = paths.iter().find(|(name, _)| name == path) {
            return durations.record(took);
        }
        drop(paths);
        let durations = scores.of([route, path]);
        durations.record(took);
        let mut paths = self.paths.write().unwrap_or_else(PoisonError::into_inner);
        paths.push((path.to_owned(), durations));
    }
}

/// The measurements of one service. It is not installed for the process, so any number of services
/// may run in one.
pub(crate) struct Telemetry {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    requests: Family,
    scores: Family,
    /// In the order in which routes were declared.
    routes: Vec<RouteMeters>,
}

impl std::fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Telemetry").finish_non_exhaustive()
    }
}

impl Telemetry {
    /// Of a service with these routes of scores.
    pub(crate) fn new<'r>(routes: impl Iterator<Item = &'r str>) -> Self {
        let builder = PrometheusBuilder::new();
        // The bounds are a constant and not empty, which is all that could be wrong.
        let builder = builder.set_buckets(&BUCKETS).unwrap_or_default();
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            describe_histogram!(
                "icecore_features_duration_seconds",
                "Time to look features up, by where they are from"
            );
            describe_histogram!(
                "icecore_predictions_duration_seconds",
                "Time to predict, features included, by model"
            );
            describe_counter!(
                "icecore_score_requests_total",
                "Scores answered, by route and source"
            );
            describe_counter!(
                "icecore_score_fallbacks_total",
                "Times that a path could not answer and the next one was taken"
            );
            describe_counter!(
                "icecore_request_log_rows_total",
                "Rows of the request log, by whether they were written"
            );
            describe_counter!(
                "icecore_request_log_folded_values_total",
                "Values without a column of their own in the request log, by whether they were \
                 written into `others`"
            );
            describe_gauge!(
                "icecore_push_queue_age_seconds",
                "How long the oldest pushed event has waited for its commit"
            );
            gauge!("icecore_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        });
        let requests = Family::new(
            "icecore_http_request_duration_seconds",
            "Time from a request to its answer, by route and status code",
            ["route", "code"],
        );
        let scores = Family::new(
            "icecore_score_duration_seconds",
            "Time to find a score, by route and the path that answered",
            ["route", "path"],
        );
        let meters = |route: &str| RouteMeters::new(route, &requests);
        let routes = metrics::with_local_recorder(&recorder, || routes.map(meters).collect());
        Self { recorder, handle, requests, scores, routes }
    }

    pub(crate) fn request(&self, route: &str, code: u16, took: Duration) {
        self.requests.of([route, &code.to_string()]).record(took);
    }

    /// A request to a route of scores.
    pub(crate) fn scored(&self, route: &Route, code: StatusCode, took: Duration) {
        let path = &route.declared.path;
        match self.routes.get(route.at) {
            Some(meters) if code == StatusCode::OK => meters.answered.record(took),
            _ => self.request(path, code.as_u16(), took),
        }
    }

    /// A score that was found.
    pub(crate) fn answer(&self, answer: &Answer<'_>, took: Duration) {
        let route = &answer.route.declared.path;
        if let Some(meters) = self.routes.get(answer.route.at) {
            let source = match &answer.outcome {
                Outcome::Cache(_) => &meters.cache,
                Outcome::Lakehouse(_) => &meters.lakehouse,
                Outcome::Default(_) => &meters.default,
            };
            source.increment(1);
            meters.path(route, answer.latency_path, took, &self.scores);
        }
        if let Outcome::Default(Some(reason)) = &answer.outcome {
            self.fallback(route, reason.code());
        }
    }

    /// An answer of features, by where they are from.
    pub(crate) fn features(&self, source: &'static str, took: Duration) {
        metrics::with_local_recorder(&self.recorder, || {
            histogram!("icecore_features_duration_seconds", "source" => source)
                .record(took.as_secs_f64());
        });
    }

    /// An answer of a model.
    pub(crate) fn prediction(&self, model: &str, took: Duration) {
        metrics::with_local_recorder(&self.recorder, || {
            histogram!("icecore_predictions_duration_seconds", "model" => model.to_owned())
                .record(took.as_secs_f64());
        });
    }

    /// Where the queues of pushed events stand.
    pub(crate) fn pushes(&self, queues: &[PushStatus], now: Timestamp) {
        metrics::with_local_recorder(&self.recorder, || {
            for queue in queues {
                let source = || queue.source.clone();
                let age = queue.oldest.map_or(0, |at| now.micros().saturating_sub(at.micros()));
                let set = |name: &'static str, value: f64| {
                    gauge!(name, "source" => source()).set(value);
                };
                set("icecore_push_queue_rows", queue.rows as f64);
                set("icecore_push_queue_bytes", queue.bytes as f64);
                set("icecore_push_queue_age_seconds", age.max(0) as f64 / 1e6);
                set("icecore_push_behind_batches", queue.behind as f64);
                let count = |name: &'static str, value: u64| {
                    counter!(name, "source" => source()).absolute(value);
                };
                count("icecore_push_rows_total", queue.accepted_rows);
                count("icecore_push_committed_rows_total", queue.committed_rows);
                count("icecore_push_failed_commits_total", queue.failed_commits);
                count("icecore_push_left_to_table_total", queue.left_to_table);
                count("icecore_push_dropped_total", queue.dropped);
                count("icecore_push_left_out_values_total", queue.left_out_values);
            }
        });
    }

    pub(crate) fn fallback(&self, route: &str, reason: &'static str) {
        metrics::with_local_recorder(&self.recorder, || {
            let labels = [("route", route.to_owned()), ("reason", reason.to_owned())];
            counter!("icecore_score_fallbacks_total", &labels).increment(1);
        });
    }

    /// Rows of the request log.
    pub(crate) fn logged(&self, written: usize, dropped: usize) {
        metrics::with_local_recorder(&self.recorder, || {
            for (outcome, rows) in [("written", written), ("dropped", dropped)] {
                counter!("icecore_request_log_rows_total", "outcome" => outcome)
                    .increment(rows as u64);
            }
        });
    }

    /// Values of the request log that have no column of their own.
    pub(crate) fn folded(&self, folded: Folded) {
        metrics::with_local_recorder(&self.recorder, || {
            for (outcome, values) in [("written", folded.kept), ("dropped", folded.left_out)] {
                counter!("icecore_request_log_folded_values_total", "outcome" => outcome)
                    .increment(values as u64);
            }
        });
    }

    /// Everything measured so far, in Prometheus's text format.
    pub(crate) fn render(&self) -> String {
        let mut text = self.handle.render();
        self.requests.render(&mut text);
        self.scores.render(&mut text);
        text
    }

    /// Folds what was recorded into the buckets; without it, a service that nobody scrapes grows.
    pub(crate) fn fold(&self) {
        self.handle.run_upkeep();
    }
}
