//! Feature columns: bound by name, cast to doubles, nulls turned into NaN.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{DataType, Float64Type};
use icecore_core::{
    Error, ModelSignature, OutputKind, Result, SignatureColumn, TrainingSet, is_feature_type,
};

/// One column's values. A missing value is NaN.
pub(crate) type Values = ScalarBuffer<f64>;

/// The signature of a model of this set.
pub(crate) fn signature(set: &TrainingSet, output: OutputKind) -> Result<ModelSignature> {
    let mut inputs: Vec<SignatureColumn> = Vec::with_capacity(set.features().num_columns());
    for field in set.features().schema().fields() {
        if inputs.iter().any(|input| input.name == *field.name()) {
            return Err(Error::invalid(format!("feature `{}` is there twice", field.name()))
                .with_help("columns are bound by name: rename one of them"));
        }
        let data_type = field.data_type().to_string();
        inputs.push(SignatureColumn { name: field.name().clone(), data_type });
    }
    Ok(ModelSignature { inputs, output })
}

/// The columns of `rows` that the signature names, in its order.
pub(crate) fn bind(rows: &RecordBatch, signature: &ModelSignature) -> Result<Vec<Values>> {
    let schema = rows.schema();
    let mut arrays = Vec::with_capacity(signature.inputs.len());
    for input in &signature.inputs {
        let Some((index, field)) = schema.column_with_name(&input.name) else {
            let names = schema.fields().iter().map(|field| field.name().as_str());
            return Err(Error::invalid(format!("the model's input `{}` is missing", input.name))
                .with_note(format!("columns: {}", names.clone().collect::<Vec<_>>().join(", ")))
                .with_candidates(&input.name, names));
        };
        if !is_feature_type(field.data_type()) {
            return Err(Error::invalid(format!(
                "the model's input `{}` has type {}, which is neither a number nor a boolean",
                input.name,
                field.data_type()
            ))
            .with_note(format!("it was trained as {}", input.data_type)));
        }
        arrays.push(rows.column(index));
    }
    arrays.into_iter().map(|array| values(array)).collect()
}

/// The features of a training set, in its order.
pub(crate) fn features(set: &TrainingSet) -> Result<Vec<Values>> {
    set.features().columns().iter().map(|array| values(array)).collect()
}

/// The labels of a two-class problem: every one is zero or one.
pub(crate) fn binary_labels(set: &TrainingSet) -> Result<&[f64]> {
    let labels = set.labels().values();
    if labels.is_empty() {
        return Err(Error::invalid("a training set without rows teaches nothing")
            .with_help("check the spine's query and the pins"));
    }
    match labels.iter().find(|label| **label != 0.0 && **label != 1.0) {
        Some(other) => Err(Error::invalid(format!("label `{other}` is neither 0 nor 1"))
            .with_help("make the label a boolean in the spine, such as `churned = 'yes'`")),
        None => Ok(labels),
    }
}

fn values(array: &dyn Array) -> Result<Values> {
    let cast;
    let array = if *array.data_type() == DataType::Float64 {
        array
    } else {
        cast = arrow::compute::cast(array, &DataType::Float64)?;
        &cast
    };
    let array = array.as_primitive::<Float64Type>();
    match array.nulls().filter(|nulls| nulls.null_count() > 0) {
        None => Ok(array.values().clone()),
        Some(nulls) => Ok(array
            .values()
            .iter()
            .zip(nulls.iter())
            .map(|(value, valid)| if valid { *value } else { f64::NAN })
            .collect()),
    }
}
