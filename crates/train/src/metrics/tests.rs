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

/// Rows with how often each counts.
fn weighed() -> impl Strategy<Value = Vec<(bool, f64, u8)>> {
    let row = (any::<bool>(), (0..8_u8).prop_map(|p| f64::from(p) / 7.0), 0..4_u8);
    prop::collection::vec(row, 1..40)
}

proptest! {
    // The oracle is the same measure of rows that are there as often as they count.
    #[test]
    fn a_row_counts_as_often_as_its_weight_says(rows in weighed()) {
        let labels: Vec<f64> = rows.iter().map(|row| f64::from(u8::from(row.0))).collect();
        let predictions: Vec<f64> = rows.iter().map(|row| row.1).collect();
        let weights: Vec<f64> = rows.iter().map(|row| f64::from(row.2)).collect();
        let repeated = |values: &[f64]| -> Vec<f64> {
            let values = values.iter().zip(&rows);
            values.flat_map(|(value, row)| vec![*value; usize::from(row.2)]).collect()
        };
        let (many_labels, many_predictions) = (repeated(&labels), repeated(&predictions));
        let weighed = Scored::new(&labels, &predictions).with_weights(Some(&weights));
        let many = Scored::new(&many_labels, &many_predictions);
        let all = |rows: Scored<'_>| {
            let mut found = vec![
                rows.roc_auc(),
                rows.pr_auc(),
                rows.log_loss(),
                rows.brier(),
                rows.accuracy(0.5),
                rows.rmse(),
                rows.mae(),
                rows.quantile_loss(0.3),
                rows.lift(0.1),
                rows.lift(0.75),
            ];
            let at = rows.confusion(0.5);
            found.extend([
                at.map(|at| at.true_positive),
                at.map(|at| at.false_positive),
                at.map(|at| at.true_negative),
                at.map(|at| at.false_negative),
                at.and_then(|at| at.f1()),
            ]);
            for point in rows.roc_curve().iter().chain(&rows.precision_recall_curve()).flatten() {
                found.extend([Some(point.x), Some(point.y)]);
            }
            for bin in rows.calibration(4).iter().flatten() {
                found.extend([Some(bin.predicted), Some(bin.observed)]);
            }
            found
        };
        let (ours, expected) = (all(weighed), all(many));
        prop_assert_eq!(ours.len(), expected.len());
        for (at, pair) in ours.iter().zip(&expected).enumerate() {
            match pair {
                (Some(ours), Some(expected)) => {
                    prop_assert!((ours - expected).abs() < 1e-12, "{at}: {pair:?}");
                }
                (ours, expected) => prop_assert_eq!(ours, expected, "{}", at),
            }
        }
    }

    #[test]
    fn classes_count_as_often_as_their_weights_say(
        rows in prop::collection::vec((0..3_u8, 0..3_u8, 0..4_u8), 1..40),
    ) {
        let labels: Vec<f64> = rows.iter().map(|row| f64::from(row.0)).collect();
        let of = |taken: u8| [0_u8, 1, 2].map(|class| if class == taken { 0.5 } else { 0.25 });
        let predictions: Vec<f64> = rows.iter().flat_map(|row| of(row.1)).collect();
        let weights: Vec<f64> = rows.iter().map(|row| f64::from(row.2)).collect();
        let scored = Scored::new(&labels, &predictions).with_weights(Some(&weights));
        let Some(found) = scored.class_confusion(3) else {
            prop_assert!(weights.iter().all(|weight| *weight == 0.0));
            return Ok(());
        };
        for label in 0..3_u8 {
            for taken in 0..3_u8 {
                let cell = rows.iter().filter(|row| (row.0, row.1) == (label, taken));
                let cell: u32 = cell.map(|row| u32::from(row.2)).sum();
                let ours = found.of(usize::from(label), usize::from(taken));
                prop_assert_eq!(ours, f64::from(cell));
            }
        }
        let right: f64 = (0..3).map(|class| found.of(class, class)).sum();
        let all: f64 = weights.iter().sum();
        prop_assert!((scored.class_accuracy(3).unwrap() - right / all).abs() < 1e-12);
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
    counts: Vec<f64>,
    means: Vec<f64>,
    weights: Vec<f64>,
    poisson_deviance: f64,
    expected: std::collections::BTreeMap<String, f64>,
    weighted: std::collections::BTreeMap<String, f64>,
    confusion: [f64; 4],
    weighted_confusion: [f64; 4],
    class_confusion: Vec<Vec<f64>>,
    weighted_class_confusion: Vec<Vec<f64>>,
    calibration: [Vec<f64>; 2],
    roc: [Vec<f64>; 2],
    weighted_roc: [Vec<f64>; 2],
    pr: [Vec<f64>; 2],
}

#[track_caller]
fn check_curve(points: &[CurvePoint], [x, y]: &[Vec<f64>; 2]) {
    assert_eq!(points.len(), x.len());
    for ((point, x), y) in points.iter().zip(x).zip(y) {
        assert!((point.x - x).abs() < 1e-12 && (point.y - y).abs() < 1e-12, "{point:?} {x} {y}");
    }
}

/// All measures of scikit-learn's rows.
fn measured(of: &Sklearn, weights: Option<&[f64]>) -> [(&'static str, Option<f64>); 12] {
    let scored = |labels, predictions| Scored::new(labels, predictions).with_weights(weights);
    let binary = scored(&of.labels, &of.predictions);
    let numbers = scored(&of.numbers, &of.guesses);
    let classes = scored(&of.classes, &of.probabilities);
    [
        ("roc_auc", binary.roc_auc()),
        ("pr_auc", binary.pr_auc()),
        ("log_loss", binary.log_loss()),
        ("brier", binary.brier()),
        ("accuracy", binary.accuracy(0.5)),
        ("rmse", numbers.rmse()),
        ("mae", numbers.mae()),
        ("quantile_loss", numbers.quantile_loss(0.8)),
        ("class_log_loss", classes.class_log_loss(3)),
        ("class_accuracy", classes.class_accuracy(3)),
        ("f1", binary.confusion(0.4).and_then(|at| at.f1())),
        ("poisson_deviance", scored(&of.counts, &of.means).poisson_deviance()),
    ]
}

#[track_caller]
fn check_confusion(at: Confusion, expected: [f64; 4]) {
    let Confusion { true_positive, false_positive, true_negative, false_negative } = at;
    let ours = [true_positive, false_positive, true_negative, false_negative];
    for (ours, theirs) in ours.iter().zip(&expected) {
        assert!((ours - theirs).abs() < 1e-9, "{at:?} is not {expected:?}");
    }
}

#[track_caller]
fn check_classes(found: &ClassConfusion, expected: &[Vec<f64>]) {
    assert_eq!(found.classes(), expected.len());
    for (label, row) in expected.iter().enumerate() {
        for (taken, theirs) in row.iter().enumerate() {
            assert!((found.of(label, taken) - theirs).abs() < 1e-9, "{found:?}");
        }
    }
}

#[test]
fn measures_are_those_of_scikit_learn() {
    let of: Sklearn = serde_json::from_str(include_str!("../../fixtures/sklearn.json")).unwrap();
    let mut expected = of.expected.clone();
    expected.insert("poisson_deviance".to_owned(), of.poisson_deviance);
    for (weights, expected) in [(None, &expected), (Some(&of.weights[..]), &of.weighted)] {
        for (name, ours) in measured(&of, weights) {
            let (ours, theirs) = (ours.unwrap(), expected[name]);
            assert!((ours - theirs).abs() < 1e-9, "{name}: {ours} is not {theirs}");
        }
    }
    let scored = Scored::new(&of.labels, &of.predictions);
    let weighed = scored.with_weights(Some(&of.weights));
    check_confusion(scored.confusion(0.4).unwrap(), of.confusion);
    check_confusion(weighed.confusion(0.4).unwrap(), of.weighted_confusion);
    check_curve(&scored.roc_curve().unwrap(), &of.roc);
    check_curve(&weighed.roc_curve().unwrap(), &of.weighted_roc);
    check_curve(&scored.precision_recall_curve().unwrap(), &of.pr);
    let classes = Scored::new(&of.classes, &of.probabilities);
    check_classes(&classes.class_confusion(3).unwrap(), &of.class_confusion);
    let classes = classes.with_weights(Some(&of.weights));
    check_classes(&classes.class_confusion(3).unwrap(), &of.weighted_class_confusion);
    let bins = scored.calibration(10).unwrap();
    assert_eq!(bins.len(), of.calibration[0].len());
    for (at, bin) in bins.iter().enumerate() {
        assert!((bin.predicted - of.calibration[0][at]).abs() < 1e-9, "{at}: {bin:?}");
        assert!((bin.observed - of.calibration[1][at]).abs() < 1e-9, "{at}: {bin:?}");
    }
    assert_eq!(bins.iter().map(|bin| bin.rows).sum::<u64>(), 400);
}

#[test]
fn counts_are_written_as_whole_numbers_where_they_are() {
    let of = |weights| {
        let at = Scored::new(&[1.0, 0.0], &[0.9, 0.1]).with_weights(weights).confusion(0.5);
        serde_json::to_value(at.unwrap()).unwrap()
    };
    assert_eq!(of(None)["true_positive"].as_u64(), Some(1));
    assert_eq!(of(Some(&[0.5, 2.0]))["true_positive"].as_f64(), Some(0.5));
    assert_eq!(of(Some(&[0.5, 2.0]))["true_negative"].as_u64(), Some(2));
}

#[test]
fn rows_that_do_not_count_are_as_if_they_were_not_there() {
    let (labels, predictions) = ([1.0, 0.0, 7.0], [0.9, 0.2, f64::NAN]);
    let scored = Scored::new(&labels, &predictions);
    assert_eq!(scored.roc_auc(), None);
    assert_eq!(scored.with_weights(Some(&[1.0, 2.0, 0.0])).roc_auc(), Some(1.0));
    for weights in [&[0.0; 3][..], &[1.0; 2], &[1.0, -1.0, 0.0], &[1.0, f64::NAN, 0.0]] {
        assert_eq!(scored.with_weights(Some(weights)).brier(), None, "{weights:?}");
    }
    // A query counts as its rows do in the mean.
    let (labels, predictions) = ([1.0, 0.0, 0.0, 1.0], [0.9, 0.1, 0.9, 0.1]);
    let ranked = Scored::new(&labels, &predictions);
    let of = |weights| ranked.with_weights(Some(weights)).mean_average_precision(&[1, 1, 2, 2]);
    assert_eq!(of(&[3.0, 3.0, 1.0, 1.0]), Some((3.0 + 0.5) / 4.0));
    assert_eq!(of(&[1.0, 1.0, 0.0, 0.0]), Some(1.0));
}

#[test]
fn other_measures_that_are_not_defined_are_none_too() {
    assert_eq!(rmse(&[], &[]), None);
    assert_eq!(mae(&[1.0], &[f64::NAN]), None);
    assert_eq!(quantile_loss(&[1.0], &[1.0], 1.0), None);
    assert_eq!(poisson_deviance(&[1.0], &[0.0]), None);
    assert_eq!(poisson_deviance(&[-1.0], &[1.0]), None);
    assert_eq!(poisson_deviance(&[0.0], &[0.5]), Some(1.0));
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
