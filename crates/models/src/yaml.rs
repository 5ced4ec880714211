//! YAML documents, as values.

mod load;

use icecore_core::{Error, Location, Result};
use serde_json::{Map, Value};

/// An object of a document.
pub(crate) type Object = Map<String, Value>;

/// Parses a YAML document; an empty one is an empty object.
///
/// # Errors
///
/// `InvalidInput` with line and column.
pub fn parse(file: &str, text: &str) -> Result<Object> {
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(Object::new());
    }
    let value = load::load(file, text)?;
    match value {
        Value::Object(object) => Ok(object),
        _ => Err(Error::invalid("the document is not an object of keys and values").at(Location {
            file: file.to_owned(),
            line: 1,
            column: 1,
        })),
    }
}

/// A text under a key.
pub(crate) fn text(object: &Object, key: &str) -> Option<String> {
    object.get(key).and_then(scalar)
}

/// The text of a single value.
pub(crate) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// The texts under a key: a list, or one.
pub(crate) fn texts(object: &Object, key: &str) -> Vec<String> {
    match object.get(key) {
        Some(Value::Array(items)) => items.iter().filter_map(scalar).collect(),
        Some(other) => scalar(other).into_iter().collect(),
        None => Vec::new(),
    }
}

/// The objects under a key.
pub(crate) fn objects<'o>(object: &'o Object, key: &str) -> impl Iterator<Item = &'o Object> {
    object.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object)
}
