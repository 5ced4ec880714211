//! Rows that come as columns of JSON, such as in a request.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, new_null_array};
use arrow::datatypes::SchemaRef;
use icecore_core::{Error, Result};
use serde_json::Value;

use super::assemble::Assembly;
use super::infer::Shape;
use super::value::Cell;

/// A value that does not fit its column.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Misfit {
    /// The row, from zero.
    pub row: usize,
    /// The column.
    pub column: String,
    /// What is wrong.
    pub message: String,
}

/// Rows of a table's columns from values in JSON, which mean what they mean in a file of JSON lines.
/// Columns that are not there are null. The second answer are all values that do not fit; the rows
/// are of no use then.
///
/// # Errors
///
/// `InvalidInput` for columns of different lengths, `NotFound` for one that the target does not
/// have, `Unsupported` for one of a type that JSON is not read as.
pub fn rows_of_columns(
    target: &SchemaRef,
    columns: &BTreeMap<String, Vec<Value>>,
) -> Result<(RecordBatch, Vec<Misfit>)> {
    let rows = columns.values().next().map_or(0, Vec::len);
    for (name, values) in columns {
        if target.fields().find(name).is_none() {
            let names = target.fields().iter().map(|field| field.name().as_str());
            return Err(Error::not_found(format!("there is no column `{name}`"))
                .with_candidates(name, names));
        }
        if values.len() != rows {
            let count = values.len();
            return Err(Error::invalid(format!(
                "column `{name}` has {count} values, and others have {rows}"
            )));
        }
    }
    let (mut arrays, mut misfits) = (Vec::<ArrayRef>::new(), Vec::new());
    for field in target.fields() {
        let Some(values) = columns.get(field.name()) else {
            if !field.is_nullable() && rows > 0 {
                return Err(Error::invalid(format!(
                    "column `{}` is missing, and must have a value",
                    field.name()
                )));
            }
            arrays.push(new_null_array(field.data_type(), rows));
            continue;
        };
        let shape = Shape::of_field(field).ok_or_else(|| {
            Error::unsupported(format!(
                "values of `{}` are {}, which no JSON is read as",
                field.name(),
                field.data_type()
            ))
        })?;
        let mut assembly = Assembly::new(&Arc::new(shape));
        for (row, value) in values.iter().enumerate() {
            assembly.push(row, 0, &cell(value));
        }
        let (column, wrong) = assembly.finish(rows)?;
        misfits.extend(wrong.into_iter().map(|wrong| Misfit {
            row: wrong.row,
            column: field.name().clone(),
            message: wrong.message,
        }));
        arrays.extend(column.columns().iter().cloned());
    }
    if !misfits.is_empty() {
        misfits.sort_by_key(|misfit| misfit.row);
        return Ok((RecordBatch::new_empty(Arc::clone(target)), misfits));
    }
    Ok((RecordBatch::try_new(Arc::clone(target), arrays)?, misfits))
}

/// A value as a file of JSON lines spells it.
pub(super) fn cell(value: &Value) -> Cell<'_> {
    match value {
        Value::Null => Cell::Null,
        Value::Bool(value) => Cell::Bool(*value),
        Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(whole), ..) => Cell::Int(whole),
            // Beyond i64 the digits are kept as text: a float would change them.
            (_, Some(whole), _) => Cell::Text(Cow::Owned(whole.to_string())),
            (.., Some(float)) => Cell::Float(float),
            _ => Cell::Text(Cow::Owned(number.to_string())),
        },
        Value::String(text) => Cell::Text(Cow::Borrowed(text)),
        other => Cell::Text(Cow::Owned(other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};
    use serde_json::json;

    use super::*;

    fn columns(value: Value) -> BTreeMap<String, Vec<Value>> {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn values_mean_what_they_mean_in_files_and_every_misfit_is_named() {
        let schema: SchemaRef = Arc::new(Schema::new(vec![
            Field::new("user", DataType::Utf8, false),
            Field::new("at", super::super::moment(), false),
            Field::new("n", DataType::Int64, true),
        ]));
        let good = columns(
            json!({"user": ["a", "b"], "at": ["2026-11-22T00:00:00Z", "2026-11-22 01:00:00"]}),
        );
        let (rows, misfits) = rows_of_columns(&schema, &good).unwrap();
        assert!(misfits.is_empty() && rows.num_rows() == 2 && rows.column(2).null_count() == 2);
        let bad =
            columns(json!({"user": ["a", null], "at": ["today", "2026-11-22"], "n": [1, "x"]}));
        let (_, misfits) = rows_of_columns(&schema, &bad).unwrap();
        let places: Vec<(usize, &str)> =
            misfits.iter().map(|misfit| (misfit.row, misfit.column.as_str())).collect();
        assert_eq!(places, [(0, "at"), (1, "user"), (1, "n")]);
        let wide =
            columns(json!({"user": ["a"], "at": ["2026-11-22"], "n": [18446744073709551615_u64]}));
        assert_eq!(rows_of_columns(&schema, &wide).unwrap().1.len(), 1);
        let one = columns(json!({"user": ["a"], "at": ["2026-11-22"], "n": [7]}));
        let (rows, _) = rows_of_columns(&schema, &one).unwrap();
        assert_eq!(rows.column(2).as_primitive::<Int64Type>().value(0), 7);
        assert!(rows_of_columns(&schema, &columns(json!({"user": ["a"], "at": []}))).is_err());
        assert!(rows_of_columns(&schema, &columns(json!({"usr": ["a"]}))).is_err());
        assert!(rows_of_columns(&schema, &columns(json!({"user": ["a"]}))).is_err());
    }
}
