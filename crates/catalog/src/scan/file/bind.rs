//! Making columns of a table from those of a file.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, ListArray, MapArray, RecordBatch, StructArray, UInt32Array,
    new_null_array,
};
use arrow::compute::{CastOptions, cast_with_options, take};
use arrow::datatypes::{DataType, FieldRef};
use iceberg::arrow::type_to_arrow_type;
use iceberg::spec::{
    Literal, NestedField, NestedFieldRef, PrimitiveLiteral, PrimitiveType, StructType, Type,
};
use icecore_core::{Error, Result};

use super::layout::FileField;
use crate::error::Context as _;
use crate::predicate::array_of_literals;

/// How a column of a table, or a part of one, is made from a file.
#[derive(Debug, Clone)]
pub(super) struct Binding {
    data_type: DataType,
    /// What the file calls it; `None` where the file does not have it.
    name: Option<String>,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    /// The file lacks it: every row has this value, or none.
    Absent(Option<ArrayRef>),
    Primitive,
    Struct(Vec<Binding>),
    List(Box<Binding>),
    Map(Box<Binding>, Box<Binding>),
}

/// Finds columns in a file, and notes which of its leaf columns that takes.
#[derive(Debug)]
pub(super) struct Binder<'a> {
    pub(super) path: &'a str,
    pub(super) fields: &'a [FileField],
    /// Values of columns that a file need not hold, because its partition says them.
    pub(super) partition: &'a [(i32, Option<PrimitiveLiteral>)],
    pub(super) leaves: Vec<usize>,
}

impl Binder<'_> {
    /// # Errors
    ///
    /// `DataCorrupt` where the file's column has another type.
    pub(super) fn bind(&mut self, column: &NestedFieldRef) -> Result<Binding> {
        let found = self.fields.iter().find(|field| field.id == Some(column.id));
        let said = self.partition.iter().find(|(id, _)| *id == column.id);
        match (found, said, column.field_type.as_ref()) {
            (None, Some((_, value)), Type::Primitive(of)) => {
                let data_type = arrow_type(&column.field_type)?;
                let value = match value {
                    Some(value) => array_of_literals(of, &[&widened(value, of)])?,
                    None => new_null_array(&data_type, 1),
                };
                Ok(Binding { data_type, name: None, kind: Kind::Absent(Some(value)) })
            }
            _ => self.field(column, found),
        }
    }

    fn field(&mut self, column: &NestedField, found: Option<&FileField>) -> Result<Binding> {
        match found {
            Some(found) => self.present(&column.name, &column.field_type, found),
            None => absent(column),
        }
    }

    fn present(&mut self, name: &str, wanted: &Type, found: &FileField) -> Result<Binding> {
        let data_type = arrow_type(wanted)?;
        let misfit = || {
            Error::corrupt(format!(
                "column `{name}` of `{}` is `{}`, and the table's is `{wanted}`",
                self.path, found.data_type
            ))
        };
        let kind = match (wanted, found.children.as_slice()) {
            (Type::Primitive(_), []) if is_readable(&found.data_type, &data_type) => {
                self.leaves.extend(found.leaves.clone());
                Kind::Primitive
            }
            (Type::Struct(inner), children) if matches!(found.data_type, DataType::Struct(_)) => {
                self.fields_of(inner, found, children)?
            }
            (Type::List(list), [element]) => {
                let inner = &list.element_field;
                Kind::List(Box::new(self.present(name, &inner.field_type, element)?))
            }
            (Type::Map(map), [key, value]) if matches!(found.data_type, DataType::Map(..)) => {
                let keys = self.present(name, &map.key_field.field_type, key)?;
                let values = self.present(name, &map.value_field.field_type, value)?;
                Kind::Map(Box::new(keys), Box::new(values))
            }
            _ => return Err(misfit()),
        };
        Ok(Binding { data_type, name: Some(found.name.clone()), kind })
    }

    fn fields_of(
        &mut self,
        wanted: &StructType,
        found: &FileField,
        children: &[FileField],
    ) -> Result<Kind> {
        let before = self.leaves.len();
        let mut bindings = Vec::with_capacity(wanted.fields().len());
        for field in wanted.fields() {
            let child = children.iter().find(|child| child.id == Some(field.id));
            bindings.push(self.field(field, child)?);
        }
        if self.leaves.len() == before {
            // None of its fields is wanted, but which rows have it has to be known.
            self.leaves.extend(found.leaves.clone().take(1));
        }
        Ok(Kind::Struct(bindings))
    }
}

/// A value that was stored before its column became wider.
fn widened(value: &PrimitiveLiteral, of: &PrimitiveType) -> PrimitiveLiteral {
    match (value, of) {
        (PrimitiveLiteral::Int(value), PrimitiveType::Long) => {
            PrimitiveLiteral::Long((*value).into())
        }
        (PrimitiveLiteral::Float(value), PrimitiveType::Double) => {
            PrimitiveLiteral::Double(f64::from(value.0).into())
        }
        (value, _) => value.clone(),
    }
}

fn absent(column: &NestedField) -> Result<Binding> {
    let default = match (&column.initial_default, column.field_type.as_ref()) {
        (Some(Literal::Primitive(value)), Type::Primitive(of)) => {
            Some(array_of_literals(of, &[value])?)
        }
        _ => None,
    };
    let data_type = arrow_type(&column.field_type)?;
    Ok(Binding { data_type, name: None, kind: Kind::Absent(default) })
}

pub(super) fn arrow_type(of: &Type) -> Result<DataType> {
    type_to_arrow_type(of).context(|| format!("cannot read columns of type `{of}`"))
}

/// Whether each value of a file's type is one of the table's type.
fn is_readable(from: &DataType, to: &DataType) -> bool {
    use DataType as D;
    match (from, to) {
        (D::Int8 | D::Int16 | D::Int32 | D::UInt8 | D::UInt16, D::Int32 | D::Int64)
        | (D::Int64 | D::UInt32 | D::UInt64, D::Int64)
        | (D::Float16, D::Float32 | D::Float64)
        | (D::Float32, D::Float64)
        | (D::Timestamp(..), D::Timestamp(..))
        | (D::Time32(_) | D::Time64(_), D::Time64(_))
        | (D::Utf8 | D::Binary, D::Utf8)
        | (D::Utf8 | D::Binary | D::FixedSizeBinary(_), D::LargeBinary) => true,
        (
            D::Decimal32(precision, scale)
            | D::Decimal64(precision, scale)
            | D::Decimal128(precision, scale),
            D::Decimal128(wanted, wanted_scale),
        ) => scale == wanted_scale && precision <= wanted,
        (from, to) => from == to,
    }
}

impl Binding {
    /// The column of a batch that was read from the file.
    pub(super) fn column(&self, batch: &RecordBatch) -> Result<ArrayRef> {
        let found = match &self.name {
            Some(name) => Some(batch.column_by_name(name).ok_or_else(|| {
                Error::internal(format!("a file was read without its column `{name}`"))
            })?),
            None => None,
        };
        self.make(found, batch.num_rows())
    }

    fn make(&self, found: Option<&ArrayRef>, rows: usize) -> Result<ArrayRef> {
        let (found, kind) = match (found, &self.kind) {
            (None, Kind::Absent(Some(value))) => {
                return Ok(take(value, &UInt32Array::from(vec![0; rows]), None)?);
            }
            (None, _) | (_, Kind::Absent(_)) => {
                return Ok(new_null_array(&self.data_type, rows));
            }
            (Some(found), kind) => (found, kind),
        };
        let odd = || Error::internal("a column was read with another shape than its file's");
        Ok(match (kind, &self.data_type) {
            (Kind::Struct(bindings), DataType::Struct(fields)) => {
                let found = found.as_struct_opt().ok_or_else(odd)?;
                let columns = bindings.iter().map(|binding| {
                    let child = binding.name.as_ref().and_then(|name| found.column_by_name(name));
                    binding.make(child, found.len())
                });
                let columns = columns.collect::<Result<Vec<_>>>()?;
                let nulls = found.nulls().cloned();
                if columns.is_empty() {
                    Arc::new(StructArray::new_empty_fields(found.len(), nulls))
                } else {
                    Arc::new(StructArray::try_new(fields.clone(), columns, nulls)?)
                }
            }
            (Kind::List(element), DataType::List(field)) => {
                let found = found.as_list_opt::<i32>().ok_or_else(odd)?;
                let values = element.make(Some(found.values()), found.values().len())?;
                let (offsets, nulls) = (found.offsets().clone(), found.nulls().cloned());
                Arc::new(ListArray::try_new(field.clone(), offsets, values, nulls)?)
            }
            (Kind::Map(key, value), DataType::Map(entries, sorted)) => {
                let found = found.as_map_opt().ok_or_else(odd)?;
                let keys = key.make(Some(found.keys()), found.keys().len())?;
                let values = value.make(Some(found.values()), found.values().len())?;
                map_of(found, (entries, *sorted), vec![keys, values])?
            }
            (_, wanted) if found.data_type() == wanted => found.clone(),
            (_, wanted) => {
                let strict = CastOptions { safe: false, ..CastOptions::default() };
                cast_with_options(found, wanted, &strict)?
            }
        })
    }
}

fn map_of(
    found: &MapArray,
    (entries, sorted): (&FieldRef, bool),
    columns: Vec<ArrayRef>,
) -> Result<ArrayRef> {
    let DataType::Struct(fields) = entries.data_type() else {
        return Err(Error::internal("a map has no keys and values"));
    };
    let pairs = StructArray::try_new(fields.clone(), columns, None)?;
    let (offsets, nulls) = (found.offsets().clone(), found.nulls().cloned());
    Ok(Arc::new(MapArray::try_new(entries.clone(), offsets, pairs, nulls, sorted)?))
}
