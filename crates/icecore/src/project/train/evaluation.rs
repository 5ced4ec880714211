//! What predictions of rows that validate are worth: files that are kept with the run.

use icecore_train::metrics::{ClassConfusion, Scored};
use serde_json::json;

use super::pictures;

/// The file with the numbers.
const EVALUATION_FILE: &str = "model/evaluation.json";

/// What probabilities of two classes are worth at every threshold.
pub(super) fn thresholds(rows: &Scored<'_>) -> Vec<(String, String)> {
    let mut files = Vec::new();
    let mut add = |name: &str, text: String| files.push((name.to_owned(), text));
    if let Some(curve) = rows.roc_curve() {
        add("pictures/roc.svg", pictures::roc(&curve));
    }
    if let Some(curve) = rows.precision_recall_curve() {
        add("pictures/precision_recall.svg", pictures::precision_recall(&curve));
    }
    let bins = rows.calibration(10);
    if let Some(bins) = &bins {
        add("pictures/calibration.svg", pictures::calibration(bins));
    }
    let at = |tenth: i32| {
        let threshold = f64::from(tenth) / 10.0;
        json!({"threshold": threshold, "confusion": rows.confusion(threshold)})
    };
    let lift = |top: f64| json!({"top": top, "lift": rows.lift(top)});
    let lifts = [0.01, 0.05, 0.1, 0.2, 0.5].map(lift);
    let numbers = json!({
        "thresholds": (1..10).map(at).collect::<Vec<_>>(),
        "lift": lifts,
        "calibration": bins,
    });
    add(EVALUATION_FILE, format!("{numbers:#}\n"));
    files
}

/// Which classes are taken for which. It is in one line: of many classes, it has many numbers.
pub(super) fn classes(rows: &Scored<'_>, classes: usize) -> Vec<(String, String)> {
    let Some(found) = rows.class_confusion(classes) else { return Vec::new() };
    let of = |class: usize| {
        json!({
            "class": class,
            "precision": found.precision(class),
            "recall": found.recall(class),
        })
    };
    let numbers = json!({
        "confusion": found,
        "classes": (0..classes).map(of).collect::<Vec<_>>(),
    });
    let mut files = vec![(EVALUATION_FILE.to_owned(), format!("{numbers}\n"))];
    files.extend(picture(&found).map(|picture| ("pictures/confusion.svg".to_owned(), picture)));
    files
}

/// The matrix as a picture, where its numbers can be read.
fn picture(found: &ClassConfusion) -> Option<String> {
    (found.classes() <= pictures::CLASSES_MAX).then(|| pictures::confusion(found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_confusion_of_classes_is_written_and_drawn() {
        let (labels, taken) = ([0.0, 1.0, 2.0, 2.0], [0.8, 0.1, 0.1, 0.2, 0.5, 0.3]);
        let predictions = [&taken[..], &[0.6, 0.2, 0.2], &[0.0, 0.1, 0.9]].concat();
        let files = classes(&Scored::new(&labels, &predictions), 3);
        let numbers: serde_json::Value = serde_json::from_str(&files[0].1).unwrap();
        assert_eq!(numbers["confusion"]["matrix"], json!([[1, 0, 0], [0, 1, 0], [1, 0, 1]]));
        assert_eq!(numbers["classes"][2]["recall"], 0.5);
        assert_eq!(numbers["classes"][0]["precision"], 0.5);
        assert!(
            files[1].0 == "pictures/confusion.svg" && files[1].1.matches("<rect").count() == 10
        );
        let weights = [1.0, 1.0, 0.0, 2.5];
        let files = classes(&Scored::new(&labels, &predictions).with_weights(Some(&weights)), 3);
        let numbers: serde_json::Value = serde_json::from_str(&files[0].1).unwrap();
        assert_eq!(numbers["confusion"]["matrix"], json!([[1, 0, 0], [0, 1, 0], [0, 0, 2.5]]));
        assert!(classes(&Scored::new(&labels, &predictions), 2).is_empty());
    }
}
