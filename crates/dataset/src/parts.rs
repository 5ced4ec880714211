//! The parts that a set is divided into, row by row: by what a row is, never by where it stands.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, StringArray, UInt64Array};
use arrow::datatypes::{DataType, Field, FieldRef, SchemaRef};
use icecore_core::{Error, Result, Timestamp};
use icecore_kernel::hash_rows;
use icecore_pit::moment_micros;
use serde::{Deserialize, Serialize};

use crate::lock::DatasetPlan;

/// The column that says which part a row belongs to.
pub(crate) const PART_COLUMN: &str = "split";

/// What keeps rows together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SplitBy {
    /// Nothing: each row by its keys and moment.
    Row,
    /// All rows of an entity: by the keys alone.
    Key,
    /// All rows with one value of the column `group`.
    Group,
    /// The rows of a time: those from `validation_from` and from `test_from` on.
    Time,
}

/// How a set is divided, as its lock says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockedSplit {
    /// What keeps rows together.
    pub by: SplitBy,
    /// Of a million of them, how many validate.
    #[serde(default)]
    pub validation_ppm: u32,
    /// Of a million of them, how many test.
    #[serde(default)]
    pub test_ppm: u32,
    /// Another number divides otherwise.
    #[serde(default)]
    pub seed: u64,
    /// The column whose values stay together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Rows of this moment and later ones validate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_from: Option<Timestamp>,
    /// Rows of this moment and later ones test.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_from: Option<Timestamp>,
}

/// Says of each row which part it belongs to.
#[derive(Debug)]
pub(crate) struct Parts {
    split: LockedSplit,
    moment: usize,
    columns: Vec<usize>,
}

impl Parts {
    /// Finds the columns that decide.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if there is no such column, or one that is named as the parts are.
    pub(crate) fn new(plan: &DatasetPlan, split: &LockedSplit, schema: &SchemaRef) -> Result<Self> {
        let find = |name: &str| {
            let names = || schema.fields().iter().map(|field| field.name().as_str());
            schema.index_of(name).map_err(|_| {
                Error::invalid(format!("the set has no column `{name}` to be divided by"))
                    .with_note(format!("columns: {}", names().collect::<Vec<_>>().join(", ")))
                    .with_candidates(name, names())
            })
        };
        if schema.column_with_name(PART_COLUMN).is_some() {
            let mut features = plan.views.iter().flat_map(|view| {
                let computed = view.on_demand.iter().flat_map(|on_demand| &on_demand.columns);
                view.columns.iter().chain(computed)
            });
            let help = match features.any(|(_, name)| name == PART_COLUMN) {
                true => "set `full_feature_names = true`: columns are then named view__feature",
                false => "give it another name in the spine",
            };
            return Err(Error::invalid(format!(
                "a column is named `{PART_COLUMN}`, as that with the parts of a divided set is"
            ))
            .with_help(help));
        }
        let moment = find(&plan.event_timestamp)?;
        let keys = plan.keys.iter().map(|key| find(key)).collect::<Result<Vec<_>>>()?;
        let columns = match (split.by, &split.group) {
            (SplitBy::Row, _) => keys.into_iter().chain([moment]).collect(),
            (SplitBy::Key, _) => keys,
            (SplitBy::Group, Some(group)) => vec![find(group)?],
            (SplitBy::Group | SplitBy::Time, _) => Vec::new(),
        };
        Ok(Self { split: split.clone(), moment, columns })
    }

    pub(crate) fn field() -> FieldRef {
        Arc::new(Field::new(PART_COLUMN, DataType::Utf8, true))
    }

    /// The part of each row. One without a moment belongs to the training part of a split by time.
    pub(crate) fn of(&self, batch: &RecordBatch) -> Result<ArrayRef> {
        if self.split.by == SplitBy::Time {
            let moments = moment_micros(batch.column(self.moment))?;
            let from = |at: Option<Timestamp>| at.map_or(i64::MAX, Timestamp::micros);
            let (validation, test) = (from(self.split.validation_from), from(self.split.test_from));
            let part = |moment: Option<i64>| match moment {
                Some(at) if at >= test => "test",
                Some(at) if at >= validation => "validation",
                _ => "training",
            };
            return Ok(Arc::new(StringArray::from_iter_values(moments.iter().map(part))));
        }
        let hashes = hash_rows(batch, &self.columns)?;
        let hashes = hashes.as_any().downcast_ref::<UInt64Array>();
        let hashes = hashes.ok_or_else(|| Error::internal("hashes are no numbers"))?;
        let (test, validation) = (u64::from(self.split.test_ppm), self.split.validation_ppm);
        let validation = test + u64::from(validation);
        let part = |hash: &u64| match share(*hash, self.split.seed) {
            share if share < test => "test",
            share if share < validation => "validation",
            _ => "training",
        };
        Ok(Arc::new(StringArray::from_iter_values(hashes.values().iter().map(part))))
    }
}

/// A number below a million from a hash and a seed, by the finalizer of SplitMix64 (Steele, Lea and
/// Flood, OOPSLA 2014).
fn share(hash: u64, seed: u64) -> u64 {
    let mut mixed = hash ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = mixed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    ((u128::from(mixed) * 1_000_000) >> 64) as u64
}
