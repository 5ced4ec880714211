//! The order of rows inside a file.

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::{SortOptions, concat, interleave_record_batch};
use arrow::row::{RowConverter, Rows, SortField};
use iceberg::spec::{NullOrder, Schema, SortDirection, SortOrder};
use icecore_core::Result;

use super::CHUNK_ROWS;
use super::transform::Source;

/// How to sort the rows of a file.
#[derive(Debug)]
pub(crate) struct RowOrder {
    id: i64,
    keys: Vec<Key>,
}

#[derive(Debug)]
struct Key {
    source: Source,
    options: SortOptions,
}

impl RowOrder {
    /// The table's order; `None` where it has none, or one by what lies in lists, which Iceberg
    /// allows a writer to leave out.
    pub(crate) fn try_new(schema: &Schema, order: &SortOrder) -> Result<Option<Self>> {
        let mut keys = Vec::with_capacity(order.fields.len());
        for field in &order.fields {
            let Some(source) = Source::find(schema, field.source_id, field.transform)? else {
                return Ok(None);
            };
            let options = SortOptions {
                descending: field.direction == SortDirection::Descending,
                nulls_first: field.null_order == NullOrder::First,
            };
            keys.push(Key { source, options });
        }
        Ok(if keys.is_empty() { None } else { Some(Self { id: order.order_id, keys }) })
    }

    /// What a file that is sorted so says of itself.
    pub(crate) fn id(&self) -> Option<i32> {
        i32::try_from(self.id).ok()
    }

    /// Hands the rows on in order, a chunk at a time; equal rows keep the order that they have.
    pub(super) fn for_each(
        &self,
        pieces: &[RecordBatch],
        mut write: impl FnMut(&RecordBatch) -> Result<()>,
    ) -> Result<()> {
        let keys = self.sort_keys(pieces)?;
        if keys.iter().zip(keys.iter().skip(1)).all(|(row, next)| row <= next) {
            return pieces.iter().try_for_each(write);
        }
        let mut places: Vec<(usize, usize)> = pieces
            .iter()
            .enumerate()
            .flat_map(|(piece, rows)| (0..rows.num_rows()).map(move |row| (piece, row)))
            .collect();
        let mut order: Vec<usize> = (0..places.len()).collect();
        order.sort_by(|left, right| keys.row(*left).cmp(&keys.row(*right)));
        drop(keys);
        places = order.into_iter().filter_map(|index| places.get(index).copied()).collect();
        let pieces: Vec<&RecordBatch> = pieces.iter().collect();
        for chunk in places.chunks(CHUNK_ROWS) {
            write(&interleave_record_batch(&pieces, chunk)?)?;
        }
        Ok(())
    }

    /// What the rows of these batches are sorted by, in a form that compares.
    pub(crate) fn sort_keys(&self, pieces: &[RecordBatch]) -> Result<Rows> {
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.keys.len());
        for key in &self.keys {
            let parts = pieces.iter().map(|piece| key.source.values(piece));
            let parts = parts.collect::<Result<Vec<_>>>()?;
            let parts: Vec<&dyn arrow::array::Array> = parts.iter().map(AsRef::as_ref).collect();
            columns.push(concat(&parts)?);
        }
        let fields = self.keys.iter().zip(&columns);
        let fields = fields.map(|(key, column)| {
            SortField::new_with_options(column.data_type().clone(), key.options)
        });
        Ok(RowConverter::new(fields.collect())?.convert_columns(&columns)?)
    }
}
