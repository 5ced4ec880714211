//! What partitions and orders are made of: columns under transforms.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, RecordBatch, StructArray, make_array, new_null_array,
};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Int32Type, TimeUnit, TimestampMicrosecondType, TimestampNanosecondType,
};
use iceberg::spec::{NestedFieldRef, Schema, Transform, Type};
use iceberg::transform::{BoxedTransformFunction, create_transform_function};
use icecore_core::{Error, Result};

use crate::error::Context as _;

const NANOS_PER_HOUR: i64 = 3_600_000_000_000;

/// A column, which may lie in structs, under a transform.
#[derive(Debug)]
pub(super) struct Source {
    /// Places from the rows down to the column.
    path: Vec<usize>,
    transform: Transform,
    function: BoxedTransformFunction,
}

impl Source {
    /// `None` for a column that the table does not have, or has in a list or a map.
    pub(super) fn find(schema: &Schema, id: i32, transform: Transform) -> Result<Option<Self>> {
        let Some(path) = path_to(schema.as_struct().fields(), id) else { return Ok(None) };
        let function = create_transform_function(&transform)
            .context(|| format!("cannot compute `{transform}`"))?;
        Ok(Some(Self { path, transform, function }))
    }

    /// Its value for each row.
    pub(super) fn values(&self, rows: &RecordBatch) -> Result<ArrayRef> {
        let column = self.column(rows)?;
        let compute = |column: ArrayRef| {
            let values = self.function.transform(column);
            values.context(|| format!("cannot compute `{}`", self.transform))
        };
        match (self.transform, column.data_type()) {
            (Transform::Truncate(_), DataType::LargeBinary) => {
                let cut = compute(cast(&column, &DataType::Binary)?)?;
                Ok(cast(&cut, &DataType::LargeBinary)?)
            }
            (Transform::Hour, DataType::Timestamp(TimeUnit::Nanosecond, _)) => {
                let moments = column.as_primitive::<TimestampNanosecondType>();
                let hours = moments.unary::<_, Int32Type>(|nanos| {
                    // A moment in nanoseconds is within 300 years of 1970.
                    i32::try_from(nanos.div_euclid(NANOS_PER_HOUR)).unwrap_or_default()
                });
                Ok(Arc::new(hours))
            }
            // By what is coarser, so that the past is rounded as the format says.
            (
                Transform::Day | Transform::Bucket(_),
                DataType::Timestamp(TimeUnit::Nanosecond, _),
            ) => {
                let moments = column.as_primitive::<TimestampNanosecondType>();
                let micros =
                    moments.unary::<_, TimestampMicrosecondType>(|nanos| nanos.div_euclid(1000));
                compute(Arc::new(micros))
            }
            (Transform::Void, of) => Ok(new_null_array(of, column.len())),
            _ => compute(column),
        }
    }

    fn column(&self, rows: &RecordBatch) -> Result<ArrayRef> {
        let missing = || Error::internal("a column of the table is missing in its rows");
        let (first, inner) = self.path.split_first().ok_or_else(missing)?;
        let mut column = rows.columns().get(*first).ok_or_else(missing)?.clone();
        for place in inner {
            let parent = column.as_struct_opt().ok_or_else(missing)?;
            column = child(parent, *place).ok_or_else(missing)??;
        }
        Ok(column)
    }
}

/// A field of a struct, null where the struct is.
fn child(parent: &StructArray, place: usize) -> Option<Result<ArrayRef>> {
    let column = parent.columns().get(place)?;
    let Some(nulls) = parent.nulls() else { return Some(Ok(column.clone())) };
    let nulls = arrow::buffer::NullBuffer::union(Some(nulls), column.nulls());
    let data = column.to_data().into_builder().nulls(nulls).build();
    Some(data.map(make_array).map_err(Error::from))
}

fn path_to(fields: &[NestedFieldRef], id: i32) -> Option<Vec<usize>> {
    fields.iter().enumerate().find_map(|(place, field)| {
        if field.id == id {
            return Some(vec![place]);
        }
        let Type::Struct(inner) = field.field_type.as_ref() else { return None };
        let mut path = path_to(inner.fields(), id)?;
        path.insert(0, place);
        Some(path)
    })
}
