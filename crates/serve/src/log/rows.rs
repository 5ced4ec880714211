//! From requests and answers to rows.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema};
use icecore_core::{Result, Timestamp};
use icecore_online::FeatureStatus;

use super::others::{Folded, OTHERS, OwnNames, fold_others};
use crate::answer::{Answer, Outcome};
use crate::features::{FeatureAnswer, FeatureSource};
use crate::models::{Frame, LoadedModel};

/// What the rows of a request have in common.
#[derive(Debug, Clone)]
pub(super) struct Common {
    pub(super) id: String,
    pub(super) at: Timestamp,
}

/// Rows of a request.
#[derive(Debug)]
pub(super) struct LoggedRows {
    pub(super) rows: RecordBatch,
    /// The columns that say who it was about.
    pub(super) keys: Vec<String>,
    /// Those of them that the client made up.
    pub(super) own: Vec<String>,
    /// What has no column of its own.
    pub(super) folded: Folded,
}

/// Columns of one length, the common ones first.
struct Columns {
    rows: usize,
    keys: Vec<String>,
    own: Vec<String>,
    folded: Folded,
    fields: Vec<Field>,
    arrays: Vec<ArrayRef>,
}

impl Columns {
    fn new(common: &Common, rows: usize) -> Self {
        let moments = TimestampMicrosecondArray::from_value(common.at.micros(), rows);
        let (keys, own, folded) = (Vec::new(), Vec::new(), Folded::default());
        let (fields, arrays) = (Vec::new(), Vec::new());
        let mut columns = Self { rows, keys, own, folded, fields, arrays };
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

    /// Adds a column that a client made up, which may say who a row is about.
    fn own(&mut self, name: &str, values: ArrayRef) {
        self.key(name, values);
        self.own.extend(self.fields.last().map(|field| field.name().clone()));
    }

    /// Adds what has no column of its own. That may say who a row is about, too.
    fn others(&mut self, columns: &[(&str, &ArrayRef)]) -> Result<()> {
        if columns.is_empty() {
            return Ok(());
        }
        let (objects, folded) = fold_others(self.rows, None, columns)?;
        self.fields.push(Field::new(OTHERS, DataType::Utf8, true));
        self.arrays.push(objects);
        self.keys.push(OTHERS.to_owned());
        self.folded = folded;
        Ok(())
    }

    /// Adds a column. What is called like one that is there, or like the one of all others, gets a
    /// name of its own, and what has no type has no column.
    fn add(&mut self, name: &str, values: ArrayRef) {
        if *values.data_type() == DataType::Null {
            return;
        }
        let mut name = name.to_owned();
        while name == OTHERS || self.fields.iter().any(|field| *field.name() == name) {
            name.push('_');
        }
        self.fields.push(Field::new(name, values.data_type().clone(), true));
        self.arrays.push(values);
    }

    fn text(&mut self, name: &str, value: Option<&str>) {
        let values = StringArray::from(vec![value; self.rows]);
        self.add(name, Arc::new(values));
    }

    /// Where looked up features are from, and what became of each row's.
    fn lookup(&mut self, source: FeatureSource, statuses: &[FeatureStatus]) {
        self.text("source", Some(source.code()));
        self.text("reason", source.reason());
        let statuses = statuses.iter().map(|status| status.code());
        self.add("feature_status", Arc::new(StringArray::from_iter_values(statuses)));
    }

    fn logged(self) -> Result<LoggedRows> {
        let rows = RecordBatch::try_new(Arc::new(Schema::new(self.fields)), self.arrays)?;
        Ok(LoggedRows { rows, keys: self.keys, own: self.own, folded: self.folded })
    }
}

pub(super) fn of_features(common: &Common, answer: &FeatureAnswer) -> Result<LoggedRows> {
    let rows = answer.columns.first().map_or(0, |column| column.values.len());
    let mut columns = Columns::new(common, rows);
    columns.lookup(answer.source, &answer.row_statuses());
    let (keys, features) =
        answer.columns.split_at_checked(answer.join_keys).unwrap_or((&answer.columns, &[]));
    for key in keys {
        columns.key(&key.name, Arc::clone(&key.values));
    }
    for feature in features {
        columns.add(&feature.name, Arc::clone(&feature.values));
    }
    columns.logged()
}

/// What was predicted, and from what. Of what a client sends that neither the model reads nor was
/// looked up for it, the names that this log knows have columns.
pub(super) fn of_predictions(
    common: &Common,
    model: &LoadedModel,
    (frame, predictions): (&Frame, &ArrayRef),
    (log, own): (&str, &OwnNames),
) -> Result<LoggedRows> {
    let mut columns = Columns::new(common, frame.rows);
    columns.text("model_version", Some(&model.version));
    columns.add("prediction", Arc::clone(predictions));
    if let Some(lookup) = &frame.lookup {
        columns.lookup(lookup.source, &lookup.statuses);
    }
    let inputs = &model.model.signature().inputs;
    let inputs: BTreeSet<&str> = inputs.iter().map(|input| input.name.as_str()).collect();
    let mut sent: Vec<(&str, &ArrayRef)> = Vec::new();
    for (name, values) in &frame.columns {
        if inputs.contains(name.as_str()) {
            // JSON writes 3 where it means 3.0: what a model reads is one type, however it was
            // written.
            match values.data_type().is_numeric() {
                true => columns.add(name, cast(values, &DataType::Float64)?),
                false => columns.add(name, Arc::clone(values)),
            }
        } else if frame.looked_up.contains(name) {
            columns.key(name, Arc::clone(values));
        } else if *values.data_type() != DataType::Null {
            sent.push((name.as_str(), values));
        }
    }
    let known = own.of(log, sent.iter().map(|(name, _)| *name));
    let (own, others): (Vec<_>, Vec<_>) =
        sent.into_iter().partition(|(name, _)| known.contains(name));
    for (name, values) in own {
        columns.own(name, Arc::clone(values));
    }
    columns.others(&others)?;
    columns.logged()
}

pub(super) fn of_score(common: &Common, answer: &Answer<'_>) -> Result<LoggedRows> {
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
    columns.logged()
}
