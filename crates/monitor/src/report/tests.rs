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
        alerts: spec.alerts(&drift).unwrap(),
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
