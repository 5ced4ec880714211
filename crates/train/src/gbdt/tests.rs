use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, RecordBatch, StringArray, UInt64Array};
use arrow::datatypes::Float64Type;
use icecore_core::OutputKind;
use icecore_testkit::Random;

use super::*;
use crate::file::decode;
use crate::tests::{auc, churn, make, params, regression, scores, set};
use crate::tree::{Ensemble, Node, Tree};
use crate::{decode_model, metrics, trainer};

fn ensemble(set: &TrainingSet, given: &BTreeMap<String, ParamValue>) -> Ensemble {
    let model = make("gbdt", given).fit(set).unwrap();
    match decode(&model.encode().unwrap()).unwrap().scorer {
        Scorer::Trees(trees) => trees.ensemble().clone(),
        _ => panic!("boosting gives trees"),
    }
}

/// The trees that these parameters learn.
fn trees(set: &TrainingSet, given: &BTreeMap<String, ParamValue>) -> Vec<Tree> {
    ensemble(set, given).trees
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
        let given = params([("n_estimators", 1.0), ("max_depth", 1.0), ("min_samples_leaf", 9.0)]);
        let gain: f64 = ensemble(&set, &given).gains.iter().sum();
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

/// Rows of all kinds: numbers, text, weights; labels as the objective wants them.
fn mixed(rows: u64, seed: u64, label: impl Fn(f64, &mut Random) -> f64) -> TrainingSet {
    let (mut amounts, mut tiers, mut labels, mut weights) = (vec![], vec![], vec![], vec![]);
    for row in 0..rows {
        let mut random = Random::new(seed).of(row);
        let amount = (random.unit() > 0.1).then(|| random.normal() * 3.0);
        let tier = random.below(12);
        let effect = [0.0, 3.0, -2.0, 1.0][tier as usize % 4] + amount.unwrap_or(2.0);
        amounts.push(amount);
        tiers.push((tier > 0).then(|| format!("tier {tier}")));
        labels.push(label(effect, &mut random));
        weights.push(f64::from(random.below(4) as u32) / 2.0);
    }
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("amount", Arc::new(Float64Array::from(amounts))),
        ("tier", Arc::new(StringArray::from(tiers))),
    ];
    let features = RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, array)| (name, array, true)),
    );
    let ids = UInt64Array::from_iter_values((0..rows).map(|row| Random::new(row).bits()));
    let set = TrainingSet::new(features.unwrap(), labels.into(), ids).unwrap();
    set.with_weights(weights.into()).unwrap()
}

fn label_of(objective: &str, effect: f64, random: &mut Random) -> f64 {
    match objective {
        "binary" => f64::from(u8::from(effect + random.normal() > 0.0)),
        "multiclass" => (effect / 2.0 + 1.5 + random.normal() * 0.2).clamp(0.0, 3.0).floor(),
        "poisson" => f64::from(random.poisson((effect / 3.0).exp().min(20.0))),
        _ => 1e6 + 100.0 * effect + random.normal(),
    }
}

fn given_text<const N: usize>(
    numbers: [(&str, f64); N],
    texts: &[(&str, &str)],
) -> BTreeMap<String, ParamValue> {
    let mut given = params(numbers);
    given.extend(texts.iter().map(|(name, text)| ((*name).to_owned(), ParamValue::from(*text))));
    given
}

// C28, D4: for every objective, with weights and categories, on 1 to 16 threads.
#[test]
fn no_order_of_rows_and_no_number_of_threads_changes_a_model() {
    for (objective, growth) in [
        ("binary", "level"),
        ("multiclass", "leaf"),
        ("squared", "level"),
        ("absolute", "leaf"),
        ("quantile", "level"),
        ("poisson", "leaf"),
    ] {
        let set = mixed(20_000, 3, |effect, random| label_of(objective, effect, random));
        let numbers = [
            ("n_estimators", 4.0),
            ("subsample", 0.7),
            ("early_stopping_rounds", 3.0),
            ("alpha", 0.8),
            ("l1", 0.1),
        ];
        let mut given = given_text(numbers, &[("objective", objective), ("growth", growth)]);
        if objective != "multiclass" {
            given.insert("monotone".to_owned(), ParamValue::from("+amount"));
        }
        let mut fit = |threads: i64, set: &TrainingSet| {
            given.insert("threads".to_owned(), ParamValue::Int(threads));
            make("gbdt", &given).fit(set).unwrap().encode().unwrap()
        };
        let expected = fit(1, &set);
        let mut order: Vec<u64> = (0..20_000).collect();
        order.sort_by_key(|row| Random::new(77).of(*row).bits());
        let shuffled = set.take(&UInt64Array::from(order)).unwrap();
        for threads in [2, 3, 5, 16] {
            assert!(fit(threads, &set) == expected, "{objective}: {threads} threads");
            assert!(fit(threads, &shuffled) == expected, "{objective}: shuffled");
        }
    }
}

#[test]
fn numbers_are_learned_near_to_their_noise() {
    let (training, held_out) = (regression(6_000, 1), regression(2_000, 2));
    for objective in ["squared", "absolute"] {
        let given = given_text([("n_estimators", 300.0)], &[("objective", objective)]);
        let model = make("gbdt", &given).fit(&training).unwrap();
        assert_eq!(model.signature().output, OutputKind::Value);
        let scores = scores(&*model, &held_out);
        let differences = scores.iter().zip(held_out.labels().values()).map(|(a, b)| (a - b).abs());
        let mean = differences.sum::<f64>() / 2_000.0;
        // The noise alone has a mean of 0.8; labels spread by 25.
        assert!(mean < 1.6, "{objective}: {mean}");
    }
}

#[test]
fn a_quantile_has_its_share_below() {
    let (training, held_out) = (regression(6_000, 4), regression(4_000, 5));
    for alpha in [0.1, 0.9] {
        let given =
            given_text([("n_estimators", 100.0), ("alpha", alpha)], &[("objective", "quantile")]);
        let model = make("gbdt", &given).fit(&training).unwrap();
        let scores = scores(&*model, &held_out);
        let below = scores.iter().zip(held_out.labels().values()).filter(|(s, l)| l <= s).count();
        assert!((below as f64 / 4_000.0 - alpha).abs() < 0.06, "{alpha}: {below} of 4000");
    }
}

#[test]
fn counts_and_classes_are_learned() {
    let set = mixed(8_000, 6, |effect, random| label_of("poisson", effect, random));
    let model = make("gbdt", &given_text([], &[("objective", "poisson")])).fit(&set).unwrap();
    let counts = scores(&*model, &set);
    let weights = set.weights().unwrap().values();
    let sum = |values: &[f64]| values.iter().zip(weights).map(|(v, w)| v * w).sum::<f64>();
    assert!(counts.iter().all(|count| *count > 0.0));
    assert!((sum(&counts) / sum(set.labels().values()) - 1.0).abs() < 0.03);

    let set = mixed(8_000, 7, |effect, random| label_of("multiclass", effect, random));
    let model = make("gbdt", &given_text([], &[("objective", "multiclass")])).fit(&set).unwrap();
    assert_eq!(model.signature().output, OutputKind::Classes);
    assert_eq!(model.rounds(), Some(100));
    let classes = model.predict(set.features()).unwrap();
    let classes = classes.as_fixed_size_list();
    assert_eq!(classes.value_length(), 4);
    let values = classes.values().as_primitive::<Float64Type>().values();
    let right = values.chunks(4).zip(set.labels().values()).filter(|(row, label)| {
        assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        row.iter().all(|other| *other <= row[**label as usize])
    });
    assert!(right.count() > 6_000, "three in four");
}

#[test]
fn leaves_grow_where_they_gain_most() {
    let set = churn(4_000, 12);
    let given = params([("n_estimators", 3.0), ("num_leaves", 9.0), ("min_samples_leaf", 1.0)]);
    let by_leaf = trees(&set, &given);
    assert!(by_leaf.iter().all(|tree| tree.leaves() == 9), "{by_leaf:?}");
    let mut first = given;
    first.insert("n_estimators".to_owned(), 1_i64.into());
    let gain = |given| ensemble(&set, &given).gains.iter().sum::<f64>();
    let mut by_level = first.clone();
    by_level.insert("growth".to_owned(), "level".into());
    assert!(gain(first.clone()) >= gain(by_level), "as many leaves of levels gain no more");
    first.insert("max_depth".to_owned(), 2_i64.into());
    assert_eq!(trees(&set, &first)[0].leaves(), 4);
}

#[test]
fn a_monotone_prediction_never_falls() {
    let set = churn(5_000, 13);
    let given = |monotone: &str| {
        given_text([("n_estimators", 40.0), ("min_samples_leaf", 5.0)], &[("monotone", monotone)])
    };
    let model = make("gbdt", &given("-txn_count, +days_since")).fit(&set).unwrap();
    for other in [0.0, 5.0, 60.0] {
        let along = |name: &str| {
            let names = ["txn_count", "days_since", "decline_rate", "noise", "constant"];
            let columns = names.map(|column| {
                let values = (0..200).map(|step| f64::from(step) * 0.5);
                let values = if column == name { values.collect() } else { vec![other; 200] };
                (column, values)
            });
            scores(&*model, &crate::tests::set(&columns, vec![0.0; 200]))
        };
        assert!(along("txn_count").windows(2).all(|pair| pair[1] <= pair[0]));
        assert!(along("days_since").windows(2).all(|pair| pair[1] >= pair[0]));
    }
    for (monotone, message) in [
        ("+txn_cont", "a parameter names the feature `txn_cont`"),
        ("txn_count", "`monotone` has `txn_count`"),
        ("+noise,-noise", "`monotone` names `noise` twice"),
    ] {
        let error = trainer("gbdt", &given(monotone)).and_then(|t| t.fit(&set)).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn learning_stops_where_other_rows_are_predicted_best() {
    let (set, watched) = (churn(1_500, 14), churn(1_500, 15));
    let given = params([("n_estimators", 400.0), ("early_stopping_rounds", 10.0)]);
    let stopped = make("gbdt", &given).fit_watching(&set, &watched).unwrap();
    let rounds = stopped.rounds().unwrap();
    assert!(rounds > 5 && rounds < 200, "{rounds}");
    let loss = |rounds: usize| {
        let model = make("gbdt", &params([("n_estimators", rounds as f64)])).fit(&set).unwrap();
        let loss = metrics::log_loss(watched.labels().values(), &scores(&*model, &watched));
        (loss.unwrap(), scores(&*model, &watched))
    };
    let (best, same) = loss(rounds);
    assert_eq!(scores(&*stopped, &watched), same, "the trees are the first of all");
    assert!(best <= loss(rounds + 10).0 && best <= loss(rounds - 3).0);
    let own = make("gbdt", &given).fit(&set).unwrap();
    assert!(own.rounds().unwrap() < 400, "it holds rows out itself");
}

#[test]
fn a_row_of_no_weight_is_not_there_and_one_of_weight_two_is_twice() {
    let set = churn(2_000, 16);
    let given = params([("n_estimators", 5.0)]);
    let weighted = |weight: &dyn Fn(usize) -> f64| {
        let weights = (0..2_000).map(weight).collect::<Vec<f64>>();
        set.clone().with_weights(weights.into()).unwrap()
    };
    let half = set.take(&UInt64Array::from_iter_values(0..1_000)).unwrap();
    let half = half.with_weights(vec![1.0; 1_000].into()).unwrap();
    let zeros = weighted(&|row| f64::from(u8::from(row < 1_000)));
    assert_eq!(trees(&half, &given), trees(&zeros, &given));

    // Of few distinct values, the bins do not depend on how often each is there.
    let count = set.features().project(&[0]).unwrap();
    let set = TrainingSet::new(count, set.labels().clone(), set.row_ids().clone()).unwrap();
    let weighted = |weight: &dyn Fn(usize) -> f64| {
        let weights = (0..2_000).map(weight).collect::<Vec<f64>>();
        set.clone().with_weights(weights.into()).unwrap()
    };
    let twice = weighted(&|row| if row < 1_000 { 2.0 } else { 1.0 });
    let rows = UInt64Array::from_iter_values((0..2_000).chain(0..1_000));
    let doubled = set.take(&rows).unwrap();
    let given = params([("n_estimators", 5.0), ("max_depth", 2.0), ("min_samples_leaf", 1.0)]);
    let model = |set: &TrainingSet| make("gbdt", &given).fit(set).unwrap();
    let (a, b) = (scores(&*model(&twice), &set), scores(&*model(&doubled), &set));
    let apart = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(apart < 0.01, "{apart}");
}

#[test]
fn balanced_classes_count_alike() {
    let set =
        mixed(4_000, 17, |effect, random| f64::from(u8::from(effect + random.normal() > 4.0)));
    let mean = |given: &BTreeMap<String, ParamValue>| {
        let scores = scores(&*make("gbdt", given).fit(&set).unwrap(), &set);
        scores.iter().sum::<f64>() / 4_000.0
    };
    let plain = mean(&params([]));
    let balanced = mean(&given_text([], &[("class_weight", "balanced")]));
    let positive = mean(&params([("scale_pos_weight", 6.0)]));
    assert!(plain < 0.2 && balanced > plain + 0.05 && positive > plain + 0.03);
    for (given, message) in [
        (
            given_text([("scale_pos_weight", 2.0)], &[("class_weight", "balanced")]),
            "`class_weight` and `scale_pos_weight` say two things",
        ),
        (
            given_text([], &[("class_weight", "balanced"), ("objective", "squared")]),
            "`class_weight` is `balanced`, but there are no classes",
        ),
    ] {
        assert_eq!(trainer("gbdt", &given).unwrap_err().to_string(), message);
    }
}

#[test]
fn text_is_learned_from_and_unknown_text_is_missing() {
    let set = mixed(4_000, 18, |effect, random| label_of("binary", effect, random));
    let model = make("gbdt", &BTreeMap::new()).fit(&set).unwrap();
    let model = decode_model(&model.encode().unwrap()).unwrap();
    assert!(auc(&*model, &set) > 0.9);
    assert!(model.importance()[1] > 0.2, "{:?}", model.importance());
    let ask = |tier: Option<&str>| {
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("amount", Arc::new(Float64Array::from(vec![0.0]))),
            ("tier", Arc::new(StringArray::from(vec![tier]))),
        ];
        let rows = RecordBatch::try_from_iter_with_nullable(
            columns.into_iter().map(|(name, array)| (name, array, true)),
        );
        model.predict(&rows.unwrap()).unwrap().as_primitive::<Float64Type>().value(0)
    };
    assert!(ask(Some("tier 1")) > 0.9 && ask(Some("tier 2")) < 0.2);
    assert_eq!(ask(Some("tier 99")), ask(None), "a category that nobody has seen");
    let (labels, ids) = (set.labels().clone(), set.row_ids().clone());
    let set = TrainingSet::new(set.features().clone(), labels, ids).unwrap();
    for algorithm in ["logistic_regression", "random_forest", "ridge", "knn_classifier"] {
        let error = make(algorithm, &BTreeMap::new()).fit(&set).unwrap_err();
        assert_eq!(
            error.to_string(),
            "feature `tier` is text, from which only `gbdt` learns as it is"
        );
    }
}

/// The best gain of all divisions of categories, by trying every one.
#[test]
fn the_best_division_of_categories_is_found() {
    for seed in 0..6 {
        let set = mixed(600, 40 + seed, |effect, random| label_of("binary", effect, random));
        let set = TrainingSet::new(
            set.features().project(&[1]).unwrap(),
            set.labels().clone(),
            set.row_ids().clone(),
        );
        let set = set.unwrap();
        let given = params([
            ("n_estimators", 1.0),
            ("max_depth", 1.0),
            ("min_samples_leaf", 1.0),
            ("cat_l2", 0.0),
            ("cat_smooth", 0.0),
        ]);
        let gain: f64 = ensemble(&set, &given).gains.iter().sum();
        let (columns, _) = columns::categorical_features(&set, &BTreeSet::new()).unwrap();
        let labels = set.labels().values();
        let base = labels.iter().sum::<f64>() / 600.0;
        let score = |rows: &mut dyn Iterator<Item = usize>| {
            let (sum, count) =
                rows.fold((0.0, 0.0), |(s, n), row| (s + base - labels[row], n + 1.0));
            if count > 0.0 { sum * sum / (count * base * (1.0 - base)) } else { 0.0 }
        };
        let code = |row: usize| if columns[0][row].is_nan() { 11 } else { columns[0][row] as u32 };
        let best = (1..1_u32 << 11)
            .map(|set| {
                let side = |wanted| (0..600).filter(move |row| set >> code(*row) & 1 == wanted);
                score(&mut side(0)) + score(&mut side(1))
            })
            .fold(0.0, f64::max);
        assert!((gain / best - 1.0).abs() < 5e-3, "seed {seed}: {gain} is not {best}");
    }
}

// The raw scores of classes would rise, but probabilities, which sum to one, cannot all do so.
#[test]
fn monotone_is_refused_for_several_classes() {
    let given = BTreeMap::from([
        ("objective".to_owned(), ParamValue::from("multiclass")),
        ("monotone".to_owned(), ParamValue::from("+txn_count")),
    ]);
    let error = trainer(ALGORITHM, &given).unwrap_err();
    assert_eq!(error.to_string(), "`monotone` is not for `multiclass`");
}
