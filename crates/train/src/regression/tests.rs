use arrow::array::UInt64Array;

use super::*;
use crate::metrics::rmse;
use crate::tests::{make, params, regression, scores, set};

/// Labels that are a sum of two features.
fn plane() -> TrainingSet {
    let a: Vec<f64> = (0..60).map(|row| f64::from(row * 7 % 60)).collect();
    let b: Vec<f64> = (0..60).map(|row| f64::from(row * row % 31)).collect();
    let labels = a.iter().zip(&b).map(|(a, b)| 100.0 + 3.0 * a - 0.5 * b).collect();
    set(&[("a", a), ("b", b)], labels)
}

#[test]
fn a_plane_is_found() {
    let rows = plane();
    for (algorithm, given, error) in [
        (LINEAR, params([]), 1e-6),
        (RIDGE, params([("l2", 1e-6)]), 1e-3),
        (LASSO, params([("alpha", 1e-4)]), 0.01),
        (ELASTIC_NET, params([("alpha", 1e-4)]), 0.1),
    ] {
        let model = make(algorithm, &given).fit(&rows).unwrap();
        let rmse = rmse(rows.labels().values(), &scores(&*model, &rows)).unwrap();
        assert!(rmse < error, "{algorithm}: {rmse}");
    }
}

// The gradient of the penalized loss is zero, or within the penalty where a weight is zero.
#[test]
fn weights_are_those_of_the_penalized_loss() {
    let rows = regression(500, 4);
    for (algorithm, given, l1, l2) in [
        (RIDGE, params([("l2", 40.0)]), 0.0, 40.0 / 500.0),
        (LASSO, params([("alpha", 2.0)]), 2.0, 0.0),
        (ELASTIC_NET, params([("alpha", 2.0), ("l1_ratio", 0.25)]), 0.5, 1.5),
    ] {
        let canonical = Canonical::new(&rows).unwrap();
        let model = make(algorithm, &given).fit(&rows).unwrap();
        let model = crate::file::decode(&model.encode().unwrap()).unwrap();
        let Scorer::Linear(linear) = &model.scorer else { panic!("it is linear") };
        let mut predicted = vec![0.0; 500];
        linear.score(&canonical.features, 0, &mut predicted);
        for (term, column) in linear.terms.iter().zip(&canonical.features) {
            let slope: f64 = (0..500)
                .map(|row| {
                    let value = term.standardize(column[row]).unwrap_or(0.0);
                    (predicted[row] - canonical.labels[row]) * value / 500.0
                })
                .sum();
            let slope = slope + l2 * term.weight;
            if term.weight == 0.0 {
                assert!(slope.abs() <= l1 + 1e-9, "{algorithm}: {slope} {term:?}");
            } else {
                let off = slope + l1 * term.weight.signum();
                assert!(off.abs() < 1e-6, "{algorithm}: {off} {term:?}");
            }
        }
    }
}

#[test]
fn lasso_leaves_out_what_says_nothing() {
    let noise = (0..300).map(|row| f64::from(row * 37 % 101) - 50.0).collect();
    let x: Vec<f64> = (0..300).map(f64::from).collect();
    let labels = x.iter().map(|x| 2.0 * x).collect();
    let rows = set(&[("x", x), ("noise", noise)], labels);
    let model = make(LASSO, &params([("alpha", 5.0)])).fit(&rows).unwrap();
    assert_eq!(model.importance(), [1.0, 0.0]);
}

// C28, D4
#[test]
fn regressions_do_not_depend_on_the_order_of_rows() {
    let rows = regression(300, 5);
    let order = UInt64Array::from_iter_values((0..300).map(|row| row * 7 % 300));
    let other = rows.take(&order).unwrap();
    for algorithm in [LINEAR, RIDGE, LASSO, ELASTIC_NET] {
        let trainer = make(algorithm, &params([]));
        let of = |set: &TrainingSet| trainer.fit(set).unwrap().encode().unwrap();
        assert!(of(&rows) == of(&other), "{algorithm}");
    }
}

#[test]
fn labels_of_any_size_are_learned() {
    for factor in [1e-100, 1.0, 1e100] {
        let rows = plane();
        let labels: Vec<f64> = rows.labels().values().iter().map(|l| l * factor).collect();
        let rows = TrainingSet::new(
            rows.features().clone(),
            labels.clone().into(),
            rows.row_ids().clone(),
        );
        let rows = rows.unwrap();
        for algorithm in [LINEAR, RIDGE] {
            let scores = scores(&*make(algorithm, &params([])).fit(&rows).unwrap(), &rows);
            let off = scores.iter().zip(&labels).map(|(a, b)| ((a - b) / factor).abs());
            assert!(off.fold(0.0, f64::max) < 6.0, "{algorithm} {factor}");
        }
    }
}
