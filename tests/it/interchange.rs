//! Models of others, trained by their own libraries, predict here what they predict there.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch, StringArray, UInt64Array};
use arrow::datatypes::Float64Type;
use icecore_core::{ParamValue, TrainingSet};
use icecore_testkit::Random;
use icecore_train::{StepSpec, import_model, pipeline, to_onnx};
use serde_json::Value;

use crate::binary::{python, script};

/// A column of the rows as the model's library was asked for them.
fn column(rows: &[Value], at: usize) -> ArrayRef {
    if rows.iter().any(|row| row[at].is_string()) {
        return Arc::new(rows.iter().map(|row| row[at].as_str()).collect::<StringArray>());
    }
    Arc::new(rows.iter().map(|row| row[at].as_f64()).collect::<Float64Array>())
}

fn predictions(model: &Value, file: &[u8]) -> Vec<f64> {
    let rows = model["rows"].as_array().unwrap();
    let names = model["columns"].as_array().unwrap().iter();
    let columns = names
        .enumerate()
        .map(|(at, name)| (name.as_str().unwrap(), column(rows, at), true))
        .collect::<Vec<_>>();
    let rows = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    let imported = import_model(file).unwrap_or_else(|error| panic!("{}: {error}", model["name"]));
    let array = imported.predict(&rows).unwrap();
    let array =
        array.as_fixed_size_list_opt().map_or(array.clone(), |lists| lists.values().clone());
    // It comes back from a file of ours as it is.
    let back = icecore_train::decode_model(&imported.encode().unwrap()).unwrap();
    assert_eq!(back.encode().unwrap(), imported.encode().unwrap());
    array.as_primitive::<Float64Type>().values().to_vec()
}

// scikit-learn through ONNX, LightGBM's categories of pandas, XGBoost's UBJSON, categories and
// parallel trees.
#[test]
fn models_of_others_predict_here_what_they_predict_there() {
    let Some(python) = python() else { return };
    let dir = tempfile::tempdir().unwrap();
    let models = script(&python, "foreign_models.py", &[dir.path().to_str().unwrap()]);
    let mut wrong = Vec::new();
    for model in models.as_array().unwrap() {
        let file = std::fs::read(model["file"].as_str().unwrap()).unwrap();
        let ours = predictions(model, &file);
        let theirs: Vec<f64> = model["expected"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|row| row.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()))
            .collect();
        assert_eq!(ours.len(), theirs.len(), "{}", model["name"]);
        let far = |(a, b): (&f64, &f64)| (a - b).abs() / (1.0 + b.abs());
        let farthest = ours.iter().zip(&theirs).map(far).fold(0.0, f64::max);
        if farthest > 1e-5 {
            wrong.push(format!("{} differs by {farthest}", model["name"]));
        }
        // Whatever is cut off or changed in it is refused or a model, and never panics.
        for length in (0..file.len()).step_by(file.len() / 23 + 1) {
            let _ = import_model(&file[..length]);
            let mut changed = file.clone();
            changed[length] ^= 0x55;
            let _ = import_model(&changed);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Rows of numbers with gaps, whose label depends on them.
fn rows(label: impl Fn(f64) -> f64) -> TrainingSet {
    let (mut columns, mut labels) = (vec![Vec::new(); 3], Vec::new());
    for row in 0..500 {
        let mut random = Random::new(77).of(row);
        let values = [random.normal() * 10.0, random.unit(), random.below(5) as f64];
        labels.push(label(values[0] / 10.0 + values[1] + values[2] / 4.0 + random.normal() * 0.3));
        for (column, value) in columns.iter_mut().zip(values) {
            column.push((random.unit() > 0.1).then_some(value));
        }
    }
    let columns: Vec<(&str, ArrayRef, bool)> = ["a", "b", "c"]
        .into_iter()
        .zip(columns)
        .map(|(name, column)| (name, Arc::new(Float64Array::from(column)) as _, true))
        .collect();
    let rows = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    let ids = UInt64Array::from_iter_values(0..500);
    TrainingSet::new(rows, labels.into(), ids).unwrap()
}

// Our models as ONNX, scored by ONNX Runtime.
#[test]
fn exported_models_predict_there_what_they_predict_here() {
    let Some(python) = python() else { return };
    let dir = tempfile::tempdir().unwrap();
    let class = rows(|score| f64::from(u8::from(score > 1.0)));
    let often = rows(|score| f64::from(u8::from(score > 0.8)));
    let classes = rows(|score| score.clamp(0.0, 2.0).round());
    let counts = rows(|score| score.max(0.0).round());
    let given = |pairs: &[(&str, ParamValue)]| {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    };
    let few = ("n_estimators", ParamValue::from(15_i64));
    let of = |objective: &str| given(&[few.clone(), ("objective", objective.into())]);
    let none = given(&[few.clone(), ("min_samples_leaf", 400_i64.into())]);
    let steps = [
        StepSpec::new("impute", given(&[("indicator", true.into())])).with_columns(["a"]),
        StepSpec::new("scale", BTreeMap::new()).with_columns(["a"]),
        StepSpec::new("bin", given(&[("bins", 4_i64.into())])).with_columns(["b"]),
        StepSpec::new("one_hot", BTreeMap::new()).with_columns(["c"]),
    ];
    for (name, steps, algorithm, params, set) in [
        ("binary", &[][..], "gbdt", of("binary"), &class),
        // Without a split: every row has the share of ones, which is somewhat above one half.
        ("constant", &[], "gbdt", none, &often),
        ("two_classes", &[], "gbdt", of("multiclass"), &class),
        ("classes", &[], "gbdt", of("multiclass"), &classes),
        ("number", &[], "gbdt", of("squared"), &counts),
        ("poisson", &[], "gbdt", of("poisson"), &counts),
        ("forest", &[], "random_forest", given(std::slice::from_ref(&few)), &class),
        ("extra", &[], "extra_trees", of("squared"), &counts),
        ("logistic", &[], "logistic_regression", BTreeMap::new(), &class),
        ("ridge", &[], "ridge", BTreeMap::new(), &counts),
        ("piped", &steps, "gbdt", of("binary"), &class),
        ("piped_lasso", &steps, "lasso", given(&[("alpha", 0.01.into())]), &counts),
    ] {
        let model = pipeline(steps, algorithm, &params).unwrap().fit(set).unwrap();
        let file = dir.path().join(format!("{name}.onnx"));
        std::fs::write(&file, to_onnx(&*model).unwrap()).unwrap();
        let asked = dir.path().join("rows.json");
        std::fs::write(&asked, serde_json::to_vec(&table(set)).unwrap()).unwrap();
        let theirs =
            script(&python, "run_onnx.py", &[file.to_str().unwrap(), asked.to_str().unwrap()]);
        let ours = model.predict(set.features()).unwrap();
        let classes =
            ours.as_fixed_size_list_opt().map_or(1, |lists| lists.value_length()) as usize;
        let ours =
            ours.as_fixed_size_list_opt().map_or(ours.clone(), |lists| lists.values().clone());
        let ours = ours.as_primitive::<Float64Type>().values().to_vec();
        for (row, ours) in ours.chunks(classes).enumerate() {
            let scores = theirs["scores"][row].as_array().unwrap();
            let scores = scores[scores.len() - classes..].iter().map(|v| v.as_f64().unwrap());
            for (a, b) in ours.iter().zip(scores) {
                assert!((a - b).abs() <= 1e-5 * (1.0 + a.abs()), "{name}, row {row}: {a} {b}");
            }
            if let (Some(label), Some(given)) = (label(ours), theirs["labels"][row].as_u64()) {
                assert_eq!(given, label, "{name}, row {row}: {ours:?}");
            }
        }
    }
}

/// The rows of a set as lists of numbers.
fn table(set: &TrainingSet) -> Vec<Vec<Option<f64>>> {
    let row = |row: usize| {
        let cell = |column: &ArrayRef| {
            let column = column.as_primitive::<Float64Type>();
            column.is_valid(row).then(|| column.value(row))
        };
        set.features().columns().iter().map(cell).collect()
    };
    (0..set.rows()).map(row).collect()
}

/// The most probable class, by the probabilities of all or by that of the second; none where
/// floats do not tell two of them apart.
fn label(probabilities: &[f64]) -> Option<u64> {
    let of_all = match probabilities {
        [second] => vec![1.0 - second, *second],
        of_all => of_all.to_vec(),
    };
    let mut order: Vec<usize> = (0..of_all.len()).collect();
    order.sort_by(|a, b| of_all[*b].total_cmp(&of_all[*a]));
    (of_all[order[0]] - of_all[order[1]] > 1e-4).then_some(order[0] as u64)
}
