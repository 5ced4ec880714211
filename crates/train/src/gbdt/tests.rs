use std::collections::BTreeMap;

use super::*;
use crate::tests::{auc, churn, make, params, scores, set};
use crate::tree::{Node, Tree};

/// The trees that these parameters learn.
fn trees(set: &TrainingSet, given: &BTreeMap<String, ParamValue>) -> Vec<Tree> {
    let trainer = GbdtTrainer::new(given).unwrap();
    let columns = columns::features(set).unwrap();
    let rows = (columns::binary_labels(set).unwrap(), set.row_ids().values().as_ref());
    boost(&trainer.params, &LogLoss, &columns, rows).trees
}

/// How many rows fall into each leaf, by the leaf's value.
fn rows_by_leaf(tree: &Tree, set: &TrainingSet) -> Vec<usize> {
    let columns = columns::features(set).unwrap();
    let leaves: Vec<f64> = (0..set.rows())
        .map(|row| tree.evaluate(|feature| columns[feature as usize][row]))
        .collect();
    let nodes = tree.nodes().iter().filter_map(|node| match node {
        Node::Leaf(value) => Some(*value),
        Node::Split(_) => None,
    });
    nodes.map(|value| leaves.iter().filter(|leaf| **leaf == value).count()).collect()
}

#[test]
fn no_leaf_has_fewer_rows_than_it_must() {
    let set = churn(3_000, 5);
    for least in [1, 17, 200] {
        let given = params([("n_estimators", 1.0), ("min_samples_leaf", f64::from(least))]);
        let tree = &trees(&set, &given)[0];
        let rows = rows_by_leaf(tree, &set);
        assert!(rows.len() > 2, "the tree splits");
        assert!(rows.iter().all(|rows| *rows >= least as usize), "{least}: {rows:?}");
    }
    let given = params([("n_estimators", 1.0), ("min_samples_leaf", 1_501.0)]);
    assert!(trees(&set, &given).is_empty(), "a half would be too small");
}

#[test]
fn trees_are_as_deep_as_they_may_be() {
    let set = churn(3_000, 5);
    for depth in [1, 3, 8, 10] {
        let given = params([
            ("n_estimators", 2.0),
            ("max_depth", f64::from(depth)),
            ("min_samples_leaf", 1.0),
        ]);
        for tree in trees(&set, &given) {
            assert_eq!(tree.depth(), depth as usize);
        }
    }
}

/// The best gain of all questions about single values, by looking at every row for each.
fn best_gain(set: &TrainingSet, least: usize) -> f64 {
    let columns = columns::features(set).unwrap();
    let labels = set.labels().values();
    let base = labels.iter().sum::<f64>() / labels.len() as f64;
    let score = |rows: &[usize]| {
        let gradient: f64 = rows.iter().map(|row| base - labels[*row]).sum();
        gradient * gradient / (rows.len() as f64 * base * (1.0 - base))
    };
    let all: Vec<usize> = (0..set.rows()).collect();
    let mut best = 0.0;
    for column in &columns {
        let mut thresholds: Vec<f64> = column.iter().copied().filter(|v| !v.is_nan()).collect();
        thresholds.sort_unstable_by(f64::total_cmp);
        thresholds.dedup();
        for threshold in thresholds {
            for missing_left in [false, true] {
                let (left, right): (Vec<usize>, Vec<usize>) = all.iter().partition(|row| {
                    let value = column[**row];
                    value <= threshold || value.is_nan() && missing_left
                });
                if left.len() >= least && right.len() >= least {
                    best = f64::max(best, score(&left) + score(&right) - score(&all));
                }
            }
        }
    }
    best
}

#[test]
fn the_first_split_is_the_best_of_all() {
    for seed in 0..8 {
        let set = churn(250, 100 + seed);
        let trainer = GbdtTrainer::new(&params([
            ("n_estimators", 1.0),
            ("max_depth", 1.0),
            ("min_samples_leaf", 9.0),
        ]));
        let columns = columns::features(&set).unwrap();
        let rows = (set.labels().values().as_ref(), set.row_ids().values().as_ref());
        let ensemble = boost(&trainer.unwrap().params, &LogLoss, &columns, rows);
        let gain: f64 = ensemble.gains.iter().sum();
        let expected = best_gain(&set, 9);
        assert!((gain / expected - 1.0).abs() < 2e-3, "seed {seed}: {gain} is not {expected}");
    }
}

#[test]
fn a_missing_value_is_worth_what_it_tells() {
    let x: Vec<f64> = (0..400).map(|row| if row % 4 == 0 { f64::NAN } else { 1.0 }).collect();
    let labels = x.iter().map(|x| f64::from(u8::from(x.is_nan()))).collect();
    let set = set(&[("x", x)], labels);
    let model = make("gbdt", &BTreeMap::new()).fit(&set).unwrap();
    let scores = scores(&*model, &set);
    assert!(scores[0] > 0.99 && scores[1] < 0.01, "{} {}", scores[0], scores[1]);
}

#[test]
fn values_that_were_never_missing_may_be_missing_later() {
    let columns = [("x", (0..300).map(f64::from).collect())];
    let labels: Vec<f64> = (0..300).map(|row| f64::from(u8::from(row >= 100))).collect();
    let model = make("gbdt", &BTreeMap::new()).fit(&set(&columns, labels)).unwrap();
    let unseen = set(&[("x", vec![f64::NAN])], vec![0.0]);
    assert!(scores(&*model, &unseen)[0] > 0.9, "it goes with the majority");
}

#[test]
fn a_row_that_is_never_sampled_has_no_say() {
    let set = churn(2_000, 8);
    let given = params([("n_estimators", 30.0), ("subsample", 0.5)]);
    let half = make("gbdt", &given).fit(&set).unwrap();
    let all = make("gbdt", &params([("n_estimators", 30.0)])).fit(&set).unwrap();
    assert_ne!(half.encode().unwrap(), all.encode().unwrap());
    assert!((auc(&*half, &set) - auc(&*all, &set)).abs() < 0.02);
}

#[test]
fn the_seed_makes_another_model() {
    let set = churn(2_000, 8);
    let model = |seed| {
        let given = params([("n_estimators", 5.0), ("subsample", 0.8), ("seed", seed)]);
        trees(&set, &given)
    };
    assert_eq!(model(1.0), model(1.0));
    assert_ne!(model(1.0), model(2.0));
}

#[test]
fn importance_is_that_of_the_features_that_matter() {
    let set = churn(5_000, 9);
    let model = make("gbdt", &BTreeMap::new()).fit(&set).unwrap();
    let importance = model.importance();
    let [count, days, decline, noise, constant] = importance[..] else { panic!("five features") };
    assert!(count > 0.1 && days > 0.1 && decline > 0.1, "{importance:?}");
    assert!(noise < 0.1 && constant == 0.0, "{importance:?}");
}

#[test]
fn a_penalty_makes_leaves_smaller_and_a_least_gain_makes_them_fewer() {
    let set = churn(3_000, 10);
    let leaves = |given: [(&str, f64); 2]| {
        let trees = trees(&set, &params(given));
        let tree = trees.first().cloned().unwrap_or_else(|| Tree::constant(0.0));
        let values: Vec<f64> = tree
            .nodes()
            .iter()
            .filter_map(|node| match node {
                Node::Leaf(value) => Some(value.abs()),
                Node::Split(_) => None,
            })
            .collect();
        (values.len(), values.into_iter().fold(0.0, f64::max))
    };
    let plain = leaves([("n_estimators", 1.0), ("l2", 0.0)]);
    let small = leaves([("n_estimators", 1.0), ("l2", 100.0)]);
    let few = leaves([("n_estimators", 1.0), ("min_gain", 30.0)]);
    assert!(small.1 < plain.1, "{small:?} {plain:?}");
    assert!(few.0 > 1 && few.0 < plain.0, "{few:?} {plain:?}");
}
