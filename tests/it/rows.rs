//! Rows as tests think of them, and what a state of a table holds in a form that every reader can
//! compute: see `tests/python/read_state.py`.

use std::fmt;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, Float64Array, Int32Array, Int64Array,
    RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{
    DataType, Date32Type, Field, Float32Type, Float64Type, Int32Type, Int64Type, Schema, SchemaRef,
    TimeUnit, TimestampMicrosecondType,
};
use icecore_core::BatchStream;
use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};

/// One value. Two floats are the same if their bits are.
#[derive(Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    /// Days since 1970.
    Day(i32),
    /// Microseconds since 1970.
    Moment(i64),
}

impl Value {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    fn to_json(&self) -> Json {
        match self {
            Self::Null => Json::Null,
            Self::Bool(value) => json!(value),
            Self::Int(value) | Self::Moment(value) => json!(value),
            Self::Float(value) => json!(value),
            Self::Text(value) => json!(value),
            Self::Day(value) => json!(value),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("~"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Float(value) => write!(f, "f:{:016x}", value.to_bits()),
            Self::Text(value) => write!(f, "s:{value}"),
            Self::Day(value) => write!(f, "d:{value}"),
            Self::Moment(value) => write!(f, "t:{value}"),
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Float(value) => write!(f, "{value}"),
            other => write!(f, "{other}"),
        }
    }
}

/// The columns of a table and its rows, in no order.
#[derive(Clone)]
pub(crate) struct Rows {
    pub(crate) columns: Vec<(String, DataType)>,
    pub(crate) rows: Vec<Vec<Value>>,
}

impl Rows {
    pub(crate) fn new(columns: &[(&str, DataType)]) -> Self {
        let columns = columns.iter().map(|(name, kind)| ((*name).to_owned(), kind.clone()));
        Self { columns: columns.collect(), rows: Vec::new() }
    }

    /// These columns, and other rows.
    pub(crate) fn with(&self, rows: Vec<Vec<Value>>) -> Self {
        Self { columns: self.columns.clone(), rows }
    }

    /// The place of a column.
    #[track_caller]
    pub(crate) fn at(&self, column: &str) -> usize {
        self.columns.iter().position(|(name, _)| name == column).unwrap()
    }

    pub(crate) fn from_batch(batch: &RecordBatch) -> Self {
        let schema = batch.schema();
        let columns: Vec<_> = schema
            .fields()
            .iter()
            .map(|field| (field.name().clone(), field.data_type().clone()))
            .collect();
        let values: Vec<Vec<Value>> = batch.columns().iter().map(values).collect();
        let row = |place: usize| values.iter().map(|column| column[place].clone()).collect();
        Self { columns, rows: (0..batch.num_rows()).map(row).collect() }
    }

    pub(crate) fn schema(&self) -> SchemaRef {
        let field = |(name, kind): &(String, DataType)| Field::new(name, kind.clone(), true);
        Arc::new(Schema::new(self.columns.iter().map(field).collect::<Vec<_>>()))
    }

    pub(crate) fn to_stream(&self) -> BatchStream {
        let column = |place: usize| {
            let values: Vec<&Value> = self.rows.iter().map(|row| &row[place]).collect();
            array(&values, &self.columns[place].1)
        };
        let columns = (0..self.columns.len()).map(column).collect();
        let batch = RecordBatch::try_new(self.schema(), columns).unwrap();
        BatchStream::from_batches(self.schema(), vec![batch])
    }

    /// As the Python side takes rows: `{column: [values]}`.
    pub(crate) fn to_json(&self) -> Json {
        let column = |place: usize| {
            let values: Vec<Json> = self.rows.iter().map(|row| row[place].to_json()).collect();
            (self.columns[place].0.clone(), Json::Array(values))
        };
        Json::Object((0..self.columns.len()).map(column).collect())
    }

    /// What is there, as `read_state.py` says it.
    pub(crate) fn state(&self) -> Json {
        let rendered: Vec<Vec<String>> =
            self.rows.iter().map(|row| row.iter().map(ToString::to_string).collect()).collect();
        let column = |(place, (name, _)): (usize, &(String, DataType))| {
            let values: Vec<String> = rendered.iter().map(|row| row[place].clone()).collect();
            let nulls = values.iter().filter(|value| *value == "~").count();
            json!({ "name": name, "nulls": nulls, "content": digest(values) })
        };
        let columns: Vec<Json> = self.columns.iter().enumerate().map(column).collect();
        let rows: Vec<String> = rendered.iter().map(|row| row.join("\u{1f}")).collect();
        json!({ "rows": rows.len(), "content": digest(rows), "columns": columns })
    }

    /// The rows in an order of their own, for messages.
    pub(crate) fn sorted(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.rows.iter().map(|row| format!("{row:?}")).collect();
        lines.sort();
        lines
    }
}

fn digest(mut lines: Vec<String>) -> String {
    lines.sort();
    let hash = Sha256::digest(lines.join("\n").as_bytes());
    hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

fn values(column: &ArrayRef) -> Vec<Value> {
    let value = |place: usize| match column.data_type() {
        _ if column.is_null(place) => Value::Null,
        DataType::Boolean => Value::Bool(column.as_boolean().value(place)),
        DataType::Int32 => Value::Int(column.as_primitive::<Int32Type>().value(place).into()),
        DataType::Int64 => Value::Int(column.as_primitive::<Int64Type>().value(place)),
        DataType::Float32 => Value::Float(column.as_primitive::<Float32Type>().value(place).into()),
        DataType::Float64 => Value::Float(column.as_primitive::<Float64Type>().value(place)),
        DataType::Date32 => Value::Day(column.as_primitive::<Date32Type>().value(place)),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            Value::Moment(column.as_primitive::<TimestampMicrosecondType>().value(place))
        }
        DataType::Utf8 => Value::text(column.as_string::<i32>().value(place)),
        DataType::Utf8View => Value::text(column.as_string_view().value(place)),
        other => panic!("no test has a column of type {other}"),
    };
    (0..column.len()).map(value).collect()
}

fn array(values: &[&Value], kind: &DataType) -> ArrayRef {
    fn of<T>(values: &[&Value], take: impl Fn(&Value) -> Option<T>) -> Vec<Option<T>> {
        values.iter().map(|value| take(value)).collect()
    }
    let int = |value: &Value| match value {
        Value::Int(number) | Value::Moment(number) => Some(*number),
        _ => None,
    };
    match kind {
        DataType::Boolean => Arc::new(BooleanArray::from(of(values, |value| match value {
            Value::Bool(value) => Some(*value),
            _ => None,
        }))),
        DataType::Int32 => Arc::new(Int32Array::from(of(values, |value| {
            int(value).map(|number| i32::try_from(number).unwrap())
        }))),
        DataType::Int64 => Arc::new(Int64Array::from(of(values, int))),
        DataType::Float64 => Arc::new(Float64Array::from(of(values, |value| match value {
            Value::Float(value) => Some(*value),
            _ => None,
        }))),
        DataType::Date32 => Arc::new(Date32Array::from(of(values, |value| match value {
            Value::Day(value) => Some(*value),
            _ => None,
        }))),
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let array = TimestampMicrosecondArray::from(of(values, int));
            Arc::new(array.with_timezone_opt(zone.clone()))
        }
        DataType::Utf8 => Arc::new(StringArray::from(of(values, |value| match value {
            Value::Text(value) => Some(value.clone()),
            _ => None,
        }))),
        other => panic!("no test has a column of type {other}"),
    }
}
