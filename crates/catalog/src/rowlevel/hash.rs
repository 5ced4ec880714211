//! Hashes of keys, a column at a time.
//!
//! Equal keys have equal hashes: every NaN is one NaN and every zero is one zero. The hashes are
//! never stored.

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type,
    Time64MicrosecondType, TimeUnit, TimestampMicrosecondType, TimestampNanosecondType,
};
use icecore_core::{Error, Result};

const SEED: u64 = 0x9E37_79B9_7F4A_7C15;
const FACTOR: u64 = 0xD6E8_FEB8_6659_FD93;
const NULL: u64 = 0xA24B_AED4_963E_E407;

/// A hash of each row of these columns.
///
/// # Errors
///
/// `Unsupported` for a column whose values cannot be keys.
pub(super) fn hash_rows(columns: &[ArrayRef], rows: usize) -> Result<Vec<u64>> {
    let mut hashes = vec![SEED; rows];
    for column in columns {
        add_column(&mut hashes, column)?;
    }
    Ok(hashes)
}

/// Whether values of a type can be keys.
pub(super) const fn can_be_key(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Boolean
            | DataType::Int32
            | DataType::Int64
            | DataType::Float32
            | DataType::Float64
            | DataType::Decimal128(..)
            | DataType::Date32
            | DataType::Time64(TimeUnit::Microsecond)
            | DataType::Timestamp(TimeUnit::Microsecond | TimeUnit::Nanosecond, _)
            | DataType::Utf8
            | DataType::LargeBinary
            | DataType::FixedSizeBinary(_)
    )
}

fn add_column(hashes: &mut [u64], column: &ArrayRef) -> Result<()> {
    match column.data_type() {
        DataType::Boolean => {
            let values = column.as_boolean();
            add_values(hashes, column, |row| u64::from(values.value(row)));
        }
        DataType::Int32 => numbers::<Int32Type>(hashes, column, |value| whole(value.into())),
        DataType::Int64 => numbers::<Int64Type>(hashes, column, whole),
        DataType::Date32 => numbers::<Date32Type>(hashes, column, |value| whole(value.into())),
        DataType::Time64(TimeUnit::Microsecond) => {
            numbers::<Time64MicrosecondType>(hashes, column, whole);
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            numbers::<TimestampMicrosecondType>(hashes, column, whole);
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            numbers::<TimestampNanosecondType>(hashes, column, whole);
        }
        DataType::Float32 => numbers::<Float32Type>(hashes, column, |value| {
            if value.is_nan() { NULL } else { (value + 0.0).to_bits().into() }
        }),
        DataType::Float64 => numbers::<Float64Type>(hashes, column, |value| {
            if value.is_nan() { NULL } else { (value + 0.0).to_bits() }
        }),
        DataType::Decimal128(..) => numbers::<Decimal128Type>(hashes, column, |value| {
            let bytes = value.to_le_bytes();
            hash_bytes(&bytes)
        }),
        DataType::Utf8 => {
            let values = column.as_string::<i32>();
            add_values(hashes, column, |row| hash_bytes(values.value(row).as_bytes()));
        }
        DataType::LargeBinary => {
            let values = column.as_binary::<i64>();
            add_values(hashes, column, |row| hash_bytes(values.value(row)));
        }
        DataType::FixedSizeBinary(_) => {
            let values = column.as_fixed_size_binary();
            add_values(hashes, column, |row| hash_bytes(values.value(row)));
        }
        other => {
            return Err(Error::unsupported(format!("values of type `{other}` cannot be keys")));
        }
    }
    Ok(())
}

fn numbers<T: ArrowPrimitiveType>(
    hashes: &mut [u64],
    column: &ArrayRef,
    bits: impl Fn(T::Native) -> u64,
) {
    let values: &PrimitiveArray<T> = column.as_primitive();
    if column.null_count() == 0 {
        for (hash, value) in hashes.iter_mut().zip(values.values()) {
            *hash = mix(*hash ^ bits(*value));
        }
    } else {
        add_values(hashes, column, |row| bits(values.value(row)));
    }
}

fn add_values(hashes: &mut [u64], column: &ArrayRef, value: impl Fn(usize) -> u64) {
    let nulls = column.nulls();
    for (row, hash) in hashes.iter_mut().enumerate() {
        let is_null = nulls.is_some_and(|nulls| nulls.is_null(row));
        *hash = mix(*hash ^ if is_null { NULL } else { value(row) });
    }
}

const fn whole(value: i64) -> u64 {
    value.cast_unsigned()
}

/// Spreads what differs in a few bits over all of them.
#[expect(clippy::cast_possible_truncation, reason = "both halves of the product are wanted")]
const fn mix(value: u64) -> u64 {
    let product = (value ^ SEED) as u128 * FACTOR as u128;
    (product as u64) ^ ((product >> 64) as u64)
}

fn hash_bytes(bytes: &[u8]) -> u64 {
    let mut hash = bytes.len() as u64;
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        hash = mix(hash ^ u64::from_le_bytes(*word));
    }
    if !rest.is_empty() {
        let mut word = [0; 8];
        for (to, from) in word.iter_mut().zip(rest) {
            *to = *from;
        }
        hash = mix(hash ^ u64::from_le_bytes(word));
    }
    hash
}
