//! Feature columns: bound by name, turned into doubles, nulls into NaN, categories into numbers.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{DataType, Float64Type, Schema};
use icecore_core::{Error, Result, SignatureColumn, TrainingSet, is_feature_type, is_text_type};

use crate::categories::Categories;
use crate::tree::CATEGORIES_MAX;

/// One column's values. A missing value is NaN.
pub(crate) type Values = ScalarBuffer<f64>;

/// The categories of the inputs that have some, by name.
pub(crate) type CategoriesByName = BTreeMap<String, Categories>;

/// The inputs of a model of these features.
pub(crate) fn inputs(schema: &Schema) -> Result<Vec<SignatureColumn>> {
    let mut inputs: Vec<SignatureColumn> = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        if inputs.iter().any(|input| input.name == *field.name()) {
            return Err(Error::invalid(format!("feature `{}` is there twice", field.name()))
                .with_help("columns are bound by name: rename one of them"));
        }
        let data_type = field.data_type().to_string();
        inputs.push(SignatureColumn { name: field.name().clone(), data_type });
    }
    Ok(inputs)
}

/// Whether a column of a signature holds text.
pub(crate) fn is_text(column: &SignatureColumn) -> bool {
    column.data_type.contains("Utf8")
}

/// The column of an input, which is text or is not.
pub(crate) fn find<'a>(
    rows: &'a RecordBatch,
    input: &SignatureColumn,
    wants_text: bool,
) -> Result<&'a ArrayRef> {
    find_from(0, rows, input, wants_text)
}

/// The column of an input, which is text or is not. It is sought at this place first, where it is
/// in rows that were made for the model.
fn find_from<'a>(
    place: usize,
    rows: &'a RecordBatch,
    input: &SignatureColumn,
    wants_text: bool,
) -> Result<&'a ArrayRef> {
    let schema = rows.schema_ref();
    let at_place = schema.fields().get(place).filter(|field| *field.name() == input.name);
    let found = at_place.map(|field| (place, &**field));
    let Some((index, field)) = found.or_else(|| schema.column_with_name(&input.name)) else {
        let names = schema.fields().iter().map(|field| field.name().as_str());
        return Err(Error::invalid(format!("the model's input `{}` is missing", input.name))
            .with_note(format!("columns: {}", names.clone().collect::<Vec<_>>().join(", ")))
            .with_candidates(&input.name, names));
    };
    let data_type = field.data_type();
    // A column in which nothing is known is of no type, and so of any.
    let is_null = *data_type == DataType::Null;
    if !is_null && (!is_feature_type(data_type) || is_text_type(data_type) != wants_text) {
        let wanted = if wants_text { "no text" } else { "neither a number nor a boolean" };
        return Err(Error::invalid(format!(
            "the model's input `{}` has type {data_type}, which is {wanted}",
            input.name,
        ))
        .with_note(format!("it was trained as {}", input.data_type)));
    }
    Ok(rows.column(index))
}

/// The columns of `rows` that are named, in their order.
pub(crate) fn bind(
    rows: &RecordBatch,
    inputs: &[SignatureColumn],
    categories: &CategoriesByName,
) -> Result<Vec<Values>> {
    let mut columns = Vec::with_capacity(inputs.len());
    for (place, input) in inputs.iter().enumerate() {
        let categories = categories.get(&input.name);
        let wants_text = matches!(categories, Some(Categories::Text(_)));
        let array = find_from(place, rows, input, wants_text)?;
        columns.push(match categories {
            None => values(array)?,
            Some(categories) => categories.encode(array)?,
        });
    }
    Ok(columns)
}

/// The features of a training set, in its order, for an algorithm that knows only numbers.
pub(crate) fn features(set: &TrainingSet) -> Result<Vec<Values>> {
    let schema = set.features().schema();
    if let Some(field) = schema.fields().iter().find(|field| is_text_type(field.data_type())) {
        return Err(Error::invalid(format!(
            "feature `{}` is text, from which only `gbdt` learns as it is",
            field.name()
        ))
        .with_help(
            "make numbers of it by a step `one_hot` or `target_encode`, or train with `gbdt`",
        ));
    }
    set.features().columns().iter().map(|array| values(array)).collect()
}

/// The features of a training set with the categories of those that are text or that `named`
/// says to be categories.
pub(crate) fn categorical_features(
    set: &TrainingSet,
    named: &BTreeSet<String>,
) -> Result<(Vec<Values>, CategoriesByName)> {
    let schema = set.features().schema();
    check_names(&schema, named.iter().map(String::as_str))?;
    let mut categories = CategoriesByName::new();
    let mut columns = Vec::with_capacity(schema.fields().len());
    for (field, array) in schema.fields().iter().zip(set.features().columns()) {
        if is_text_type(field.data_type()) || named.contains(field.name()) {
            let fitted = Categories::fit(array, CATEGORIES_MAX)?;
            columns.push(fitted.encode(array)?);
            categories.insert(field.name().clone(), fitted);
        } else {
            columns.push(values(array)?);
        }
    }
    Ok((columns, categories))
}

/// The features as numbers that order them: text by its categories.
pub(crate) fn rough(set: &TrainingSet) -> Result<Vec<Values>> {
    categorical_features(set, &BTreeSet::new()).map(|(columns, _)| columns)
}

/// Refuses names that no feature has.
pub(crate) fn check_names<'a>(
    schema: &Schema,
    names: impl IntoIterator<Item = &'a str>,
) -> Result<()> {
    let known = || schema.fields().iter().map(|field| field.name().as_str());
    for name in names {
        if known().all(|other| other != name) {
            return Err(Error::invalid(format!("a parameter names the feature `{name}`"))
                .with_note(format!("features: {}", known().collect::<Vec<_>>().join(", ")))
                .with_candidates(name, known()));
        }
    }
    Ok(())
}

/// The labels of a set that has rows.
pub(crate) fn labels(set: &TrainingSet) -> Result<&[f64]> {
    check_rows(set.rows())?;
    Ok(set.labels().values())
}

/// Refuses to learn from nothing.
pub(crate) fn check_rows(rows: usize) -> Result<()> {
    if rows == 0 {
        return Err(Error::invalid("a training set without rows teaches nothing")
            .with_help("check the spine's query and the pins"));
    }
    Ok(())
}

/// Refuses to learn from rows none of which counts.
pub(crate) fn check_counted(counted: usize, rows: usize) -> Result<()> {
    if counted == 0 && rows > 0 {
        return Err(Error::invalid(format!(
            "all {rows} rows have weight 0, which teaches nothing"
        ))
        .with_help("check the column that `weight` names: a row counts by a weight above 0"));
    }
    Ok(())
}

/// The labels of a two-class problem: every one is zero or one.
pub(crate) fn binary_labels(set: &TrainingSet) -> Result<&[f64]> {
    let labels = labels(set)?;
    check_binary(labels).map(|()| labels)
}

/// Refuses labels that are neither zero nor one.
pub(crate) fn check_binary(labels: &[f64]) -> Result<()> {
    match labels.iter().find(|label| **label != 0.0 && **label != 1.0) {
        Some(other) => Err(Error::invalid(format!("label `{other}` is neither 0 nor 1"))
            .with_help("make the label a boolean in the spine, such as `churned = 'yes'`")),
        None => Ok(()),
    }
}

/// A label that cannot be learned, and what to do about it.
pub(crate) fn no_label(label: f64, help: &str) -> Error {
    // Far from one, all digits of a number are hard to read.
    let is_near = label == 0.0 || (1e-5..1e17).contains(&label.abs());
    let label = if is_near { label.to_string() } else { format!("{label:e}") };
    Error::invalid(format!("label `{label}` is none that can be learned")).with_help(help)
}

/// The column as doubles.
pub(crate) fn values(array: &dyn Array) -> Result<Values> {
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
