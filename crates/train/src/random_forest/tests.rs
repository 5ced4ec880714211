use icecore_core::Trainer;
use smartcore::linalg::basic::arrays::Array;

use super::*;
use crate::canonical::canonical_order;
use crate::tests::{churn, make, params, scores};

// The oracle is the library itself, on the imputed matrix.
#[test]
fn the_converted_trees_predict_what_the_library_predicts() {
    let set = churn(1_500, 3);
    let trainer = trainer(ALGORITHM, &params([("n_estimators", 5.0), ("seed", 4.0)])).unwrap();
    let columns = columns::features(&set).unwrap();
    let order = canonical_order(&columns, set.labels().values(), set.row_ids().values());
    let inputs: Vec<Input> = columns
        .iter()
        .map(|column| Input::new(order.iter().map(|row| column[*row]).collect()))
        .collect();
    let labels: Vec<f64> = order.iter().map(|row| set.labels().value(*row)).collect();
    let design = design(&inputs);
    assert_eq!(design.len(), 6, "five features and one that is missing at times");
    let values = design.iter().flat_map(|column| column.values(&inputs)).collect();
    let matrix = DenseMatrix::new(labels.len(), design.len(), values, true).unwrap();
    let params = RandomForestRegressorParameters::default()
        .with_n_trees(5)
        .with_max_depth(13)
        .with_min_samples_leaf(5)
        .with_seed(mix_pair(4, 0));
    let library: Regressor = RandomForestRegressor::fit(&matrix, &labels, params).unwrap();
    assert_eq!(matrix.shape().0, labels.len());
    let expected = library.predict(&matrix).unwrap();

    let model = trainer.fit(&set).unwrap();
    let ours = scores(&*model, &set);
    for (row, expected) in order.iter().zip(expected) {
        assert!((ours[*row] - expected).abs() < 1e-8, "{} is not {expected}", ours[*row]);
    }
}

#[test]
fn trees_are_at_most_as_deep_as_they_may_be() {
    let given = params([("n_estimators", 3.0), ("max_depth", 4.0)]);
    let (forest, ..) = Forest::read(ALGORITHM, &given).unwrap();
    let set = churn(2_000, 3);
    let columns = columns::features(&set).unwrap();
    let inputs: Vec<Input> = columns.into_iter().map(Input::new).collect();
    let ensemble = forest.grow(&inputs, set.labels().values()).unwrap();
    assert_eq!(ensemble.trees.len(), 3);
    assert_eq!(ensemble.trees.iter().map(Tree::depth).max(), Some(4));
}

#[test]
fn importance_is_that_of_the_features_that_matter() {
    let model = make(ALGORITHM, &params([("n_estimators", 20.0)])).fit(&churn(2_000, 9)).unwrap();
    let importance = model.importance();
    let [count, days, decline, noise, constant] = importance[..] else { panic!("five features") };
    assert!(count > noise && days > noise && decline > 0.05, "{importance:?}");
    assert!(constant < 1e-12, "{importance:?}");
}

// One among many values: were it a very great number, no threshold would fall among the others.
#[test]
fn an_infinite_value_spoils_no_feature() {
    let random = |row: u64| icecore_testkit::Random::new(row).unit();
    let set = |first: f64| {
        let a: Vec<f64> = (0..600).map(|row| if row == 0 { first } else { random(row) }).collect();
        let noise: Vec<f64> = (0..600).map(|row| random(row + 10_000)).collect();
        let labels = (0..600).map(|row| f64::from(u8::from(random(row) > 0.5))).collect();
        crate::tests::set(&[("a", a), ("noise", noise)], labels)
    };
    for algorithm in [ALGORITHM, EXTRA] {
        for first in [f64::INFINITY, f64::NEG_INFINITY] {
            let model =
                make(algorithm, &params([("n_estimators", 20.0)])).fit(&set(first)).unwrap();
            let auc = crate::tests::auc(&*model, &set(0.5));
            assert!(auc > 0.98, "{algorithm}: {auc}");
            assert!(model.importance()[0] > 0.6, "{algorithm}: {:?}", model.importance());
        }
    }
}
