//! Columns whose values rarely repeat, which no dictionary makes smaller.
//!
//! A Parquet writer looks every value up in a dictionary until that is full, and then gives it up.
//! For measured numbers and moments this is the largest part of encoding, and for nothing. Where it
//! is not for nothing, a dictionary is not only smaller: its numbers are read several times as fast
//! as what a general compressor makes of the same values. A look at a few rows tells which of the two
//! it is: how many values there are beyond those that are seen follows from how many are seen once
//! and how many twice (Chao, "Nonparametric estimation of the number of classes in a population",
//! Scandinavian Journal of Statistics 11, 1984).

use std::collections::HashMap;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float32Type, Float64Type, Int64Type};

/// So many rows are looked at.
const SAMPLE_ROWS: usize = 4096;
/// Fewer values say nothing.
const VALUES_MIN: usize = 1024;
/// What a dictionary and its numbers take at most, in parts of ten of what the values take.
const TENTHS_MAX: usize = 6;

/// The rows that share a dictionary.
#[derive(Debug, Clone, Copy)]
pub struct Sharing {
    /// How many there are.
    pub rows: usize,
    /// Bytes that the values of the dictionary may take.
    pub dictionary_bytes: usize,
}

/// The names of the columns of numbers with a fraction and of moments whose values rarely repeat, as
/// far as some of these rows show.
#[must_use]
pub fn spread_columns(pieces: &[RecordBatch], sharing: Sharing) -> Vec<String> {
    let Some(first) = pieces.first() else { return Vec::new() };
    // From everywhere: rows may come sorted.
    let rows: usize = pieces.iter().map(RecordBatch::num_rows).sum();
    let step = rows.div_ceil(SAMPLE_ROWS).max(1);
    let schema = first.schema();
    let columns = schema.fields().iter().enumerate();
    let spread = columns.filter(|(at, field)| {
        let values = pieces.iter().filter_map(|piece| piece.columns().get(*at));
        let values = values.flat_map(|column| bits(column, step)).collect();
        is_spread(values, width(field.data_type()), sharing)
    });
    spread.map(|(_, field)| field.name().clone()).collect()
}

/// Bytes of a value of the types that are looked at.
const fn width(data_type: &DataType) -> usize {
    if matches!(data_type, DataType::Float32) { 4 } else { 8 }
}

fn is_spread(values: Vec<u64>, width: usize, sharing: Sharing) -> bool {
    if values.len() < VALUES_MIN {
        return false;
    }
    // What is rare in the sample may still be more than was estimated.
    let entries = (different(values) * 3 / 2).min(sharing.rows).max(1);
    let bits = (usize::BITS - entries.leading_zeros()) as usize;
    let with_dictionary = entries * width + sharing.rows * bits / 8;
    entries * width > sharing.dictionary_bytes
        || with_dictionary * 10 > sharing.rows * width * TENTHS_MAX
}

/// About how many different values there are where these are some of them.
fn different(values: Vec<u64>) -> usize {
    let mut times: HashMap<u64, usize> = HashMap::with_capacity(values.len());
    for value in values {
        *times.entry(value).or_default() += 1;
    }
    let seen = |count| times.values().filter(|times| **times == count).count();
    let (once, twice) = (seen(1), seen(2));
    times.len() + once * once.saturating_sub(1) / (2 * (twice + 1))
}

/// Every so many values, as bits; none of a column of another type.
fn bits(column: &ArrayRef, step: usize) -> Vec<u64> {
    let rows = (0..column.len()).step_by(step).filter(|row| column.is_valid(*row));
    match column.data_type() {
        DataType::Float64 => {
            let values = column.as_primitive::<Float64Type>();
            rows.map(|row| values.value(row).to_bits()).collect()
        }
        DataType::Float32 => {
            let values = column.as_primitive::<Float32Type>();
            rows.map(|row| u64::from(values.value(row).to_bits())).collect()
        }
        DataType::Timestamp(..) => match cast(column, &DataType::Int64) {
            Ok(values) => {
                let values = values.as_primitive::<Int64Type>();
                rows.map(|row| values.value(row).cast_unsigned()).collect()
            }
            Err(_) => Vec::new(),
        },
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float32Array, Float64Array, Int64Array, TimestampMicrosecondArray};

    use super::*;

    fn rows(count: i64) -> RecordBatch {
        let numbers = || 0..count;
        let floats =
            |of: fn(i64) -> f64| Arc::new(Float64Array::from_iter_values(numbers().map(of)));
        RecordBatch::try_from_iter_with_nullable([
            ("price", floats(|n| (n % 500) as f64 / 100.0) as ArrayRef, true),
            ("measured", floats(|n| (n as f64).sqrt()) as _, true),
            ("missing", Arc::new(Float64Array::new_null(count as usize)) as _, true),
            (
                "small",
                Arc::new(Float32Array::from_iter_values(numbers().map(|n| n as f32))) as _,
                true,
            ),
            ("at", Arc::new(TimestampMicrosecondArray::from_iter_values(numbers())) as _, true),
            (
                "day",
                Arc::new(TimestampMicrosecondArray::from_iter_values(numbers().map(|n| n / 900)))
                    as _,
                true,
            ),
            ("id", Arc::new(Int64Array::from_iter_values(numbers())) as _, true),
        ])
        .unwrap()
    }

    fn of(count: i64) -> Vec<String> {
        let pieces: Vec<_> = (0..count)
            .step_by(8_192)
            .map(|start| rows(count).slice(start as usize, (count - start).min(8_192) as usize))
            .collect();
        spread_columns(&pieces, Sharing { rows: count as usize, dictionary_bytes: 2 << 20 })
    }

    #[test]
    fn measured_numbers_and_moments_are_spread() {
        assert_eq!(of(9_000), ["measured", "small", "at"]);
        assert_eq!(of(100_000), ["measured", "small", "at"]);
    }

    #[test]
    fn few_rows_say_nothing() {
        assert!(of(1_000).is_empty());
        assert!(of(0).is_empty());
    }

    #[test]
    fn values_that_are_not_seen_are_counted() {
        let mut random = icecore_testkit::Random::new(3);
        for all in [10, 1_000, 20_000, 150_000] {
            let values = (0..4_096).map(|_| random.below(all)).collect();
            let different = different(values) as u64;
            assert!(
                all * 7 / 10 <= different && different <= all * 14 / 10,
                "{different} of {all}"
            );
        }
        // One value is half of them, and no other repeats.
        let values = (0..4_096).map(|n| if n % 2 == 0 { 0 } else { n }).collect();
        assert!(different(values) > 1_000_000);
    }

    #[test]
    fn a_dictionary_is_for_rows_enough_to_share_it() {
        let mut random = icecore_testkit::Random::new(4);
        let values: Vec<u64> = (0..4_096).map(|_| random.below(100_000)).collect();
        let among = |rows, dictionary_bytes| {
            is_spread(values.clone(), 8, Sharing { rows, dictionary_bytes })
        };
        assert!(!among(1_000_000, 2 << 20));
        assert!(among(1_000_000, 1 << 19), "the dictionary overflows");
        assert!(among(100_000, 2 << 20), "nearly every row has a value of its own");
    }
}
