//! What partitions and orders are made of: columns under transforms.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StructArray, make_array};
use iceberg::spec::{NestedFieldRef, Schema, Transform, Type};
use icecore_core::{Error, Result};

use crate::transform::Function;

/// A column, which may lie in structs, under a transform.
#[derive(Debug)]
pub(super) struct Source {
    /// Places from the rows down to the column.
    path: Vec<usize>,
    function: Function,
}

impl Source {
    /// `None` for a column that the table does not have, or has in a list or a map.
    pub(super) fn find(schema: &Schema, id: i32, transform: Transform) -> Result<Option<Self>> {
        let Some(path) = path_to(schema.as_struct().fields(), id) else { return Ok(None) };
        Ok(Some(Self { path, function: Function::new(transform)? }))
    }

    /// Its value for each row.
    pub(super) fn values(&self, rows: &RecordBatch) -> Result<ArrayRef> {
        self.function.column(&self.column(rows)?)
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
