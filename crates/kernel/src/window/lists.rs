//! The first and the last so many values of each window, and lists as a whole.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, UInt32Array};
use arrow::buffer::{BooleanBuffer, NullBuffer, OffsetBuffer};
use arrow::compute::take;
use arrow::datatypes::{Field, Float64Type};
use icecore_core::{Error, ErrorKind, Result};

use super::bounds::Bounds;
use super::counts::Counts;
use super::events::Events;
use super::order::{Keys, compare, with_order};
use super::plan::list_item;

/// Lists of rows, one after another.
#[derive(Debug)]
pub(crate) struct RowLists {
    pub(crate) rows: Vec<u32>,
    /// How many rows each list has.
    pub(crate) lengths: Vec<u32>,
}

impl RowLists {
    pub(crate) fn with_capacity(lists: usize) -> Self {
        Self { rows: Vec::new(), lengths: Vec::with_capacity(lists) }
    }

    pub(crate) fn push(&mut self, rows: impl Iterator<Item = u32>) {
        let before = self.rows.len();
        self.rows.extend(rows);
        self.lengths.push((self.rows.len() - before) as u32);
    }

    /// The input's values at the rows.
    pub(crate) fn column(self, field: &Field, input: &ArrayRef) -> Result<ArrayRef> {
        let values = take(input, &UInt32Array::from(self.rows), None)?;
        column(field, &self.lengths, with_one_nan(values), None)
    }
}

/// The values with every NaN as the same one, so that results have the same bits on every way.
pub(crate) fn with_one_nan(values: ArrayRef) -> ArrayRef {
    let Some(floats) = values.as_primitive_opt::<Float64Type>() else { return values };
    if !floats.values().iter().any(|value| value.is_nan()) {
        return values;
    }
    let plain = |value: f64| if value.is_nan() { f64::NAN } else { value };
    Arc::new(floats.unary::<_, Float64Type>(plain))
}

/// A list column from its values and the lengths of its lists.
pub(crate) fn column(
    field: &Field,
    lengths: &[u32],
    values: ArrayRef,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef> {
    if i32::try_from(values.len()).is_err() {
        let message = format!("the lists of `{}` have more than 2147483647 values", field.name());
        return Err(Error::new(ErrorKind::LimitExceeded, message)
            .with_help("list fewer values, or compute a shorter range of time"));
    }
    let offsets = OffsetBuffer::from_lengths(lengths.iter().map(|length| *length as usize));
    let item = list_item(values.data_type().clone());
    Ok(Arc::new(ListArray::try_new(item, offsets, values, nulls)?))
}

/// The events that have a value, by entity, time and value.
#[derive(Debug)]
pub(crate) struct InOrder(Vec<u32>);

impl InOrder {
    pub(crate) fn new(events: &Events<'_>, keys: &Keys, valid: Option<&BooleanBuffer>) -> Self {
        let is_valid = |row: usize| valid.is_none_or(|valid| valid.value(row));
        // Events were checked to fit.
        let rows = (0..events.times.len()).filter(|row| is_valid(*row)).map(|row| row as u32);
        let mut rows = rows.collect::<Vec<_>>();
        with_order!(keys, |at_most| {
            for entity in events.entities {
                let start = rows.partition_point(|row| (*row as usize) < entity.start);
                let end = rows.partition_point(|row| (*row as usize) < entity.end);
                let of_entity = rows.get_mut(start..end).unwrap_or_default();
                let time = |row: u32| events.times[row as usize];
                for tied in of_entity.chunk_by_mut(|a, b| time(*a) == time(*b)) {
                    tied.sort_by(|a, b| compare(at_most, *a as usize, *b as usize));
                }
            }
        });
        Self(rows)
    }

    fn of(&self, counts: &Counts, (start, end): (usize, usize)) -> &[u32] {
        self.0.get(counts.before(start)..counts.before(end)).unwrap_or_default()
    }

    /// The earliest events of each window, the earliest first.
    pub(crate) fn first(&self, k: usize, counts: &Counts, bounds: Bounds<'_>) -> RowLists {
        let mut lists = RowLists::with_capacity(bounds.len());
        for window in bounds.iter() {
            lists.push(self.of(counts, window).iter().take(k).copied());
        }
        lists
    }

    /// The latest events of each window, the latest first.
    pub(crate) fn last(&self, k: usize, counts: &Counts, bounds: Bounds<'_>) -> RowLists {
        let mut lists = RowLists::with_capacity(bounds.len());
        for window in bounds.iter() {
            lists.push(self.of(counts, window).iter().rev().take(k).copied());
        }
        lists
    }
}
