//! What the service measures, in Prometheus's terms.

use std::time::Duration;

use metrics::{counter, describe_counter, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use crate::answer::{Answer, Outcome};

/// Bounds around the deadlines of the two paths: 5 ms and 500 ms.
const BUCKETS: [f64; 13] =
    [0.000_25, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// The measurements of one service. It is not installed for the process, so any number of services
/// may run in one.
pub(crate) struct Telemetry {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
}

impl std::fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Telemetry").finish_non_exhaustive()
    }
}

impl Telemetry {
    pub(crate) fn new() -> Self {
        let builder = PrometheusBuilder::new();
        // The bounds are a constant and not empty, which is all that could be wrong.
        let builder = builder.set_buckets(&BUCKETS).unwrap_or_default();
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            describe_histogram!(
                "icecore_http_request_duration_seconds",
                "Time from a request to its answer, by route and status code"
            );
            describe_histogram!(
                "icecore_score_duration_seconds",
                "Time to find a score, by route and the path that answered"
            );
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
            gauge!("icecore_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        });
        Self { recorder, handle }
    }

    pub(crate) fn request(&self, route: &str, code: u16, took: Duration) {
        metrics::with_local_recorder(&self.recorder, || {
            let labels = [("route", route.to_owned()), ("code", code.to_string())];
            histogram!("icecore_http_request_duration_seconds", &labels).record(took.as_secs_f64());
        });
    }

    pub(crate) fn answer(&self, answer: &Answer<'_>, took: Duration) {
        let route = &answer.route.declared.path;
        metrics::with_local_recorder(&self.recorder, || {
            let source = answer.outcome.source();
            counter!("icecore_score_requests_total", "route" => route.clone(), "source" => source)
                .increment(1);
            let path = answer.latency_path.to_owned();
            histogram!("icecore_score_duration_seconds", "route" => route.clone(), "path" => path)
                .record(took.as_secs_f64());
        });
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

    /// Everything measured so far, in Prometheus's text format.
    pub(crate) fn render(&self) -> String {
        self.handle.render()
    }

    /// Folds what was recorded into the buckets; without it, a service that nobody scrapes grows.
    pub(crate) fn fold(&self) {
        self.handle.run_upkeep();
    }
}
