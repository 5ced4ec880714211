//! From requests and answers to rows.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema};
use icecore_core::{Result, Timestamp};

use crate::answer::{Answer, Outcome};
use crate::features::FeatureAnswer;
use crate::models::{Frame, LoadedModel};

/// What the rows of a request have in common.
#[derive(Debug, Clone)]
pub(super) struct Common {
    pub(super) id: String,
    pub(super) at: Timestamp,
}

/// Rows of a request, and the columns of them that say who it was about.
pub(super) type KeyedRows = (RecordBatch, Vec<String>);

/// Columns of one length, the common ones first.
struct Columns {
    rows: usize,
    keys: Vec<String>,
    fields: Vec<Field>,
    arrays: Vec<ArrayRef>,
}

impl Columns {
    fn new(common: &Common, rows: usize) -> Self {
        let moments = TimestampMicrosecondArray::from_value(common.at.micros(), rows);
        let keys = Vec::new();
        let mut columns = Self { rows, keys, fields: Vec::new(), arrays: Vec::new() };
        columns.text("request_id", Some(&common.id));
        columns.keys.push("request_id".to_owned());
        columns.add("event_timestamp", Arc::new(moments.with_timezone("UTC")));
        columns
    }

    /// Adds a column that says who a row is about.
    fn key(&mut self, name: &str, values: ArrayRef) {
        self.add(name, values);
        self.keys.extend(self.fields.last().map(|field| field.name().clone()));
    }

    /// Adds a column. What a client calls like one that is there gets a name of its own, and what
    /// has no type has no column.
    fn add(&mut self, name: &str, values: ArrayRef) {
        if *values.data_type() == DataType::Null {
            return;
        }
        let mut name = name.to_owned();
        while self.fields.iter().any(|field| *field.name() == name) {
            name.push('_');
        }
        self.fields.push(Field::new(name, values.data_type().clone(), true));
        self.arrays.push(values);
    }

    fn text(&mut self, name: &str, value: Option<&str>) {
        let values = StringArray::from(vec![value; self.rows]);
        self.add(name, Arc::new(values));
    }

    fn keyed(self) -> Result<KeyedRows> {
        let rows = RecordBatch::try_new(Arc::new(Schema::new(self.fields)), self.arrays)?;
        Ok((rows, self.keys))
    }
}

pub(super) fn of_features(common: &Common, answer: &FeatureAnswer) -> Result<KeyedRows> {
    let rows = answer.columns.first().map_or(0, |column| column.values.len());
    let mut columns = Columns::new(common, rows);
    columns.text("source", Some(answer.source.code()));
    columns.text("reason", answer.source.reason());
    let (keys, features) =
        answer.columns.split_at_checked(answer.join_keys).unwrap_or((&answer.columns, &[]));
    for key in keys {
        columns.key(&key.name, Arc::clone(&key.values));
    }
    for feature in features {
        columns.add(&feature.name, Arc::clone(&feature.values));
    }
    columns.keyed()
}

pub(super) fn of_predictions(
    common: &Common,
    model: &LoadedModel,
    frame: &Frame,
    predictions: &ArrayRef,
) -> Result<KeyedRows> {
    let mut columns = Columns::new(common, frame.rows);
    columns.text("model_version", Some(&model.version));
    columns.add("prediction", Arc::clone(predictions));
    for (name, values) in &frame.columns {
        let is_input = model.model.signature().inputs.iter().any(|input| input.name == *name);
        // JSON writes 3 where it means 3.0: what a model reads is one type, however it was written.
        match is_input {
            true if values.data_type().is_numeric() => {
                columns.add(name, cast(values, &DataType::Float64)?);
            }
            true => columns.add(name, Arc::clone(values)),
            false => columns.key(name, Arc::clone(values)),
        }
    }
    columns.keyed()
}

pub(super) fn of_score(common: &Common, answer: &Answer<'_>) -> Result<KeyedRows> {
    let route = answer.route;
    let mut columns = Columns::new(common, 1);
    columns.key(&route.parameter, Arc::new(StringArray::from(vec![answer.key])));
    let (prediction, reason, version) = match &answer.outcome {
        Outcome::Cache(probability) => (*probability, None, None),
        Outcome::Lakehouse(score) => (score.probability, None, score.model_version.as_deref()),
        Outcome::Default(reason) => (route.declared.default, reason.map(|r| r.code()), None),
    };
    columns.add("prediction", Arc::new(Float64Array::from(vec![prediction])));
    columns.text("source", Some(answer.outcome.source()));
    columns.text("reason", reason);
    columns.text("model_version", version);
    columns.keyed()
}
