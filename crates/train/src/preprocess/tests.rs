use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, Float64Array, NullArray, RecordBatch, StringArray, UInt64Array,
};
use arrow::datatypes::Float64Type;
use icecore_core::{ErrorKind, Model, ParamValue, Prediction};
use icecore_testkit::{Random, check_trainer};
use proptest::prelude::*;

use super::*;
use crate::tests::{churn, params};
use crate::{decode_model, pipeline};

fn step<const N: usize>(name: &str, given: [(&str, ParamValue); N]) -> StepSpec {
    let given = given.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    StepSpec::new(name, given)
}

/// Rows of a number, text and a label that the text decides in part.
fn shops(rows: u64) -> TrainingSet {
    let (mut spend, mut shop, mut labels) = (Vec::new(), Vec::new(), Vec::new());
    for row in 0..rows {
        let mut random = Random::new(31).of(row);
        let number = random.below(12);
        let name = (number != 11).then(|| format!("s{number}"));
        spend.push((random.unit() > 0.15).then(|| random.normal() * 10.0));
        labels.push(f64::from(u8::from(random.unit() < number as f64 / 12.0)));
        shop.push(name);
    }
    let columns: Vec<(&str, ArrayRef, bool)> = vec![
        ("spend", Arc::new(Float64Array::from(spend)), true),
        ("shop", Arc::new(StringArray::from(shop)), true),
    ];
    let ids = UInt64Array::from_iter_values((0..rows).map(|row| Random::new(row).bits()));
    TrainingSet::new(RecordBatch::try_from_iter_with_nullable(columns).unwrap(), labels.into(), ids)
        .unwrap()
}

fn all_steps() -> Vec<StepSpec> {
    vec![
        step("impute", [("indicator", true.into())]),
        step("scale", [("method", "robust".into())]).with_columns(["spend"]),
        step("one_hot", [("max_categories", 4_i64.into()), ("unknown", "other".into())]),
    ]
}

/// The columns that the algorithm sees.
fn seen(steps: &[StepSpec], set: &TrainingSet) -> RecordBatch {
    let steps: Vec<Step> = steps.iter().map(|spec| Step::new(spec).unwrap()).collect();
    fit(&steps, set).unwrap().1.features().clone()
}

fn column(rows: &RecordBatch, name: &str) -> Vec<f64> {
    let column = rows.column_by_name(name).unwrap_or_else(|| panic!("{name} of {rows:?}"));
    column.as_primitive::<Float64Type>().values().to_vec()
}

// A request that knows nothing of an input has a column of no type.
#[test]
fn a_column_of_nulls_is_one_of_missing_values_whatever_the_input_is() {
    let set = shops(600);
    for steps in [all_steps(), Vec::new()] {
        let given = params([("n_estimators", 5.0)]);
        let model = pipeline(&steps, "gbdt", &given).unwrap().fit(&set).unwrap();
        let predicted = |spend: ArrayRef, shop: ArrayRef| {
            let columns = vec![("spend", spend, true), ("shop", shop, true)];
            let rows = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
            model.predict(&rows).unwrap().as_primitive::<Float64Type>().values().to_vec()
        };
        let nulls = || Arc::new(NullArray::new(2)) as ArrayRef;
        let typed =
            predicted(Arc::new(Float64Array::new_null(2)), Arc::new(StringArray::new_null(2)));
        assert_eq!(predicted(nulls(), nulls()), typed);
    }
}

fn numbers(values: Vec<f64>) -> TrainingSet {
    let labels = (0..values.len()).map(|row| (row % 2) as f64).collect();
    crate::tests::set(&[("x", values)], labels)
}

// C158
#[test]
fn numbers_are_imputed_scaled_and_binned() {
    let set = numbers(vec![1.0, f64::NAN, 3.0, 8.0, 3.0]);
    for (strategy, expected) in [("mean", 3.75), ("median", 3.0), ("most_frequent", 3.0)] {
        let rows = seen(&[step("impute", [("strategy", strategy.into())])], &set);
        assert_eq!(column(&rows, "x"), [1.0, expected, 3.0, 8.0, 3.0], "{strategy}");
    }
    let constant = step(
        "impute",
        [("strategy", "constant".into()), ("value", (-1_i64).into()), ("indicator", true.into())],
    );
    let rows = seen(&[constant], &set);
    assert_eq!(column(&rows, "x")[1], -1.0);
    assert_eq!(column(&rows, "x__missing"), [0.0, 1.0, 0.0, 0.0, 0.0]);
    let rows = seen(&[step("scale", [("method", "min_max".into())])], &set);
    assert_eq!(column(&rows, "x")[2], 2.0 / 7.0);
    assert!(column(&rows, "x")[1].is_nan(), "what is missing stays so");
    let rows = seen(&[step("scale", [("method", "robust".into())])], &set);
    assert_eq!(column(&rows, "x")[3], 5.0 / 1.75, "quartiles of 1, 3, 3, 8 are 2.5 and 4.25");
    let bin = |method: &str| step("bin", [("method", method.into()), ("bins", 2_i64.into())]);
    assert_eq!(column(&seen(&[bin("quantile")], &set), "x")[..1], [0.0]);
    assert_eq!(column(&seen(&[bin("quantile")], &set), "x")[2..], [1.0, 1.0, 1.0]);
    assert_eq!(column(&seen(&[bin("uniform")], &set), "x")[2..], [0.0, 1.0, 0.0]);
}

// C158
#[test]
fn text_becomes_columns_and_what_is_unknown_is_told() {
    let set = shops(600);
    let rows = seen(&all_steps(), &set);
    let names: Vec<&str> = rows.schema_ref().fields().iter().map(|f| f.name().as_str()).collect();
    assert_eq!(names.len(), 2 + 4 + 2, "{names:?}");
    assert_eq!(names[..2], ["spend", "spend__missing"]);
    assert_eq!(names[6..], ["shop__missing", "shop__other"]);
    for row in 0..rows.num_rows() {
        let ones: f64 = names[2..].iter().map(|name| column(&rows, name)[row]).sum();
        assert_eq!(ones, 1.0, "each row has one category");
    }

    let strict = [step("one_hot", [("unknown", "error".into())])];
    let model = pipeline(&strict, "gbdt", &params([])).unwrap().fit(&set).unwrap();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("spend", Arc::new(Float64Array::from(vec![1.0]))),
        ("shop", Arc::new(StringArray::from(vec!["é"]))),
    ];
    let error = model.predict(&RecordBatch::try_from_iter(columns).unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(
        error.to_string(),
        "row 0 has a value that was not there when the model was trained"
    );
}

// C158: a category's mean label never saw the row that it stands for.
#[test]
fn target_encoding_does_not_leak() {
    // Every row has a category of its own: with its own label, it would tell all.
    let shop: Vec<String> = (0..400).map(|row| format!("shop {row}")).collect();
    let labels: Vec<f64> = (0..400).map(|row| (Random::new(row).bits() % 2) as f64).collect();
    let columns: Vec<(&str, ArrayRef)> =
        vec![("shop", Arc::new(StringArray::from_iter_values(shop)))];
    let rows = RecordBatch::try_from_iter(columns).unwrap();
    let ids = UInt64Array::from_iter_values((0..400).map(|row| Random::new(row).bits()));
    let set = TrainingSet::new(rows, labels.clone().into(), ids).unwrap();
    let encoded = column(&seen(&[step("target_encode", [("smooth", 0.0.into())])], &set), "shop");
    let auc = crate::metrics::roc_auc(&labels, &encoded).unwrap();
    assert!(auc < 0.6, "{auc}");

    // Few categories have means near those of all rows.
    let set = shops(3_000);
    let rows = seen(&[step("target_encode", [])], &set);
    let auc = crate::metrics::roc_auc(set.labels().values(), &column(&rows, "shop")).unwrap();
    assert!(auc > 0.7, "{auc}");
}

#[test]
fn a_model_keeps_its_preprocessing_and_explains_its_inputs() {
    let set = shops(800);
    for algorithm in ["gbdt", "logistic_regression", "random_forest", "gaussian_nb"] {
        let model = pipeline(&all_steps(), algorithm, &params([])).unwrap().fit(&set).unwrap();
        let file = model.encode().unwrap();
        let back = decode_model(&file).unwrap();
        assert!(back.encode().unwrap() == file);
        let predicted = model.predict(set.features()).unwrap();
        assert_eq!(&predicted, &back.predict(set.features()).unwrap());
        let inputs: Vec<&str> =
            model.signature().inputs.iter().map(|input| input.name.as_str()).collect();
        assert_eq!(inputs, ["spend", "shop"]);
        let importance = model.importance();
        if algorithm == "gaussian_nb" {
            assert!(importance.is_empty());
            continue;
        }
        assert!(importance.len() == 2 && importance[1] > 0.4, "{algorithm}: {importance:?}");
        let why = model.predict_as(set.features(), Prediction::Contributions).unwrap();
        let why = why.as_fixed_size_list();
        assert_eq!(why.value_length(), 3);
        let margins = model.predict_as(set.features(), Prediction::Margin).unwrap();
        let margins = margins.as_primitive::<Float64Type>().values();
        let shares = why.values().as_primitive::<Float64Type>().values();
        for (shares, margin) in shares.chunks(3).zip(margins) {
            assert!((shares.iter().sum::<f64>() - margin).abs() < 1e-6, "{algorithm}");
        }
    }
}

// C28, C158, D4
#[test]
fn a_pipeline_keeps_the_contract() {
    let steps = [
        step("impute", [("indicator", true.into())]),
        step("scale", []).with_columns(["amount", "rate"]),
        step("bin", [("bins", 5_i64.into())]).with_columns(["tickets"]),
        step("one_hot", []).with_columns(["tickets"]),
        step("target_encode", []).with_columns(["flag"]),
    ];
    let on_threads = |threads: usize| {
        let given = params([("n_estimators", 5.0), ("threads", threads as f64)]);
        pipeline(&steps, "gbdt", &given).unwrap() as Arc<dyn icecore_core::Trainer>
    };
    check_trainer(on_threads, decode_model);
}

#[test]
fn mistakes_in_steps_are_told() {
    let error = |spec: StepSpec| pipeline(&[spec], "gbdt", &BTreeMap::new()).unwrap_err();
    let unknown = error(step("imputed", []));
    assert_eq!(unknown.to_string(), "there is no step `imputed`");
    assert_eq!(unknown.help(), Some("did you mean `impute`?"));
    let wrong = error(step("bin", [("bin", 3_i64.into())]));
    assert_eq!(wrong.to_string(), "step `bin` has no parameter `bin`");
    let set = shops(50);
    let of = |spec: StepSpec| {
        let trainer = pipeline(&[spec], "gbdt", &BTreeMap::new()).unwrap();
        trainer.fit(&set).unwrap_err()
    };
    let named = of(step("scale", []).with_columns(["spendd"]));
    assert_eq!(named.to_string(), "the step `scale` names the column `spendd`");
    assert_eq!(named.help(), Some("did you mean `spend`?"));
    assert_eq!(of(step("scale", []).with_columns(["shop"])).kind(), ErrorKind::InvalidInput);
    let classes = BTreeMap::from([("objective".to_owned(), ParamValue::from("multiclass"))]);
    let error = pipeline(&[step("target_encode", [])], "gbdt", &classes).unwrap_err();
    assert_eq!(error.to_string(), "`target_encode` is for two classes or numbers");
}

#[test]
fn a_damaged_step_is_refused() {
    let inputs = [SignatureColumn { name: "x".to_owned(), data_type: "Float64".to_owned() }];
    let broken = [
        r#"[{"column":"y","operation":{"scale":{"center":"0","scale":"1"}}}]"#,
        r#"[{"column":"x","operation":{"scale":{"center":"0","scale":"0"}}}]"#,
        r#"[{"column":"x","operation":{"scale":{"center":"inf","scale":"1"}}}]"#,
        r#"[{"column":"x","operation":{"bin":{"edges":["2","1"]}}}]"#,
        r#"[{"column":"x","operation":{"impute":{"with":{"text":"a"},"indicator":false}}}]"#,
        r#"[{"column":"x","operation":{"encode":{"categories":{"number":["1"]},"values":[],
            "missing":"0","unknown":"0"}}}]"#,
    ];
    for text in broken {
        let steps: Vec<FittedStep> = serde_json::from_str(text).unwrap();
        assert!(origins(&steps, &inputs).is_err(), "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    // D4: whatever is in a column, a step is a function of the rows and not of their order.
    #[test]
    fn steps_do_not_depend_on_the_order(
        values in prop::collection::vec(prop::num::f64::ANY, 1..80),
        turn in 0_usize..80,
    ) {
        let set = numbers(values.clone());
        let rows = values.len() as u64;
        let order = UInt64Array::from_iter_values((0..rows).map(|row| (row + turn as u64) % rows));
        let turned = set.take(&order).unwrap();
        let specs = [
            step("impute", [("strategy", "mean".into()), ("indicator", true.into())]),
            step("impute", [("strategy", "most_frequent".into())]),
            step("scale", []),
            step("scale", [("method", "min_max".into())]),
            step("bin", [("bins", 4_i64.into())]),
            step("one_hot", [("max_categories", 5_i64.into())]).with_columns(["x"]),
            step("target_encode", []).with_columns(["x"]),
        ];
        for spec in specs {
            let fitted = |set: &TrainingSet| {
                fit(&[Step::new(&spec).unwrap()], set).map(|(steps, _)| steps).unwrap()
            };
            let steps = fitted(&set);
            prop_assert_eq!(&steps, &fitted(&turned));
            let inputs = crate::columns::inputs(&set.features().schema()).unwrap();
            prop_assert!(origins(&steps, &inputs).is_ok(), "{:?}", steps);
            let text = serde_json::to_string(&steps).unwrap();
            prop_assert_eq!(serde_json::from_str::<Vec<FittedStep>>(&text).unwrap(), steps);
        }
    }
}

#[test]
fn trees_on_imputed_rows_learn_what_they_learned_without() {
    let set = churn(1_000, 5);
    let steps = [step("impute", [("indicator", true.into())])];
    let model = pipeline(&steps, "gbdt", &params([])).unwrap().fit(&set).unwrap();
    assert!(crate::tests::auc(&*model as &dyn Model, &set) > 0.95);
}

// Folds that differ in their labels would give the label away: what is encoded by the other folds is
// less where the row's own fold has more.
#[test]
fn a_column_that_says_nothing_is_encoded_nearly_alike() {
    let labels: Vec<f64> = (0..600).map(|row| f64::from(u8::from(row % 11 < 6))).collect();
    let shop: ArrayRef = Arc::new(StringArray::from(vec![Some("a"); 600]));
    let rows = RecordBatch::try_from_iter_with_nullable([("shop", shop, true)]).unwrap();
    let ids = UInt64Array::from_iter_values(0..600);
    let set = TrainingSet::new(rows, labels.into(), ids).unwrap();
    for folds in [2_i64, 5, 20] {
        let spec = step("target_encode", [("smooth", 0.0.into()), ("folds", folds.into())]);
        let encoded = column(&seen(&[spec], &set), "shop");
        let least = encoded.iter().copied().fold(f64::INFINITY, f64::min);
        let most = encoded.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        // One label of the rows of the other folds.
        assert!(most - least <= 2.0 / 300.0, "{folds}: from {least} to {most}");
    }
    let error = Step::new(&step("target_encode", [("folds", 100_i64.into())])).unwrap_err();
    assert!(error.to_string().contains("folds"), "{error}");
}
