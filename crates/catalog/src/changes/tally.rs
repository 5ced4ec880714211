//! Striking out rows that are on both sides.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, RecordBatch, StructArray};
use arrow::datatypes::{DataType, Field, FieldRef, SchemaRef};
use arrow::row::{RowConverter, SortField};
use icecore_core::{Error, Result};

use super::rows::Side;

/// Bytes that a counted row takes in the table.
const ENTRY_BYTES: usize = 40;

/// Turns rows into numbers that are the same for equal rows, and for no others that anybody will
/// ever meet: 128 bits of two independent hashes.
#[derive(Debug)]
pub(super) struct Fingerprints {
    rows: RowConverter,
    columns: Vec<usize>,
}

impl Fingerprints {
    /// Of these columns.
    pub(super) fn of(schema: &SchemaRef, columns: Vec<usize>) -> Result<Self> {
        let fields = columns.iter().filter_map(|index| schema.fields().get(*index));
        let fields = fields.map(|field| SortField::new(comparable_type(field.data_type())));
        Ok(Self { rows: RowConverter::new(fields.collect())?, columns })
    }

    pub(super) fn rows(&self, batch: &RecordBatch) -> Result<Vec<u128>> {
        let columns = self.columns.iter().filter_map(|index| batch.columns().get(*index));
        let columns = columns.map(comparable).collect::<Result<Vec<_>>>()?;
        if columns.is_empty() {
            return Ok(vec![0; batch.num_rows()]);
        }
        let rows = self.rows.convert_columns(&columns)?;
        Ok(rows.iter().map(|row| fingerprint(row.data())).collect())
    }
}

fn fingerprint(bytes: &[u8]) -> u128 {
    let half = |salt: u8| {
        // Without keys it is the same in every process.
        let mut hasher = std::hash::DefaultHasher::new();
        hasher.write_u8(salt);
        hasher.write(bytes);
        hasher.finish()
    };
    (u128::from(half(0)) << 64) | u128::from(half(1))
}

/// A map has no order among types; as a list of pairs it has.
fn comparable(column: &ArrayRef) -> Result<ArrayRef> {
    Ok(match column.data_type() {
        DataType::Map(..) => {
            let (_, offsets, entries, nulls, _) = column.as_map().clone().into_parts();
            let entries = comparable(&(Arc::new(entries) as ArrayRef))?;
            let item = Arc::new(Field::new("item", entries.data_type().clone(), false));
            Arc::new(ListArray::try_new(item, offsets, entries, nulls)?)
        }
        DataType::List(item) if has_map(item.data_type()) => {
            let (_, offsets, values, nulls) = column.as_list::<i32>().clone().into_parts();
            let values = comparable(&values)?;
            let item = retyped(item, values.data_type());
            Arc::new(ListArray::try_new(item, offsets, values, nulls)?)
        }
        DataType::Struct(fields) if fields.iter().any(|field| has_map(field.data_type())) => {
            let column = column.as_struct();
            let columns = column.columns().iter().map(comparable).collect::<Result<Vec<_>>>()?;
            let fields = fields.iter().zip(&columns);
            let fields = fields.map(|(field, column)| retyped(field, column.data_type()));
            let fields = fields.collect::<Vec<_>>().into();
            Arc::new(StructArray::try_new(fields, columns, column.nulls().cloned())?)
        }
        _ => column.clone(),
    })
}

fn retyped(field: &FieldRef, data_type: &DataType) -> FieldRef {
    Arc::new(Field::new(field.name(), data_type.clone(), field.is_nullable()))
}

fn comparable_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Map(entries, _) => {
            let entries = comparable_type(entries.data_type());
            DataType::List(Arc::new(Field::new("item", entries, false)))
        }
        DataType::List(item) if has_map(item.data_type()) => {
            DataType::List(retyped(item, &comparable_type(item.data_type())))
        }
        DataType::Struct(fields) => DataType::Struct(
            fields
                .iter()
                .map(|field| retyped(field, &comparable_type(field.data_type())))
                .collect(),
        ),
        other => other.clone(),
    }
}

fn has_map(data_type: &DataType) -> bool {
    match data_type {
        DataType::Map(..) => true,
        DataType::List(item) => has_map(item.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| has_map(field.data_type())),
        _ => false,
    }
}

/// A fingerprint is as good as its hash.
#[derive(Debug, Default)]
struct Half(u64);

impl Hasher for Half {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    #[expect(clippy::cast_possible_truncation, reason = "half of the bits are enough")]
    fn write_u128(&mut self, number: u128) {
        self.0 = number as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// How many more times each row is on the later side. Rows that are as often on both are not held.
#[derive(Debug)]
pub(super) struct Tally {
    net: HashMap<u128, i64, BuildHasherDefault<Half>>,
    entries_max: usize,
}

impl Tally {
    pub(super) fn within(memory_bytes: usize) -> Self {
        Self { net: HashMap::default(), entries_max: (memory_bytes / ENTRY_BYTES).max(16) }
    }

    /// Counts a row. Returns whether there is room for more.
    pub(super) fn count(&mut self, row: u128, side: Side) -> bool {
        let by = match side {
            Side::Gone => -1,
            Side::Come => 1,
        };
        match self.net.entry(row) {
            Entry::Occupied(mut entry) => {
                *entry.get_mut() += by;
                if *entry.get() == 0 {
                    entry.remove();
                }
                true
            }
            Entry::Vacant(entry) => {
                entry.insert(by);
                self.net.len() <= self.entries_max
            }
        }
    }

    /// Whether a row of this side is one of those that are left, which is one less then.
    pub(super) fn take(&mut self, row: u128, side: Side) -> bool {
        let Entry::Occupied(mut entry) = self.net.entry(row) else {
            return false;
        };
        let net = entry.get_mut();
        match side {
            Side::Gone if *net < 0 => *net += 1,
            Side::Come if *net > 0 => *net -= 1,
            _ => return false,
        }
        if *net == 0 {
            entry.remove();
        }
        true
    }

    pub(super) fn is_empty(&self) -> bool {
        self.net.is_empty()
    }
}

/// A part of all rows, by the first bits of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    bits: u32,
    prefix: u32,
}

impl Part {
    pub(super) const WHOLE: Self = Self { bits: 0, prefix: 0 };

    pub(super) const fn has(self, number: u128) -> bool {
        self.bits == 0 || ((number >> 96) as u32) >> (32 - self.bits) == self.prefix
    }

    /// Its two halves.
    ///
    /// # Errors
    ///
    /// `LimitExceeded` where rows of one number alone are too many.
    pub(super) fn halves(self) -> Result<[Self; 2]> {
        if self.bits >= 20 {
            return Err(Error::new(
                icecore_core::ErrorKind::LimitExceeded,
                "too many rows of one key changed to be held in memory",
            )
            .with_help("compare without a key, or allow more memory"));
        }
        let half = |last| Self { bits: self.bits + 1, prefix: (self.prefix << 1) | last };
        Ok([half(0), half(1)])
    }
}
