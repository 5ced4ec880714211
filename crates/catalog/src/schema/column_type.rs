//! Which Iceberg type stores which Arrow type.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, SchemaRef, TimeUnit};
use iceberg::spec::{
    FormatVersion, ListType, MapType, NestedField, NestedFieldRef, PrimitiveType, Schema,
    StructType, Type,
};
use icecore_core::{Error, Result};

use crate::error::Context as _;

/// The most types within types. Each takes up to three levels of the JSON of a table's metadata, of
/// which readers take 128, and the call stack holds what reads them.
pub(super) const NESTED_MAX: usize = 32;

/// The Iceberg schema that stores rows of this Arrow schema, with field ids from one, level by
/// level as Iceberg numbers them.
///
/// # Errors
///
/// `Unsupported` naming the first column whose type no table can store; `InvalidInput` for no
/// columns or for one name twice.
pub(crate) fn to_iceberg(schema: &SchemaRef) -> Result<Schema> {
    to_iceberg_of(schema, FormatVersion::V2)
}

/// [`to_iceberg`] for a table of this format version: from version 3 on, moments in nanoseconds
/// are stored as such.
pub(crate) fn to_iceberg_of(schema: &SchemaRef, version: FormatVersion) -> Result<Schema> {
    if schema.fields().is_empty() {
        return Err(Error::invalid("a table needs at least one column"));
    }
    if let Some(name) = repeated_name(schema.fields()) {
        return Err(Error::invalid(format!("two columns are called `{name}`")));
    }
    let fields = FieldIds::after(0).of(version).fields(schema.fields())?;
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
    keeps_nanoseconds: bool,
    /// How many types are begun and not ended.
    nested: usize,
}

impl FieldIds {
    /// Ids greater than this one.
    pub(super) const fn after(last: i32) -> Self {
        Self { last, keeps_nanoseconds: false, nested: 0 }
    }

    /// For a table of this format version.
    pub(super) fn of(self, version: FormatVersion) -> Self {
        Self { keeps_nanoseconds: version >= FormatVersion::V3, ..self }
    }

    pub(super) const fn next(&mut self) -> i32 {
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
        let data_type = self.type_of(field.name(), field)?;
        Ok(Arc::new(NestedField::new(id, field.name(), data_type, !field.is_nullable())))
    }

    /// The type of a column, or of a part of it.
    fn type_of(&mut self, column: &str, field: &Field) -> Result<Type> {
        match field.extension_type_name() {
            Some("arrow.uuid") if *field.data_type() == DataType::FixedSizeBinary(16) => {
                Ok(Type::Primitive(PrimitiveType::Uuid))
            }
            _ => self.data_type(column, field.data_type()),
        }
    }

    fn data_type(&mut self, column: &str, data_type: &DataType) -> Result<Type> {
        if self.nested > NESTED_MAX {
            return Err(Error::unsupported(format!(
                "types are nested more than {NESTED_MAX} deep in column `{column}`"
            ))
            .with_help("keep inner values in columns of their own, or as text"));
        }
        self.nested += 1;
        let stored = self.stored(column, data_type);
        self.nested -= 1;
        stored
    }

    fn stored(&mut self, column: &str, data_type: &DataType) -> Result<Type> {
        Ok(match data_type {
            DataType::Dictionary(_, values) => self.data_type(column, values)?,
            DataType::List(item)
            | DataType::LargeList(item)
            | DataType::FixedSizeList(item, _)
            | DataType::ListView(item)
            | DataType::LargeListView(item) => {
                let id = self.next();
                let element = self.type_of(column, item)?;
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
            DataType::Map(entries, _) => self.map(column, entries)?,
            DataType::Timestamp(TimeUnit::Nanosecond, zone) if self.keeps_nanoseconds => {
                Type::Primitive(match zone {
                    None => PrimitiveType::TimestampNs,
                    Some(_) => PrimitiveType::TimestamptzNs,
                })
            }
            _ => Type::Primitive(
                primitive(data_type).ok_or_else(|| cannot_store(column, data_type))?,
            ),
        })
    }

    fn map(&mut self, column: &str, entries: &Field) -> Result<Type> {
        let DataType::Struct(fields) = entries.data_type() else {
            return Err(cannot_store(column, entries.data_type()));
        };
        let [key, value] = fields.as_ref() else {
            return Err(cannot_store(column, entries.data_type()));
        };
        let (key_id, value_id) = (self.next(), self.next());
        let key = NestedField::map_key_element(key_id, self.type_of(column, key)?);
        let value_type = self.type_of(column, value)?;
        let value = NestedField::map_value_element(value_id, value_type, !value.is_nullable());
        Ok(Type::Map(MapType::new(Arc::new(key), Arc::new(value))))
    }

    /// The type with ids of its own, level by level.
    pub(super) fn renumber(&mut self, data_type: &Type) -> Type {
        match data_type {
            Type::Primitive(_) => data_type.clone(),
            Type::List(list) => {
                let id = self.next();
                Type::List(ListType::new(self.renumbered(id, &list.element_field)))
            }
            Type::Map(map) => {
                let (key, value) = (self.next(), self.next());
                let key = self.renumbered(key, &map.key_field);
                Type::Map(MapType::new(key, self.renumbered(value, &map.value_field)))
            }
            Type::Struct(fields) => {
                let ids: Vec<i32> = fields.fields().iter().map(|_| self.next()).collect();
                let fields = ids.into_iter().zip(fields.fields());
                Type::Struct(StructType::new(
                    fields.map(|(id, field)| self.renumbered(id, field)).collect(),
                ))
            }
        }
    }

    fn renumbered(&mut self, id: i32, field: &NestedFieldRef) -> NestedFieldRef {
        let field_type = Box::new(self.renumber(&field.field_type));
        Arc::new(NestedField { id, field_type, ..field.as_ref().clone() })
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
