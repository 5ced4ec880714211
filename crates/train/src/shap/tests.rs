use arrow::array::AsArray;
use arrow::datatypes::Float64Type;
use icecore_core::{ErrorKind, Model, Prediction};

use super::*;
use crate::file::decode;
use crate::scorer::Scorer;
use crate::tests::{churn, make, params, regression, scores};

/// What a coalition of features knows of a row: both ways where a feature is not in it.
fn known(tree: &Tree, place: u32, values: &[f64], coalition: u32) -> f64 {
    match tree.node(place) {
        Node::Leaf(value) => value,
        Node::Split(split) if coalition >> split.feature & 1 == 1 => {
            let child = split.child(values[split.feature as usize]);
            known(tree, child, values, coalition)
        }
        Node::Split(split) => [split.left, split.right]
            .map(|child| {
                let share = tree.note(child).cover / tree.note(place).cover;
                share * known(tree, child, values, coalition)
            })
            .into_iter()
            .sum(),
    }
}

/// Shapley's definition: over all orders in which the features may come.
fn by_subsets(tree: &Tree, values: &[f64]) -> Vec<f64> {
    let features = values.len() as u32;
    let factorial = |n: u32| (1..=n).map(f64::from).product::<f64>();
    (0..features)
        .map(|feature| {
            (0..1_u32 << features)
                .filter(|coalition| coalition >> feature & 1 == 0)
                .map(|coalition| {
                    let size = coalition.count_ones();
                    let orders = factorial(size) * factorial(features - size - 1);
                    let gain = known(tree, 0, values, coalition | 1 << feature)
                        - known(tree, 0, values, coalition);
                    orders / factorial(features) * gain
                })
                .sum()
        })
        .collect()
}

fn ensemble_of(model: &dyn Model) -> Ensemble {
    match decode(&model.encode().unwrap()).unwrap().scorer {
        Scorer::Trees(trees) => trees.ensemble().clone(),
        _ => panic!("trees"),
    }
}

#[test]
fn contributions_are_those_of_the_definition() {
    let set = churn(2_000, 31);
    let given = params([("n_estimators", 4.0), ("max_depth", 6.0), ("min_samples_leaf", 5.0)]);
    for algorithm in ["gbdt", "random_forest"] {
        let model = make(algorithm, &given).fit(&set).unwrap();
        let ensemble = ensemble_of(&*model);
        let columns = crate::columns::features(&set).unwrap();
        for row in 0..40 {
            let values: Vec<f64> = columns.iter().map(|column| column[row]).collect();
            let mut wanted = vec![0.0; values.len()];
            for tree in &ensemble.trees {
                for (sum, value) in wanted.iter_mut().zip(by_subsets(tree, &values)) {
                    *sum += value * share(&ensemble);
                }
            }
            let given = contributions(&ensemble, &expected(&ensemble), &values);
            for (given, wanted) in given.iter().zip(wanted) {
                assert!((given - wanted).abs() < 1e-10, "row {row}: {given} is not {wanted}");
            }
        }
    }
}

#[test]
fn contributions_sum_to_the_margin_for_every_kind_of_model() {
    let classes = params([("n_estimators", 5.0)]);
    let mut classes_given = classes.clone();
    classes_given.insert("objective".to_owned(), "multiclass".into());
    let mut squared = classes.clone();
    squared.insert("objective".to_owned(), "squared".into());
    let cases = [
        ("gbdt", classes.clone(), churn(500, 1)),
        ("gbdt", classes_given, churn(500, 2)),
        ("gbdt", squared, regression(500, 3)),
        ("random_forest", classes, churn(500, 4)),
        ("logistic_regression", params([]), churn(500, 5)),
    ];
    for (algorithm, given, set) in cases {
        let model = make(algorithm, &given).fit(&set).unwrap();
        let flat = |what| {
            let array = model.predict_as(set.features(), what).unwrap();
            match array.as_fixed_size_list_opt() {
                Some(list) => list.values().as_primitive::<Float64Type>().values().to_vec(),
                None => array.as_primitive::<Float64Type>().values().to_vec(),
            }
        };
        let margins = flat(Prediction::Margin);
        let explained = flat(Prediction::Contributions);
        let width = set.features().num_columns() + 1;
        assert_eq!(explained.len(), margins.len() * width);
        for (explained, margin) in explained.chunks(width).zip(margins) {
            let sum: f64 = explained.iter().sum();
            assert!(
                (sum - margin).abs() < 1e-6 * (1.0 + margin.abs()),
                "{algorithm}: {sum} {margin}"
            );
        }
    }
}

#[test]
fn leaves_are_where_rows_fall() {
    let set = churn(400, 6);
    let model = make("gbdt", &params([("n_estimators", 3.0)])).fit(&set).unwrap();
    let leaves = model.predict_as(set.features(), Prediction::Leaves).unwrap();
    let leaves = leaves.as_fixed_size_list();
    assert_eq!((leaves.value_length(), set.rows()), (3, 400));
    let numbers = leaves.values().as_primitive::<arrow::datatypes::UInt32Type>().values();
    let ensemble = ensemble_of(&*model);
    let scores = scores(&*model, &set);
    for (row, score) in scores.iter().enumerate() {
        let sum: f64 = ensemble
            .trees
            .iter()
            .enumerate()
            .map(|(tree, of)| {
                let places = of.leaf_numbers();
                let is_it = |place: &usize| {
                    matches!(of.nodes()[*place], Node::Leaf(_))
                        && places[*place] == numbers[row * 3 + tree]
                };
                match of.nodes()[(0..places.len()).find(is_it).unwrap()] {
                    Node::Leaf(value) => value,
                    Node::Split(_) => panic!("a leaf"),
                }
            })
            .sum();
        let odds = ensemble.bases[0] + sum;
        assert!((score - 1.0 / (1.0 + (-odds).exp())).abs() < 1e-9, "row {row}");
    }
    let linear = make("logistic_regression", &params([])).fit(&set).unwrap();
    let error = linear.predict_as(set.features(), Prediction::Leaves).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}
