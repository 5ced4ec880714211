//! Rows of a data file that leave it or change, applied to what is read of it.

use std::collections::BTreeSet;
use std::iter::Peekable;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute::{filter_record_batch, interleave};
use arrow::datatypes::{Int64Type, SchemaRef};
use icecore_core::{Error, Result};
use roaring::RoaringTreemap;

/// Rows of one data file that leave it or change.
#[derive(Debug, Clone, Default)]
pub(super) struct Patch {
    /// The places of rows that are to be gone.
    pub(super) gone: RoaringTreemap,
    /// The places of rows that change, in order, and for each the new row that it takes values of.
    pub(super) changed: Vec<(u64, u32)>,
    /// The columns of the table, by their places, in which a changed row differs.
    pub(super) columns: BTreeSet<usize>,
}

impl Patch {
    /// One that takes rows away.
    pub(super) fn of_gone(gone: RoaringTreemap) -> Self {
        Self { gone, ..Self::default() }
    }

    /// Every place that a merge-on-read change has to mark as deleted.
    pub(super) fn places(&self) -> RoaringTreemap {
        let mut places = self.gone.clone();
        places.extend(self.changed.iter().map(|(place, _)| *place));
        places
    }
}

/// Values that changed rows take: for each column of the table the column of the new rows, or
/// `None` where a row keeps what it has.
#[derive(Debug, Clone, Default)]
pub(super) struct NewValues {
    pub(super) columns: Vec<Option<ArrayRef>>,
}

/// Applies a patch to the batches of a file, one after the other.
pub(super) struct Patcher {
    schema: SchemaRef,
    gone: Peekable<roaring::treemap::IntoIter>,
    changed: Peekable<std::vec::IntoIter<(u64, u32)>>,
    values: Arc<NewValues>,
}

impl Patcher {
    /// `schema`: that of the patched rows.
    pub(super) fn new(patch: Patch, values: Arc<NewValues>, schema: SchemaRef) -> Self {
        Self {
            schema,
            gone: patch.gone.into_iter().peekable(),
            changed: patch.changed.into_iter().peekable(),
            values,
        }
    }

    /// The rows of a batch as they are to be, without their places, which are its last column.
    ///
    /// # Errors
    ///
    /// `Internal` for a batch without places.
    pub(super) fn batch(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let Some((places, columns)) = batch.columns().split_last() else {
            return Err(Error::internal("rows were read without their places"));
        };
        let places = places.as_primitive::<Int64Type>().values();
        let columns = self.change(places, columns)?;
        let rows = RecordBatch::try_new(self.schema.clone(), columns)?;
        match self.stays(places) {
            Some(stays) => Ok(filter_record_batch(&rows, &stays)?),
            None => Ok(rows),
        }
    }

    /// Which rows stay, if not all do.
    fn stays(&mut self, places: &[i64]) -> Option<BooleanArray> {
        let last = u64::try_from(*places.last()?).ok()?;
        if self.gone.peek().is_none_or(|gone| *gone > last) {
            return None;
        }
        let stays = places.iter().map(|place| {
            let place = place.cast_unsigned();
            while self.gone.next_if(|gone| *gone < place).is_some() {}
            self.gone.next_if_eq(&place).is_none()
        });
        Some(BooleanArray::from(stays.collect::<Vec<_>>()))
    }

    fn change(&mut self, places: &[i64], columns: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
        let last = places.last().map_or(0, |place| place.cast_unsigned());
        if self.changed.peek().is_none_or(|(place, _)| *place > last) {
            return Ok(columns.to_vec());
        }
        let mut from: Vec<(usize, usize)> = (0..places.len()).map(|row| (0, row)).collect();
        for (from, place) in from.iter_mut().zip(places) {
            let place = place.cast_unsigned();
            while self.changed.next_if(|(changed, _)| *changed < place).is_some() {}
            if let Some((_, row)) = self.changed.next_if(|(changed, _)| *changed == place) {
                *from = (1, row as usize);
            }
        }
        let pairs = columns.iter().zip(&self.values.columns);
        pairs
            .map(|(column, values)| match values {
                Some(values) => {
                    let both: [&dyn Array; 2] = [column, values];
                    Ok(interleave(&both, &from)?)
                }
                None => Ok(column.clone()),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    fn ints(values: &[i64]) -> ArrayRef {
        Arc::new(Int64Array::from(values.to_vec()))
    }

    #[test]
    fn rows_leave_and_change_by_their_places_whatever_the_batches() {
        let schema = Arc::new(Schema::new(vec![
            Field::new("a", DataType::Int64, false),
            Field::new("b", DataType::Int64, false),
        ]));
        let places: Vec<i64> = vec![0, 2, 3, 5, 8, 9, 12];
        for size in 1..=places.len() {
            let patch = Patch {
                gone: [2, 9, 40].into_iter().collect(),
                changed: vec![(3, 1), (8, 0), (9, 1)],
                columns: [1].into(),
            };
            let values = NewValues { columns: vec![None, Some(ints(&[100, 101]))] };
            let mut patcher = Patcher::new(patch, Arc::new(values), schema.clone());
            let (mut a, mut b) = (Vec::new(), Vec::new());
            for places in places.chunks(size) {
                let with_places = Arc::new(Schema::new(
                    ["a", "b", "_pos"]
                        .map(|name| Field::new(name, DataType::Int64, false))
                        .to_vec(),
                ));
                let columns = vec![ints(places), ints(places), ints(places)];
                let batch = RecordBatch::try_new(with_places, columns).unwrap();
                let patched = patcher.batch(&batch).unwrap();
                a.extend(patched.column(0).as_primitive::<Int64Type>().values());
                b.extend(patched.column(1).as_primitive::<Int64Type>().values());
            }
            assert_eq!((a, b), (vec![0, 3, 5, 8, 12], vec![0, 101, 5, 100, 12]), "{size}");
        }
    }
}
