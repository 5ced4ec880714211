//! Rows of requests that brought other columns, as rows of one table.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, new_null_array};
use arrow::compute::{cast, concat};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use icecore_core::Result;

/// Whole numbers up to here are doubles, too.
const WHOLE_DOUBLES: u64 = 1 << 53;

/// A column of some of the batches.
struct Column<'b> {
    name: &'b str,
    data_type: DataType,
    /// Its values, and before how many rows they begin.
    parts: Vec<(usize, &'b ArrayRef)>,
}

/// All rows, with the columns of all. Numbers of different types become doubles, unless one would
/// be another number then; what else is of different types becomes text.
///
/// Columns are made one after the other: requests that brought few of them cost no more for what
/// others brought.
pub(super) fn unite(batches: &[RecordBatch]) -> Result<RecordBatch> {
    let (mut columns, mut rows) = (Vec::<Column<'_>>::new(), 0);
    let mut places = HashMap::<&str, usize>::new();
    for batch in batches {
        for (field, values) in batch.schema_ref().fields().iter().zip(batch.columns()) {
            let place = *places.entry(field.name()).or_insert(columns.len());
            match columns.get_mut(place) {
                Some(column) => column.add(rows, values),
                None => columns.push(Column::new(field, (rows, values))),
            }
        }
        rows += batch.num_rows();
    }
    let (mut fields, mut arrays) = (Vec::new(), Vec::new());
    for column in columns {
        let values = column.values(rows)?;
        // Another request may not have it.
        fields.push(Field::new(column.name, values.data_type().clone(), true));
        arrays.push(values);
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
}

impl<'b> Column<'b> {
    fn new(field: &'b Field, first: (usize, &'b ArrayRef)) -> Self {
        Self { name: field.name(), data_type: field.data_type().clone(), parts: vec![first] }
    }

    fn add(&mut self, at: usize, values: &'b ArrayRef) {
        let data_type = values.data_type();
        if *data_type != self.data_type {
            let are_numbers = data_type.is_numeric() && self.data_type.is_numeric();
            self.data_type = if are_numbers { DataType::Float64 } else { DataType::Utf8 };
        }
        self.parts.push((at, values));
    }

    /// The values of all rows: null in those that do not have it.
    fn values(&self, rows: usize) -> Result<ArrayRef> {
        let data_type = match self.data_type {
            DataType::Float64 if self.parts.iter().any(|(_, part)| is_no_double(part)) => {
                &DataType::Utf8
            }
            _ => &self.data_type,
        };
        let (mut pieces, mut at) = (Vec::with_capacity(self.parts.len()), 0);
        for &(start, part) in &self.parts {
            if start > at {
                pieces.push(new_null_array(data_type, start - at));
            }
            pieces.push(cast(part, data_type)?);
            at = start + part.len();
        }
        if rows > at {
            pieces.push(new_null_array(data_type, rows - at));
        }
        let pieces: Vec<&dyn Array> = pieces.iter().map(|piece| piece.as_ref()).collect();
        Ok(concat(&pieces)?)
    }
}

/// Whether a whole number among these is not sure to be a double.
fn is_no_double(values: &ArrayRef) -> bool {
    values.data_type().is_integer()
        && cast(values, &DataType::Int64).is_ok_and(|numbers| {
            let mut numbers = numbers.as_primitive::<Int64Type>().iter().flatten();
            numbers.any(|number| number.unsigned_abs() > WHOLE_DOUBLES)
        })
}

#[cfg(test)]
mod tests {
    use arrow::array::{BooleanArray, Float64Array, Int64Array, StringArray};

    use super::*;

    fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
        RecordBatch::try_from_iter(columns).unwrap()
    }

    #[test]
    fn columns_of_some_requests_are_null_in_the_others() {
        let first = batch(vec![
            ("id", Arc::new(StringArray::from(vec!["a"])) as ArrayRef),
            ("n", Arc::new(Int64Array::from(vec![1]))),
            ("flag", Arc::new(BooleanArray::from(vec![true]))),
        ]);
        let second = batch(vec![
            ("id", Arc::new(StringArray::from(vec!["b", "c"])) as ArrayRef),
            ("n", Arc::new(Float64Array::from(vec![1.5, 2.5]))),
            ("flag", Arc::new(Int64Array::from(vec![7, 8]))),
            ("more", Arc::new(Int64Array::from(vec![9, 9]))),
        ]);
        let third = batch(vec![("id", Arc::new(StringArray::from(vec!["d"])) as ArrayRef)]);
        let all = unite(&[first.clone(), second, third]).unwrap();
        let expected = batch(vec![
            ("id", Arc::new(StringArray::from(vec!["a", "b", "c", "d"])) as ArrayRef),
            ("n", Arc::new(Float64Array::from(vec![Some(1.0), Some(1.5), Some(2.5), None]))),
            ("flag", Arc::new(StringArray::from(vec![Some("true"), Some("7"), Some("8"), None]))),
            ("more", Arc::new(Int64Array::from(vec![None, Some(9), Some(9), None]))),
        ]);
        assert_eq!(all.columns(), expected.columns());
        assert_eq!(unite(std::slice::from_ref(&first)).unwrap().columns(), first.columns());
    }

    #[test]
    fn a_whole_number_that_is_no_double_is_not_rounded_to_one() {
        let numbers = |large: i64| {
            let first = batch(vec![("n", Arc::new(Int64Array::from(vec![large])) as ArrayRef)]);
            let second = batch(vec![("n", Arc::new(Float64Array::from(vec![1.5])) as ArrayRef)]);
            Arc::clone(unite(&[first, second]).unwrap().column(0))
        };
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["9007199254740993", "1.5"]));
        assert_eq!(&numbers(9_007_199_254_740_993), &texts);
        let doubles: ArrayRef = Arc::new(Float64Array::from(vec![9_007_199_254_740_992.0, 1.5]));
        assert_eq!(&numbers(9_007_199_254_740_992), &doubles);
    }
}
