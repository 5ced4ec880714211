use arrow::array::{Array, AsArray, Float64Array, RecordBatch};
use arrow::datatypes::Float64Type;
use icecore_core::{ErrorKind, Prediction};
use proptest::prelude::*;
use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Expected {
    names: Vec<String>,
    rows: Vec<Vec<Option<f64>>>,
    predictions: BTreeMap<String, Vec<f64>>,
}

fn expected() -> Expected {
    serde_json::from_str(include_str!("../../fixtures/foreign/rows.json")).unwrap()
}

fn rows(expected: &Expected) -> RecordBatch {
    let columns = expected.names.iter().enumerate().map(|(at, name)| {
        let values: Float64Array = expected.rows.iter().map(|row| row[at]).collect();
        (name, Arc::new(values) as _, true)
    });
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

macro_rules! files {
    ($($name:literal),*) => { [$(($name, include_str!(concat!("../../fixtures/foreign/", $name)))),*] };
}

const FILES: [(&str, &str); 9] = files![
    "lightgbm_binary.txt",
    "lightgbm_multiclass.txt",
    "lightgbm_regression.txt",
    "lightgbm_poisson.txt",
    "lightgbm_rf.txt",
    "xgboost_binary.json",
    "xgboost_multiclass.json",
    "xgboost_regression.json",
    "xgboost_poisson.json"
];

fn predictions(array: &dyn Array) -> Vec<f64> {
    let array = match array.as_fixed_size_list_opt() {
        Some(lists) => lists.values().clone(),
        None => arrow::array::make_array(array.to_data()),
    };
    array.as_primitive::<Float64Type>().values().to_vec()
}

#[test]
fn every_row_is_predicted_as_the_library_predicts_it() {
    let expected = expected();
    let rows = rows(&expected);
    for (name, text) in FILES {
        let model = import_model(text.as_bytes()).unwrap();
        // Our own file of the model predicts the same.
        let again = crate::decode_model(&model.encode().unwrap()).unwrap();
        for model in [model, again] {
            let given = predictions(&model.predict(&rows).unwrap());
            let wanted = &expected.predictions[name];
            assert_eq!(given.len(), wanted.len(), "{name}");
            for (row, (given, wanted)) in given.iter().zip(wanted).enumerate() {
                // XGBoost sums and predicts floats.
                let close = (given - wanted).abs() <= 2e-6 * (1.0 + wanted.abs());
                assert!(close, "{name}, {row}: {given} is not {wanted}");
            }
            assert_eq!(model.importance().len(), 4);
            let explained = model.predict_as(&rows.slice(0, 3), Prediction::Contributions).unwrap();
            let margins =
                predictions(&model.predict_as(&rows.slice(0, 3), Prediction::Margin).unwrap());
            for (of_row, margin) in predictions(&explained).chunks(5).zip(margins) {
                assert!((of_row.iter().sum::<f64>() - margin).abs() < 1e-5 * (1.0 + margin.abs()));
            }
        }
    }
}

#[test]
fn what_cannot_be_imported_says_why() {
    let binary = FILES[0].1;
    let gblinear = FILES[5].1.replace("\"gbtree\"", "\"gblinear\"");
    for (text, message) in [
        (
            binary.replace("objective=binary", "objective=ordinal"),
            "cannot import the objective `ordinal` of LightGBM",
        ),
        (binary.replace("is_linear=0", "is_linear=1"), "cannot import trees with linear leaves"),
        (
            binary.replace("pandas_categorical:null", "pandas_categorical:[[\"a\"],[\"b\"]]"),
            "cannot import a model of pandas categories that names no features for them",
        ),
        (gblinear, "cannot import the booster `gblinear` of XGBoost"),
    ] {
        let error = import_model(text.as_bytes()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert_eq!(error.to_string(), message);
    }
    // A random forest whose trees are counted by nothing.
    let none = binary.replace("num_tree_per_iteration=1", "num_tree_per_iteration=0");
    let none = none.replace("feature_names", "average_output\nfeature_names");
    let many = format!("max_feature_idx={}", usize::MAX);
    let many = binary.replace("max_feature_idx=", &format!("{many}\nformerly="));
    for bytes in [
        none.as_bytes(),
        many.as_bytes(),
        b"",
        b"tree",
        b"{}",
        b"\xff\xfe",
        b"PAR1",
        b"tree\nfeature_names=a\nmax_feature_idx=7\n",
    ] {
        assert_eq!(import_model(bytes).unwrap_err().kind(), ErrorKind::DataCorrupt);
    }
}

#[test]
fn a_tree_that_leads_in_a_circle_is_refused() {
    let text = FILES[0].1.replacen("left_child=", "left_child=0 ", 1);
    assert!(import_model(text.as_bytes()).is_err(), "lists of different lengths");
    let start = FILES[0].1.find("left_child=").unwrap() + "left_child=".len();
    let mut circle = FILES[0].1.to_owned();
    let end = start + circle[start..].find(' ').unwrap();
    circle.replace_range(start..end, "0");
    let error = import_model(circle.as_bytes()).unwrap_err();
    assert_eq!(error.to_string(), "the imported model is damaged: a tree in it leads in a circle");
}

/// Files of bytes; what they predict is compared with their libraries in `tests/it`.
const BINARY: [&[u8]; 7] = [
    include_bytes!("../../fixtures/foreign/sklearn_tree.onnx"),
    include_bytes!("../../fixtures/foreign/sklearn_logistic.onnx"),
    include_bytes!("../../fixtures/foreign/sklearn_lasso.onnx"),
    include_bytes!("../../fixtures/foreign/sklearn_boosting.onnx"),
    include_bytes!("../../fixtures/foreign/xgboost_categories.ubj"),
    include_bytes!("../../fixtures/foreign/sklearn_mixed_classes.onnx"),
    include_bytes!("../../fixtures/foreign/sklearn_mixed_boosting.onnx"),
];

/// Whatever the bytes are, they are refused or a model, which comes back from our file.
fn check_any(bytes: &[u8]) {
    match import_model(bytes) {
        Err(error) => assert!(
            matches!(error.kind(), ErrorKind::DataCorrupt | ErrorKind::Unsupported),
            "{error}"
        ),
        Ok(model) => {
            let file = model.encode().unwrap();
            assert!(crate::decode_model(&file).unwrap().encode().unwrap() == file);
        }
    }
}

// XGBoost sends what no split names to the left, also what is no category: only what is missing
// goes another way. The predictions are those of `Booster.predict`.
#[test]
fn a_category_that_xgboost_never_saw_is_not_missing() {
    let model = import_model(BINARY[4]).unwrap();
    let asked = [3.0, 3.5, 12.0, 253.0, 254.0, 300.0, 1e30, -1.0, -0.5, f64::NAN];
    let column = |at: usize| -> Float64Array {
        asked.iter().map(|value| Some(if at == 0 { *value } else { 0.0 })).collect()
    };
    let columns = (0..5).map(|at| (format!("f{at}"), Arc::new(column(at)) as _, true));
    let rows = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    let mut expected = vec![0.473_421_1; asked.len()];
    expected[..2].copy_from_slice(&[0.597_544_85; 2]);
    expected[9] = 0.460_890_6;
    let again = crate::decode_model(&model.encode().unwrap()).unwrap();
    for model in [model, again] {
        for (row, given) in predictions(&model.predict(&rows).unwrap()).into_iter().enumerate() {
            assert!((given - expected[row]).abs() < 2e-6, "{}: {given}", asked[row]);
        }
    }
}

#[test]
fn of_a_model_that_stopped_early_the_rounds_up_to_the_best_count() {
    for (name, trees) in [("xgboost_binary.json", 3), ("xgboost_multiclass.json", 9)] {
        let (_, text) = FILES.into_iter().find(|(file, _)| *file == name).unwrap();
        let stopped = |best: &str| {
            let attributes = format!("\"attributes\":{{\"best_iteration\":\"{best}\"}}");
            import_model(text.replace("\"attributes\":{}", &attributes).as_bytes())
        };
        let model = stopped("2").unwrap();
        assert_eq!(model.rounds(), Some(3));
        let params = crate::file::decode(&model.encode().unwrap()).unwrap().header.params;
        assert_eq!(params["trees"], format!("{trees} of {}, up to the best round", 2 * trees));
        // The last round is the best, or there are fewer than that.
        let whole = import_model(text.as_bytes()).unwrap().encode().unwrap();
        for last in ["5", "77"] {
            assert!(stopped(last).unwrap().encode().unwrap() == whole);
        }
        assert!(stopped("x").is_err());
    }
}

// Text that is one-hot encoded in an ONNX graph: a step of preprocessing before a linear model of
// three classes.
#[test]
fn text_of_a_graph_is_bound_by_name_and_an_unknown_category_is_none() {
    use arrow::array::{ArrayRef, Float64Array, StringArray};
    let model = import_model(BINARY[5]).unwrap();
    let types: Vec<&str> =
        model.signature().inputs.iter().map(|input| input.data_type.as_str()).collect();
    assert_eq!(types, ["Utf8", "Float64", "Float64", "Float64"], "the unused note is left out");
    let rows = |city: &str| {
        let number = |value: f64| Arc::new(Float64Array::from(vec![value])) as ArrayRef;
        let city: ArrayRef = Arc::new(StringArray::from(vec![city]));
        let columns =
            [("b", number(1.0)), ("city", city), ("plan", number(7.0)), ("a", number(0.5))];
        RecordBatch::try_from_iter(columns).unwrap()
    };
    let of = |city: &str| predictions(&model.predict(&rows(city)).unwrap());
    assert_eq!(of("rome").len(), 3);
    assert!((of("rome").iter().sum::<f64>() - 1.0).abs() < 1e-12);
    assert_ne!(of("rome"), of("paris"));
    assert_eq!(of("oslo"), of(""), "neither was there");
    let why = model.predict_as(&rows("rome"), Prediction::Contributions).unwrap();
    let margins = predictions(&model.predict_as(&rows("rome"), Prediction::Margin).unwrap());
    for (adds, margin) in predictions(&why).chunks(5).zip(margins) {
        assert!((adds.iter().sum::<f64>() - margin).abs() < 1e-9);
    }
}

/// Rows of a data frame with categories, and what the library predicts for them.
#[derive(Deserialize)]
struct Categorical {
    rows: BTreeMap<String, Vec<serde_json::Value>>,
    predictions: Vec<f64>,
}

impl Categorical {
    fn of(name: &str) -> Self {
        let file = include_str!("../../fixtures/foreign/categories.json");
        let mut cases: BTreeMap<String, Self> = serde_json::from_str(file).unwrap();
        cases.remove(name).unwrap()
    }

    fn batch(&self) -> RecordBatch {
        let columns = self.rows.iter().map(|(name, values)| {
            let column: arrow::array::ArrayRef = if values.iter().any(serde_json::Value::is_string)
            {
                let texts = values.iter().map(serde_json::Value::as_str);
                Arc::new(texts.collect::<arrow::array::StringArray>())
            } else {
                Arc::new(values.iter().map(serde_json::Value::as_f64).collect::<Float64Array>())
            };
            (name, column, true)
        });
        RecordBatch::try_from_iter_with_nullable(columns).unwrap()
    }

    fn check(&self, file: &[u8]) {
        let model = import_model(file).unwrap();
        let again = crate::decode_model(&model.encode().unwrap()).unwrap();
        for model in [model, again] {
            let given = predictions(&model.predict(&self.batch()).unwrap());
            assert_eq!(given.len(), self.predictions.len());
            for (row, (given, wanted)) in given.iter().zip(&self.predictions).enumerate() {
                assert!((given - wanted).abs() < 2e-6, "{row}: {given} is not {wanted}");
            }
        }
    }
}

#[test]
fn categories_of_xgboost_that_have_values_are_those_values() {
    let case = Categorical::of("xgboost_named");
    case.check(include_bytes!("../../fixtures/foreign/xgboost_named.json"));
    case.check(include_bytes!("../../fixtures/foreign/xgboost_named.ubj"));
    // One that was not there is missing: XGBoost refuses such a row.
    let mut unseen = case;
    unseen.rows.insert("shop".to_owned(), vec!["new".into(); 40]);
    let model = import_model(include_bytes!("../../fixtures/foreign/xgboost_named.ubj")).unwrap();
    let new = predictions(&model.predict(&unseen.batch()).unwrap());
    let mut missing = vec![serde_json::Value::Null; 40];
    missing.insert(0, "zoo".into());
    for values in unseen.rows.values_mut() {
        let first = values[0].clone();
        values.insert(0, first);
    }
    unseen.rows.insert("shop".to_owned(), missing);
    assert_eq!(new, predictions(&model.predict(&unseen.batch()).unwrap())[1..]);
}

// One column of categories is pandas' own, the other is of numbers, which LightGBM cuts.
#[test]
fn categories_of_lightgbm_are_of_pandas_or_whole_numbers() {
    let text = include_str!("../../fixtures/foreign/lightgbm_mixed.txt");
    Categorical::of("lightgbm_mixed").check(text.as_bytes());
    let several = text.replace("-1:365:7:30", "-1:1:2:0");
    let error = import_model(several.as_bytes()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot import a model in which 2 features have categories, of which pandas has those of 1"
    );
    let none = text.replace("-1:2:0:1:3", "-1:2:0:1:99");
    assert_eq!(import_model(none.as_bytes()).unwrap_err().kind(), ErrorKind::DataCorrupt);
}

#[test]
fn models_of_several_targets_are_refused() {
    let one = FILES[7].1;
    let targets = one.replace("\"num_target\":\"1\"", "\"num_target\":\"2\"");
    let vectors = one.replace("\"size_leaf_vector\":\"1\"", "\"size_leaf_vector\":\"3\"");
    // As XGBoost 2.1 writes the leaves of several targets.
    let not_json = targets.replacen("\"split_conditions\":[", "\"split_conditions\":[NaN,", 1);
    for (text, message) in [
        (&targets, "cannot import a model of several targets"),
        (&not_json, "cannot import a model of several targets"),
        (&vectors, "cannot import trees whose leaves are of several outputs"),
    ] {
        let error = import_model(text.as_bytes()).unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Unsupported, message));
    }
    let document: serde_json::Value =
        serde_json::from_str(&not_json.replace("NaN", "null")).unwrap();
    let error = xgboost::read(document).err().unwrap();
    assert_eq!(error.to_string(), "cannot import a model of several targets");
    let wide = one.replace("\"num_feature\":\"4\"", "\"num_feature\":\"999999\"");
    let error = import_model(wide.as_bytes()).unwrap_err();
    assert!(error.to_string().starts_with("cannot import a model of 999999 features"), "{error}");
}

#[test]
fn files_of_bytes_that_are_cut_off_are_refused() {
    for file in BINARY {
        let whole = import_model(file).unwrap();
        assert!((4..=5).contains(&whole.signature().inputs.len()));
        for length in (0..file.len()).step_by(1 + file.len() / 300) {
            check_any(&file[..length]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_forged_file_of_bytes_never_panics(
        which in 0..BINARY.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
    ) {
        let mut file = BINARY[which].to_vec();
        for (place, value) in changes {
            let place = place.index(file.len());
            file[place] = value;
        }
        check_any(&file);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_forged_model_never_panics(
        which in 0..FILES.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), "[-0-9. e=\\[\\]{},]{0,3}"), 1..5),
    ) {
        let mut text = FILES[which].1.to_owned();
        for (place, with) in changes {
            let place = place.index(text.len() - 4);
            text.replace_range(place..place + with.len().max(1), &with);
        }
        let expected = expected();
        if let Ok(model) = import_model(text.as_bytes()) {
            let _ = model.predict(&rows(&expected));
            let _ = model.predict_as(&rows(&expected), Prediction::Contributions);
            prop_assert!(crate::decode_model(&model.encode().unwrap()).is_ok());
        }
    }
}
