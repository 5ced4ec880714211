//! Pictures of a model's worth, as SVG.

use std::fmt::Write as _;

use icecore_train::metrics::{CalibrationBin, ClassConfusion, CurvePoint};

const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 360.0;
const MARGIN: f64 = 48.0;
/// A line has so many points at most: more cannot be seen.
const POINTS_MAX: usize = 400;
/// So many features are shown.
const BARS_MAX: usize = 30;
/// A matrix of more classes cannot be read.
pub(super) const CLASSES_MAX: usize = 12;

pub(super) fn roc(curve: &[CurvePoint]) -> String {
    let points: Vec<_> = curve.iter().map(|point| (point.x, point.y)).collect();
    chart(
        ("ROC", "false positive rate", "true positive rate"),
        &points,
        Some([(0.0, 0.0), (1.0, 1.0)]),
    )
}

pub(super) fn precision_recall(curve: &[CurvePoint]) -> String {
    let points: Vec<_> = curve.iter().map(|point| (point.x, point.y)).collect();
    chart(("Precision and recall", "recall", "precision"), &points, None)
}

pub(super) fn calibration(bins: &[CalibrationBin]) -> String {
    let points: Vec<_> = bins.iter().map(|bin| (bin.predicted, bin.observed)).collect();
    chart(("Calibration", "predicted", "observed"), &points, Some([(0.0, 0.0), (1.0, 1.0)]))
}

/// Losses by rounds, of rows that were learned from, dashed, and of others.
pub(super) fn learning(measure: &str, [learned, others]: [&[(usize, f64)]; 2]) -> String {
    let last = others.last().map_or(1, |(round, _)| *round).max(1) as f64;
    let losses = || learned.iter().chain(others).map(|(_, loss)| *loss);
    let (least, greatest) = losses()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), loss| (a.min(loss), b.max(loss)));
    let range = if greatest > least { greatest - least } else { 1.0 };
    let points = |curve: &[(usize, f64)]| -> Vec<(f64, f64)> {
        curve.iter().map(|(round, loss)| (*round as f64 / last, (loss - least) / range)).collect()
    };
    let ends = |from: f64, to: f64, tenth: f64| from + (to - from) * tenth;
    Chart {
        names: ("Learning curve", "rounds", measure),
        points: &points(others),
        compared: &points(learned),
        x_label: &|tenth| format!("{:.0}", ends(0.0, last, tenth)),
        y_label: &|tenth| format!("{:.3}", ends(least, greatest, tenth)),
    }
    .draw()
}

/// A line over the unit square, beside a straight one to compare it with.
fn chart(
    names: (&str, &str, &str),
    points: &[(f64, f64)],
    compared: Option<[(f64, f64); 2]>,
) -> String {
    let label = |tenth: f64| tenth.to_string();
    let compared = compared.as_ref().map_or(&[][..], |line| line);
    Chart { names, points, compared, x_label: &label, y_label: &label }.draw()
}

/// A line over the unit square, beside another to compare it with.
struct Chart<'a> {
    names: (&'a str, &'a str, &'a str),
    points: &'a [(f64, f64)],
    compared: &'a [(f64, f64)],
    /// What stands at a share of each axis.
    x_label: &'a dyn Fn(f64) -> String,
    y_label: &'a dyn Fn(f64) -> String,
}

impl Chart<'_> {
    fn draw(&self) -> String {
        let (title, x_name, y_name) = self.names;
        let (points, compared) = (self.points, self.compared);
        let x = |value: f64| MARGIN + value * (WIDTH - 2.0 * MARGIN);
        let y = |value: f64| HEIGHT - MARGIN - value * (HEIGHT - 2.0 * MARGIN);
        let line = |points: &[(f64, f64)]| {
            let places = points.iter().map(|(a, b)| format!("{:.1},{:.1}", x(*a), y(*b)));
            places.collect::<Vec<_>>().join(" ")
        };
        let mut body = String::new();
        for tenth in (0..=10).step_by(2) {
            let value = f64::from(tenth) / 10.0;
            let (left, right, top, bottom) = (x(0.0), x(1.0), y(1.0), y(0.0));
            let (at_x, at_y) = (x(value), y(value));
            let _ = write!(
                body,
                "<path d=\"M{at_x:.1} {bottom:.1}V{top:.1}M{left:.1} {at_y:.1}H{right:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{at_x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                bottom + 16.0,
                (self.x_label)(value),
                left - 6.0,
                at_y + 4.0,
                (self.y_label)(value),
            );
        }
        if !compared.is_empty() {
            let _ = write!(
                body,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"#999\" stroke-dasharray=\"4\"/>",
                line(&thinned(compared))
            );
        }
        let _ = write!(
            body,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"#0b62a4\" stroke-width=\"2\"/>\
         <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{x_name}</text>\
         <text transform=\"translate(14 {:.1}) rotate(-90)\" text-anchor=\"middle\">{y_name}</text>",
            line(&thinned(points)),
            WIDTH / 2.0,
            HEIGHT - 10.0,
            HEIGHT / 2.0,
        );
        svg(title, HEIGHT, &body)
    }
}

/// Not more points than can be seen, the first and the last among them.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let last = points.len().saturating_sub(1);
    if last < POINTS_MAX {
        return points.to_vec();
    }
    (0..=POINTS_MAX).filter_map(|step| points.get(step * last / POINTS_MAX).copied()).collect()
}

/// Bars of the shares of features, which are in order.
pub(super) fn importance(shares: &[(String, f64)]) -> String {
    let greatest = shares.first().map_or(1.0, |(_, share)| share.max(f64::MIN_POSITIVE));
    let mut body = String::new();
    let shown = &shares[..shares.len().min(BARS_MAX)];
    for (at, (name, share)) in shown.iter().enumerate() {
        let top = MARGIN + 18.0 * at as f64;
        let _ = write!(
            body,
            "<text x=\"200\" y=\"{:.0}\" text-anchor=\"end\">{}</text>\
             <rect x=\"206\" y=\"{:.0}\" width=\"{:.1}\" height=\"12\" fill=\"#0b62a4\"/>\
             <text x=\"{:.1}\" y=\"{:.0}\">{:.1} %</text>",
            top + 10.0,
            escaped(name),
            top,
            share / greatest * 200.0,
            210.0 + share / greatest * 200.0,
            top + 10.0,
            share * 100.0,
        );
    }
    svg("Importance", MARGIN + 18.0 * shown.len() as f64 + 12.0, &body)
}

/// How often rows of each class are taken for which: the darker, the more of its class.
pub(super) fn confusion(found: &ClassConfusion) -> String {
    let classes = found.classes();
    let cell = (WIDTH - 2.0 * MARGIN) / classes as f64;
    let mut body = String::new();
    for label in 0..classes {
        let all: f64 = (0..classes).map(|taken| found.of(label, taken)).sum();
        for taken in 0..classes {
            let count = found.of(label, taken);
            let share = if all > 0.0 { count / all } else { 0.0 };
            let (left, top) = (MARGIN + cell * taken as f64, MARGIN + cell * label as f64);
            let ink = if share > 0.5 { "#fff" } else { "#000" };
            let _ = write!(
                body,
                "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{cell:.1}\" height=\"{cell:.1}\" \
                 fill=\"#0b62a4\" fill-opacity=\"{share:.3}\" stroke=\"#ddd\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"{ink}\">{}</text>",
                left + cell / 2.0,
                top + cell / 2.0 + 4.0,
                // One digit of a weight tells enough.
                (count * 10.0).round() / 10.0,
            );
        }
        let middle = MARGIN + cell * (label as f64 + 0.5);
        let _ = write!(
            body,
            "<text x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
            WIDTH - MARGIN + 16.0,
            MARGIN - 8.0,
            middle + 4.0,
        );
    }
    let _ = write!(
        body,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">predicted class</text>\
         <text transform=\"translate(14 {:.1}) rotate(-90)\" text-anchor=\"middle\">class</text>",
        WIDTH / 2.0,
        WIDTH - 10.0,
        WIDTH / 2.0,
    );
    svg("Confusion", WIDTH, &body)
}

fn svg(title: &str, height: f64, body: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH:.0} {height:.0}\" \
         font-family=\"sans-serif\" font-size=\"11\"><rect width=\"100%\" height=\"100%\" \
         fill=\"#fff\"/><text x=\"{:.0}\" y=\"24\" text-anchor=\"middle\" font-size=\"14\">{}</text>\
         {body}</svg>\n",
        WIDTH / 2.0,
        escaped(title),
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use icecore_train::metrics;

    use super::*;

    #[test]
    fn names_cannot_break_out_of_a_picture() {
        let picture = importance(&[("<a & \"b\">".to_owned(), 0.75), ("x".to_owned(), 0.25)]);
        assert!(picture.contains("&lt;a &amp; &quot;b&quot;&gt;") && picture.contains("75.0 %"));
        assert!(importance(&[]).ends_with("</svg>\n"));
    }

    #[test]
    fn a_long_curve_is_thinned_to_its_ends() {
        let labels: Vec<f64> = (0..5_000).map(|row| f64::from(row % 2)).collect();
        let scores: Vec<f64> = (0..5_000).map(|row| f64::from(row) / 5_000.0).collect();
        let curve = metrics::roc_curve(&labels, &scores).unwrap();
        let picture = roc(&curve);
        assert!(picture.contains("432.0,48.0\"") && picture.len() < 12_000, "{}", picture.len());
    }
}
