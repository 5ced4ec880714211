//! Which Iceberg type stores which Arrow type.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, SchemaRef};
use iceberg::spec::{
    ListType, NestedField, NestedFieldRef, PrimitiveType, Schema, StructType, Type,
};
use icecore_core::{Error, Result};

use crate::error::Context as _;

/// The Iceberg schema that stores rows of this Arrow schema, with field ids from one, level by
/// level as Iceberg numbers them.
///
/// # Errors
///
/// `Unsupported` naming the first column whose type no table can store; `InvalidInput` for no
/// columns or for one name twice.
pub(crate) fn to_iceberg(schema: &SchemaRef) -> Result<Schema> {
    if schema.fields().is_empty() {
        return Err(Error::invalid("a table needs at least one column"));
    }
    if let Some(name) = repeated_name(schema.fields()) {
        return Err(Error::invalid(format!("two columns are called `{name}`")));
    }
    let fields = FieldIds::after(0).fields(schema.fields())?;
    let schema = Schema::builder().with_fields(fields).build();
    schema.context(|| "cannot number the columns")
}

pub(super) fn repeated_name(fields: &Fields) -> Option<&str> {
    let mut names: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
    names.sort_unstable();
    names.windows(2).find_map(|pair| match pair {
        [left, right] if left == right => Some(*left),
        _ => None,
    })
}

/// Hands out field ids.
#[derive(Debug)]
pub(super) struct FieldIds {
    last: i32,
}

impl FieldIds {
    /// Ids greater than this one.
    pub(super) const fn after(last: i32) -> Self {
        Self { last }
    }

    const fn next(&mut self) -> i32 {
        self.last += 1;
        self.last
    }

    /// Siblings get neighbouring ids before any of their children does.
    pub(super) fn fields(&mut self, fields: &Fields) -> Result<Vec<NestedFieldRef>> {
        let ids: Vec<i32> = fields.iter().map(|_| self.next()).collect();
        let numbered = ids.into_iter().zip(fields.iter());
        numbered.map(|(id, field)| self.field(id, field)).collect()
    }

    fn field(&mut self, id: i32, field: &Field) -> Result<NestedFieldRef> {
        let data_type = self.data_type(field.name(), field.data_type())?;
        Ok(Arc::new(NestedField::new(id, field.name(), data_type, !field.is_nullable())))
    }

    fn data_type(&mut self, column: &str, data_type: &DataType) -> Result<Type> {
        Ok(match data_type {
            DataType::Dictionary(_, values) => self.data_type(column, values)?,
            DataType::List(item)
            | DataType::LargeList(item)
            | DataType::FixedSizeList(item, _)
            | DataType::ListView(item)
            | DataType::LargeListView(item) => {
                let id = self.next();
                let element = self.data_type(column, item.data_type())?;
                let element = NestedField::list_element(id, element, !item.is_nullable());
                Type::List(ListType::new(Arc::new(element)))
            }
            DataType::Struct(fields) => {
                if let Some(name) = repeated_name(fields) {
                    return Err(Error::invalid(format!(
                        "two fields of column `{column}` are called `{name}`"
                    )));
                }
                Type::Struct(StructType::new(self.fields(fields)?))
            }
            _ => Type::Primitive(
                primitive(data_type).ok_or_else(|| cannot_store(column, data_type))?,
            ),
        })
    }
}

fn primitive(data_type: &DataType) -> Option<PrimitiveType> {
    Some(match data_type {
        DataType::Boolean => PrimitiveType::Boolean,
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 => {
            PrimitiveType::Int
        }
        DataType::Int64 | DataType::UInt32 | DataType::UInt64 => PrimitiveType::Long,
        DataType::Float16 | DataType::Float32 => PrimitiveType::Float,
        DataType::Float64 => PrimitiveType::Double,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => PrimitiveType::String,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => PrimitiveType::Binary,
        DataType::FixedSizeBinary(width) => PrimitiveType::Fixed(u64::try_from(*width).ok()?),
        DataType::Date32 | DataType::Date64 => PrimitiveType::Date,
        DataType::Time32(_) | DataType::Time64(_) => PrimitiveType::Time,
        DataType::Timestamp(_, None) => PrimitiveType::Timestamp,
        DataType::Timestamp(_, Some(_)) => PrimitiveType::Timestamptz,
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale) => PrimitiveType::Decimal {
            precision: u32::from(*precision),
            scale: u32::try_from(*scale).ok()?,
        },
        _ => return None,
    })
}

fn cannot_store(column: &str, data_type: &DataType) -> Error {
    let error = Error::unsupported(format!(
        "column `{column}` has type `{data_type}`, which no table stores"
    ));
    match data_type {
        DataType::Null => error.with_help(
            "a column of nothing but nulls has no type; cast it, for instance to `bigint`",
        ),
        DataType::Duration(_) | DataType::Interval(_) => {
            error.with_help("store a length of time as a whole number of microseconds or seconds")
        }
        _ => error.with_help("cast it to a number, text, a date, a timestamp, a list or a struct"),
    }
}
