//! The newest row of each entity, from rows in the order of entity and time.

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, partition, take_record_batch};
use futures::{StreamExt, stream};
use icecore_core::{BatchStream, Result};

/// The last row of each run of rows with the same keys. A window function would do, and makes a
/// partition of every entity, a million of them for a million users.
///
/// # Errors
///
/// `Internal` for a key that is no column.
pub(crate) fn newest(rows: BatchStream, keys: &[String]) -> Result<BatchStream> {
    let schema = std::sync::Arc::clone(rows.schema());
    let keys = keys.iter().map(|key| Ok(schema.index_of(key)?)).collect::<Result<Vec<_>>>()?;
    // The last row may not be the last of its entity: the next batch tells.
    let state = (rows, None::<RecordBatch>, keys);
    let found = stream::try_unfold(state, |(mut rows, held, keys)| async move {
        Ok(match (rows.next().await.transpose()?, held) {
            (None, None) => None,
            (None, Some(last)) => Some((last, (rows, None, keys))),
            (Some(batch), held) => {
                let batch = match held {
                    None => batch,
                    Some(held) => concat_batches(&batch.schema(), [&held, &batch])?,
                };
                let (whole, held) = last_of_runs(&batch, &keys)?;
                Some((whole, (rows, held, keys)))
            }
        })
    });
    Ok(BatchStream::new(schema, found))
}

/// The last rows of all runs but the last one, and that of the last one.
fn last_of_runs(batch: &RecordBatch, keys: &[usize]) -> Result<(RecordBatch, Option<RecordBatch>)> {
    let columns: Vec<ArrayRef> = keys.iter().map(|key| batch.columns()[*key].clone()).collect();
    let Some(last) = batch.num_rows().checked_sub(1) else { return Ok((batch.clone(), None)) };
    let mut ends = Vec::new();
    for run in partition(&columns)?.ranges() {
        let end = u32::try_from(run.end.saturating_sub(1));
        ends.push(end.map_err(|_| icecore_core::Error::internal("a batch is too long"))?);
    }
    ends.pop();
    let whole = take_record_batch(batch, &UInt32Array::from(ends))?;
    Ok((whole, Some(batch.slice(last, 1))))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{AsArray, Int64Array, StringArray};
    use arrow::datatypes::Int64Type;

    use super::*;

    /// Rows of these keys, numbered, in batches of this size; the numbers that are left.
    async fn left(keys: &[Option<&str>], size: usize) -> Vec<i64> {
        let batch = RecordBatch::try_from_iter([
            ("key", Arc::new(StringArray::from(keys.to_vec())) as ArrayRef),
            ("n", Arc::new(Int64Array::from_iter_values(0..keys.len() as i64))),
        ])
        .unwrap();
        let schema = batch.schema();
        let starts = (0..keys.len()).step_by(size);
        let batches = starts.map(|at| batch.slice(at, size.min(keys.len() - at))).collect();
        let rows = BatchStream::from_batches(schema, batches);
        let mut found = newest(rows, &["key".to_owned()]).unwrap();
        let mut numbers = Vec::new();
        while let Some(batch) = found.next().await {
            numbers.extend(batch.unwrap()["n"].as_primitive::<Int64Type>().values());
        }
        numbers
    }

    #[tokio::test]
    async fn the_last_row_of_each_key_is_left_wherever_batches_end() {
        let keys = ["a", "a", "a", "b", "c", "c", "d", "e", "e", "e", "e"].map(Some);
        for size in 1..=keys.len() {
            assert_eq!(left(&keys, size).await, [2, 3, 5, 6, 10], "batches of {size}");
        }
        assert_eq!(left(&[], 1).await, [0_i64; 0]);
        assert_eq!(left(&[None, None, Some("a")], 2).await, [1, 2]);
    }
}
