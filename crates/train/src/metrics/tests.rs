use proptest::prelude::*;
use smartcore::metrics::Metrics;
use smartcore::metrics::auc::AUC;

use super::*;

const LABELS: [f64; 10] = [0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0];
const PREDICTIONS: [f64; 10] = [0.1, 0.9, 0.8, 0.3, 0.35, 0.35, 0.6, 0.6, 0.05, 0.2];

#[track_caller]
fn check(ours: Option<f64>, expected: f64) {
    let ours = ours.unwrap();
    assert!((ours - expected).abs() < 1e-14, "{ours} is not {expected}");
}

// The figures are those of scikit-learn.
#[test]
fn metrics_are_those_of_scikit_learn() {
    check(roc_auc(&LABELS, &PREDICTIONS), 0.72);
    check(pr_auc(&LABELS, &PREDICTIONS), 0.783_333_333_333_333_3);
    check(log_loss(&LABELS, &PREDICTIONS), 0.691_713_674_766_807_3);
    check(brier(&LABELS, &PREDICTIONS), 0.215_749_999_999_999_97);
    check(accuracy(&LABELS, &PREDICTIONS, 0.5), 0.7);
    check(accuracy(&LABELS, &PREDICTIONS, 0.35), 0.7);
}

#[test]
fn what_is_not_defined_is_none() {
    let all = |labels: &[f64], predictions: &[f64]| {
        [
            roc_auc(labels, predictions),
            pr_auc(labels, predictions),
            log_loss(labels, predictions),
            brier(labels, predictions),
            accuracy(labels, predictions, 0.5),
        ]
    };
    assert_eq!(all(&[], &[]), [None; 5]);
    assert_eq!(all(&[0.0, 1.0], &[0.5]), [None; 5]);
    assert_eq!(all(&[0.0, 2.0], &[0.5, 0.5]), [None; 5]);
    assert_eq!(all(&[0.0, 1.0], &[0.5, f64::NAN]), [None; 5]);
    let [roc, pr, loss, brier, accuracy] = all(&[1.0, 1.0], &[1.0, 0.0]);
    assert_eq!((roc, pr, brier, accuracy), (None, None, Some(0.5), Some(0.5)));
    assert!(loss.is_some_and(|loss| loss > 17.0 && loss < 18.0), "it is large, not infinite");
}

fn rows() -> impl Strategy<Value = Vec<(bool, f64)>> {
    prop::collection::vec((any::<bool>(), (0..12_u8).prop_map(|p| f64::from(p) / 11.0)), 2..80)
}

proptest! {
    #[test]
    fn the_area_is_the_share_of_pairs_in_order(rows in rows()) {
        let labels: Vec<f64> = rows.iter().map(|(label, _)| f64::from(u8::from(*label))).collect();
        let predictions: Vec<f64> = rows.iter().map(|(_, prediction)| *prediction).collect();
        let (mut ordered, mut pairs) = (0.0, 0.0);
        for (_, positive) in rows.iter().filter(|(label, _)| *label) {
            for (_, negative) in rows.iter().filter(|(label, _)| !*label) {
                pairs += 1.0;
                ordered += if positive > negative { 1.0 } else { 0.0 };
                ordered += if positive == negative { 0.5 } else { 0.0 };
            }
        }
        let ours = roc_auc(&labels, &predictions);
        if pairs == 0.0 {
            prop_assert_eq!(ours, None);
        } else {
            prop_assert_eq!(ours, Some(ordered / pairs));
            let library = AUC::<f64>::new().get_score(&labels, &predictions);
            prop_assert!((ours.unwrap() - library).abs() < 1e-12);
        }
    }

    #[test]
    fn metrics_do_not_depend_on_the_order_of_rows(rows in rows()) {
        let all = |rows: &[(bool, f64)]| {
            let labels: Vec<f64> = rows.iter().map(|row| f64::from(u8::from(row.0))).collect();
            let predictions: Vec<f64> = rows.iter().map(|row| row.1).collect();
            [
                roc_auc(&labels, &predictions),
                pr_auc(&labels, &predictions),
                log_loss(&labels, &predictions),
                brier(&labels, &predictions),
            ]
        };
        let mut reversed = rows.clone();
        reversed.reverse();
        prop_assert_eq!(all(&rows), all(&reversed));
    }
}

#[derive(serde::Deserialize)]
struct Sklearn {
    labels: Vec<f64>,
    predictions: Vec<f64>,
    classes: Vec<f64>,
    probabilities: Vec<f64>,
    numbers: Vec<f64>,
    guesses: Vec<f64>,
    expected: std::collections::BTreeMap<String, f64>,
    confusion: [u64; 4],
    calibration: [Vec<f64>; 2],
    roc: [Vec<f64>; 2],
    pr: [Vec<f64>; 2],
}

#[track_caller]
fn check_curve(points: &[CurvePoint], [x, y]: &[Vec<f64>; 2]) {
    assert_eq!(points.len(), x.len());
    for ((point, x), y) in points.iter().zip(x).zip(y) {
        assert!((point.x - x).abs() < 1e-12 && (point.y - y).abs() < 1e-12, "{point:?} {x} {y}");
    }
}

#[test]
fn measures_are_those_of_scikit_learn() {
    let of: Sklearn = serde_json::from_str(include_str!("../../fixtures/sklearn.json")).unwrap();
    let (labels, predictions) = (&of.labels, &of.predictions);
    let at = confusion(labels, predictions, 0.4).unwrap();
    let ours = [
        ("roc_auc", roc_auc(labels, predictions)),
        ("pr_auc", pr_auc(labels, predictions)),
        ("log_loss", log_loss(labels, predictions)),
        ("brier", brier(labels, predictions)),
        ("accuracy", accuracy(labels, predictions, 0.5)),
        ("rmse", rmse(&of.numbers, &of.guesses)),
        ("mae", mae(&of.numbers, &of.guesses)),
        ("quantile_loss", quantile_loss(&of.numbers, &of.guesses, 0.8)),
        ("class_log_loss", class_log_loss(&of.classes, &of.probabilities, 3)),
        ("class_accuracy", class_accuracy(&of.classes, &of.probabilities, 3)),
        ("f1", at.f1()),
    ];
    for (name, ours) in ours {
        let (ours, theirs) = (ours.unwrap(), of.expected[name]);
        assert!((ours - theirs).abs() < 1e-9, "{name}: {ours} is not {theirs}");
    }
    let Confusion { true_positive, false_positive, true_negative, false_negative } = at;
    assert_eq!([true_positive, false_positive, true_negative, false_negative], of.confusion);
    check_curve(&roc_curve(labels, predictions).unwrap(), &of.roc);
    check_curve(&precision_recall_curve(labels, predictions).unwrap(), &of.pr);
    let bins = calibration(labels, predictions, 10).unwrap();
    assert_eq!(bins.len(), of.calibration[0].len());
    for (at, bin) in bins.iter().enumerate() {
        assert!((bin.predicted - of.calibration[0][at]).abs() < 1e-9, "{at}: {bin:?}");
        assert!((bin.observed - of.calibration[1][at]).abs() < 1e-9, "{at}: {bin:?}");
    }
    assert_eq!(bins.iter().map(|bin| bin.rows).sum::<u64>(), 400);
}

#[test]
fn other_measures_that_are_not_defined_are_none_too() {
    assert_eq!(rmse(&[], &[]), None);
    assert_eq!(mae(&[1.0], &[f64::NAN]), None);
    assert_eq!(quantile_loss(&[1.0], &[1.0], 1.0), None);
    assert_eq!(class_log_loss(&[3.0], &[0.5, 0.25, 0.25], 3), None);
    assert_eq!(class_accuracy(&[0.0, 1.0], &[0.5, 0.5, 1.0], 2), None);
    assert_eq!(calibration(&[1.0], &[1.5], 10), None);
    assert_eq!(roc_curve(&[1.0, 1.0], &[0.1, 0.2]), None);
    assert_eq!(lift(&[0.0, 0.0], &[0.1, 0.2], 0.5), None);
    assert_eq!(lift(&[1.0, 0.0], &[0.5, 0.5], 0.5), Some(1.0), "a tie tells nothing");
    assert_eq!(Measure::named("roc_acu", 0.5).unwrap_err().help(), Some("did you mean `roc_auc`?"));
    for name in Measure::NAMES {
        assert_eq!(Measure::named(name, 0.5).unwrap().name(), name);
    }
}
