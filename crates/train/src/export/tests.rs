use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, RecordBatch, StringArray};
use arrow::datatypes::Float64Type;
use icecore_core::ParamValue;
use proptest::prelude::*;

use super::*;
use crate::import_model;
use crate::tests::{churn, make, params, regression};

fn predictions(model: &dyn Model, rows: &RecordBatch) -> Vec<f64> {
    let array = model.predict(rows).unwrap();
    let array = match array.as_fixed_size_list_opt() {
        Some(lists) => lists.values().clone(),
        None => array,
    };
    array.as_primitive::<Float64Type>().values().to_vec()
}

fn given(objective: &str, more: &[(&str, ParamValue)]) -> BTreeMap<String, ParamValue> {
    let mut given = params([("n_estimators", 12.0)]);
    given.insert("objective".to_owned(), objective.into());
    given.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    given
}

#[test]
fn what_was_exported_is_imported_with_equal_predictions() {
    let categories =
        [("categorical", ParamValue::from("txn_count")), ("num_leaves", 12_i64.into())];
    for (algorithm, given, set) in [
        ("gbdt", given("binary", &[]), churn(1_000, 1)),
        ("gbdt", given("binary", &categories), churn(1_000, 2)),
        ("gbdt", given("multiclass", &categories), churn(1_000, 3)),
        ("gbdt", given("squared", &[]), regression(1_000, 4)),
        ("gbdt", given("poisson", &[]), churn(1_000, 5)),
        ("random_forest", params([("n_estimators", 10.0)]), churn(1_000, 6)),
    ] {
        let model = make(algorithm, &given).fit(&set).unwrap();
        let text = to_lightgbm(&*model).unwrap();
        let back = import_model(text.as_bytes()).unwrap();
        let ours = predictions(&*model, set.features());
        for (ours, theirs) in ours.iter().zip(predictions(&*back, set.features())) {
            assert!(
                (ours - theirs).abs() <= 1e-9 * (1.0 + ours.abs()),
                "{given:?}: {ours} {theirs}"
            );
        }
        assert_eq!(to_lightgbm(&*model).unwrap(), text, "equal models have equal text");
    }
}

#[test]
fn a_model_without_trees_is_exported_as_its_constant() {
    let set = crate::tests::set(&[("x", vec![1.0, 2.0])], vec![0.0, 0.0]);
    let model = make("gbdt", &BTreeMap::new()).fit(&set).unwrap();
    let back = import_model(to_lightgbm(&*model).unwrap().as_bytes()).unwrap();
    let (ours, theirs) =
        (predictions(&*model, set.features()), predictions(&*back, set.features()));
    assert!((ours[0] - theirs[0]).abs() < 1e-9);
    let linear = make("logistic_regression", &BTreeMap::new()).fit(&churn(200, 1)).unwrap();
    let error = to_lightgbm(&*linear).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot export a model of `logistic_regression`: it has no trees"
    );
}

#[test]
fn two_classes_are_exported_to_onnx_as_one_probability() {
    let set = churn(1_000, 7);
    let model = make("gbdt", &given("multiclass", &[])).fit(&set).unwrap();
    let back = import_model(&to_onnx(&*model).unwrap()).unwrap();
    assert_eq!(back.signature().output, icecore_core::OutputKind::Probability);
    let ours = predictions(&*model, set.features());
    let theirs = predictions(&*back, set.features());
    assert_eq!((ours.len(), theirs.len()), (2_000, 1_000));
    for (ours, theirs) in ours.chunks(2).zip(theirs) {
        assert!((ours[1] - theirs).abs() < 1e-9, "{ours:?} {theirs}");
    }
}

// The leaf that tells ONNX Runtime that the sum is no probability changes no prediction.
#[test]
fn a_model_without_a_negative_leaf_is_exported_to_onnx_with_one() {
    let set = churn(200, 8);
    let more = [("min_samples_leaf", ParamValue::Int(150))];
    let model = make("gbdt", &given("binary", &more)).fit(&set).unwrap();
    let file = to_onnx(&*model).unwrap();
    let back = import_model(&file).unwrap();
    assert_eq!((model.rounds(), back.rounds()), (Some(0), Some(1)));
    let ours = predictions(&*model, set.features());
    for (ours, theirs) in ours.iter().zip(predictions(&*back, set.features())) {
        assert!((ours - theirs).abs() < 1e-9, "{ours} {theirs}");
    }
}

// What runs the graph has to take what a linear model takes: an infinite value is missing.
#[test]
fn infinite_values_of_linear_models_are_missing_in_onnx() {
    let set = churn(300, 9);
    for algorithm in ["logistic_regression", "ridge"] {
        let model = make(algorithm, &BTreeMap::new()).fit(&set).unwrap();
        let file = to_onnx(&*model).unwrap();
        for op in ["IsNaN", "IsInf", "Or", "Max", "Min", "Where"] {
            // An operator is the fourth field of a node.
            let field = [&[4 << 3 | 2, op.len() as u8], op.as_bytes()].concat();
            assert!(file.windows(field.len()).any(|bytes| bytes == field), "{algorithm}: {op}");
        }
    }
}

// Which of the features the lists of pandas are of could not be told from categories of numbers.
#[test]
fn categories_of_text_and_of_numbers_come_back() {
    let text = |row: i64| format!("t{}", row % 3);
    let columns: Vec<(&str, ArrayRef, bool)> = vec![
        (
            "kind",
            Arc::new(Float64Array::from_iter_values((0..300).map(|n| f64::from(n % 3)))),
            true,
        ),
        ("tier", Arc::new(StringArray::from_iter_values((0..300).map(|n| text(n / 3)))), true),
    ];
    let set = icecore_core::TrainingSet::new(
        RecordBatch::try_from_iter_with_nullable(columns).unwrap(),
        (0..300)
            .map(|row| f64::from(u8::from(row % 3 == 1 || row / 3 % 3 == 2)))
            .collect::<Vec<_>>()
            .into(),
        arrow::array::UInt64Array::from_iter_values(0..300),
    );
    let set = set.unwrap();
    let model =
        make("gbdt", &given("binary", &[("categorical", "kind".into())])).fit(&set).unwrap();
    let exported = to_lightgbm(&*model).unwrap();
    assert!(exported.contains("\nfeature_infos=0:1:2 0:1:2\npandas_features=1\n"), "{exported}");
    let back = import_model(exported.as_bytes()).unwrap();
    let ours = predictions(&*model, set.features());
    for (ours, theirs) in ours.iter().zip(predictions(&*back, set.features())) {
        assert!((ours - theirs).abs() < 1e-9, "{ours} {theirs}");
    }
    let other = exported.replace("pandas_features=1", "pandas_features=7");
    assert!(import_model(other.as_bytes()).is_err());
}

// Nothing tells that they are text but the list of pandas.
#[test]
fn text_that_no_split_is_about_stays_text() {
    let text = |value: Option<&str>| Arc::new(StringArray::from(vec![value; 90])) as ArrayRef;
    let columns: Vec<(&str, ArrayRef, bool)> = vec![
        ("x", Arc::new(Float64Array::from_iter_values((0..90).map(f64::from))), true),
        ("same", text(Some("a")), true),
        ("none", text(None), true),
    ];
    let set = icecore_core::TrainingSet::new(
        RecordBatch::try_from_iter_with_nullable(columns).unwrap(),
        (0..90).map(|row| f64::from(u8::from(row > 40))).collect::<Vec<_>>().into(),
        arrow::array::UInt64Array::from_iter_values(0..90),
    );
    let set = set.unwrap();
    let model = make("gbdt", &params([("min_samples_leaf", 2.0)])).fit(&set).unwrap();
    let exported = to_lightgbm(&*model).unwrap();
    let infos = "\nfeature_infos=[-1e+308:1e+308] 0 0\npandas_features=1 2\n";
    assert!(exported.contains(infos), "{exported}");
    assert!(exported.ends_with("\npandas_categorical:[[\"a\"],[]]\n"), "{exported}");
    let back = import_model(exported.as_bytes()).unwrap();
    let types = back.signature().inputs.iter().map(|input| input.data_type.as_str());
    assert_eq!(types.collect::<Vec<_>>(), ["Float64", "Utf8", "Utf8"]);
    let ours = predictions(&*model, set.features());
    for (ours, theirs) in ours.iter().zip(predictions(&*back, set.features())) {
        assert!((ours - theirs).abs() < 1e-9);
    }
    // A category that was not among them is text as well.
    let other = exported.replace("[[\"a\"],[]]", "[[\"b\"],[\"c\"]]");
    assert!(import_model(other.as_bytes()).unwrap().predict(set.features()).is_ok());
}

#[test]
fn the_folder_of_mlflow_has_a_definition_and_the_model() {
    let columns: Vec<(&str, ArrayRef, bool)> = vec![
        ("o'clock", Arc::new(Float64Array::from_iter_values((0..90).map(f64::from))), true),
        (
            "tier",
            Arc::new(StringArray::from_iter_values((0..90).map(|n| format!("t{}", n % 5)))),
            true,
        ),
    ];
    let set = icecore_core::TrainingSet::new(
        RecordBatch::try_from_iter_with_nullable(columns).unwrap(),
        (0..90).map(|row| f64::from(u8::from(row % 5 == 2))).collect::<Vec<_>>().into(),
        arrow::array::UInt64Array::from_iter_values(0..90),
    );
    let model = make("gbdt", &params([("min_samples_leaf", 2.0)])).fit(&set.unwrap()).unwrap();
    let files = to_mlflow(&*model).unwrap();
    let [("MLmodel", definition), ("model.lgb", text)] = &files[..] else { panic!("{files:?}") };
    assert!(definition.contains("loader_module: mlflow.lightgbm"));
    assert!(
        definition.contains("\"name\":\"o''clock\"") && definition.contains("\"type\":\"string\"")
    );
    assert!(text.ends_with("pandas_categorical:[[\"t0\",\"t1\",\"t2\",\"t3\",\"t4\"]]\n"));
    assert!(text.contains("num_cat=1"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn any_model_comes_back(seed in 0_u64..1_000, leaves in 2_i64..40, depth in 1_i64..12) {
        let set = churn(400, seed);
        let more = [
            ("num_leaves", leaves.into()),
            ("max_depth", depth.into()),
            ("min_samples_leaf", 1_i64.into()),
        ];
        let model = make("gbdt", &given("binary", &more)).fit(&set).unwrap();
        let back = import_model(to_lightgbm(&*model).unwrap().as_bytes()).unwrap();
        let ours = predictions(&*model, set.features());
        for (ours, theirs) in ours.iter().zip(predictions(&*back, set.features())) {
            prop_assert!((ours - theirs).abs() <= 1e-9);
        }
    }
}
