//! Rows as requests send them, in the forms of MLflow and of the Open Inference Protocol.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema};
use icecore_core::{Error, ErrorKind, ModelSignature, Result};
use serde_json::{Map, Value};

use super::Lookup;
use crate::features::entity_column;

/// Rows of one request at most.
const ROWS_MAX: usize = 100_000;
/// Rows as objects become a table of at most so many cells, or of so many times what was sent: where
/// each row has names of its own, almost all cells are gaps.
const CELLS_MIN: usize = 1 << 20;
const GAPS_MAX: usize = 4;

/// Columns of one length, by name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Frame {
    pub(crate) columns: BTreeMap<String, ArrayRef>,
    pub(crate) rows: usize,
    /// The columns that were looked up, and those that they were looked up by.
    pub(crate) looked_up: BTreeSet<String>,
    /// What became of that, where features were looked up.
    pub(crate) lookup: Option<Lookup>,
}

impl Frame {
    fn try_new(columns: impl IntoIterator<Item = (String, Vec<Value>)>) -> Result<Self> {
        let mut frame = Self::default();
        for (at, (name, values)) in columns.into_iter().enumerate() {
            if at == 0 {
                frame.rows = values.len();
            }
            if values.len() != frame.rows {
                return Err(Error::invalid(format!(
                    "column `{name}` has {} values, and others have {}",
                    values.len(),
                    frame.rows
                )));
            }
            let column = entity_column(&name, &numbers(values))?;
            frame.add(name, column)?;
        }
        if frame.rows > ROWS_MAX {
            let message = format!("{} rows are sent at once, and {ROWS_MAX} may be", frame.rows);
            return Err(Error::new(ErrorKind::LimitExceeded, message));
        }
        Ok(frame)
    }

    /// Adds a column. Of two that have one name nobody can tell which is meant.
    fn add(&mut self, name: String, column: ArrayRef) -> Result<()> {
        match self.columns.entry(name) {
            Entry::Vacant(place) => {
                place.insert(column);
                Ok(())
            }
            Entry::Occupied(place) => {
                let name = place.key().escape_debug();
                Err(Error::invalid(format!("`{name}` is sent twice"))
                    .with_help("send each column once"))
            }
        }
    }

    /// Reads the body that MLflow's scoring server takes.
    pub(crate) fn of_mlflow(body: &Map<String, Value>, signature: &ModelSignature) -> Result<Self> {
        const FORMS: [&str; 4] = ["instances", "inputs", "dataframe_split", "dataframe_records"];
        let sent: Vec<&str> = FORMS.into_iter().filter(|form| body.contains_key(*form)).collect();
        let [form] = sent.as_slice() else {
            return Err(Error::invalid(format!(
                "the input must be a JSON dictionary with exactly one of the input fields {}",
                FORMS.join(", ")
            ))
            .with_note(format!("it has: {}", sent.join(", "))));
        };
        let value = body.get(*form).unwrap_or(&Value::Null);
        match (*form, value) {
            ("dataframe_split", Value::Object(split)) => Self::of_split(split),
            ("dataframe_records", Value::Array(records)) => Self::of_records(records),
            (_, Value::Array(rows)) if rows.iter().all(Value::is_object) && !rows.is_empty() => {
                Self::of_records(rows)
            }
            (_, Value::Array(rows)) => Self::of_matrix(rows, signature),
            ("inputs", Value::Object(columns)) => {
                let column = |(name, values): (&String, &Value)| match values {
                    Value::Array(values) => (name.clone(), values.clone()),
                    single => (name.clone(), vec![single.clone()]),
                };
                Self::try_new(columns.iter().map(column))
            }
            _ => Err(Error::invalid(format!("`{form}` is not of the form that it has to be"))),
        }
    }

    fn of_split(split: &Map<String, Value>) -> Result<Self> {
        let list = |name: &str| -> Result<&Vec<Value>> {
            let list = split.get(name).and_then(Value::as_array);
            list.ok_or_else(|| Error::invalid(format!("`dataframe_split` has no list `{name}`")))
        };
        let (rows, names) = (list("data")?, list("columns")?);
        // Which column a further value is of, nobody says.
        let is_longer = |row: &&Value| row.as_array().is_some_and(|row| row.len() > names.len());
        if let Some(row) = rows.iter().position(|row| is_longer(&row)) {
            return Err(Error::invalid(format!(
                "row {row} of `dataframe_split` has more values than there are columns, {}",
                names.len()
            )));
        }
        let mut columns = Vec::new();
        for (at, name) in names.iter().enumerate() {
            let name =
                name.as_str().ok_or_else(|| Error::invalid("a name of a column is not text"))?;
            let value = |row: &Value| row.as_array().and_then(|row| row.get(at)).cloned();
            let values: Option<Vec<Value>> = rows.iter().map(value).collect();
            let values =
                values.ok_or_else(|| Error::invalid(format!("a row has no value for `{name}`")))?;
            columns.push((name.to_owned(), values));
        }
        Self::try_new(columns)
    }

    /// Rows as objects; a key that a row does not have is null in it.
    fn of_records(records: &[Value]) -> Result<Self> {
        let mut columns: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        let mut sent = 0;
        for record in records {
            let record =
                record.as_object().ok_or_else(|| Error::invalid("a row is not an object"))?;
            sent += record.len();
            for name in record.keys() {
                columns.entry(name.clone()).or_default();
            }
        }
        let cells = columns.len().saturating_mul(records.len());
        if cells > CELLS_MIN.max(sent.saturating_mul(GAPS_MAX)) {
            let (rows, names) = (records.len(), columns.len());
            return Err(Error::new(
                ErrorKind::LimitExceeded,
                format!("{rows} rows have {names} different names, most of which most rows lack"),
            )
            .with_help("send rows of the same names together, in requests of their own"));
        }
        for (name, values) in &mut columns {
            values.extend(records.iter().map(|row| row.get(name).cloned().unwrap_or_default()));
        }
        Self::try_new(columns)
    }

    /// Rows as lists, in the order of the model's inputs.
    fn of_matrix(rows: &[Value], signature: &ModelSignature) -> Result<Self> {
        let width = signature.inputs.len();
        let is_whole = |row: &Value| row.as_array().is_some_and(|row| row.len() == width);
        if !rows.iter().all(is_whole) {
            return Err(Error::invalid(format!("a row does not have the model's {width} values"))
                .with_note(format!("in this order: {}", names(signature))));
        }
        let column = |(at, input): (usize, &icecore_core::SignatureColumn)| {
            let value = |row: &Value| row.get(at).cloned().unwrap_or_default();
            (input.name.clone(), rows.iter().map(value).collect())
        };
        Self::try_new(signature.inputs.iter().enumerate().map(column))
    }

    /// Reads the inputs of an inference request: one tensor for all of the model's inputs, or one
    /// for each.
    pub(crate) fn of_tensors(inputs: &[Value], signature: &ModelSignature) -> Result<Self> {
        let mut tensors = Vec::with_capacity(inputs.len());
        for input in inputs {
            tensors.push(Tensor::parse(input)?);
        }
        let width = signature.inputs.len();
        match tensors.as_slice() {
            [] => Err(Error::invalid("there is no input tensor")),
            [one] if one.shape.len() == 2 && one.shape.get(1) == Some(&width) && width > 1 => {
                let rows: Vec<Value> =
                    one.data.chunks(width).map(|row| Value::Array(row.to_vec())).collect();
                Self::of_matrix(&rows, signature)
            }
            _ => {
                let mut columns = Vec::with_capacity(tensors.len());
                for tensor in tensors {
                    if tensor.shape.iter().skip(1).any(|size| *size != 1) {
                        return Err(Error::invalid(format!(
                            "tensor `{}` has the shape {:?}",
                            tensor.name, tensor.shape
                        ))
                        .with_help(format!(
                            "send [N, {width}] for all inputs ({}), or [N] for each",
                            names(signature)
                        )));
                    }
                    columns.push((tensor.name, tensor.data));
                }
                Self::try_new(columns)
            }
        }
    }

    /// Rows of CSV with a header.
    pub(crate) fn of_csv(text: &str) -> Result<Self> {
        let bad = |error: arrow::error::ArrowError| {
            Error::invalid("the CSV cannot be read").with_source(error)
        };
        let format = arrow::csv::reader::Format::default().with_header(true);
        let (schema, _) = format.infer_schema(std::io::Cursor::new(text), None).map_err(bad)?;
        let reader = arrow::csv::ReaderBuilder::new(Arc::new(schema))
            .with_header(true)
            .with_batch_size(ROWS_MAX + 1)
            .build(std::io::Cursor::new(text))
            .map_err(bad)?;
        let mut frame = Self::default();
        for (at, batch) in reader.enumerate() {
            let batch = batch.map_err(bad)?;
            if at > 0 || batch.num_rows() > ROWS_MAX {
                let message = format!("more than {ROWS_MAX} rows are sent at once");
                return Err(Error::new(ErrorKind::LimitExceeded, message));
            }
            frame.rows = batch.num_rows();
            for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
                frame.add(field.name().clone(), Arc::clone(column))?;
            }
        }
        Ok(frame)
    }

    /// The rows as a model takes them. A column in which nothing is known has no type: to the model
    /// its values are missing, whether the input is text or not.
    pub(crate) fn batch(&self) -> Result<RecordBatch> {
        let (mut fields, mut columns) = (Vec::new(), Vec::new());
        for (name, column) in &self.columns {
            fields.push(Field::new(name, column.data_type().clone(), true));
            columns.push(Arc::clone(column));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?)
    }
}

/// Booleans among numbers are 0 and 1, as they are to a model where they are alone.
fn numbers(mut values: Vec<Value>) -> Vec<Value> {
    if values.iter().any(Value::is_number) {
        for value in &mut values {
            if let Value::Bool(flag) = value {
                *value = Value::from(u8::from(*flag));
            }
        }
    }
    values
}

fn names(signature: &ModelSignature) -> String {
    let names: Vec<&str> = signature.inputs.iter().map(|input| input.name.as_str()).collect();
    names.join(", ")
}

/// An input of an inference request.
#[derive(Debug)]
struct Tensor {
    name: String,
    shape: Vec<usize>,
    /// Row by row.
    data: Vec<Value>,
}

impl Tensor {
    fn parse(input: &Value) -> Result<Self> {
        const TYPES: [&str; 13] = [
            "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64",
            "FP16", "FP32", "FP64", "BYTES",
        ];
        let missing = |name: &str| Error::invalid(format!("an input tensor has no `{name}`"));
        let name = input.get("name").and_then(Value::as_str).ok_or_else(|| missing("name"))?;
        let shape = input.get("shape").and_then(Value::as_array).ok_or_else(|| missing("shape"))?;
        let size = |size: &Value| size.as_u64().and_then(|size| usize::try_from(size).ok());
        let shape: Option<Vec<usize>> = shape.iter().map(size).collect();
        let shape = shape.ok_or_else(|| Error::invalid("a shape is not of whole numbers"))?;
        let datatype =
            input.get("datatype").and_then(Value::as_str).ok_or_else(|| missing("datatype"))?;
        if !TYPES.contains(&datatype) {
            return Err(Error::invalid(format!(
                "there is no datatype `{}`",
                datatype.escape_debug()
            ))
            .with_note(format!("datatypes: {}", TYPES.join(", "))));
        }
        let mut data = Vec::new();
        let sent = input.get("data").ok_or_else(|| missing("data"))?;
        flatten(sent, &mut data, 0)?;
        let elements = shape.iter().try_fold(1_usize, |all, size| all.checked_mul(*size));
        if elements != Some(data.len()) {
            return Err(Error::invalid(format!(
                "tensor `{name}` of shape {shape:?} has {} values",
                data.len()
            )));
        }
        Ok(Self { name: name.to_owned(), shape, data })
    }
}

fn flatten(value: &Value, to: &mut Vec<Value>, depth: usize) -> Result<()> {
    match value {
        Value::Array(values) if depth < 8 => {
            values.iter().try_for_each(|value| flatten(value, to, depth + 1))
        }
        Value::Array(_) | Value::Object(_) => {
            Err(Error::invalid("the data of a tensor is a list of values"))
        }
        value => {
            to.push(value.clone());
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::DataType;
    use icecore_core::{OutputKind, SignatureColumn};
    use serde_json::json;

    use super::*;

    #[test]
    fn a_column_in_which_nothing_is_known_has_no_type() {
        let column = |name: &str, data_type: &str| SignatureColumn {
            name: name.to_owned(),
            data_type: data_type.to_owned(),
        };
        let signature = ModelSignature {
            inputs: vec![column("plan", "Utf8"), column("amount", "Float64")],
            output: OutputKind::Probability,
        };
        for body in [
            json!({ "dataframe_records": [{ "plan": null, "amount": 3 }] }),
            json!({ "inputs": [[null, 3]] }),
        ] {
            let frame = Frame::of_mlflow(body.as_object().unwrap(), &signature).unwrap();
            let rows = frame.batch().unwrap();
            let type_of = |name: &str| rows.column_by_name(name).unwrap().data_type().clone();
            assert_eq!((type_of("plan"), type_of("amount")), (DataType::Null, DataType::Int64));
        }
        let rows = Frame::of_csv("plan,amount\n,3\n").unwrap().batch().unwrap();
        assert_eq!(*rows.column_by_name("plan").unwrap().data_type(), DataType::Null);
    }

    #[test]
    fn a_column_that_is_sent_twice_is_refused() {
        let column =
            |name: &str| SignatureColumn { name: name.to_owned(), data_type: "Float64".to_owned() };
        let signature = ModelSignature {
            inputs: vec![column("a"), column("b")],
            output: OutputKind::Probability,
        };
        let tensor = |name: &str, value: f64| json!({ "name": name, "shape": [1], "datatype": "FP64", "data": [value] });
        let twice = [tensor("a", 1.0), tensor("b", 2.0), tensor("a", 3.0)];
        let split = json!({ "dataframe_split": { "columns": ["a", "a"], "data": [[1, 2]] } });
        for error in [
            Frame::of_tensors(&twice, &signature).unwrap_err(),
            Frame::of_mlflow(split.as_object().unwrap(), &signature).unwrap_err(),
            Frame::of_csv("a,b,a\n1,2,3\n").unwrap_err(),
        ] {
            assert_eq!(error.to_string(), "`a` is sent twice");
        }
        assert!(Frame::of_tensors(&twice[..2], &signature).is_ok());
    }

    #[test]
    fn a_row_of_a_split_has_a_value_for_each_column() {
        let read = |row: Value| {
            let split = json!({ "columns": ["a", "b"], "data": [[1, 2], row] });
            Frame::of_split(split.as_object().unwrap())
        };
        assert_eq!(read(json!([3, null])).unwrap().rows, 2);
        for row in [json!([3]), json!([3, 4, 5]), json!(3)] {
            assert_eq!(read(row).unwrap_err().kind(), ErrorKind::InvalidInput);
        }
    }

    #[test]
    fn booleans_among_numbers_are_numbers() {
        let rows = [json!({ "a": true, "b": true }), json!({ "a": 2, "b": null })];
        let frame = Frame::of_records(&rows).unwrap();
        assert_eq!(*frame.columns["a"].data_type(), DataType::Int64);
        assert_eq!(*frame.columns["b"].data_type(), DataType::Boolean);
        let rows = [json!({ "a": true }), json!({ "a": "yes" })];
        assert!(Frame::of_records(&rows).is_err());
    }

    #[test]
    fn rows_that_each_have_names_of_their_own_are_refused() {
        let records = |count: usize| {
            (0..count).map(|row| json!({ format!("a{row}"): 1, "b": 2 })).collect::<Vec<_>>()
        };
        let frame = Frame::of_records(&records(100)).unwrap();
        assert_eq!((frame.rows, frame.columns.len()), (100, 101));
        let error = Frame::of_records(&records(2_000)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}");
        // Many rows of few names have no gaps.
        let rows: Vec<Value> = (0..20_000).map(|row| json!({ "a": row, "b": 1 })).collect();
        assert_eq!(Frame::of_records(&rows).unwrap().rows, 20_000);
    }
}
