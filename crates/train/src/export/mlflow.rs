//! The file `MLmodel` of an MLflow model folder.

use std::fmt::Write as _;

use icecore_core::{Error, ModelSignature, OutputKind, Result};
use serde_json::json;

/// The name of the model's file in the folder.
pub(super) const MODEL_FILE: &str = "model.lgb";

/// What MLflow reads of the folder. It says no time, so that equal models have equal files.
///
/// Inputs are declared only if none of them is a whole number: MLflow lets no missing value into a
/// column of such, and no whole number into one of doubles. Without a declaration, it passes on
/// what it is given.
pub(super) fn definition(signature: &ModelSignature) -> Result<String> {
    let kinds: Option<Vec<serde_json::Value>> = signature
        .inputs
        .iter()
        .map(|input| {
            let kind = match input.data_type.as_str() {
                "Boolean" => "boolean",
                "Float64" => "double",
                "Float32" => "float",
                text if text.contains("Utf8") => "string",
                _ => return None,
            };
            Some(json!({"type": kind, "name": input.name, "required": true}))
        })
        .collect();
    let output = match signature.output {
        OutputKind::Classes => {
            json!([{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, -1]}}])
        }
        _ => json!([{"type": "double", "required": true}]),
    };
    let quoted = |value: &serde_json::Value| value.to_string().replace('\'', "''");
    let mut text = String::from(
        "flavors:\n  lightgbm:\n    data: model.lgb\n    lgb_version: 4.7.0\n    \
         model_class: lightgbm.basic.Booster\n  python_function:\n    data: model.lgb\n    env: {}\n    \
         loader_module: mlflow.lightgbm\n    python_version: 3.11.7\nmlflow_version: 3.17.2\n\
         utc_time_created: '2026-01-01 00:00:00.000000'\n",
    );
    if let Some(inputs) = kinds {
        write!(
            text,
            "signature:\n  inputs: '{}'\n  outputs: '{}'\n  params: null\n",
            quoted(&json!(inputs)),
            quoted(&output)
        )
        .map_err(|error| {
            Error::internal("cannot write the model's definition").with_source(error)
        })?;
    }
    Ok(text)
}
