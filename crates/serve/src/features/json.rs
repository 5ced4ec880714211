//! Values of columns in JSON.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use icecore_core::Result;
use serde::ser::Error as _;
use serde::{Serialize, Serializer};
use serde_json::Value;

/// The values of a column, written as they are read.
pub(crate) struct JsonValues<'a>(pub(crate) &'a ArrayRef);

impl Serialize for JsonValues<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let column = self.0;
        // What most features are needs no value in between; NaN becomes null by itself.
        match column.data_type() {
            DataType::Float64 => serializer.collect_seq(column.as_primitive::<Float64Type>()),
            DataType::Int64 => serializer.collect_seq(column.as_primitive::<Int64Type>()),
            DataType::Int32 => serializer.collect_seq(column.as_primitive::<Int32Type>()),
            DataType::Boolean => serializer.collect_seq(column.as_boolean()),
            DataType::Utf8 => serializer.collect_seq(column.as_string::<i32>()),
            _ => write_values(column).map_err(S::Error::custom)?.serialize(serializer),
        }
    }
}

/// The values of a column. Numbers are numbers; NaN and infinity, which JSON does not have, are
/// null; moments, dates and decimals are text.
pub(crate) fn write_values(column: &ArrayRef) -> Result<Vec<Value>> {
    macro_rules! numbers {
        ($type:ty) => {
            column
                .as_primitive::<$type>()
                .iter()
                .map(|value| value.map_or(Value::Null, Value::from))
                .collect()
        };
    }
    Ok(match column.data_type() {
        DataType::Float64 => numbers!(Float64Type),
        DataType::Float32 => {
            let values = column.as_primitive::<Float32Type>();
            values
                .iter()
                .map(|value| value.map_or(Value::Null, |v| Value::from(f64::from(v))))
                .collect()
        }
        DataType::Int8 => numbers!(Int8Type),
        DataType::Int16 => numbers!(Int16Type),
        DataType::Int32 => numbers!(Int32Type),
        DataType::Int64 => numbers!(Int64Type),
        DataType::UInt8 => numbers!(UInt8Type),
        DataType::UInt16 => numbers!(UInt16Type),
        DataType::UInt32 => numbers!(UInt32Type),
        DataType::UInt64 => numbers!(UInt64Type),
        DataType::Boolean => {
            let values = column.as_boolean();
            values.iter().map(|value| value.map_or(Value::Null, Value::Bool)).collect()
        }
        DataType::Utf8 => {
            let values = column.as_string::<i32>();
            values.iter().map(|value| value.map_or(Value::Null, Value::from)).collect()
        }
        DataType::List(_) => write_lists(column.as_list::<i32>().iter())?,
        DataType::FixedSizeList(..) => write_lists(column.as_fixed_size_list().iter())?,
        DataType::Struct(fields) => {
            let columns = column.as_struct().columns().iter().map(write_values);
            let columns = columns.collect::<Result<Vec<_>>>()?;
            let object = |row: usize| {
                let entry = |(field, values): (&arrow::datatypes::FieldRef, &Vec<Value>)| {
                    (field.name().clone(), values.get(row).cloned().unwrap_or_default())
                };
                Value::Object(fields.iter().zip(&columns).map(entry).collect())
            };
            let row = |row: usize| if column.is_null(row) { Value::Null } else { object(row) };
            (0..column.len()).map(row).collect()
        }
        _ => {
            let options = FormatOptions::default();
            let format = ArrayFormatter::try_new(column, &options)?;
            let text = |row: usize| match column.is_null(row) {
                true => Value::Null,
                false => Value::from(format.value(row).to_string()),
            };
            (0..column.len()).map(text).collect()
        }
    })
}

fn write_lists(rows: impl Iterator<Item = Option<ArrayRef>>) -> Result<Vec<Value>> {
    let list = |row: Option<ArrayRef>| match row {
        None => Ok(Value::Null),
        Some(items) => Ok(Value::Array(write_values(&items)?)),
    };
    rows.map(list).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{FixedSizeListArray, ListArray};
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_are_lists_whether_their_length_is_fixed_or_not() {
        let rows = vec![Some(vec![Some(0.5), Some(0.25)]), None, Some(vec![Some(1.0), None])];
        let fixed = FixedSizeListArray::from_iter_primitive::<Float64Type, _, _>(rows.clone(), 2);
        let free = ListArray::from_iter_primitive::<Float64Type, _, _>(rows);
        let expected = [json!([0.5, 0.25]), json!(null), json!([1.0, null])];
        for column in [Arc::new(fixed) as ArrayRef, Arc::new(free)] {
            assert_eq!(write_values(&column).unwrap(), expected);
            assert_eq!(write_values(&column.slice(1, 2)).unwrap(), expected[1..]);
        }
    }
}
