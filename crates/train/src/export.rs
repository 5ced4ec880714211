//! Models in the formats of others.

mod lightgbm;
mod mlflow;
mod onnx;

use icecore_core::{Error, ErrorKind, Model, Result};

use crate::file::decode;
use crate::model::FittedModel;
use crate::scorer::Scorer;
use crate::tree::Ensemble;

/// The model in the text format of LightGBM, which LightGBM itself, treelite, lleaves and others
/// read.
///
/// Predictions are equal but for the last digits: ours are exact sums, theirs sums of doubles.
/// Categories that are text are listed as pandas categories; those that are whole numbers from
/// zero on are themselves.
///
/// # Errors
///
/// `Unsupported` if the model has no trees, or categories that LightGBM does not know.
pub fn to_lightgbm(model: &dyn Model) -> Result<String> {
    let model = decode(&model.encode()?)?;
    lightgbm::write(&model, trees(&model)?)
}

/// The files of an MLflow model folder, by name: the LightGBM flavour and `python_function`, so
/// that `mlflow.pyfunc.load_model` scores with it.
///
/// # Errors
///
/// As [`to_lightgbm`].
pub fn to_mlflow(model: &dyn Model) -> Result<Vec<(&'static str, String)>> {
    let text = to_lightgbm(model)?;
    Ok(vec![("MLmodel", mlflow::definition(model.signature())?), (mlflow::MODEL_FILE, text)])
}

/// The model in ONNX, for ONNX Runtime and others: trees, linear models, and the steps `impute`,
/// `scale`, `bin` and `one_hot` of numbers.
///
/// The input is one table of doubles, in the order of the model's inputs, NaN where a value is
/// missing. The outputs are `label` and `probabilities`, or `variable`. Rows go the same way through
/// trees; sums are those of the runtime, which has floats.
///
/// # Errors
///
/// `Unsupported` for categories, text, and models that are neither trees nor linear.
pub fn to_onnx(model: &dyn Model) -> Result<Vec<u8>> {
    onnx::write(&decode(&model.encode()?)?)
}

fn trees(model: &FittedModel) -> Result<&Ensemble> {
    if !model.header.steps.is_empty() {
        return Err(unsupported("a model with steps of preprocessing in a format that has none"));
    }
    match &model.scorer {
        Scorer::Trees(trees) => Ok(trees.ensemble()),
        _ => Err(unsupported(&format!("a model of `{}`: it has no trees", model.header.algorithm))),
    }
}

fn unsupported(what: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("cannot export {what}"))
}

#[cfg(test)]
mod tests;
