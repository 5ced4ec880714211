//! The one form that equal values have, whatever array they come in.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, LargeBinaryArray};
use arrow::array::{Decimal128Array, Float64Array, ListArray, UInt64Array};
use arrow::buffer::NullBuffer;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Int64Type, TimeUnit, TimestampNanosecondType};
use icecore_core::{Error, ErrorKind, Result};

use super::xxh::xxh64;

/// The name of the logical type, which is the Iceberg type where there is one.
pub(crate) fn logical_type(data_type: &DataType) -> Result<String> {
    Ok(match data_type {
        DataType::Boolean => "boolean".into(),
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 => {
            "int".into()
        }
        DataType::Int64 | DataType::UInt32 => "long".into(),
        DataType::UInt64 => "unsigned long".into(),
        DataType::Float16 | DataType::Float32 => "float".into(),
        DataType::Float64 => "double".into(),
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale) => format!("decimal({precision},{scale})"),
        DataType::Date32 | DataType::Date64 => "date".into(),
        DataType::Time32(_) | DataType::Time64(_) => "time".into(),
        DataType::Timestamp(_, None) => "timestamp".into(),
        DataType::Timestamp(_, Some(_)) => "timestamptz".into(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "string".into(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "binary".into(),
        DataType::FixedSizeBinary(width) => format!("fixed({width})"),
        DataType::Dictionary(_, value) => logical_type(value)?,
        DataType::List(item) | DataType::LargeList(item) => {
            format!("list<{}>", logical_type(item.data_type())?)
        }
        DataType::Map(entries, _) => format!("map<{}>", logical_type(entries.data_type())?),
        DataType::Struct(fields) => {
            let fields = fields.iter().map(|field| {
                Ok(format!("{:?}:{}", field.name(), logical_type(field.data_type())?))
            });
            format!("struct<{}>", fields.collect::<Result<Vec<_>>>()?.join(","))
        }
        other => return Err(unsupported(other)),
    })
}

fn unsupported(data_type: &DataType) -> Error {
    let message = format!("values of type `{data_type}` have no canonical form");
    Error::new(ErrorKind::Unsupported, message).with_help("cast the column to a plain type")
}

/// A column in its canonical form.
#[derive(Debug)]
pub(crate) enum Canonical {
    Boolean(BooleanArray),
    /// Signed integers, days, and microseconds.
    Int(Int64Array),
    Unsigned(UInt64Array),
    Float(Float64Array),
    Decimal(Decimal128Array),
    Bytes(LargeBinaryArray),
    List(ListArray, Box<Self>),
    Struct(usize, Option<NullBuffer>, Vec<Self>),
}

impl Canonical {
    pub(crate) fn try_new(array: &ArrayRef) -> Result<Self> {
        let to = |data_type: &DataType| plain_cast(array, data_type);
        Ok(match array.data_type() {
            DataType::Boolean => Self::Boolean(array.as_boolean().clone()),
            DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::UInt8
            | DataType::UInt16
            | DataType::UInt32 => Self::Int(to(&DataType::Int64)?.as_primitive().clone()),
            DataType::UInt64 => Self::Unsigned(array.as_primitive().clone()),
            DataType::Float16 | DataType::Float32 | DataType::Float64 => {
                Self::Float(to(&DataType::Float64)?.as_primitive().clone())
            }
            DataType::Decimal32(_, scale)
            | DataType::Decimal64(_, scale)
            | DataType::Decimal128(_, scale) => {
                Self::Decimal(to(&DataType::Decimal128(38, *scale))?.as_primitive().clone())
            }
            DataType::Date32 | DataType::Date64 => Self::Int(days(array)?),
            DataType::Time32(_) | DataType::Time64(_) => Self::Int(micros_of_day(array)?),
            DataType::Timestamp(unit, _) => Self::Int(micros(array, *unit)?),
            DataType::Utf8
            | DataType::LargeUtf8
            | DataType::Utf8View
            | DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
            | DataType::FixedSizeBinary(_) => Self::Bytes(bytes(array)?),
            DataType::Dictionary(_, value) => Self::try_new(&to(value)?)?,
            DataType::List(_) | DataType::LargeList(_) | DataType::Map(_, _) => list(array)?,
            DataType::Struct(_) => {
                let fields = array.as_struct();
                let columns = fields.columns().iter().map(Self::try_new);
                let columns = columns.collect::<Result<_>>()?;
                Self::Struct(fields.len(), fields.nulls().cloned(), columns)
            }
            other => return Err(unsupported(other)),
        })
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Boolean(array) => array.len(),
            Self::Int(array) => array.len(),
            Self::Unsigned(array) => array.len(),
            Self::Float(array) => array.len(),
            Self::Decimal(array) => array.len(),
            Self::Bytes(array) => array.len(),
            Self::List(array, _) => array.len(),
            Self::Struct(rows, ..) => *rows,
        }
    }

    pub(crate) fn nulls(&self) -> Option<NullBuffer> {
        match self {
            Self::Boolean(array) => array.nulls().cloned(),
            Self::Int(array) => array.nulls().cloned(),
            Self::Unsigned(array) => array.nulls().cloned(),
            Self::Float(array) => array.nulls().cloned(),
            Self::Decimal(array) => array.nulls().cloned(),
            Self::Bytes(array) => array.nulls().cloned(),
            Self::List(array, _) => array.nulls().cloned(),
            Self::Struct(_, nulls, _) => nulls.clone(),
        }
    }

    /// The hash of each slot; what a null's slot holds is arbitrary.
    pub(crate) fn hashes(&self, seed: u64) -> Vec<u64> {
        match self {
            Self::Boolean(array) => {
                let values = array.values().iter();
                values.map(|value| xxh64(&[u8::from(value)], seed)).collect()
            }
            Self::Int(array) => {
                array.values().iter().map(|value| xxh64(&value.to_le_bytes(), seed)).collect()
            }
            Self::Unsigned(array) => {
                array.values().iter().map(|value| xxh64(&value.to_le_bytes(), seed)).collect()
            }
            Self::Float(array) => {
                let bits = array.values().iter().map(|value| float_bits(*value));
                bits.map(|bits| xxh64(&bits.to_le_bytes(), seed)).collect()
            }
            Self::Decimal(array) => {
                array.values().iter().map(|value| xxh64(&value.to_le_bytes(), seed)).collect()
            }
            Self::Bytes(array) => {
                (0..array.len()).map(|row| xxh64(array.value(row), seed)).collect()
            }
            Self::List(array, _) => self.hashes_of_encoding(array.len(), seed),
            Self::Struct(rows, ..) => self.hashes_of_encoding(*rows, seed),
        }
    }

    fn hashes_of_encoding(&self, rows: usize, seed: u64) -> Vec<u64> {
        let mut buffer = Vec::new();
        let hash = |row| {
            buffer.clear();
            self.encode(row, &mut buffer);
            xxh64(&buffer, seed)
        };
        (0..rows).map(hash).collect()
    }

    /// Appends a value so that no encoding is a prefix of another one of its type.
    pub(crate) fn encode(&self, row: usize, out: &mut Vec<u8>) {
        const NULL: u8 = 0;
        const VALUE: u8 = 1;
        macro_rules! encode {
            ($array:expr, $value:expr) => {
                if $array.is_null(row) {
                    out.push(NULL);
                } else {
                    out.push(VALUE);
                    out.extend_from_slice(&$value);
                }
            };
        }
        match self {
            Self::Boolean(array) => encode!(array, [u8::from(array.value(row))]),
            Self::Int(array) => encode!(array, array.value(row).to_le_bytes()),
            Self::Unsigned(array) => encode!(array, array.value(row).to_le_bytes()),
            Self::Float(array) => encode!(array, float_bits(array.value(row)).to_le_bytes()),
            Self::Decimal(array) => encode!(array, array.value(row).to_le_bytes()),
            Self::Bytes(array) => {
                encode!(array, (array.value_length(row)).to_le_bytes());
                if array.is_valid(row) {
                    out.extend_from_slice(array.value(row));
                }
            }
            Self::List(array, items) => {
                encode!(array, array.value_length(row).to_le_bytes());
                if array.is_valid(row) {
                    let start = array.value_offsets()[row] as usize;
                    let length = array.value_length(row) as usize;
                    (start..start + length).for_each(|item| items.encode(item, out));
                }
            }
            Self::Struct(_, nulls, columns) => {
                let valid = nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
                out.push(if valid { VALUE } else { NULL });
                if valid {
                    columns.iter().for_each(|column| column.encode(row, out));
                }
            }
        }
    }
}

/// The bits of a float, with one NaN and one zero.
#[inline]
pub(crate) fn float_bits(value: f64) -> u64 {
    if value.is_nan() {
        return f64::NAN.to_bits();
    }
    // Adding zero turns -0.0 into 0.0 and keeps everything else.
    (value + 0.0).to_bits()
}

/// Casts, with an error rather than a null where a value does not fit.
pub(crate) fn plain_cast(array: &ArrayRef, data_type: &DataType) -> Result<ArrayRef> {
    if array.data_type() == data_type {
        return Ok(ArrayRef::clone(array));
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(array, data_type, &options).map_err(|error| {
        let from = array.data_type();
        Error::invalid(format!("a value of type `{from}` has no `{data_type}`")).with_source(error)
    })
}

fn as_int(array: &ArrayRef, through: &DataType) -> Result<Int64Array> {
    let array = plain_cast(array, through)?;
    Ok(plain_cast(&array, &DataType::Int64)?.as_primitive().clone())
}

fn days(array: &ArrayRef) -> Result<Int64Array> {
    // `Date64` must hold whole days, so this loses nothing.
    as_int(&plain_cast(array, &DataType::Date32)?, &DataType::Int32)
}

fn micros_of_day(array: &ArrayRef) -> Result<Int64Array> {
    if array.data_type() == &DataType::Time64(TimeUnit::Nanosecond) {
        whole_micros(as_int(array, &DataType::Int64)?.iter())?;
    }
    as_int(array, &DataType::Time64(TimeUnit::Microsecond))
}

fn micros(array: &ArrayRef, unit: TimeUnit) -> Result<Int64Array> {
    if unit == TimeUnit::Nanosecond {
        whole_micros(array.as_primitive::<TimestampNanosecondType>().iter())?;
    }
    let zone = match array.data_type() {
        DataType::Timestamp(_, zone) => zone.clone(),
        _ => None,
    };
    let micros = plain_cast(array, &DataType::Timestamp(TimeUnit::Microsecond, zone))?;
    // The number behind a moment is UTC whatever its zone is, so only the type changes here.
    Ok(micros
        .as_primitive::<arrow::datatypes::TimestampMicrosecondType>()
        .reinterpret_cast::<Int64Type>())
}

fn whole_micros(mut nanos: impl Iterator<Item = Option<i64>>) -> Result<()> {
    if nanos.all(|nanos| nanos.is_none_or(|nanos| nanos % 1000 == 0)) {
        return Ok(());
    }
    let message = "a time has nanoseconds; icecore counts whole microseconds";
    Err(Error::new(ErrorKind::Unsupported, message).with_help("round the column to microseconds"))
}

fn bytes(array: &ArrayRef) -> Result<LargeBinaryArray> {
    let array = match array.data_type() {
        DataType::Utf8 | DataType::Utf8View => plain_cast(array, &DataType::LargeUtf8)?,
        _ => ArrayRef::clone(array),
    };
    Ok(plain_cast(&array, &DataType::LargeBinary)?.as_binary().clone())
}

fn list(array: &ArrayRef) -> Result<Canonical> {
    let list = match array.data_type() {
        DataType::LargeList(item) => plain_cast(array, &DataType::List(item.clone()))?,
        DataType::Map(entries, _) => {
            let map = array.as_map();
            let (offsets, nulls) = (map.offsets().clone(), map.nulls().cloned());
            let values = std::sync::Arc::new(map.entries().clone());
            std::sync::Arc::new(ListArray::try_new(entries.clone(), offsets, values, nulls)?)
        }
        _ => ArrayRef::clone(array),
    };
    let list = list.as_list::<i32>().clone();
    let items = Canonical::try_new(list.values())?;
    Ok(Canonical::List(list, Box::new(items)))
}
