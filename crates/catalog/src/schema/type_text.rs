//! How users write down what a column holds.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema as ArrowSchema};
use iceberg::spec::{
    FormatVersion, ListType, MapType, NestedField, NestedFieldRef, PrimitiveType, StructType, Type,
};
use icecore_core::{Error, Literal, Result};

use super::column_type::{self, NESTED_MAX};
use crate::error::Context as _;

const FORMS: &str = "boolean, int, long, float, double, decimal(10, 2), date, time, timestamp, \
                     timestamptz, timestamp_ns, timestamptz_ns, string, uuid, fixed(16), binary, \
                     list<T>, map<K, V>, struct<a: T, b: T not null>";

/// What a column holds.
///
/// ```
/// use icecore_catalog::ColumnType;
/// let point = ColumnType::parse("struct<x: double, y: double not null>").unwrap();
/// assert_eq!(point.to_string(), "struct<x: double, y: double not null>");
/// assert_eq!(ColumnType::parse("bigint").unwrap().to_string(), "long");
/// assert!(ColumnType::parse("list<strin>").is_err());
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct ColumnType(pub(super) Type);

impl ColumnType {
    /// Reads a type as Iceberg and SQL write it.
    ///
    /// # Errors
    ///
    /// `InvalidInput` naming the part that is no type.
    pub fn parse(text: &str) -> Result<Self> {
        let mut reader = Reader { rest: text, nested: 0 };
        let found = reader.any_type().and_then(|found| {
            if reader.rest.trim().is_empty() { Ok(found) } else { Err(reader.unexpected()) }
        });
        found.map(Self).map_err(|error| match error.notes() {
            [] => error.with_note(format!("types: {FORMS}")),
            _ => error,
        })
    }

    /// What stores values of an Arrow type.
    ///
    /// # Errors
    ///
    /// `Unsupported` where no table stores it.
    pub fn of(data_type: &DataType) -> Result<Self> {
        let column = Field::new("column", data_type.clone(), true);
        let schema = column_type::to_iceberg(&Arc::new(ArrowSchema::new(vec![column])))?;
        let field = schema.as_struct().fields().first();
        field
            .map(|field| Self(field.field_type.as_ref().clone()))
            .ok_or_else(|| Error::internal("a schema lost its only column"))
    }

    /// What a table stores in a column that is read as this field.
    ///
    /// # Errors
    ///
    /// `Unsupported` where no table stores it.
    pub fn of_field(field: &Field) -> Result<Self> {
        let schema = Arc::new(ArrowSchema::new(vec![field.clone()]));
        let schema = column_type::to_iceberg_of(&schema, FormatVersion::V3)?;
        let field = schema.as_struct().fields().first();
        field
            .map(|field| Self(field.field_type.as_ref().clone()))
            .ok_or_else(|| Error::internal("a schema lost its only column"))
    }

    /// What a stored column holds.
    pub(crate) fn stored(field: &NestedField) -> Self {
        Self(field.field_type.as_ref().clone())
    }

    /// A column of this type as the rows of a new table have it.
    ///
    /// # Errors
    ///
    /// `Internal` for a type that Arrow has none for.
    pub fn field(&self, name: &str, nullable: bool) -> Result<Field> {
        let arrow = |found: &Type| iceberg::arrow::type_to_arrow_type(found);
        let cannot = || format!("cannot read column `{name}`");
        match &self.0 {
            Type::Primitive(PrimitiveType::Uuid) => Ok(uuid(name, nullable)),
            Type::Primitive(_) => Ok(Field::new(name, arrow(&self.0).context(cannot)?, nullable)),
            Type::List(list) => {
                let item = child(&list.element_field, "element")?;
                Ok(Field::new(name, DataType::List(Arc::new(item)), nullable))
            }
            Type::Map(map) => {
                let pair = vec![child(&map.key_field, "key")?, child(&map.value_field, "value")?];
                let entries = Field::new("key_value", DataType::Struct(pair.into()), false);
                Ok(Field::new(name, DataType::Map(Arc::new(entries), false), nullable))
            }
            Type::Struct(fields) => {
                let fields = fields.fields().iter().map(|field| child(field, &field.name));
                let fields = fields.collect::<Result<Vec<_>>>()?;
                Ok(Field::new(name, DataType::Struct(fields.into()), nullable))
            }
        }
    }

    /// The same in Iceberg's terms.
    #[cfg(test)]
    pub(crate) const fn as_iceberg(&self) -> &Type {
        &self.0
    }

    /// A value of this type as it is typed, such as a column's default.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for text that is no value of it.
    pub fn literal(&self, text: &str) -> Result<Literal> {
        let wrong = || {
            Error::invalid(format!("`{text}` is no value of type `{self}`"))
                .with_help("a default is a number, text, true, false, a date or a time")
        };
        let Type::Primitive(primitive) = &self.0 else { return Err(wrong()) };
        Ok(match primitive {
            PrimitiveType::Boolean => Literal::Bool(text.parse().map_err(|_| wrong())?),
            PrimitiveType::Int | PrimitiveType::Long => {
                Literal::Int(text.parse().map_err(|_| wrong())?)
            }
            PrimitiveType::Float | PrimitiveType::Double => {
                Literal::Float(text.parse().map_err(|_| wrong())?)
            }
            _ => Literal::Text(text.to_owned()),
        })
    }
}

impl std::str::FromStr for ColumnType {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl fmt::Debug for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&spelled(&self.0))
    }
}

fn child(field: &NestedField, name: &str) -> Result<Field> {
    ColumnType::stored(field).field(name, !field.required)
}

/// Arrow has bytes of a fixed number, and says beside them what they are.
fn uuid(name: &str, nullable: bool) -> Field {
    let says = [("ARROW:extension:name".to_owned(), "arrow.uuid".to_owned())];
    Field::new(name, DataType::FixedSizeBinary(16), nullable).with_metadata(says.into())
}

/// A type as [`ColumnType::parse`] reads it.
pub(super) fn spelled(column_type: &Type) -> String {
    match column_type {
        Type::Primitive(primitive) => primitive.to_string(),
        Type::List(list) => format!("list<{}>", item(&list.element_field)),
        Type::Map(map) => {
            format!("map<{}, {}>", spelled(&map.key_field.field_type), item(&map.value_field))
        }
        Type::Struct(fields) => {
            let fields: Vec<String> = fields
                .fields()
                .iter()
                .map(|field| format!("{}: {}", field.name, item(field)))
                .collect();
            format!("struct<{}>", fields.join(", "))
        }
    }
}

fn item(field: &NestedField) -> String {
    let null = if field.required { " not null" } else { "" };
    format!("{}{null}", spelled(&field.field_type))
}

/// A place in the text of a type.
struct Reader<'t> {
    rest: &'t str,
    /// How many types this place is within.
    nested: usize,
}

impl<'t> Reader<'t> {
    fn any_type(&mut self) -> Result<Type> {
        if self.nested > NESTED_MAX {
            return Err(Error::invalid(format!("types are nested more than {NESTED_MAX} deep"))
                .with_help("keep inner values in columns of their own, or as text"));
        }
        self.nested += 1;
        let found = self.one_type();
        self.nested -= 1;
        found
    }

    fn one_type(&mut self) -> Result<Type> {
        let word = self.word();
        let name = word.to_ascii_lowercase();
        match name.as_str() {
            "list" | "array" => {
                self.wants('<')?;
                let (element, required) = self.item()?;
                self.wants('>')?;
                let element = NestedField::list_element(0, element, required);
                Ok(Type::List(ListType::new(Arc::new(element))))
            }
            "map" => {
                self.wants('<')?;
                let key = self.any_type()?;
                self.wants(',')?;
                let (value, required) = self.item()?;
                self.wants('>')?;
                let value = NestedField::map_value_element(0, value, required);
                let key = NestedField::map_key_element(0, key);
                Ok(Type::Map(MapType::new(Arc::new(key), Arc::new(value))))
            }
            "struct" => self.fields(),
            "decimal" | "numeric" => {
                let precision = self.number('(')?;
                let scale = self.number(',')?;
                self.wants(')')?;
                Type::decimal(precision, scale).map_err(|error| {
                    Error::invalid(format!("no column holds `decimal({precision}, {scale})`"))
                        .with_note("a decimal has 1 to 38 digits")
                        .with_source(error)
                })
            }
            "fixed" => {
                let (open, close) = if self.peek('[') { ('[', ']') } else { ('(', ')') };
                let width = self.number(open)?;
                self.wants(close)?;
                Ok(Type::Primitive(PrimitiveType::Fixed(u64::from(width))))
            }
            plain => primitive(plain).map(Type::Primitive).ok_or_else(|| unknown(word)),
        }
    }

    fn fields(&mut self) -> Result<Type> {
        self.wants('<')?;
        let mut fields: Vec<NestedFieldRef> = Vec::new();
        loop {
            let name = self.word().to_owned();
            if name.is_empty() {
                return Err(self.unexpected());
            }
            if fields.iter().any(|field| field.name == name) {
                return Err(Error::invalid(format!("two fields of a struct are called `{name}`")));
            }
            if self.peek(':') {
                self.wants(':')?;
            }
            let (field_type, required) = self.item()?;
            fields.push(Arc::new(NestedField::new(0, name, field_type, required)));
            if !self.peek(',') {
                break;
            }
            self.wants(',')?;
        }
        self.wants('>')?;
        Ok(Type::Struct(StructType::new(fields)))
    }

    /// A type, and whether `not null` follows.
    fn item(&mut self) -> Result<(Type, bool)> {
        let found = self.any_type()?;
        let rest = self.rest.trim_start();
        let mut words = rest.splitn(3, char::is_whitespace);
        let is_not = words.next().is_some_and(|word| word.eq_ignore_ascii_case("not"));
        if !is_not {
            return Ok((found, false));
        }
        self.word();
        let null = self.word();
        if null.eq_ignore_ascii_case("null") { Ok((found, true)) } else { Err(unknown(null)) }
    }

    fn word(&mut self) -> &'t str {
        let rest = self.rest.trim_start();
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        let (word, rest) = rest.split_at(end);
        self.rest = rest;
        word
    }

    fn number(&mut self, before: char) -> Result<u32> {
        self.wants(before)?;
        let word = self.word();
        word.parse().map_err(|_| Error::invalid(format!("`{word}` is no whole number")))
    }

    fn peek(&self, what: char) -> bool {
        self.rest.trim_start().starts_with(what)
    }

    fn wants(&mut self, what: char) -> Result<()> {
        match self.rest.trim_start().strip_prefix(what) {
            Some(rest) => {
                self.rest = rest;
                Ok(())
            }
            None => Err(Error::invalid(format!("`{what}` is missing {}", self.place()))),
        }
    }

    fn unexpected(&self) -> Error {
        Error::invalid(format!("a type cannot go on {}", self.place()))
    }

    fn place(&self) -> String {
        match self.rest.trim() {
            "" => "at the end".to_owned(),
            rest => format!("at `{rest}`"),
        }
    }
}

fn unknown(word: &str) -> Error {
    Error::invalid(format!("there is no type `{word}`"))
        .with_note(format!("types: {FORMS}"))
        .with_candidates(word, NAMES.iter().map(|(name, _)| *name))
}

const NAMES: [(&str, PrimitiveType); 22] = [
    ("boolean", PrimitiveType::Boolean),
    ("bool", PrimitiveType::Boolean),
    ("int", PrimitiveType::Int),
    ("integer", PrimitiveType::Int),
    ("long", PrimitiveType::Long),
    ("bigint", PrimitiveType::Long),
    ("float", PrimitiveType::Float),
    ("real", PrimitiveType::Float),
    ("double", PrimitiveType::Double),
    ("date", PrimitiveType::Date),
    ("time", PrimitiveType::Time),
    ("timestamp", PrimitiveType::Timestamp),
    ("timestamptz", PrimitiveType::Timestamptz),
    ("timestamp_ns", PrimitiveType::TimestampNs),
    ("timestamptz_ns", PrimitiveType::TimestamptzNs),
    ("string", PrimitiveType::String),
    ("text", PrimitiveType::String),
    ("varchar", PrimitiveType::String),
    ("uuid", PrimitiveType::Uuid),
    ("binary", PrimitiveType::Binary),
    ("bytes", PrimitiveType::Binary),
    ("blob", PrimitiveType::Binary),
];

fn primitive(name: &str) -> Option<PrimitiveType> {
    NAMES.iter().find(|(known, _)| *known == name).map(|(_, primitive)| primitive.clone())
}
