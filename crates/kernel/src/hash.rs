//! Hashes of values and rows that depend on nothing but the values and their logical types.

pub(crate) mod canonical;
mod content;
#[cfg(test)]
mod tests;
pub(crate) mod xxh;

pub use content::ContentHash;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt64Array};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::DataType;
use icecore_core::{Error, Result};

use canonical::{Canonical, logical_type};
use xxh::{avalanche, round, xxh64};

/// What a null contributes to the hash of its row.
const NULL_HASH: u64 = 0x6e75_6c6c_6e75_6c6c;

/// The hash of each row's values in these columns, in their order.
///
/// The hash is the same on every platform, in every run, and however the batch is cut or encoded:
/// a string hashes alike as `Utf8`, `LargeUtf8`, `Utf8View` or dictionary, a moment alike in
/// seconds and in microseconds, NaN as one value and `-0.0` as `0.0`. It differs between logical
/// types: an `int` 1 is not a `long` 1. Names of columns do not matter.
///
/// # Errors
///
/// [`ErrorKind::InvalidInput`](icecore_core::ErrorKind::InvalidInput) for an index past the last
/// column; [`ErrorKind::Unsupported`](icecore_core::ErrorKind::Unsupported) for a column whose type
/// or value has no canonical form, by name.
pub fn hash_rows(batch: &RecordBatch, columns: &[usize]) -> Result<UInt64Array> {
    let mut rows = vec![columns.len() as u64; batch.num_rows()];
    for &index in columns {
        let schema = batch.schema_ref();
        let (Some(column), Some(field)) = (batch.columns().get(index), schema.fields().get(index))
        else {
            let count = batch.num_columns();
            let message = format!("column {index} of a batch that has {count} columns");
            return Err(Error::invalid(message));
        };
        let values = hash_values(column).map_err(|error| in_column(&error, field.name()))?;
        for (row, hash) in rows.iter_mut().zip(values.values()) {
            *row = round(*row, *hash);
        }
    }
    Ok(rows.into_iter().map(avalanche).collect::<Vec<_>>().into())
}

/// The hash of each value: what [`HyperLogLog::add_hash`](crate::HyperLogLog::add_hash) takes. Null
/// for a null, and canonical as [`hash_rows`] is.
///
/// # Errors
///
/// [`ErrorKind::Unsupported`](icecore_core::ErrorKind::Unsupported) for a type or value without a
/// canonical form.
pub fn hash_values(column: &ArrayRef) -> Result<UInt64Array> {
    if let DataType::Dictionary(..) = column.data_type() {
        return hash_dictionary(column);
    }
    let seed = xxh64(logical_type(column.data_type())?.as_bytes(), 0);
    let canonical = Canonical::try_new(column)?;
    let nulls = canonical.nulls();
    let mut hashes = canonical.hashes(seed);
    if let Some(nulls) = &nulls {
        for (row, hash) in hashes.iter_mut().enumerate() {
            if nulls.is_null(row) {
                *hash = NULL_HASH;
            }
        }
    }
    Ok(UInt64Array::new(ScalarBuffer::from(hashes), nulls))
}

/// Hashes each different value once.
fn hash_dictionary(column: &ArrayRef) -> Result<UInt64Array> {
    let dictionary = column.as_any_dictionary();
    let values = hash_values(dictionary.values())?;
    let nulls = column.logical_nulls();
    if values.is_empty() {
        return Ok(UInt64Array::new(ScalarBuffer::from(vec![NULL_HASH; column.len()]), nulls));
    }
    let keys = dictionary.normalized_keys().into_iter().enumerate();
    let hashes = keys.map(|(row, key)| match nulls.as_ref().is_some_and(|n| n.is_null(row)) {
        true => NULL_HASH,
        false => values.value(key),
    });
    let hashes = ScalarBuffer::from(hashes.collect::<Vec<_>>());
    Ok(UInt64Array::new(hashes, nulls))
}

/// Says which column an error is about.
pub(crate) fn in_column(error: &Error, name: &str) -> Error {
    let named = Error::new(error.kind(), format!("column `{name}`: {error}"));
    match error.help() {
        Some(help) => named.with_help(help),
        None => named,
    }
}
