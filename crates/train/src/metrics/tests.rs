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
