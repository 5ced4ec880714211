//! A comparison as one page of HTML: no script, no font, nothing from elsewhere.

use std::fmt::Write as _;

use icecore_core::Timestamp;
use serde::Serialize;

use crate::drift::Bin;
use crate::{Alert, Drift, FeatureDrift, Measure, Measured, SkewCause, SkewFinding, Undecided};

/// What was compared, and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The monitor's name, or what the comparison is called.
    pub name: String,
    /// What was compared with.
    pub reference: String,
    /// What was compared.
    pub current: String,
    /// When.
    pub made_at: Timestamp,
    /// What differs.
    pub drift: Drift,
    /// What differs too much.
    pub alerts: Vec<Alert>,
    /// What sketches cannot tell of whether it differs too much.
    pub undecided: Vec<Undecided>,
    /// What points to training and scoring not seeing the same; absent where nobody asked.
    pub skew: Option<Vec<SkewFinding>>,
    /// What a reader should know.
    pub notes: Vec<String>,
}

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;\
padding:0 1rem;color:#1b2733}h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}\
table{border-collapse:collapse;width:100%}td,th{padding:.25rem .6rem;text-align:right;\
border-bottom:1px solid #dde3e9}td:first-child,th:first-child{text-align:left}\
.bad{color:#b3261e;font-weight:600}.note{color:#5b6b7b}svg{display:block;margin:.5rem 0}\
dt{color:#5b6b7b}dl{display:grid;grid-template-columns:max-content auto;gap:.2rem 1rem}dd{margin:0}";

/// The page.
#[must_use]
pub fn html(comparison: &Comparison) -> String {
    let mut page = String::new();
    let title = escape(&comparison.name);
    let _ = write!(
        page,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>Drift: {title}</title>\
         <style>{STYLE}</style></head><body><h1>Drift: {title}</h1><dl>"
    );
    let drift = &comparison.drift;
    let how = if drift.exact { "values themselves" } else { "sketches; ± is their error" };
    for (name, value) in [
        ("reference", format!("{} ({} rows)", comparison.reference, drift.reference_rows)),
        ("compared", format!("{} ({} rows)", comparison.current, drift.current_rows)),
        ("made at", comparison.made_at.to_string()),
        ("from", how.to_owned()),
    ] {
        let _ = write!(page, "<dt>{name}</dt><dd>{}</dd>", escape(&value));
    }
    page.push_str("</dl>");
    for note in &comparison.notes {
        let _ = write!(page, "<p class=\"note\">{}</p>", escape(note));
    }
    alerts(&mut page, (&comparison.alerts, &comparison.undecided));
    if let Some(findings) = &comparison.skew {
        skew(&mut page, findings);
    }
    overview(&mut page, comparison);
    for feature in &drift.features {
        details(&mut page, feature);
    }
    for (side, names) in [("reference", &drift.only_reference), ("other side", &drift.only_current)]
    {
        if !names.is_empty() {
            let names = escape(&names.join(", "));
            let _ = write!(page, "<p class=\"note\">Only the {side} has: {names}</p>");
        }
    }
    page.push_str("</body></html>\n");
    page
}

fn alerts(page: &mut String, (alerts, undecided): (&[Alert], &[Undecided])) {
    if alerts.is_empty() && undecided.is_empty() {
        page.push_str("<p>No distance is beyond its threshold.</p>");
    }
    too_far(page, alerts);
    cannot_tell(page, undecided);
}

fn too_far(page: &mut String, alerts: &[Alert]) {
    if alerts.is_empty() {
        return;
    }
    page.push_str("<h2>Too far</h2><ul>");
    for alert in alerts {
        let _ = write!(
            page,
            "<li class=\"bad\">{}: {} is {:.4}, at most {}</li>",
            escape(&alert.feature),
            alert.measure.name(),
            alert.value,
            alert.threshold
        );
    }
    page.push_str("</ul>");
}

fn cannot_tell(page: &mut String, undecided: &[Undecided]) {
    if undecided.is_empty() {
        return;
    }
    page.push_str("<h2>Cannot tell</h2><ul>");
    for found in undecided {
        let _ = write!(page, "<li>{}</li>", escape(&found.sentence()));
    }
    page.push_str("</ul>");
}

fn skew(page: &mut String, findings: &[SkewFinding]) {
    page.push_str("<h2>Training and scoring</h2><ul>");
    for cause in SkewCause::ALL {
        let of: Vec<_> = findings.iter().filter(|finding| finding.cause == cause).collect();
        if of.is_empty() {
            let _ = write!(page, "<li>{}: nothing found</li>", cause.name());
        }
        for finding in of {
            let (subject, evidence) = (escape(&finding.subject), escape(&finding.evidence));
            let name = cause.name();
            let _ = write!(page, "<li class=\"bad\">{name}: {subject}: {evidence}</li>");
        }
    }
    page.push_str("</ul>");
}

fn overview(page: &mut String, comparison: &Comparison) {
    page.push_str("<h2>Features</h2><table><tr><th>feature</th>");
    for measure in Measure::ALL {
        let _ = write!(page, "<th>{}</th>", measure.name());
    }
    page.push_str("</tr>");
    for feature in &comparison.drift.features {
        let _ = write!(page, "<tr><td>{}</td>", escape(&feature.feature));
        for measure in Measure::ALL {
            let is_bad = comparison
                .alerts
                .iter()
                .any(|alert| alert.measure == measure && alert.feature == feature.feature);
            let class = if is_bad { " class=\"bad\"" } else { "" };
            let text = measure.of(feature).map_or_else(String::new, measured);
            let _ = write!(page, "<td{class}>{text}</td>");
        }
        page.push_str("</tr>");
    }
    page.push_str("</table>");
}

fn measured(measured: Measured) -> String {
    match measured.error > 0.0 {
        true => format!("{:.4} ± {:.4}", measured.value, measured.error),
        false => format!("{:.4}", measured.value),
    }
}

fn details(page: &mut String, feature: &FeatureDrift) {
    let _ = write!(page, "<h2>{}</h2>", escape(&feature.feature));
    if !feature.bins.is_empty() {
        bars(page, &feature.bins);
    }
    page.push_str("<table><tr><th></th>");
    let header = ["rows", "missing", "zero", "distinct", "mean", "spread", "min", "p05", "median"];
    for name in header.iter().chain(&["p95", "max"]) {
        let _ = write!(page, "<th>{name}</th>");
    }
    page.push_str("</tr>");
    for (name, side) in [("reference", &feature.reference), ("compared", &feature.current)] {
        let number = |value: Option<f64>| value.map_or_else(String::new, crate::drift::number);
        let _ = write!(
            page,
            "<tr><td>{name}</td><td>{}</td><td>{:.2} %</td><td>{:.2} %</td><td>{}</td>",
            side.rows,
            side.missing_rate * 100.0,
            side.zero_rate * 100.0,
            side.distinct.map_or_else(|| "-".to_owned(), |count| count.to_string())
        );
        let numbers = [side.mean, side.stddev, side.min, side.p05, side.median, side.p95, side.max];
        for value in numbers {
            let _ = write!(page, "<td>{}</td>", number(value));
        }
        page.push_str("</tr>");
    }
    page.push_str("</table>");
    if !feature.new_categories.is_empty() {
        let name = |new: &crate::NewCategory| format!("{} ({:.2} %)", new.value, new.share * 100.0);
        let names: Vec<String> = feature.new_categories.iter().map(name).collect();
        let _ = write!(page, "<p class=\"bad\">New: {}</p>", escape(&names.join(", ")));
    }
}

/// Bars of both sides beside each other, one pair for each bin.
fn bars(page: &mut String, bins: &[Bin]) {
    const HEIGHT: f64 = 120.0;
    const WIDTH: f64 = 860.0;
    let shown = bins.get(..bins.len().min(40)).unwrap_or(bins);
    let step = WIDTH / shown.len().max(1) as f64;
    let greatest = shown.iter().map(|bin| bin.reference.max(bin.current)).fold(1e-9, f64::max);
    let _ = write!(
        page,
        "<svg viewBox=\"0 0 {WIDTH} 150\" width=\"100%\" role=\"img\" aria-label=\"shares by bin: \
         grey the reference, blue what is compared\">"
    );
    for (at, bin) in shown.iter().enumerate() {
        let left = at as f64 * step;
        for (offset, share, color) in
            [(0.08, bin.reference, "#9aa7b4"), (0.48, bin.current, "#1f6feb")]
        {
            let height = share / greatest * HEIGHT;
            let (x, y, width) = (left + offset * step, HEIGHT - height, 0.38 * step);
            let _ = write!(
                page,
                "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" \
                 fill=\"{color}\"><title>{}: {:.2} %</title></rect>",
                escape(&bin.label),
                share * 100.0
            );
        }
        let label: String = bin.label.chars().take((step / 7.0) as usize).collect();
        let _ = write!(
            page,
            "<text x=\"{:.1}\" y=\"138\" font-size=\"11\" text-anchor=\"middle\">{}</text>",
            left + step / 2.0,
            escape(&label)
        );
    }
    page.push_str("</svg>");
}

/// Text that stands in HTML as it is.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests;
