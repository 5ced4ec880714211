use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};

use super::*;
use crate::{MonitorSpec, Profile, ProfileOptions, WindowFact, compare, prometheus, skew};

fn texts(name: &str, values: &[&str]) -> Profile {
    let values: ArrayRef = Arc::new(StringArray::from(values.to_vec()));
    let batch = RecordBatch::try_from_iter([(name, values)]).unwrap();
    Profile::of(&batch, &ProfileOptions::default()).unwrap()
}

fn comparison(name: &str) -> Comparison {
    let (a, b) = (texts(name, &["a"; 200]), texts(name, &["<script>alert(1)</script>"; 200]));
    let drift = compare(&a, &b);
    let spec = "name = \"m\"\nreference = \"a\"\ncurrent = \"b\"";
    let spec = MonitorSpec::parse("monitor/m.toml", spec).unwrap();
    let views = [WindowFact {
        view: "v<1>".to_owned(),
        windows: vec!["closed: both, now left".to_owned()],
        others: Vec::new(),
    }];
    Comparison {
        name: "a & b".to_owned(),
        reference: "a".to_owned(),
        current: "\"b\"".to_owned(),
        made_at: Timestamp::from_micros(1_000_000),
        alerts: spec.judge(&drift).unwrap().alerts,
        undecided: Vec::new(),
        skew: Some(skew(&a, &b, &views)),
        drift,
        notes: vec!["<b>".to_owned()],
    }
}

#[test]
fn whatever_data_says_a_page_has_no_tags_of_it() {
    let page = html(&comparison("<img src=x onerror=alert(1)>"));
    for tag in ["<script", "<img", "<b>", "v<1>"] {
        assert!(!page.contains(tag), "{tag} in {page}");
    }
    for text in ["&lt;script&gt;alert(1)", "a &amp; b", "&quot;b&quot;", "v&lt;1&gt;", "<svg"] {
        assert!(page.contains(text), "no {text} in {page}");
    }
    assert!(!page.contains("http"), "nothing comes from elsewhere");
}

/// Numbers in one bucket of a sketch: nobody knows which of the sides is below the other.
fn numbers(values: impl Iterator<Item = f64>) -> Profile {
    let values: ArrayRef = Arc::new(arrow::array::Float64Array::from_iter_values(values));
    let batch = RecordBatch::try_from_iter([("x", values)]).unwrap();
    Profile::of(&batch, &ProfileOptions::default()).unwrap()
}

#[test]
fn what_sketches_cannot_tell_is_said_and_is_no_alert() {
    let near = |from: f64| numbers((0..200).map(move |at| from + f64::from(at) * 1e-9));
    let drift = compare(&near(1000.1), &near(1000.2));
    let spec = "name = \"m\"\nreference = \"a\"\ncurrent = \"b\"\n[thresholds]\nks = 0.5";
    let spec = MonitorSpec::parse("monitor/m.toml", spec).unwrap();
    let verdict = spec.judge(&drift).unwrap();
    assert!(verdict.alerts.is_empty(), "{:?}", verdict.alerts);
    let sentence = "x: cannot tell whether ks is beyond 0.5: it is between 0.0000 and 1.0000";
    let sentences: Vec<String> = verdict.undecided.iter().map(Undecided::sentence).collect();
    assert_eq!(sentences, [sentence]);
    let found = Comparison { drift, undecided: verdict.undecided, ..comparison("x") };
    assert!(html(&found).contains(sentence));
    let text = prometheus(&found);
    assert!(text.contains("icecore_drift_undecided{monitor=\"a & b\"} 1"), "{text}");
}

// Where buckets end, the distance is known: no less than that is beyond a lower threshold.
#[test]
fn what_is_beyond_at_the_end_of_a_bucket_is_beyond() {
    let half = |high: f64| numbers((0..200).map(move |at| if at < 100 { 1000.1 } else { high }));
    let drift = compare(&half(1000.2), &half(2000.0));
    let spec = "name = \"m\"\nreference = \"a\"\ncurrent = \"b\"\n[thresholds]\nks = 0.4\npsi = 99";
    let spec = MonitorSpec::parse("monitor/m.toml", spec).unwrap();
    let verdict = spec.judge(&drift).unwrap();
    assert_eq!((verdict.alerts.len(), verdict.undecided.len()), (1, 0), "{verdict:?}");
}

#[test]
fn metrics_name_each_measure_and_escape_their_labels() {
    let text = prometheus(&comparison("a\"b\\c\nd"));
    let line =
        "icecore_drift{monitor=\"a & b\",feature=\"a\\\"b\\\\c\\nd\",measure=\"new_categories\"} 1";
    assert!(text.lines().any(|found| found == line), "{text}");
    assert!(text.contains("icecore_drift_alerts{monitor=\"a & b\"} 2"), "{text}");
    assert!(
        text.contains("icecore_drift_checked_timestamp_seconds{monitor=\"a & b\"} 1"),
        "{text}"
    );
}
