//! A row in which two unequal sets differ.
//!
//! Sets are too large to sort for this, and their rows come in different orders. So both are read
//! twice: once into sums of row hashes, kept apart by buckets of keys, and once to keep the rows of
//! a bucket whose sums differ. Memory goes with the buckets and with the rows of one of them. Rows of
//! one key are in one bucket, so a row that has changed meets what it was.

use std::collections::HashMap;

use arrow::array::{Array, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::row::{RowConverter, SortField};
use arrow::util::display::array_value_to_string;
use futures::TryStreamExt;
use icecore_core::{BatchStream, Result};
use icecore_kernel::hash_rows;

/// Keys are kept apart by so many leading bits of their hash.
const BUCKET_BITS: u32 = 16;
/// A bucket of more rows is not looked at: they are kept in memory, and of a part of them nobody
/// could say which the other side lacks.
const ROWS_MAX: usize = 1 << 16;

/// Sums of row hashes, by bucket of keys.
pub(crate) struct Buckets {
    columns: Vec<String>,
    sums: Vec<(u64, u64)>,
}

impl Buckets {
    /// Reads rows with these keys.
    pub(crate) async fn read(mut rows: BatchStream, keys: &[String]) -> Result<Self> {
        let columns = names(rows.schema());
        let mut sums = vec![(0_u64, 0_u64); 1 << BUCKET_BITS];
        while let Some(batch) = rows.try_next().await? {
            let (keys, hashes) = (hashes(&batch, keys)?, hashes(&batch, &columns)?);
            for (key, hash) in keys.values().iter().zip(hashes.values()) {
                let (sum, count) = &mut sums[bucket(*key)];
                *sum = sum.wrapping_add(*hash);
                *count += 1;
            }
        }
        Ok(Self { columns, sums })
    }

    /// The first bucket that differs and is small enough to be looked at, unless the columns
    /// differ, or nothing does.
    pub(crate) fn first_other(&self, other: &Self) -> Option<Other> {
        if self.columns != other.columns {
            return None;
        }
        let mut found = None;
        for (at, (one, other)) in self.sums.iter().zip(&other.sums).enumerate() {
            if one == other {
                continue;
            }
            if one.1.max(other.1) <= ROWS_MAX as u64 {
                return Some(Other::Bucket(at));
            }
            found = Some(Other::TooManyRows);
        }
        found
    }
}

/// Where two sets differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Other {
    /// In this bucket.
    Bucket(usize),
    /// Only in buckets of so many rows that none is named.
    TooManyRows,
}

/// What to say where no row can be named.
pub(crate) fn too_many_rows() -> String {
    format!(
        "no row is named: those that differ share their keys, or a hash of them, with more than \
         {ROWS_MAX} rows"
    )
}

/// Columns by name: they may come in another order.
fn names(schema: &SchemaRef) -> Vec<String> {
    let mut names: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
    names.sort();
    names
}

fn hashes(batch: &RecordBatch, columns: &[String]) -> Result<arrow::array::UInt64Array> {
    let schema = batch.schema();
    let columns = columns.iter().filter_map(|name| Some(schema.column_with_name(name)?.0));
    hash_rows(batch, &columns.collect::<Vec<_>>())
}

fn bucket(hash: u64) -> usize {
    // As many as there are buckets.
    (hash >> (u64::BITS - BUCKET_BITS)) as usize
}

/// The rows of one bucket.
pub(crate) async fn rows_of(
    mut rows: BatchStream,
    keys: &[String],
    at: usize,
) -> Result<RecordBatch> {
    let mut kept = Vec::new();
    while let Some(batch) = rows.try_next().await? {
        let hashes = hashes(&batch, keys)?;
        let found = (0..batch.num_rows()).filter(|row| bucket(hashes.value(*row)) == at);
        let found: UInt32Array = found.map(|row| row as u32).collect();
        if !found.is_empty() {
            kept.push(take_record_batch(&batch, &found)?);
        }
    }
    Ok(concat_batches(rows.schema(), &kept)?)
}

/// What to say of the first row, by the `keys` columns, that one side has and the other has not, or
/// has otherwise.
pub(crate) fn first_difference(
    keys: &[String],
    (rebuilt, stored): (&RecordBatch, &RecordBatch),
) -> Result<Option<String>> {
    let (own, other) = (only(rebuilt, stored)?, only(stored, rebuilt)?);
    let (own, other) = (first(rebuilt, own, keys)?, first(stored, other, keys)?);
    Ok(match (own, other) {
        (None, None) => None,
        (Some(row), None) => Some(format!(
            "the inputs give a row that the table has not: {}",
            shown(rebuilt, row, keys)
        )),
        (None, Some(row)) => Some(format!(
            "the table has a row that the inputs do not give: {}",
            shown(stored, row, keys)
        )),
        (Some(row), Some(table_row)) => {
            let (place, other) = (shown(rebuilt, row, keys), shown(stored, table_row, keys));
            if place != other {
                return Ok(Some(format!(
                    "the inputs give a row that the table has not: {place}; it has {other}"
                )));
            }
            let columns = differing((rebuilt, row), (stored, table_row));
            Some(format!("the row {place} differs: {}", columns.join(", ")))
        }
    })
}

/// The rows that are in one and not, or less often, in the other.
fn only(rows: &RecordBatch, others: &RecordBatch) -> Result<Vec<usize>> {
    let columns = names(&rows.schema());
    let mut known: HashMap<u64, usize> = HashMap::new();
    for hash in hashes(others, &columns)?.values() {
        *known.entry(*hash).or_default() += 1;
    }
    let mut only = Vec::new();
    for (row, hash) in hashes(rows, &columns)?.values().iter().enumerate() {
        match known.get_mut(hash) {
            Some(count) if *count > 0 => *count -= 1,
            _ => only.push(row),
        }
    }
    Ok(only)
}

/// The first of these rows by their keys.
fn first(rows: &RecordBatch, of: Vec<usize>, keys: &[String]) -> Result<Option<usize>> {
    let columns = keys.iter().filter_map(|key| rows.column_by_name(key)).cloned();
    let columns: Vec<_> = columns.collect();
    let fields = columns.iter().map(|column| SortField::new(column.data_type().clone()));
    let converter = RowConverter::new(fields.collect())?;
    let encoded = converter.convert_columns(&columns)?;
    Ok(of.into_iter().min_by(|a, b| encoded.row(*a).cmp(&encoded.row(*b))))
}

fn shown(rows: &RecordBatch, row: usize, keys: &[String]) -> String {
    let keys = keys.iter().map(|key| format!("{key} = {}", value(rows, row, key)));
    format!("({})", keys.collect::<Vec<_>>().join(", "))
}

fn value(rows: &RecordBatch, row: usize, name: &str) -> String {
    match rows.column_by_name(name) {
        Some(column) if column.is_null(row) => "null".to_owned(),
        Some(column) => {
            let text = array_value_to_string(column, row).unwrap_or_default();
            let is_text = matches!(column.data_type(), DataType::Utf8 | DataType::Utf8View);
            if is_text { format!("{text:?}") } else { text }
        }
        None => "absent".to_owned(),
    }
}

/// The columns of two rows that differ, each with both values.
fn differing(
    (rebuilt, row): (&RecordBatch, usize),
    (stored, table_row): (&RecordBatch, usize),
) -> Vec<String> {
    let mut columns = Vec::new();
    for field in rebuilt.schema().fields() {
        let name = field.name();
        let (now, then) = (value(rebuilt, row, name), value(stored, table_row, name));
        if now != then {
            columns.push(format!("`{name}` is {now} from the inputs and {then} in the table"));
            continue;
        }
        // Values of two types can look alike.
        let other = stored.column_by_name(name).map(Array::data_type);
        if let Some(other) = other.filter(|other| *other != field.data_type()) {
            let own = field.data_type();
            columns.push(format!("`{name}` is {own} from the inputs and {other} in the table"));
        }
    }
    columns
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray};

    use super::*;

    fn rows(rows: &[(&str, i64)]) -> RecordBatch {
        let keys = StringArray::from_iter_values(rows.iter().map(|row| row.0));
        let values = Int64Array::from_iter_values(rows.iter().map(|row| row.1));
        RecordBatch::try_from_iter([
            ("key", Arc::new(keys) as ArrayRef),
            ("value", Arc::new(values) as ArrayRef),
        ])
        .unwrap()
    }

    async fn difference(rebuilt: &RecordBatch, stored: &RecordBatch) -> Option<String> {
        // One batch a row.
        let stream = |rows: &RecordBatch| {
            let batches = (0..rows.num_rows()).map(|row| rows.slice(row, 1)).collect();
            BatchStream::from_batches(rows.schema(), batches)
        };
        let keys = ["key".to_owned()];
        let (own, other) = (
            Buckets::read(stream(rebuilt), &keys).await.unwrap(),
            Buckets::read(stream(stored), &keys).await.unwrap(),
        );
        let Other::Bucket(at) = own.first_other(&other)? else { return Some(too_many_rows()) };
        let own = rows_of(stream(rebuilt), &keys, at).await.unwrap();
        let other = rows_of(stream(stored), &keys, at).await.unwrap();
        first_difference(&keys, (&own, &other)).unwrap()
    }

    #[tokio::test]
    async fn equal_sets_in_any_order_have_no_difference() {
        let (one, other) =
            (rows(&[("a", 1), ("b", 2), ("b", 2)]), rows(&[("b", 2), ("a", 1), ("b", 2)]));
        assert_eq!(difference(&one, &other).await, None);
        assert_eq!(difference(&rows(&[]), &rows(&[])).await, None);
    }

    #[tokio::test]
    async fn a_row_too_many_or_too_few_is_named() {
        let (less, more) = (rows(&[("a", 1), ("b", 2)]), rows(&[("b", 2), ("a", 1), ("b", 2)]));
        assert_eq!(
            difference(&less, &more).await.unwrap(),
            "the table has a row that the inputs do not give: (key = \"b\")"
        );
        assert_eq!(
            difference(&more, &less).await.unwrap(),
            "the inputs give a row that the table has not: (key = \"b\")"
        );
    }

    // Of a part of such a bucket, in the order in which rows happen to come, one would be named
    // that the other side has, too.
    #[tokio::test]
    async fn of_a_bucket_that_is_too_large_no_row_is_named() {
        let many: Vec<(&str, i64)> = (0..=ROWS_MAX as i64).map(|value| ("a", value)).collect();
        let mut other: Vec<(&str, i64)> = many.iter().rev().copied().collect();
        other[0].1 = -1;
        let [one, other] = [many, other].map(|many| rows(&many));
        let read = async |rows: &RecordBatch| {
            let stream = BatchStream::from_batches(rows.schema(), vec![rows.clone()]);
            Buckets::read(stream, &["key".to_owned()]).await.unwrap()
        };
        let (of_one, of_other) = (read(&one).await, read(&other).await);
        assert_eq!(of_one.first_other(&of_other), Some(Other::TooManyRows));
        assert!(too_many_rows().contains("65536"));
        // Another bucket that differs is small enough.
        let [one, other] = [(&one, 1), (&other, 2)].map(|(many, value)| {
            concat_batches(&many.schema(), [many, &rows(&[("b", value)])]).unwrap()
        });
        let (of_one, of_other) = (read(&one).await, read(&other).await);
        assert!(matches!(of_one.first_other(&of_other), Some(Other::Bucket(_))));
    }

    #[tokio::test]
    async fn values_that_differ_are_named_with_both() {
        let (own, other) = (rows(&[("b", 2), ("a", 1)]), rows(&[("a", 7), ("b", 2)]));
        assert_eq!(
            difference(&own, &other).await.unwrap(),
            "the row (key = \"a\") differs: `value` is 1 from the inputs and 7 in the table"
        );
    }
}
