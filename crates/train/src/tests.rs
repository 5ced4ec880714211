//! The contracts, for every algorithm, and rows for the tests of the others.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, Float64Array, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, Float64Type, Schema};
use icecore_core::{ErrorKind, Model, Prediction, Trainer, TrainingSet};
use icecore_testkit::{Random, check_trainer};

use super::*;

/// Parameters as a training file gives them.
pub(crate) fn params<const N: usize>(given: [(&str, f64); N]) -> BTreeMap<String, ParamValue> {
    given.into_iter().map(|(name, value)| (name.to_owned(), ParamValue::Float(value))).collect()
}

pub(crate) fn make(algorithm: &str, given: &BTreeMap<String, ParamValue>) -> Arc<dyn Trainer> {
    trainer(algorithm, given).unwrap()
}

/// A set of these columns.
pub(crate) fn set(columns: &[(&str, Vec<f64>)], labels: Vec<f64>) -> TrainingSet {
    let fields: Vec<Field> =
        columns.iter().map(|(name, _)| Field::new(*name, DataType::Float64, true)).collect();
    let arrays =
        columns.iter().map(|(_, v)| Arc::new(Float64Array::from(v.clone())) as _).collect();
    let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap();
    let ids = (0..labels.len() as u64).map(|row| Random::new(row).bits());
    let ids = UInt64Array::from_iter_values(ids);
    TrainingSet::new(rows, labels.into(), ids).unwrap()
}

/// Churn as it may be: few and late transactions, an interaction, missing values that tell, noise.
pub(crate) fn churn(rows: u64, seed: u64) -> TrainingSet {
    churn_and_truth(rows, seed).0
}

/// The rows with the log odds by which their labels were drawn: nobody can rank them better.
fn churn_and_truth(rows: u64, seed: u64) -> (TrainingSet, Vec<f64>) {
    let mut columns: [Vec<f64>; 5] = Default::default();
    let (mut labels, mut truth) = (Vec::new(), Vec::new());
    for row in 0..rows {
        let mut random = Random::new(seed).of(row);
        let count = f64::from(random.poisson(6.0));
        let days = random.exponential(20.0);
        let decline = if random.unit() < 0.2 { f64::NAN } else { random.unit() };
        let noise = random.normal();
        let odds = -0.6 * count
            + 0.12 * days
            + if decline.is_nan() { 2.0 } else { 0.0 }
            + if decline > 0.7 && count > 5.0 { 4.0 } else { 0.0 };
        truth.push(odds);
        labels.push(f64::from(u8::from(random.unit() < arithmetic::sigmoid(odds))));
        for (column, value) in columns.iter_mut().zip([count, days, decline, noise, 1.0]) {
            column.push(value);
        }
    }
    let names = ["txn_count", "days_since", "decline_rate", "noise", "constant"];
    (set(&names.into_iter().zip(columns).collect::<Vec<_>>(), labels), truth)
}

/// Rows whose label is a number: a step, a slope, an interaction, noise.
pub(crate) fn regression(rows: u64, seed: u64) -> TrainingSet {
    let mut columns: [Vec<f64>; 3] = Default::default();
    let mut labels = Vec::new();
    for row in 0..rows {
        let mut random = Random::new(seed).of(row);
        let (a, b) = (random.unit() * 10.0, random.normal());
        let c = if random.unit() < 0.1 { f64::NAN } else { random.unit() };
        let step = if a > 4.0 { 50.0 } else { 0.0 };
        let extra = if c.is_nan() { 20.0 } else { 10.0 * c * b };
        labels.push(1_000.0 + step + 7.0 * b + extra + random.normal());
        for (column, value) in columns.iter_mut().zip([a, b, c]) {
            column.push(value);
        }
    }
    let names = ["a", "b", "c"];
    set(&names.into_iter().zip(columns).collect::<Vec<_>>(), labels)
}

pub(crate) fn scores(model: &dyn Model, set: &TrainingSet) -> Vec<f64> {
    model.predict(set.features()).unwrap().as_primitive::<Float64Type>().values().to_vec()
}

pub(crate) fn auc(model: &dyn Model, set: &TrainingSet) -> f64 {
    metrics::roc_auc(set.labels().values(), &scores(model, set)).unwrap()
}

/// The algorithms that learn two classes.
const CLASSIFIERS: [&str; 8] = [
    "gbdt",
    "logistic_regression",
    "random_forest",
    "extra_trees",
    "gaussian_nb",
    "bernoulli_nb",
    "knn_classifier",
    "svc",
];

fn check_contract<const N: usize>(algorithm: &str, given: [(&str, f64); N]) {
    let given = params(given);
    let on_threads = |threads: usize| {
        let mut given = given.clone();
        given.insert("threads".to_owned(), ParamValue::Int(threads as i64));
        make(algorithm, &given)
    };
    check_trainer(on_threads, decode_model);
}

// C28, D4, C157, C158, D16
#[test]
fn gradient_boosting_keeps_the_contract() {
    check_contract("gbdt", [("n_estimators", 12.0)]);
}

#[test]
fn gradient_boosting_that_samples_keeps_the_contract() {
    let sampled = [("n_estimators", 12.0), ("subsample", 0.6), ("colsample", 0.5), ("seed", 3.0)];
    check_contract("gbdt", sampled);
}

#[test]
fn gradient_boosting_of_deep_trees_keeps_the_contract() {
    check_contract("gbdt", [("n_estimators", 3.0), ("max_depth", 12.0), ("min_samples_leaf", 1.0)]);
}

#[test]
fn gradient_boosting_with_few_bins_keeps_the_contract() {
    check_contract("gbdt", [("n_estimators", 5.0), ("max_bins", 4.0), ("l2", 1.0)]);
}

#[test]
fn logistic_regression_keeps_the_contract() {
    check_contract("logistic_regression", []);
}

#[test]
fn random_forests_keep_the_contract() {
    check_contract("random_forest", [("n_estimators", 7.0), ("max_depth", 6.0)]);
}

#[test]
fn extremely_randomized_trees_keep_the_contract() {
    check_contract("extra_trees", [("n_estimators", 7.0), ("max_depth", 6.0)]);
}

#[test]
fn linear_regressions_keep_the_contract() {
    for algorithm in ["linear_regression", "ridge"] {
        check_contract(algorithm, []);
    }
    check_contract("lasso", [("alpha", 0.01)]);
    check_contract("elastic_net", [("alpha", 0.01)]);
}

#[test]
fn naive_bayes_keeps_the_contract() {
    check_contract("gaussian_nb", []);
    check_contract("bernoulli_nb", []);
}

#[test]
fn nearest_neighbours_keep_the_contract() {
    check_contract("knn_classifier", [("n_neighbors", 7.0)]);
    check_contract("knn_regressor", [("n_neighbors", 1.0)]);
}

// The solver is too slow for the rows of the whole contract.
#[test]
fn support_vector_machines_are_a_function_of_the_rows() {
    let set = churn(250, 8);
    let order = UInt64Array::from_iter_values((0..250).map(|row| row * 7 % 250));
    for algorithm in ["svc", "svr"] {
        let trainer = make(algorithm, &BTreeMap::new());
        let model = trainer.fit(&set).unwrap();
        let bytes = model.encode().unwrap();
        let other = trainer.fit(&set.take(&order).unwrap()).unwrap();
        assert!(other.encode().unwrap() == bytes, "{algorithm}");
        let back = decode_model(&bytes).unwrap();
        assert!(back.encode().unwrap() == bytes);
        assert_eq!(scores(&*back, &set), scores(&*model, &set));
        for length in [0, bytes.len() / 2, bytes.len() - 1] {
            assert!(decode_model(&bytes[..length]).is_err());
        }
        for labels in [vec![0.0; 3], vec![1.0; 3], vec![0.0, 1.0, 1.0]] {
            for x in [vec![f64::NAN; 3], vec![1.0; 3], vec![1.0, f64::INFINITY, -2.0]] {
                let model = trainer.fit(&self::set(&[("x", x)], labels.clone())).unwrap();
                assert!(model.predict(&set.features().slice(0, 0)).is_err(), "no such column");
            }
        }
    }
}

// A job asks a model about no rows to learn what it gives.
#[test]
fn no_rows_have_no_predictions() {
    let set = churn(120, 5);
    let none = set.features().slice(0, 0);
    let classes = |labels: &TrainingSet| {
        let labels: Vec<f64> = (0..labels.rows()).map(|row| (row % 3) as f64).collect();
        TrainingSet::new(set.features().clone(), labels.into(), set.row_ids().clone()).unwrap()
    };
    let multiclass = BTreeMap::from([("objective".to_owned(), ParamValue::from("multiclass"))]);
    let mut models: Vec<Arc<dyn Model>> =
        vec![make("gbdt", &multiclass).fit(&classes(&set)).unwrap()];
    let numbers = ["ridge", "lasso", "knn_regressor", "svr"];
    for algorithm in CLASSIFIERS.into_iter().chain(numbers) {
        models.push(make(algorithm, &BTreeMap::new()).fit(&set).unwrap());
    }
    for model in models {
        assert_eq!(model.predict(&none).unwrap().len(), 0);
        for what in [Prediction::Margin, Prediction::Leaves, Prediction::Contributions] {
            if let Ok(given) = model.predict_as(&none, what) {
                assert_eq!(given.len(), 0);
            }
        }
    }
}

#[test]
fn what_a_model_does_not_use_is_not_important() {
    let x = (0..50).map(f64::from).collect::<Vec<_>>();
    let alike = set(&[("a", x.clone()), ("b", x.clone())], vec![1.0; 50]);
    let labels = (0..50).map(|row| f64::from(row % 2)).collect();
    let noise = set(&[("a", x.clone()), ("b", x)], labels);
    for (algorithm, set) in [
        ("gbdt", &alike),
        ("random_forest", &alike),
        ("logistic_regression", &alike),
        ("lasso", &noise),
        ("elastic_net", &noise),
    ] {
        let model = make(algorithm, &BTreeMap::new()).fit(set).unwrap();
        assert_eq!(model.importance(), [0.0, 0.0], "{algorithm}");
    }
}

#[test]
fn rows_that_all_weigh_nothing_say_so() {
    let set = churn(10, 1).with_weights(vec![0.0; 10].into()).unwrap();
    let trainer = make("gbdt", &BTreeMap::new());
    for error in [trainer.fit(&set).unwrap_err(), trainer.fit_source(&set, None).unwrap_err()] {
        assert_eq!(error.to_string(), "all 10 rows have weight 0, which teaches nothing");
    }
}

#[test]
fn a_label_that_is_too_great_is_told_with_the_limit() {
    for algorithm in ["ridge", "lasso", "knn_regressor", "svr"] {
        let set = set(&[("x", vec![1.0, 2.0, 3.0])], vec![0.0, 1.0, 1e300]);
        let error = make(algorithm, &BTreeMap::new()).fit(&set).unwrap_err();
        assert_eq!(error.to_string(), "label `1e300` is none that can be learned", "{algorithm}");
        assert!(error.help().unwrap().contains("1e140"), "{error:?}");
    }
}

#[test]
fn a_measure_that_is_not_defined_says_what_it_wants() {
    let set = churn(200, 3);
    let splits = split::stratified_k_fold(&set, 2).unwrap();
    let trainer = make("gbdt", &params([("n_estimators", 2.0)]));
    let measure = Some(metrics::Measure::Ndcg(10));
    let error = cross_validate_on(&*trainer, &set, &splits, measure).unwrap_err();
    assert_eq!(error.to_string(), "`ndcg` of a fold is not defined");
    assert!(error.help().unwrap().contains("`group`"), "{error:?}");
}

#[test]
fn weights_are_refused_where_they_are_not_known() {
    let set = churn(100, 8);
    let weights = |weight: fn(usize) -> f64| {
        let weights: Vec<f64> = (0..100).map(weight).collect();
        set.clone().with_weights(weights.into()).unwrap()
    };
    for algorithm in CLASSIFIERS {
        let trainer = make(algorithm, &params([]));
        let fitted = trainer.fit(&weights(|row| 1.0 + (row % 2) as f64));
        assert_eq!(fitted.is_ok(), algorithm == "gbdt", "{algorithm}");
        // A row of weight zero is as if it were not there.
        let without = set.take(&UInt64Array::from_iter_values(50..100)).unwrap();
        let half = weights(|row| if row < 50 { 0.0 } else { 1.0 });
        let (a, b) = (trainer.fit(&half).unwrap(), trainer.fit(&without).unwrap());
        assert_eq!(scores(&*a, &set), scores(&*b, &set), "{algorithm}");
    }
}

// C26: quality on rows that it has not seen, against the best that anybody could reach.
#[test]
fn every_algorithm_learns() {
    let training = churn(8_000, 1);
    let (validation, truth) = churn_and_truth(4_000, 2);
    let best = metrics::roc_auc(validation.labels().values(), &truth).unwrap();
    assert!(best > 0.9, "the labels can be told: {best}");
    for (algorithm, worse) in [
        ("gbdt", 0.015),
        ("logistic_regression", 0.05),
        ("random_forest", 0.03),
        ("extra_trees", 0.05),
        ("gaussian_nb", 0.1),
        ("knn_classifier", 0.1),
    ] {
        let model = make(algorithm, &BTreeMap::new()).fit(&training).unwrap();
        let auc = auc(&*model, &validation);
        assert!(auc > best - worse, "the AUC of {algorithm} is {auc} of {best}");
    }
}

#[test]
fn an_unknown_algorithm_is_corrected() {
    let error = trainer("gdbt", &BTreeMap::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(error.help(), Some("did you mean `gbdt`?"));
}

#[test]
fn all_mistakes_in_parameters_are_told_at_once() {
    let given = params([("max_dept", 5.0), ("subsample", 1.5), ("n_estimators", 2.5)]);
    let error = trainer("gbdt", &given).unwrap_err();
    let mut all = vec![error.to_string()];
    all.extend(error.related().iter().map(ToString::to_string));
    assert_eq!(
        all,
        [
            "parameter `n_estimators` of `gbdt` is `2.5`",
            "parameter `subsample` of `gbdt` is `1.5`",
            "algorithm `gbdt` has no parameter `max_dept`",
        ]
    );
    assert_eq!(error.help(), Some("give a whole number from 1 to 65536"));
    assert_eq!(error.related()[0].help(), Some("give a number above 0 to 1"));
    assert_eq!(error.related()[1].help(), Some("did you mean `max_depth`?"));
}

#[test]
fn parameters_are_told_with_their_defaults() {
    let given = BTreeMap::from([
        ("max_depth".to_owned(), ParamValue::from("3")),
        ("threads".to_owned(), ParamValue::from(2_i64)),
    ]);
    let effective = make("gbdt", &given).params();
    assert_eq!(effective["max_depth"], "3");
    assert_eq!(effective["n_estimators"], "100");
    assert_eq!(effective["learning_rate"], "0.1");
    assert!(!effective.contains_key("threads"), "it changes no model");
}

#[test]
fn labels_are_zero_or_one() {
    for label in [2.0, f64::NAN, -1.0] {
        for algorithm in CLASSIFIERS {
            let set = set(&[("x", vec![1.0, 2.0])], vec![0.0, label]);
            let error = make(algorithm, &BTreeMap::new()).fit(&set).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{algorithm}: {label}");
        }
    }
}

#[test]
fn a_feature_that_is_there_twice_is_refused() {
    let set = set(&[("x", vec![1.0, 2.0]), ("x", vec![3.0, 4.0])], vec![0.0, 1.0]);
    let error = make("gbdt", &BTreeMap::new()).fit(&set).unwrap_err();
    assert_eq!(error.to_string(), "feature `x` is there twice");
}

// C59
#[test]
fn cross_validation_does_not_depend_on_the_order_of_rows() {
    let set = churn(3_000, 4);
    let trainer = make("gbdt", &params([("n_estimators", 20.0)]));
    let result = cross_validate(&*trainer, &set, 5).unwrap();
    let order = UInt64Array::from_iter_values((0..3_000).map(|row| row * 7 % 3_000));
    assert_eq!(cross_validate(&*trainer, &set.take(&order).unwrap(), 5).unwrap(), result);

    assert_eq!(result.scores.len(), 5);
    assert!(result.scores.iter().all(|score| *score > 0.85), "{result:?}");
    let mean = result.scores.iter().sum::<f64>() / 5.0;
    assert!((mean - result.mean).abs() < 1e-15 && result.std > 0.0 && result.std < 0.03);
}

#[test]
fn cross_validation_measures_models_that_have_not_seen_the_fold() {
    // Labels of pure chance: a model that has seen the rows would be far above one half.
    let chance: Vec<f64> = (0..2_000).map(|row| (Random::new(row).bits() % 2) as f64).collect();
    let columns = [("x", (0..2_000).map(|row| Random::new(row ^ 1 << 40).unit()).collect())];
    let set = set(&columns, chance);
    let result =
        cross_validate(&*make("gbdt", &params([("min_samples_leaf", 1.0)])), &set, 4).unwrap();
    assert!((result.mean - 0.5).abs() < 0.05, "{result:?}");
}

#[test]
fn the_version_of_the_solvers_is_the_locked_one() {
    let lock = include_str!("../../../Cargo.lock");
    let (name, version) = SOLVERS.split_once(' ').unwrap();
    assert!(lock.contains(&format!("name = \"{name}\"\nversion = \"{version}\"")), "{SOLVERS}");
}
