//! Reading the values of a file's partition.

use iceberg::spec::{Literal, PrimitiveLiteral, PrimitiveType, Struct, StructType, Type};

use super::super::cursor::Cursor;
use super::super::datum::{Field, Shape};
use super::super::schema::decimal_bytes;
use super::super::values::{Odd, some};

/// Reads partitions of one spec.
#[derive(Debug)]
pub(super) struct PartitionReader {
    /// The id and the type of each field, in order.
    fields: Vec<(i64, PrimitiveType)>,
}

impl PartitionReader {
    /// One for partitions of this type.
    pub(super) fn new(types: &StructType) -> Option<Self> {
        let fields = types.fields().iter().map(|field| match field.field_type.as_ref() {
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
            | PrimitiveType::Timestamptz
            | PrimitiveType::TimestampNs
            | PrimitiveType::TimestamptzNs,
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
        (PrimitiveType::Binary, Shape::Bytes) => Literal::binary(data.bytes()?.to_vec()),
        (PrimitiveType::Fixed(wanted), Shape::Fixed(size)) if *size as u64 == *wanted => {
            Literal::fixed(data.take(*size)?.to_vec())
        }
        (PrimitiveType::Uuid, Shape::Fixed(16)) => {
            let bytes = data.take(16)?.try_into().map_err(|_| Odd::Malformed)?;
            Literal::Primitive(PrimitiveLiteral::UInt128(u128::from_be_bytes(bytes)))
        }
        (PrimitiveType::Decimal { precision, .. }, Shape::Fixed(size))
            if *size == decimal_bytes(*precision) =>
        {
            Literal::Primitive(PrimitiveLiteral::Int128(number(data.take(*size)?)))
        }
        _ => return Err(Odd::Unfamiliar),
    })
}

/// A number in two's complement, the most significant byte first.
fn number(bytes: &[u8]) -> i128 {
    let sign = bytes.first().map_or(0, |first| if first & 0x80 == 0 { 0 } else { -1 });
    bytes.iter().fold(sign, |number, byte| (number << 8) | i128::from(*byte))
}
