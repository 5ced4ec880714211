//! Columns whose values rarely repeat, which no dictionary makes smaller.
//!
//! A Parquet writer looks every value up in a dictionary until that is full, and then gives it up.
//! For measured numbers and moments this is the largest part of encoding, and for nothing. A look at
//! a few rows tells: of values that are drawn from 100,000 different ones, 4,096 have 2 % repeated.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float32Type, Float64Type, Int64Type};

/// So many rows are looked at.
const SAMPLE_ROWS: usize = 4096;
/// Fewer values say nothing.
const VALUES_MIN: usize = 1024;
/// Of a hundred values, so many are different at least.
const DIFFERENT_MIN: usize = 95;

/// The names of the columns of numbers with a fraction and of moments whose values rarely repeat, as
/// far as some of these rows show.
#[must_use]
pub fn spread_columns(rows: &RecordBatch) -> Vec<String> {
    // From all over the batch: rows may come sorted.
    let step = rows.num_rows().div_ceil(SAMPLE_ROWS).max(1);
    let schema = rows.schema();
    let columns = schema.fields().iter().zip(rows.columns());
    let spread = columns.filter(|(_, column)| is_spread(bits(column, step)));
    spread.map(|(field, _)| field.name().clone()).collect()
}

fn is_spread(mut values: Vec<u64>) -> bool {
    let count = values.len();
    values.sort_unstable();
    values.dedup();
    count >= VALUES_MIN && values.len() * 100 >= count * DIFFERENT_MIN
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

    #[test]
    fn measured_numbers_and_moments_are_spread() {
        assert_eq!(spread_columns(&rows(9_000)), ["measured", "small", "at"]);
        assert_eq!(spread_columns(&rows(100_000)), ["measured", "small", "at"]);
    }

    #[test]
    fn few_rows_say_nothing() {
        assert!(spread_columns(&rows(1_000)).is_empty());
        assert!(spread_columns(&rows(0)).is_empty());
    }
}
