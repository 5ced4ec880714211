//! Reading the values of a file's partition.

use iceberg::spec::{Literal, PrimitiveType, Struct, StructType, Type};

use super::super::cursor::Cursor;
use super::super::datum::{Field, Shape};
use super::Odd;
use super::values::some;

/// Reads partitions of one spec.
pub(super) struct PartitionReader {
    /// The id and the type of each field, in order.
    fields: Vec<(i64, PrimitiveType)>,
}

impl PartitionReader {
    /// One for partitions of this type; `None` for types that are written in more ways than one.
    pub(super) fn new(types: &StructType) -> Option<Self> {
        let fields = types.fields().iter().map(|field| match field.field_type.as_ref() {
            Type::Primitive(
                PrimitiveType::Decimal { .. }
                | PrimitiveType::Uuid
                | PrimitiveType::Fixed(_)
                | PrimitiveType::Binary
                | PrimitiveType::TimestampNs
                | PrimitiveType::TimestamptzNs,
            ) => None,
            Type::Primitive(of) => Some((i64::from(field.id), of.clone())),
            _ => None,
        });
        fields.collect::<Option<Vec<_>>>().map(|fields| Self { fields })
    }

    pub(super) fn read(&self, shape: &Shape, data: &mut Cursor<'_>) -> Result<Struct, Odd> {
        let Shape::Record(written) = shape else { return Err(Odd::Unfamiliar) };
        if written.len() != self.fields.len() {
            return Err(Odd::Unfamiliar);
        }
        let values = written.iter().zip(&self.fields).map(|(Field { id, shape }, (wanted, of))| {
            if *id != Some(*wanted) {
                return Err(Odd::Unfamiliar);
            }
            data.value()?;
            match some(shape, data)? {
                Some(shape) => value(shape, of, data).map(Some),
                None => Ok(None),
            }
        });
        values.collect::<Result<Vec<_>, Odd>>().map(Struct::from_iter)
    }
}

fn value(shape: &Shape, of: &PrimitiveType, data: &mut Cursor<'_>) -> Result<Literal, Odd> {
    Ok(match (of, shape) {
        (PrimitiveType::Boolean, Shape::Fixed(1)) => match data.take(1)? {
            [0] => Literal::bool(false),
            [1] => Literal::bool(true),
            _ => return Err(Odd::Malformed),
        },
        (PrimitiveType::Int | PrimitiveType::Date, Shape::Number) => {
            Literal::int(i32::try_from(data.long()?).map_err(|_| Odd::Unfamiliar)?)
        }
        (
            PrimitiveType::Long
            | PrimitiveType::Time
            | PrimitiveType::Timestamp
            | PrimitiveType::Timestamptz,
            Shape::Number,
        ) => Literal::long(data.long()?),
        (PrimitiveType::Float, Shape::Fixed(4)) => {
            let bytes = data.take(4)?.try_into().map_err(|_| Odd::Malformed)?;
            Literal::float(f32::from_le_bytes(bytes))
        }
        (PrimitiveType::Double, Shape::Fixed(8)) => {
            let bytes = data.take(8)?.try_into().map_err(|_| Odd::Malformed)?;
            Literal::double(f64::from_le_bytes(bytes))
        }
        (PrimitiveType::String, Shape::Bytes) => {
            Literal::string(std::str::from_utf8(data.bytes()?).map_err(|_| Odd::Unfamiliar)?)
        }
        _ => return Err(Odd::Unfamiliar),
    })
}
