use super::*;
use crate::tests::{churn, make, params, scores, set};

fn fitted(set: &TrainingSet, l2: f64) -> LinearScorer {
    let features = columns::features(set).unwrap();
    let labels: Vec<u32> = set.labels().values().iter().map(|label| *label as u32).collect();
    fit(&features, &labels, l2).unwrap()
}

// At the minimum of the penalized loss its gradient is zero.
#[test]
fn weights_are_those_of_the_least_penalized_loss() {
    let set = churn(2_000, 6);
    for l2 in [0.01, 1.0, 50.0] {
        let model = fitted(&set, l2);
        let features = columns::features(&set).unwrap();
        let mut probabilities = vec![0.0; set.rows()];
        model.score(&features, 0, &mut probabilities);
        let errors: Vec<f64> =
            probabilities.iter().zip(set.labels().values()).map(|(p, label)| p - label).collect();
        assert!(errors.iter().sum::<f64>().abs() < 1e-4, "the intercept is not penalized");
        for (term, column) in model.terms.iter().zip(&features) {
            let values = column.iter().map(|value| term.standardize(*value).unwrap_or(0.0));
            let slope: f64 = errors.iter().zip(values).map(|(error, value)| error * value).sum();
            assert!((slope + l2 * term.weight).abs() < 1e-3, "{slope} {term:?}");
        }
    }
}

// C105, C158: statistics of the training rows are part of the model.
#[test]
fn a_constant_column_has_no_weight_and_a_missing_value_has_one() {
    let model = fitted(&churn(2_000, 6), 1.0);
    let [_, _, decline, _, constant] = &model.terms[..] else { panic!("five features") };
    assert!(decline.missing_weight > 0.5, "missing declines are a sign of churn: {decline:?}");
    assert_eq!((constant.weight, constant.missing_weight, constant.center), (0.0, 0.0, 1.0));
}

#[test]
fn columns_of_any_magnitude_are_standardized() {
    for magnitude in [1e-300, 1.0, 1e300] {
        let x: Vec<f64> = (0..200).map(|row| f64::from(row % 20) * magnitude).collect();
        let labels = (0..200).map(|row| f64::from(u8::from(row % 20 >= 10))).collect();
        let set = set(&[("x", x)], labels);
        let model = make(ALGORITHM, &params([])).fit(&set).unwrap();
        let scores = scores(&*model, &set);
        assert!(scores[0] < 0.1 && scores[19] > 0.9, "{magnitude}: {} {}", scores[0], scores[19]);
    }
}

#[test]
fn classes_that_are_told_apart_without_error_need_no_penalty_to_be_defined() {
    let labels = (0..40).map(|row| f64::from(u8::from(row >= 20))).collect();
    let set = set(&[("x", (0..40).map(f64::from).collect())], labels);
    match make(ALGORITHM, &params([("l2", 0.0)])).fit(&set) {
        Ok(model) => {
            let scores = scores(&*model, &set);
            assert!(scores[0] < 0.01 && scores[39] > 0.99);
        }
        Err(error) => assert_eq!(error.kind(), icecore_core::ErrorKind::InvalidInput),
    }
}

#[test]
fn one_class_has_a_constant_near_it() {
    let set = set(&[("x", (0..9).map(f64::from).collect())], vec![1.0; 9]);
    let scores = scores(&*make(ALGORITHM, &params([])).fit(&set).unwrap(), &set);
    for score in scores {
        assert!((score - 0.95).abs() < 1e-12, "nine rows and a half of ten: {score}");
    }
}
