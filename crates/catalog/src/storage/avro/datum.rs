//! What values of a schema look like, and skipping them, so that every length in them is known to
//! be true.

use std::collections::HashMap;

use serde_json::Value;

use super::cursor::{Cursor, Malformed};

/// Levels of types within types.
const DEPTH_MAX: usize = 64;

/// Types of a schema, those counted anew that are used again.
const TYPES_MAX: usize = 100_000;

/// What the values of a type look like.
#[derive(Debug, Clone)]
pub(super) enum Shape {
    Nothing,
    Number,
    Fixed(usize),
    Bytes,
    Array(Box<Self>),
    Map(Box<Self>),
    Union(Vec<Self>),
    Record(Vec<Field>),
}

/// A field of a record.
#[derive(Debug, Clone)]
pub(super) struct Field {
    /// Iceberg's id of it, where it has one.
    pub(super) id: Option<i64>,
    pub(super) shape: Shape,
}

impl Shape {
    /// The shape of a schema in JSON.
    pub(super) fn parse(schema: &[u8]) -> Result<Self, Malformed> {
        let schema: Value =
            serde_json::from_slice(schema).map_err(|_| Malformed("its schema is no JSON"))?;
        Parser::default().shape(&schema, DEPTH_MAX)
    }

    /// Whether values may take no byte at all, so that bytes do not bound how many there are.
    fn may_be_empty(&self) -> bool {
        match self {
            Self::Nothing | Self::Fixed(0) => true,
            Self::Record(fields) => fields.iter().all(|field| field.shape.may_be_empty()),
            _ => false,
        }
    }

    /// How many types it is made of.
    fn size(&self) -> usize {
        1 + match self {
            Self::Array(inner) | Self::Map(inner) => inner.size(),
            Self::Union(parts) => parts.iter().map(Self::size).sum(),
            Self::Record(fields) => fields.iter().map(|field| field.shape.size()).sum(),
            _ => 0,
        }
    }

    /// Skips one value.
    pub(super) fn skip(&self, data: &mut Cursor<'_>) -> Result<(), Malformed> {
        data.value()?;
        match self {
            Self::Nothing => {}
            Self::Number => {
                data.long()?;
            }
            Self::Fixed(size) => {
                data.take(*size)?;
            }
            Self::Bytes => {
                data.bytes()?;
            }
            Self::Array(items) => {
                while let Some(count) = data.block_length()? {
                    (0..count).try_for_each(|_| items.skip(data))?;
                }
            }
            Self::Map(values) => {
                while let Some(count) = data.block_length()? {
                    for _ in 0..count {
                        data.bytes()?;
                        values.skip(data)?;
                    }
                }
            }
            Self::Union(variants) => {
                let index = usize::try_from(data.long()?).ok();
                let variant = index.and_then(|index| variants.get(index));
                variant.ok_or(Malformed("a union has no such variant"))?.skip(data)?;
            }
            Self::Record(fields) => fields.iter().try_for_each(|field| field.shape.skip(data))?,
        }
        Ok(())
    }
}

/// Named types may be used again by their names.
#[derive(Default)]
struct Parser {
    named: HashMap<String, Shape>,
    /// Types so far. A type that is used twice in the next one, and that twice in another, and so
    /// on, would be as many as no memory holds.
    types: usize,
}

impl Parser {
    fn shape(&mut self, schema: &Value, depth: usize) -> Result<Shape, Malformed> {
        let depth = depth.checked_sub(1).ok_or(Malformed("its schema is nested too deeply"))?;
        match schema {
            Value::String(name) => self.by_name(name),
            Value::Array(variants) => {
                let shapes = variants.iter().map(|variant| self.shape(variant, depth));
                Ok(Shape::Union(shapes.collect::<Result<_, _>>()?))
            }
            Value::Object(object) => {
                let text = |key: &str| object.get(key).and_then(Value::as_str);
                let inner = |key: &str| object.get(key).ok_or(UNKNOWN);
                let shape = match text("type") {
                    Some("array") => Shape::Array(self.items(inner("items")?, depth)?),
                    Some("map") => Shape::Map(Box::new(self.shape(inner("values")?, depth)?)),
                    Some("record") => self.record(inner("fields")?, depth)?,
                    Some("enum") => Shape::Number,
                    Some("fixed") => {
                        let size = object.get("size").and_then(Value::as_u64);
                        let size = size.and_then(|size| usize::try_from(size).ok());
                        Shape::Fixed(size.ok_or(UNKNOWN)?)
                    }
                    Some(name) => return self.by_name(name),
                    None => return self.shape(inner("type")?, depth),
                };
                if let Some(name) = text("name") {
                    self.named.insert(name.to_owned(), shape.clone());
                }
                Ok(shape)
            }
            _ => Err(UNKNOWN),
        }
    }

    fn items(&mut self, schema: &Value, depth: usize) -> Result<Box<Shape>, Malformed> {
        let items = self.shape(schema, depth)?;
        if items.may_be_empty() {
            return Err(Malformed("an array has items of no size"));
        }
        Ok(Box::new(items))
    }

    fn record(&mut self, fields: &Value, depth: usize) -> Result<Shape, Malformed> {
        let mut known = Vec::new();
        for field in fields.as_array().ok_or(UNKNOWN)? {
            known.push(Field {
                id: field.get("field-id").and_then(Value::as_i64),
                shape: self.shape(field.get("type").ok_or(UNKNOWN)?, depth)?,
            });
        }
        Ok(Shape::Record(known))
    }

    fn by_name(&mut self, name: &str) -> Result<Shape, Malformed> {
        let shape = match name {
            "null" => Shape::Nothing,
            "boolean" => Shape::Fixed(1),
            "int" | "long" => Shape::Number,
            "float" => Shape::Fixed(4),
            "double" => Shape::Fixed(8),
            "bytes" | "string" => Shape::Bytes,
            name => {
                let named = self.named.get(name).ok_or(UNKNOWN)?;
                self.types += named.size();
                if self.types > TYPES_MAX {
                    return Err(Malformed("its schema has too many types"));
                }
                named.clone()
            }
        };
        Ok(shape)
    }
}

const UNKNOWN: Malformed = Malformed("its schema has a type that Avro does not have");
