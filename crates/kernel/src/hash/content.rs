//! The identity of a table's rows, whatever their order.

use std::collections::BTreeMap;
use std::fmt::Write;

use arrow::array::RecordBatch;
use icecore_core::{Error, Result};
use sha2::{Digest, Sha256};

use super::canonical::{Canonical, logical_type};
use super::in_column;

/// A hash of a multiset of rows.
///
/// Two tables hash alike exactly when they have the same rows the same number of times, up to
/// collisions of SHA-256: neither the order of rows, batches or columns matters, nor how a value is
/// laid out (see [`hash_rows`](crate::hash_rows)). Names of columns and their logical types do.
/// NaN equals NaN and `-0.0` equals `0.0`. Two empty tables hash alike, whatever their columns.
///
/// Each row is encoded with a digest of the names and types of its columns before it; the SHA-256
/// of the encodings are added modulo 2^256, and the sum is hashed together with the row count. This
/// tells rows that differ by mistake, and lets parts be hashed apart and merged; it does not resist
/// somebody who builds colliding sets of rows on purpose.
///
/// ```
/// # use std::sync::Arc;
/// # use arrow::array::{ArrayRef, Int64Array, RecordBatch};
/// # use icecore_kernel::ContentHash;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let batch = |ids: Vec<i64>| {
///     RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(ids)) as ArrayRef)])
/// };
/// let (mut whole, mut parts) = (ContentHash::default(), ContentHash::default());
/// whole.add_batch(&batch(vec![1, 2, 3])?)?;
/// parts.add_batch(&batch(vec![3])?)?;
/// parts.add_batch(&batch(vec![2, 1])?)?;
/// assert_eq!(whole.to_hex(), parts.to_hex());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContentHash {
    /// The sum of the rows' digests, least significant word first.
    sum: [u64; 4],
    rows: u64,
}

impl ContentHash {
    /// Adds the rows of a batch.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`](icecore_core::ErrorKind::Unsupported) for a column whose type or
    /// value has no canonical form, [`ErrorKind::InvalidInput`](icecore_core::ErrorKind::InvalidInput)
    /// when two columns share a name. Nothing is added then.
    pub fn add_batch(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut columns = BTreeMap::new();
        let mut header = Sha256::new();
        for (field, array) in batch.schema_ref().fields().iter().zip(batch.columns()) {
            let canonical = logical_type(field.data_type())
                .and_then(|logical| Ok((logical, Canonical::try_new(array)?)))
                .map_err(|error| in_column(&error, field.name()))?;
            if columns.insert(field.name().as_str(), canonical).is_some() {
                return Err(Error::invalid(format!("two columns named `{}`", field.name())));
            }
        }
        for (name, (logical, _)) in &columns {
            for text in [*name, logical] {
                header.update((text.len() as u64).to_le_bytes());
                header.update(text);
            }
        }
        // One block of SHA-256, so that hashing a row starts behind it at no cost.
        let mut block = [0; 64];
        block[..32].copy_from_slice(&header.finalize());
        let prefixed = Sha256::new_with_prefix(block);
        let mut encoding = Vec::new();
        for row in 0..batch.num_rows() {
            encoding.clear();
            columns.values().for_each(|(_, column)| column.encode(row, &mut encoding));
            let digest = prefixed.clone().chain_update(&encoding).finalize();
            self.add(words(&digest.into()));
        }
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    /// Adds the rows that another hash has seen.
    pub fn merge(&mut self, other: &Self) {
        self.add(other.sum);
        self.rows += other.rows;
    }

    /// How many rows were added.
    #[must_use]
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// The hash, as 64 hexadecimal digits.
    #[must_use]
    pub fn to_hex(&self) -> String {
        let mut hash = Sha256::new_with_prefix(self.rows.to_le_bytes());
        self.sum.iter().for_each(|word| hash.update(word.to_le_bytes()));
        hash.finalize().iter().fold(String::with_capacity(64), |mut hex, byte| {
            // Writing to a string cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }

    fn add(&mut self, digest: [u64; 4]) {
        let mut carry = false;
        for (sum, word) in self.sum.iter_mut().zip(digest) {
            let (partial, first) = sum.overflowing_add(word);
            let (total, second) = partial.overflowing_add(u64::from(carry));
            *sum = total;
            carry = first || second;
        }
    }
}

fn words(digest: &[u8; 32]) -> [u64; 4] {
    let (words, _) = digest.as_chunks::<8>();
    let mut out = [0; 4];
    for (word, bytes) in out.iter_mut().zip(words) {
        *word = u64::from_le_bytes(*bytes);
    }
    out
}
