//! From a lock to rows to learn from.

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, RecordBatch, UInt64Array,
};
use arrow::compute::{cast, concat, concat_batches, filter, filter_record_batch};
use arrow::datatypes::{DataType, Float64Type, Schema, SchemaRef, UInt64Type};
use futures::TryStreamExt;
use icecore_core::{
    BatchStream, Error, PinnedTable, Result, ScanOptions, SnapshotCatalog, SnapshotSelector,
    TimeRange, Timestamp, TrainingSet, is_feature_type,
};
use icecore_engine::Engine;
use icecore_kernel::hash_rows;
use icecore_pit::moment_micros;
use std::sync::Arc;

use crate::lock::{DatasetPlan, Lock};
use crate::parts::PART_COLUMN;

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
}

/// Loads a training set from the table that it is materialized in, and nothing else (C100).
///
/// The features are the locked ones. A row's id is the hash of its keys and moment.
///
/// # Errors
///
/// `NotFound` if the state has expired or lacks a column; `InvalidInput` if the label is no number
/// or boolean, or a feature is neither nor text.
pub async fn load(engine: &Engine, lock: &Lock, options: LoadOptions) -> Result<LoadedSet> {
    let catalog = engine.catalog();
    let (pin, provenance) = match &options.at {
        None => (lock.materialized.clone(), lock.plan.pins()),
        Some(selector) => {
            let pin = catalog.pin(&lock.plan.table, selector).await?;
            // Another state came from other inputs, which its own lock knows.
            let inputs = if pin == lock.materialized { lock.plan.pins() } else { Vec::new() };
            (pin, inputs)
        }
    };
    let columns = Columns::find(&lock.plan, &pin, (&catalog.schema(&pin).await?, &options))?;
    let scan = ScanOptions::default().with_columns(columns.reads.iter().cloned());
    let mut loader = Loader::new(columns, &options);
    loader.read(catalog.scan(&pin, scan).await?).await?;
    let (set, moments) = (loader.set()?, loader.moments);
    Ok(LoadedSet {
        set: set.with_provenance(std::iter::once(pin.clone()).chain(provenance).collect()),
        pin,
        validation: loader.validation(),
        moments: options.moments.then_some(loader.all_moments),
        unlabelled: loader.unlabelled,
        tested: loader.tested,
        first_moment: moments.map(|(first, _)| Timestamp::from_micros(first)),
        last_moment: moments.map(|(_, last)| Timestamp::from_micros(last)),
    })
}

/// Which columns of a scan are what.
struct Columns {
    reads: Vec<String>,
    features: Vec<usize>,
    feature_schema: SchemaRef,
    label: usize,
    moment: usize,
    identity: Vec<usize>,
    part: Option<usize>,
    weight: Option<usize>,
    group: Option<usize>,
}

impl Columns {
    fn find(
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
        let features = plan.features().into_iter().map(&mut place).collect::<Result<Vec<_>>>()?;
        let label = place(&plan.label)?;
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
        Ok(Self { reads, features, feature_schema, label, moment, identity, part, weight, group })
    }
}

/// Collects batches.
struct Loader {
    columns: Columns,
    range: TimeRange,
    features: Vec<RecordBatch>,
    labels: Vec<ArrayRef>,
    ids: Vec<ArrayRef>,
    weights: Vec<ArrayRef>,
    groups: Vec<ArrayRef>,
    validation: Vec<bool>,
    unlabelled: u64,
    tested: u64,
    moments: Option<(i64, i64)>,
    keeps_moments: bool,
    all_moments: Vec<i64>,
}

impl Loader {
    fn new(columns: Columns, options: &LoadOptions) -> Self {
        Self {
            columns,
            range: options.range,
            features: Vec::new(),
            labels: Vec::new(),
            ids: Vec::new(),
            weights: Vec::new(),
            groups: Vec::new(),
            validation: Vec::new(),
            unlabelled: 0,
            tested: 0,
            moments: None,
            keeps_moments: options.moments,
            all_moments: Vec::new(),
        }
    }

    fn validation(&self) -> Option<BooleanArray> {
        self.columns.part.map(|_| BooleanArray::from(self.validation.clone()))
    }

    async fn read(&mut self, mut rows: BatchStream) -> Result<()> {
        while let Some(batch) = rows.try_next().await? {
            self.add(&batch)?;
        }
        Ok(())
    }

    fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let moments = moment_micros(batch.column(self.columns.moment))?;
        let inside = |moment: Option<i64>| {
            let unbounded = self.range == TimeRange::default();
            unbounded || moment.is_some_and(|at| self.range.contains(Timestamp::from_micros(at)))
        };
        let labels = numbers(batch, self.columns.label, "label")?;
        let parts = self.columns.part.and_then(|at| batch.column(at).as_string_opt::<i32>());
        let mut keep = Vec::with_capacity(batch.num_rows());
        for (row, (label, moment)) in labels.iter().zip(moments.iter()).enumerate() {
            let labelled = label.is_some_and(|label| !label.is_nan());
            let part = parts.map(|parts| parts.value(row));
            let tests = part == Some("test");
            let inside = inside(moment);
            self.unlabelled += u64::from(inside && !labelled);
            self.tested += u64::from(inside && labelled && tests);
            let kept = inside && labelled && !tests;
            keep.push(kept);
            if kept && part.is_some() {
                self.validation.push(part == Some("validation"));
            }
            if let (true, Some(at)) = (kept, moment) {
                let (first, last) = self.moments.unwrap_or((at, at));
                self.moments = Some((first.min(at), last.max(at)));
            }
            if kept && self.keeps_moments {
                self.all_moments.push(moment.unwrap_or(i64::MIN));
            }
        }
        let keep = BooleanArray::from(keep);
        let ids = hash_rows(batch, &self.columns.identity)?;
        let features = batch.project(&self.columns.features)?;
        let features = RecordBatch::try_new(
            Arc::clone(&self.columns.feature_schema),
            features.columns().to_vec(),
        )?;
        self.features.push(filter_record_batch(&features, &keep)?);
        self.labels.push(filter(&labels, &keep)?);
        self.ids.push(filter(&ids, &keep)?);
        if let Some(weight) = self.columns.weight {
            self.weights.push(filter(&numbers(batch, weight, "weight")?, &keep)?);
        }
        if let Some(group) = self.columns.group {
            self.groups.push(filter(&hash_rows(batch, &[group])?, &keep)?);
        }
        Ok(())
    }

    fn set(&self) -> Result<TrainingSet> {
        let features = concat_batches(&self.columns.feature_schema, &self.features)?;
        let set = TrainingSet::new(features, numbers_of(&self.labels)?, ids_of(&self.ids)?)?;
        let set = match self.columns.weight {
            Some(_) => set.with_weights(numbers_of(&self.weights)?),
            None => Ok(set),
        }?;
        match self.columns.group {
            Some(_) => set.with_groups(ids_of(&self.groups)?),
            None => Ok(set),
        }
    }
}

fn whole(parts: &[ArrayRef]) -> Result<Option<ArrayRef>> {
    let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
    Ok(if parts.is_empty() { None } else { Some(concat(&parts)?) })
}

fn numbers_of(parts: &[ArrayRef]) -> Result<Float64Array> {
    Ok(whole(parts)?.map_or_else(
        || Float64Array::from(Vec::<f64>::new()),
        |numbers| numbers.as_primitive::<Float64Type>().clone(),
    ))
}

fn ids_of(parts: &[ArrayRef]) -> Result<UInt64Array> {
    Ok(whole(parts)?.map_or_else(
        || UInt64Array::from(Vec::<u64>::new()),
        |ids| ids.as_primitive::<UInt64Type>().clone(),
    ))
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
