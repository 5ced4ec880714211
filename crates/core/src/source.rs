//! Rows to learn from that never are in memory at once.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::compute::{concat, concat_batches};
use arrow::datatypes::{Float64Type, Schema, SchemaRef, UInt64Type};

use crate::{PinnedTable, Result, TrainingSet};

/// Rows to learn from that are read part by part, as often as it takes.
///
/// # Contract
///
/// - Every reading gives the same rows. Their order and the sizes of the parts may differ.
/// - All parts have the columns of `schema`; either all of them have weights or none has, and so
///   with groups.
/// - `read` blocks its thread, and ends with the first error, its own or that of `each`.
pub trait TrainingSource: fmt::Debug + Send + Sync {
    /// The feature columns.
    fn schema(&self) -> SchemaRef;

    /// The pins that the rows come from.
    fn provenance(&self) -> &[PinnedTable];

    /// Reads all rows and hands them on part by part.
    ///
    /// # Errors
    ///
    /// Fails if the rows cannot be read, or if `each` does.
    fn read(&self, each: &mut dyn FnMut(TrainingSet) -> Result<()>) -> Result<()>;
}

impl TrainingSource for TrainingSet {
    fn schema(&self) -> SchemaRef {
        self.features().schema()
    }

    fn provenance(&self) -> &[PinnedTable] {
        Self::provenance(self)
    }

    fn read(&self, each: &mut dyn FnMut(TrainingSet) -> Result<()>) -> Result<()> {
        each(self.clone())
    }
}

impl TrainingSet {
    /// All rows of a source, in memory.
    ///
    /// # Errors
    ///
    /// Fails if they cannot be read.
    pub fn collect(source: &dyn TrainingSource) -> Result<Self> {
        let mut parts: Vec<Self> = Vec::new();
        source.read(&mut |part| {
            parts.push(part);
            Ok(())
        })?;
        let set = Self::concat(&source.schema(), &parts)?;
        Ok(set.with_provenance(source.provenance().to_vec()))
    }

    /// The rows without their features.
    ///
    /// # Errors
    ///
    /// None that the caller could cause.
    pub fn without_features(&self) -> Result<Self> {
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows()));
        let schema = Arc::new(Schema::empty());
        let none = RecordBatch::try_new_with_options(schema, Vec::new(), &options)?;
        let set = Self::new(none, self.labels().clone(), self.row_ids().clone())?;
        let set = match self.weights() {
            Some(weights) => set.with_weights(weights.clone())?,
            None => set,
        };
        match self.groups() {
            Some(groups) => set.with_groups(groups.clone()),
            None => Ok(set),
        }
    }

    /// The rows of sets with these features as one, without a provenance.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if they do not have the same columns.
    pub fn concat(schema: &SchemaRef, parts: &[Self]) -> Result<Self> {
        if let [whole] = parts {
            return Ok(whole.clone().with_provenance(Vec::new()));
        }
        let features = concat_batches(schema, parts.iter().map(Self::features))?;
        let labels = whole(parts.iter().map(|part| Arc::new(part.labels().clone()) as _))?;
        let ids = whole(parts.iter().map(|part| Arc::new(part.row_ids().clone()) as _))?;
        let weights = parts.iter().filter_map(|part| Some(Arc::new(part.weights()?.clone()) as _));
        let groups = parts.iter().filter_map(|part| Some(Arc::new(part.groups()?.clone()) as _));
        let (weights, groups) = (whole(weights)?, whole(groups)?);
        let numbers = |array: Option<ArrayRef>| {
            array.map(|array| array.as_primitive::<Float64Type>().clone())
        };
        let hashes =
            |array: Option<ArrayRef>| array.map(|array| array.as_primitive::<UInt64Type>().clone());
        let (labels, ids) = (numbers(labels), hashes(ids));
        let none = || Vec::<f64>::new().into();
        let mut set = Self::new(
            features,
            labels.unwrap_or_else(none),
            ids.unwrap_or_else(|| Vec::<u64>::new().into()),
        )?;
        if let Some(weights) = numbers(weights) {
            set = set.with_weights(weights)?;
        }
        if let Some(groups) = hashes(groups) {
            set = set.with_groups(groups)?;
        }
        Ok(set)
    }
}

fn whole(parts: impl Iterator<Item = ArrayRef>) -> Result<Option<ArrayRef>> {
    let parts: Vec<ArrayRef> = parts.collect();
    let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
    Ok(if parts.is_empty() { None } else { Some(concat(&parts)?) })
}
