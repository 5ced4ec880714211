//! From a batch of feature rows to a batch of predictions.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{
    Array, ArrayRef, AsArray, Date32Array, Float64Array, Int64Array, RecordBatch, StringArray,
};
use arrow::buffer::NullBuffer;
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Float64Type, Schema, SchemaRef};
use icecore_core::{Error, Model, OutputKind, PinnedTable, Result, RunId};
use icecore_kernel::ExactSum;

use crate::plan::{CHAMPION, FEATURE_TIMESTAMP, ScorePlan, ScoringModel};
use crate::rows::FEATURE_STATUS;
use crate::{Buckets, Missing, ScoringSpec};

/// What was counted over all batches. Sums are exact, so that a mean does not depend on the order.
#[derive(Debug, Default, Clone)]
pub(crate) struct Tally {
    pub(crate) rows: u64,
    pub(crate) skipped: u64,
    pub(crate) statuses: BTreeMap<String, u64>,
    pub(crate) models: Vec<ModelTally>,
}

#[derive(Debug, Default, Clone)]
pub(crate) struct ModelTally {
    pub(crate) predicted: u64,
    pub(crate) buckets: BTreeMap<String, u64>,
    pub(crate) sum: ExactSum,
    /// Against the champion: rows in the same bucket, and the sum of distances.
    pub(crate) same_bucket: u64,
    pub(crate) distance: ExactSum,
}

/// A model with the columns that it writes.
struct Column {
    model: Arc<dyn Model>,
    version: i64,
    prefix: String,
    buckets: Option<Buckets>,
    /// The classes' names, of a model of several.
    classes: Vec<String>,
}

/// What a model says of a batch.
struct Predicted {
    value: Float64Array,
    bucket: Option<StringArray>,
    class: Option<StringArray>,
    of_classes: Vec<ArrayRef>,
}

/// Turns feature rows into prediction rows.
pub(crate) struct Scorer {
    pub(crate) schema: SchemaRef,
    spec: ScoringSpec,
    keys: Vec<String>,
    date: i32,
    snapshots: Vec<i64>,
    missing: Missing,
    run: RunId,
    models: Vec<Column>,
    views: usize,
    tally: Arc<Mutex<Tally>>,
}

impl Scorer {
    /// Binds the models to the rows: whatever does not fit is an error before any row is scored.
    pub(crate) fn new(
        (spec, plan): (&ScoringSpec, &ScorePlan),
        models: &[ScoringModel],
        rows: &SchemaRef,
        run: RunId,
        tally: Arc<Mutex<Tally>>,
    ) -> Result<Self> {
        let empty = RecordBatch::new_empty(Arc::clone(rows));
        let models = models
            .iter()
            .map(|model| Column::new(spec, model, &empty))
            .collect::<Result<Vec<_>>>()?;
        let schema = prediction_schema((spec, plan), &models, rows)?;
        tally.lock().unwrap_or_else(PoisonError::into_inner).models =
            vec![ModelTally::default(); models.len()];
        Ok(Self {
            schema,
            spec: spec.clone(),
            keys: plan.keys.clone(),
            date: plan.date.days(),
            snapshots: plan.views.iter().map(|view| view.pin.snapshot.get()).collect(),
            missing: plan.missing,
            run,
            models,
            views: plan.views.len(),
            tally,
        })
    }

    /// Scores a batch.
    pub(crate) fn score(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let moments = required(rows, FEATURE_TIMESTAMP)?;
        let kept;
        let (rows, skipped) = if self.missing == Missing::Skip && moments.null_count() > 0 {
            let known = arrow::compute::is_not_null(moments)?;
            kept = filter_record_batch(rows, &known)?;
            (&kept, (moments.len() - kept.num_rows()) as u64)
        } else {
            (rows, 0)
        };
        let moments = required(rows, FEATURE_TIMESTAMP)?;
        let known = match self.missing {
            Missing::Status => moments.nulls().cloned(),
            _ => None,
        };
        let predicted = self
            .models
            .iter()
            .map(|column| column.predict(rows, known.as_ref()))
            .collect::<Result<Vec<_>>>()?;
        self.count(rows, skipped, &predicted)?;
        self.assemble(rows, &predicted)
    }

    fn assemble(&self, rows: &RecordBatch, predicted: &[Predicted]) -> Result<RecordBatch> {
        let count = rows.num_rows();
        let Some((champion, challengers)) = predicted.split_first() else {
            return Err(Error::internal("no model scores"));
        };
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.schema.fields().len());
        for key in &self.keys {
            columns.push(Arc::clone(required(rows, key)?));
        }
        champion.values(&mut columns);
        columns.push(Arc::new(Date32Array::from_value(self.date, count)));
        champion.bucket(&mut columns);
        columns.push(Arc::new(Int64Array::from_value(self.version(0), count)));
        for snapshot in &self.snapshots {
            columns.push(Arc::new(Int64Array::from_value(*snapshot, count)));
        }
        let run = std::iter::repeat_n(self.run.as_str(), count);
        columns.push(Arc::new(StringArray::from_iter_values(run)));
        columns.push(Arc::clone(required(rows, FEATURE_TIMESTAMP)?));
        columns.push(Arc::clone(required(rows, FEATURE_STATUS)?));
        for name in &self.spec.columns {
            columns.push(Arc::clone(required(rows, name)?));
        }
        for (at, challenger) in challengers.iter().enumerate() {
            challenger.values(&mut columns);
            challenger.bucket(&mut columns);
            columns.push(Arc::new(Int64Array::from_value(self.version(at + 1), count)));
        }
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }

    fn version(&self, model: usize) -> i64 {
        self.models.get(model).map_or(0, |column| column.version)
    }

    fn count(&self, rows: &RecordBatch, skipped: u64, predicted: &[Predicted]) -> Result<()> {
        let statuses = required(rows, FEATURE_STATUS)?;
        let statuses = statuses.as_string::<i32>();
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.rows += rows.num_rows() as u64;
        tally.skipped += skipped;
        if self.views > 0 {
            let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
            statuses.iter().flatten().for_each(|status| *seen.entry(status).or_default() += 1);
            for (status, count) in seen {
                *tally.statuses.entry(status.to_owned()).or_default() += count;
            }
        }
        let champion = predicted.first();
        for (counted, predicted) in tally.models.iter_mut().zip(predicted) {
            counted.add(predicted, champion);
        }
        Ok(())
    }
}

impl ModelTally {
    fn add(&mut self, predicted: &Predicted, champion: Option<&Predicted>) {
        let value = &predicted.value;
        self.predicted += (value.len() - value.null_count()) as u64;
        value.iter().flatten().for_each(|value| self.sum.add(value));
        if let Some(buckets) = &predicted.bucket {
            let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
            buckets.iter().flatten().for_each(|bucket| *seen.entry(bucket).or_default() += 1);
            for (bucket, count) in seen {
                *self.buckets.entry(bucket.to_owned()).or_default() += count;
            }
        }
        let Some(champion) = champion else { return };
        if let (Some(own), Some(other)) = (&predicted.bucket, &champion.bucket) {
            self.same_bucket += own.iter().zip(other).filter(|(a, b)| a == b).count() as u64;
        }
        for (own, other) in value.iter().zip(&champion.value) {
            if let (Some(own), Some(other)) = (own, other) {
                self.distance.add((own - other).abs());
            }
        }
    }
}

impl Column {
    fn new(spec: &ScoringSpec, model: &ScoringModel, empty: &RecordBatch) -> Result<Self> {
        let output = model.model.signature().output;
        let buckets = match (&spec.buckets, output) {
            (Some(buckets), _) => Some(buckets.clone()),
            (None, OutputKind::Value) => None,
            (None, _) => Some(Buckets::default()),
        };
        let answer = model.model.predict(empty).map_err(|error| {
            error.with_note(format!(
                "model `{}` version {} scores as the {} of `{}`",
                model.version.model, model.version.version, model.role, spec.name
            ))
        })?;
        let classes = match answer.data_type() {
            DataType::FixedSizeList(_, width) => classes(spec, (*width).unsigned_abs() as usize)?,
            _ => Vec::new(),
        };
        Ok(Self {
            model: Arc::clone(&model.model),
            version: i64::from(model.version.version),
            prefix: match model.role.as_str() {
                CHAMPION => String::new(),
                challenger => format!("{challenger}_"),
            },
            buckets,
            classes,
        })
    }

    /// Predictions of a batch; none for rows that are not known.
    fn predict(&self, rows: &RecordBatch, known: Option<&NullBuffer>) -> Result<Predicted> {
        let answer = self.model.predict(rows)?;
        let (value, class, of_classes) = if self.classes.is_empty() {
            let value = answer
                .as_primitive_opt::<Float64Type>()
                .ok_or_else(|| Error::internal(format!("the model gave {}", answer.data_type())))?;
            (Float64Array::new(value.values().clone(), known.cloned()), None, Vec::new())
        } else {
            self.classes(&answer, known)?
        };
        let bucket = self.buckets.as_ref().map(|buckets| buckets.column(&value));
        Ok(Predicted { value, bucket, class, of_classes })
    }

    fn classes(
        &self,
        answer: &ArrayRef,
        known: Option<&NullBuffer>,
    ) -> Result<(Float64Array, Option<StringArray>, Vec<ArrayRef>)> {
        let lists = answer
            .as_fixed_size_list_opt()
            .ok_or_else(|| Error::internal(format!("the model gave {}", answer.data_type())))?;
        let width = self.classes.len();
        let all = lists.values().as_primitive::<Float64Type>().values();
        let is_known = |row: usize| known.is_none_or(|known| known.is_valid(row));
        let best = all.chunks_exact(width).enumerate().map(|(row, of)| {
            let best = (0..width).reduce(|a, b| if of[b] > of[a] { b } else { a });
            best.filter(|_| is_known(row)).map(|best| (best, of[best]))
        });
        let best: Vec<Option<(usize, f64)>> = best.collect();
        let value = best.iter().map(|best| best.map(|(_, value)| value)).collect();
        let class = best.iter().map(|best| best.map(|(class, _)| self.classes[class].as_str()));
        let class = class.collect::<StringArray>();
        let of_classes = (0..width).map(|class| {
            let values = all.iter().skip(class).step_by(width).copied().collect::<Vec<_>>();
            Arc::new(Float64Array::new(values.into(), known.cloned())) as ArrayRef
        });
        Ok((value, Some(class), of_classes.collect()))
    }

    fn value_fields(&self, spec: &ScoringSpec) -> Vec<Field> {
        let name = format!("{}{}", self.prefix, spec.prediction);
        let mut fields = vec![Field::new(&name, DataType::Float64, true)];
        if !self.classes.is_empty() {
            fields.push(Field::new(format!("{name}_class"), DataType::Utf8, true));
            for class in &self.classes {
                fields.push(Field::new(format!("{name}_{class}"), DataType::Float64, true));
            }
        }
        fields
    }

    fn bucket_field(&self) -> Option<Field> {
        let name = format!("{}score_bucket", self.prefix);
        // Rows of other times may have no challenger.
        let is_own = self.prefix.is_empty();
        self.buckets.as_ref().map(|_| Field::new(name, DataType::Utf8, !is_own))
    }
}

/// What classes are called: as the job says, or by their numbers.
fn classes(spec: &ScoringSpec, width: usize) -> Result<Vec<String>> {
    match spec.classes.len() {
        0 => Ok((0..width).map(|class| class.to_string()).collect()),
        named if named == width => Ok(spec.classes.clone()),
        named => Err(Error::invalid(format!(
            "scoring job `{}` names {named} classes, and the model has {width}",
            spec.name
        ))),
    }
}

impl Predicted {
    fn values(&self, columns: &mut Vec<ArrayRef>) {
        columns.push(Arc::new(self.value.clone()));
        if let Some(class) = &self.class {
            columns.push(Arc::new(class.clone()));
        }
        columns.extend(self.of_classes.iter().map(Arc::clone));
    }

    fn bucket(&self, columns: &mut Vec<ArrayRef>) {
        if let Some(bucket) = &self.bucket {
            columns.push(Arc::new(bucket.clone()));
        }
    }
}

fn prediction_schema(
    (spec, plan): (&ScoringSpec, &ScorePlan),
    models: &[Column],
    rows: &SchemaRef,
) -> Result<SchemaRef> {
    let Some((champion, challengers)) = models.split_first() else {
        return Err(Error::internal("no model scores"));
    };
    let mut fields = Vec::new();
    for key in &plan.keys {
        fields.push(Field::new(key, rows.field_with_name(key)?.data_type().clone(), false));
    }
    fields.extend(champion.value_fields(spec));
    fields.push(Field::new(&spec.date_column, DataType::Date32, false));
    fields.extend(champion.bucket_field());
    fields.push(Field::new("model_version", DataType::Int64, false));
    for (at, view) in plan.views.iter().enumerate() {
        let name = match at {
            0 => "feature_snapshot_id".to_owned(),
            _ => format!("{}_snapshot_id", view.name),
        };
        fields.push(Field::new(name, DataType::Int64, at > 0));
    }
    fields.push(Field::new("run_id", DataType::Utf8, false));
    fields.push(rows.field_with_name(FEATURE_TIMESTAMP)?.clone().with_nullable(true));
    fields.push(Field::new(FEATURE_STATUS, DataType::Utf8, true));
    for name in &spec.columns {
        let field = rows.field_with_name(name).map_err(|_| {
            let names = || rows.fields().iter().map(|field| field.name().as_str());
            Error::not_found(format!("the scored rows have no column `{name}` to go along"))
                .with_note(format!("columns: {}", names().collect::<Vec<_>>().join(", ")))
                .with_candidates(name, names())
        })?;
        fields.push(Field::new(name, field.data_type().clone(), true));
    }
    for challenger in challengers {
        fields.extend(challenger.value_fields(spec));
        fields.extend(challenger.bucket_field());
        fields.push(Field::new(
            format!("{}model_version", challenger.prefix),
            DataType::Int64,
            true,
        ));
    }
    let mut seen = std::collections::BTreeSet::new();
    if let Some(twice) = fields.iter().find(|field| !seen.insert(field.name().clone())) {
        return Err(Error::invalid(format!(
            "two columns of the predictions of `{}` are named `{}`",
            spec.name,
            twice.name()
        )));
    }
    Ok(Arc::new(Schema::new(fields)))
}

fn required<'a>(rows: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef> {
    rows.column_by_name(name)
        .ok_or_else(|| Error::internal(format!("feature rows have lost their column `{name}`")))
}

/// The state of the first view's table.
pub(crate) fn first_pin(plan: &ScorePlan) -> Result<PinnedTable> {
    plan.features().cloned().ok_or_else(|| Error::internal("a plan reads no view"))
}
