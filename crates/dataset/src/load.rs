//! From a lock to rows to learn from.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    AsArray, BooleanArray, Float64Array, RecordBatch, RecordBatchOptions, UInt64Array,
};
use arrow::compute::{cast, filter, filter_record_batch};
use arrow::datatypes::{DataType, Float64Type, Schema, SchemaRef, UInt64Type};
use futures::TryStreamExt;
use icecore_core::{
    Error, PinnedTable, Result, SnapshotSelector, TimeRange, Timestamp, TrainingSet,
    is_feature_type,
};
use icecore_engine::Engine;
use icecore_kernel::hash_rows;
use icecore_pit::moment_micros;

use crate::digest::RowsDigest;
use crate::found::{Found, Scan};
use crate::lock::{DatasetPlan, Lock};
use crate::parts::PART_COLUMN;

/// Where the rows of a training set come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RowsFrom {
    /// The table that they were written to.
    #[default]
    Table,
    /// The lock's inputs: the rows are joined again, and the table need not be there.
    Inputs {
        /// The types of columns that had another one in the table, as [`LoadedSet::types`] has
        /// them: what is learned goes by them.
        types: BTreeMap<String, String>,
    },
}

/// What to load of a training set.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct LoadOptions {
    /// Another state of the dataset's table than the locked one.
    pub at: Option<SnapshotSelector>,
    /// Only rows whose moment lies inside.
    pub range: TimeRange,
    /// The column that says how often each row counts.
    pub weight: Option<String>,
    /// The column whose values are groups of rows.
    pub group: Option<String>,
    /// Whether to keep each row's moment.
    pub moments: bool,
    /// Where the rows come from; only in their table they have other states than the locked one.
    pub rows: RowsFrom,
}

impl LoadOptions {
    /// Loads this state of the dataset's table.
    #[must_use]
    pub fn with_at(mut self, at: SnapshotSelector) -> Self {
        self.at = Some(at);
        self
    }

    /// Loads only rows whose moment lies inside.
    #[must_use]
    pub const fn with_range(mut self, range: TimeRange) -> Self {
        self.range = range;
        self
    }

    /// Loads how often each row counts from this column, where there is one.
    #[must_use]
    pub fn with_weight(mut self, column: Option<String>) -> Self {
        self.weight = column;
        self
    }

    /// Loads which group each row belongs to from this column, where there is one.
    #[must_use]
    pub fn with_group(mut self, column: Option<String>) -> Self {
        self.group = column;
        self
    }

    /// Takes the rows from here.
    #[must_use]
    pub fn with_rows(mut self, rows: RowsFrom) -> Self {
        self.rows = rows;
        self
    }

    /// Keeps each row's moment.
    #[must_use]
    pub const fn with_moments(mut self) -> Self {
        self.moments = true;
        self
    }
}

/// Rows to learn from, and where they are.
#[derive(Debug, Clone)]
pub struct LoadedSet {
    /// The rows. Their provenance is the dataset's table first, then what it was made from.
    pub set: TrainingSet,
    /// The state of the dataset's table that they were read from.
    pub pin: PinnedTable,
    /// Which rows validate, where the set is divided. Those that test are not in it.
    pub validation: Option<BooleanArray>,
    /// The moment of each row, in microseconds, where moments were asked for.
    pub moments: Option<Vec<i64>>,
    /// How many rows were left out because they have no label.
    pub unlabelled: u64,
    /// How many rows were left out because they test.
    pub tested: u64,
    /// The least moment of the rows.
    pub first_moment: Option<Timestamp>,
    /// The greatest moment of the rows.
    pub last_moment: Option<Timestamp>,
    /// The types of columns that are other than what the lock's inputs give: another build made
    /// the table's wider.
    pub types: BTreeMap<String, String>,
    /// What the rows are that were joined again, all columns of the lock.
    pub rebuilt: Option<RowsDigest>,
}

/// Loads a training set from the table that it is materialized in, and nothing else (C100); or
/// joins it again, where the options say so.
///
/// The features are the locked ones. A row's id is the hash of its keys and moment.
///
/// # Errors
///
/// `NotFound` if the state has expired or lacks a column; `InvalidInput` if the set has no label, if
/// that is no number or boolean, or if a feature is neither nor text.
pub async fn load(engine: &Engine, lock: &Lock, options: LoadOptions) -> Result<LoadedSet> {
    let found = Found::new(engine, lock, &options).await?;
    let Scan { mut rows, rebuilt } = found.scan(engine).await?;
    let (mut sets, mut validation, mut moments) = (Vec::new(), Vec::<bool>::new(), Vec::new());
    let mut counts = Counts::default();
    while let Some(batch) = rows.try_next().await? {
        let part = found.columns.part(&batch)?;
        counts.add(&part);
        sets.push(part.set);
        validation.extend(part.validation.iter().flatten());
        if options.moments {
            moments.extend(part.moments.into_iter().map(|at| at.unwrap_or(i64::MIN)));
        }
    }
    let set = TrainingSet::concat(&found.columns.feature_schema, &sets)?;
    let (first_moment, last_moment) = counts.moments();
    Ok(LoadedSet {
        set: set.with_provenance(found.provenance),
        pin: found.pin,
        validation: found.columns.part.map(|_| BooleanArray::from(validation)),
        moments: options.moments.then_some(moments),
        unlabelled: counts.unlabelled,
        tested: counts.tested,
        first_moment,
        last_moment,
        types: found.types,
        rebuilt: rebuilt.map(|content| content().into()),
    })
}

/// What is known of rows after they were read.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) rows: u64,
    pub(crate) positive: u64,
    pub(crate) unlabelled: u64,
    pub(crate) tested: u64,
    moments: Option<(i64, i64)>,
}

impl Counts {
    pub(crate) fn add(&mut self, part: &Part) {
        self.rows += part.set.rows() as u64;
        let labels = part.set.labels().values();
        self.positive += labels.iter().filter(|label| **label > 0.5).count() as u64;
        self.unlabelled += part.unlabelled;
        self.tested += part.tested;
        for at in part.moments.iter().flatten() {
            let (first, last) = self.moments.unwrap_or((*at, *at));
            self.moments = Some((first.min(*at), last.max(*at)));
        }
    }

    /// The least and the greatest moment.
    pub(crate) fn moments(&self) -> (Option<Timestamp>, Option<Timestamp>) {
        let (first, last) = self.moments.unzip();
        (first.map(Timestamp::from_micros), last.map(Timestamp::from_micros))
    }
}

/// Which columns of a scan are what.
#[derive(Debug, Clone)]
pub(crate) struct Columns {
    pub(crate) reads: Vec<String>,
    range: TimeRange,
    features: Vec<usize>,
    pub(crate) feature_schema: SchemaRef,
    label: usize,
    moment: usize,
    identity: Vec<usize>,
    pub(crate) part: Option<usize>,
    pub(crate) weight: Option<usize>,
    group: Option<usize>,
}

impl Columns {
    pub(crate) fn find(
        plan: &DatasetPlan,
        pin: &PinnedTable,
        (schema, options): (&SchemaRef, &LoadOptions),
    ) -> Result<Self> {
        let mut reads: Vec<String> = Vec::new();
        let mut place = |name: &str| -> Result<usize> {
            if schema.column_with_name(name).is_none() {
                let names = || schema.fields().iter().map(|field| field.name().as_str());
                return Err(Error::not_found(format!("`{pin}` has no column `{name}`"))
                    .with_note(format!("columns: {}", names().collect::<Vec<_>>().join(", ")))
                    .with_candidates(name, names())
                    .with_help("load a state that was built with these features"));
            }
            let known = reads.iter().position(|read| read == name);
            Ok(known.unwrap_or_else(|| {
                reads.push(name.to_owned());
                reads.len() - 1
            }))
        };
        let label = plan.label.as_deref().ok_or_else(|| {
            Error::invalid(format!("dataset `{}` has no label to learn", plan.dataset))
                .with_help("name the spine's column to predict as `label`, and build it again")
        })?;
        let features = plan.features().into_iter().map(&mut place).collect::<Result<Vec<_>>>()?;
        let label = place(label)?;
        let moment = place(&plan.event_timestamp)?;
        let mut identity = plan.keys.iter().map(|key| place(key)).collect::<Result<Vec<_>>>()?;
        identity.push(moment);
        let part = plan.split.as_ref().map(|_| place(PART_COLUMN)).transpose()?;
        let weight = options.weight.as_deref().map(&mut place).transpose()?;
        let group = options.group.as_deref().map(&mut place).transpose()?;
        let field = |at: &usize| schema.field_with_name(&reads[*at]).cloned();
        let fields = features.iter().map(field).collect::<Result<Vec<_>, _>>()?;
        if let Some(field) = fields.iter().find(|field| !is_feature_type(field.data_type())) {
            return Err(Error::invalid(format!(
                "feature `{}` is {}, which no model can learn from",
                field.name(),
                field.data_type()
            ))
            .with_help("leave it out of `features`, or derive a number from it"));
        }
        let feature_schema = Arc::new(Schema::new(fields));
        let range = options.range;
        Ok(Self {
            reads,
            range,
            features,
            feature_schema,
            label,
            moment,
            identity,
            part,
            weight,
            group,
        })
    }

    /// The rows of a batch that are learned from or validate.
    pub(crate) fn part(&self, batch: &RecordBatch) -> Result<Part> {
        let moments = moment_micros(batch.column(self.moment))?;
        let inside = |moment: Option<i64>| {
            let unbounded = self.range == TimeRange::default();
            unbounded || moment.is_some_and(|at| self.range.contains(Timestamp::from_micros(at)))
        };
        let labels = numbers(batch, self.label, "label")?;
        let parts = self.part.and_then(|at| batch.column(at).as_string_opt::<i32>());
        let (mut unlabelled, mut tested) = (0, 0);
        let mut keep = Vec::with_capacity(batch.num_rows());
        let (mut kept_moments, mut validation) = (Vec::new(), Vec::new());
        for (row, (label, moment)) in labels.iter().zip(moments.iter()).enumerate() {
            let labelled = label.is_some_and(|label| !label.is_nan());
            let part = parts.map(|parts| parts.value(row));
            let tests = part == Some("test");
            let inside = inside(moment);
            unlabelled += u64::from(inside && !labelled);
            tested += u64::from(inside && labelled && tests);
            let kept = inside && labelled && !tests;
            keep.push(kept);
            if kept {
                validation.push(part == Some("validation"));
                kept_moments.push(moment);
            }
        }
        let set = self.set(batch, &labels, &BooleanArray::from(keep))?;
        let validation = parts.map(|_| validation);
        Ok(Part { set, validation, moments: kept_moments, unlabelled, tested })
    }

    fn set(
        &self,
        batch: &RecordBatch,
        labels: &Float64Array,
        keep: &BooleanArray,
    ) -> Result<TrainingSet> {
        let numbers_of = |array: &Float64Array| -> Result<Float64Array> {
            Ok(filter(array, keep)?.as_primitive::<Float64Type>().clone())
        };
        let hashes_of = |columns: &[usize]| -> Result<UInt64Array> {
            let hashes = hash_rows(batch, columns)?;
            Ok(filter(&hashes, keep)?.as_primitive::<UInt64Type>().clone())
        };
        let features = batch.project(&self.features)?.columns().to_vec();
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let schema = Arc::clone(&self.feature_schema);
        let features = RecordBatch::try_new_with_options(schema, features, &options)?;
        let features = filter_record_batch(&features, keep)?;
        let set = TrainingSet::new(features, numbers_of(labels)?, hashes_of(&self.identity)?)?;
        let set = match self.weight {
            Some(weight) => set.with_weights(numbers_of(&numbers(batch, weight, "weight")?)?)?,
            None => set,
        };
        match self.group {
            Some(group) => set.with_groups(hashes_of(&[group])?),
            None => Ok(set),
        }
    }
}

/// What a batch has to learn from.
pub(crate) struct Part {
    pub(crate) set: TrainingSet,
    /// Which rows validate, where the set is divided.
    pub(crate) validation: Option<Vec<bool>>,
    moments: Vec<Option<i64>>,
    unlabelled: u64,
    tested: u64,
}

/// The label or the weight as numbers: booleans are 0 and 1.
fn numbers(batch: &RecordBatch, at: usize, what: &str) -> Result<Float64Array> {
    let column = batch.column(at);
    let data_type = column.data_type();
    if !(data_type.is_numeric() || *data_type == DataType::Boolean) {
        let name = batch.schema_ref().field(at).name();
        return Err(Error::invalid(format!(
            "{what} `{name}` is {data_type}, which is neither a number nor a boolean"
        ))
        .with_help("make it one in the spine: `CAST(outcome = 'churned' AS INT) AS label`"));
    }
    Ok(cast(column, &DataType::Float64)?.as_primitive::<Float64Type>().clone())
}
