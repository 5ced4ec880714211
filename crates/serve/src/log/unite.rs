//! Rows of requests that brought other columns, as rows of one table.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, new_null_array};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use icecore_core::Result;

/// All rows, with the columns of all. Numbers of different types become doubles, and what else is
/// of different types becomes text.
pub(super) fn unite(batches: &[RecordBatch]) -> Result<RecordBatch> {
    let mut fields: Vec<FieldRef> = Vec::new();
    for batch in batches {
        for field in batch.schema_ref().fields() {
            match fields.iter_mut().find(|known| known.name() == field.name()) {
                // Another request may not have it.
                None => fields.push(Arc::new(field.as_ref().clone().with_nullable(true))),
                Some(known) if known.data_type() == field.data_type() => {}
                Some(known) => {
                    let both = common(known.data_type(), field.data_type());
                    *known = Arc::new(Field::new(field.name(), both, true));
                }
            }
        }
    }
    let schema = Arc::new(Schema::new(fields));
    let mut united = Vec::with_capacity(batches.len());
    for batch in batches {
        let column = |field: &FieldRef| -> Result<ArrayRef> {
            Ok(match batch.column_by_name(field.name()) {
                Some(column) => cast(column, field.data_type())?,
                None => new_null_array(field.data_type(), batch.num_rows()),
            })
        };
        let columns = schema.fields().iter().map(column).collect::<Result<Vec<_>>>()?;
        united.push(RecordBatch::try_new(Arc::clone(&schema), columns)?);
    }
    Ok(concat_batches(&schema, &united)?)
}

fn common(one: &DataType, other: &DataType) -> DataType {
    if one.is_numeric() && other.is_numeric() { DataType::Float64 } else { DataType::Utf8 }
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
        let all = unite(&[first.clone(), second]).unwrap();
        let expected = batch(vec![
            ("id", Arc::new(StringArray::from(vec!["a", "b", "c"])) as ArrayRef),
            ("n", Arc::new(Float64Array::from(vec![1.0, 1.5, 2.5]))),
            ("flag", Arc::new(StringArray::from(vec!["true", "7", "8"]))),
            ("more", Arc::new(Int64Array::from(vec![None, Some(9), Some(9)]))),
        ]);
        assert_eq!(all.columns(), expected.columns());
        assert_eq!(unite(std::slice::from_ref(&first)).unwrap().columns(), first.columns());
    }
}
