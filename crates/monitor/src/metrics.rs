//! A comparison in Prometheus' text format.

use std::fmt::Write as _;

use crate::{Comparison, Measure};

/// The measures of a comparison as Prometheus metrics.
#[must_use]
pub fn prometheus(comparison: &Comparison) -> String {
    let mut out = String::new();
    let monitor = label(&comparison.name);
    family(&mut out, "icecore_drift", "How far a feature is from its reference, by measure.");
    for feature in &comparison.drift.features {
        for measure in Measure::ALL {
            if let Some(found) = measure.of(feature) {
                let (name, of) = (measure.name(), label(&feature.feature));
                let labels = format!("monitor=\"{monitor}\",feature=\"{of}\",measure=\"{name}\"");
                let _ = writeln!(out, "icecore_drift{{{labels}}} {}", found.value);
            }
        }
    }
    family(&mut out, "icecore_feature_missing_ratio", "The share of rows without a value.");
    for feature in &comparison.drift.features {
        for (side, of) in [("reference", &feature.reference), ("current", &feature.current)] {
            let name = label(&feature.feature);
            let labels = format!("monitor=\"{monitor}\",feature=\"{name}\",side=\"{side}\"");
            let _ = writeln!(out, "icecore_feature_missing_ratio{{{labels}}} {}", of.missing_rate);
        }
    }
    family(&mut out, "icecore_drift_rows", "Rows that were compared.");
    let rows = [
        ("reference", comparison.drift.reference_rows),
        ("current", comparison.drift.current_rows),
    ];
    for (side, rows) in rows {
        let _ = writeln!(out, "icecore_drift_rows{{monitor=\"{monitor}\",side=\"{side}\"}} {rows}");
    }
    family(&mut out, "icecore_drift_alerts", "Distances that are beyond their threshold.");
    let alerts = comparison.alerts.len();
    let _ = writeln!(out, "icecore_drift_alerts{{monitor=\"{monitor}\"}} {alerts}");
    let help = "Distances of which sketches cannot tell whether they are beyond their threshold.";
    family(&mut out, "icecore_drift_undecided", help);
    let undecided = comparison.undecided.len();
    let _ = writeln!(out, "icecore_drift_undecided{{monitor=\"{monitor}\"}} {undecided}");
    family(&mut out, "icecore_drift_checked_timestamp_seconds", "When it was compared last.");
    let seconds = comparison.made_at.micros() / 1_000_000;
    let _ =
        writeln!(out, "icecore_drift_checked_timestamp_seconds{{monitor=\"{monitor}\"}} {seconds}");
    out
}

fn family(out: &mut String, name: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge");
}

/// A label's value: backslashes, quotes and ends of lines are written as escapes.
fn label(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
