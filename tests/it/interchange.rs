//! Models of others, trained by their own libraries, predict here what they predict there.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, RecordBatch, StringArray};
use arrow::datatypes::Float64Type;
use icecore_train::import_model;
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
