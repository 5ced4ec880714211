//! The keys of rows: `ic:VIEW:{TAG}ENTITY`.
//!
//! The tag is a hash of the entity in two digits. Redis Cluster keeps keys with one tag in braces on
//! one server, so the rows of an entity in several views are together, and those of a view are
//! spread over 256 places.

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, TimeUnit};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use bytes::Bytes;
use icecore_core::{Error, Result};

/// Between the parts of a key with several.
const SEPARATOR: u8 = 0x1f;
/// Before a byte of a part that is one of the two itself.
const ESCAPE: u8 = 0x1e;

/// What the keys of all rows of a view begin with.
#[must_use]
pub fn row_prefix(view: &str) -> Bytes {
    Bytes::from(format!("ic:{view}:"))
}

/// The keys of rows of a view, from the columns of its join keys in their order; `None` where a
/// join key is null.
///
/// A key does not depend on the layout of a column or on how wide its numbers are: `42` is one
/// entity, whether it comes from a table or from a request.
///
/// # Errors
///
/// `Unsupported` for join keys of a type that has no such form, such as floating-point numbers.
pub fn row_keys(view: &str, columns: &[ArrayRef]) -> Result<Vec<Option<Bytes>>> {
    let prefix = row_prefix(view);
    let parts = columns.iter().map(Part::try_new).collect::<Result<Vec<_>>>()?;
    let rows = columns.first().map_or(0, |column| column.len());
    let mut places = Vec::with_capacity(rows);
    let mut buffer = Vec::with_capacity(rows * (prefix.len() + 24));
    for row in 0..rows {
        if !parts.iter().all(|part| part.is_valid(row)) {
            places.push(None);
            continue;
        }
        let start = buffer.len();
        buffer.extend_from_slice(&prefix);
        buffer.extend_from_slice(b"{00}");
        let entity = buffer.len();
        for (place, part) in parts.iter().enumerate() {
            if place > 0 {
                buffer.push(SEPARATOR);
            }
            part.write(row, parts.len() > 1, &mut buffer);
        }
        if let Some((before, entity)) = buffer.split_at_mut_checked(entity)
            && let Some([_, high, low, _]) = before.last_chunk_mut()
        {
            let tag = tag(entity);
            (*high, *low) = (digit(tag >> 4), digit(tag & 0xf));
        }
        places.push(Some(start..buffer.len()));
    }
    let buffer = Bytes::from(buffer);
    Ok(places.into_iter().map(|place| place.map(|place| buffer.slice(place))).collect())
}

/// A number below 16 as a digit.
const fn digit(number: u8) -> u8 {
    if number < 10 { b'0' + number } else { b'a' + number - 10 }
}

/// A hash of the entity (FNV-1a, folded), the same for ever.
fn tag(entity: &[u8]) -> u8 {
    let hash = entity.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash ^ (hash >> 32) ^ (hash >> 56)).to_le_bytes()[0]
}

/// A column of a key, in a layout that is quick to read.
enum Part {
    Text(StringArray),
    Number(ArrayRef),
    Other(ArrayRef),
}

impl Part {
    fn try_new(column: &ArrayRef) -> Result<Self> {
        Ok(match column.data_type() {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
                Self::Text(cast(column, &DataType::Utf8)?.as_string().clone())
            }
            DataType::Timestamp(_, zone) => {
                let micros = DataType::Timestamp(TimeUnit::Microsecond, zone.clone());
                Self::Number(cast(&cast(column, &micros)?, &DataType::Int64)?)
            }
            DataType::Boolean | DataType::Date32 | DataType::Decimal128(..) | DataType::UInt64 => {
                Self::Other(column.clone())
            }
            data_type if data_type.is_integer() => Self::Number(cast(column, &DataType::Int64)?),
            DataType::Dictionary(_, values) => Self::try_new(&cast(column, values)?)?,
            other => {
                return Err(Error::unsupported(format!(
                    "a join key of type {other} is no key of rows"
                ))
                .with_help("declare the join key as `string`, `long`, `date` or `decimal`"));
            }
        })
    }

    fn is_valid(&self, row: usize) -> bool {
        let column: &dyn Array = match self {
            Self::Text(column) => column,
            Self::Number(column) | Self::Other(column) => column,
        };
        row < column.len() && column.is_valid(row)
    }

    fn write(&self, row: usize, is_escaped: bool, to: &mut Vec<u8>) {
        match self {
            Self::Text(column) => {
                let text = column.value(row).as_bytes();
                if !is_escaped {
                    to.extend_from_slice(text);
                    return;
                }
                for byte in text {
                    if [SEPARATOR, ESCAPE].contains(byte) {
                        to.push(ESCAPE);
                    }
                    to.push(*byte);
                }
            }
            Self::Number(column) => {
                use std::io::Write as _;
                let _ = write!(to, "{}", column.as_primitive::<Int64Type>().value(row));
            }
            Self::Other(column) => {
                use std::io::Write as _;
                if let Ok(format) = ArrayFormatter::try_new(column, &FormatOptions::default()) {
                    let _ = write!(to, "{}", format.value(row));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int32Array, Int64Array, StringArray};

    use super::*;

    fn text(values: &[Option<&str>]) -> ArrayRef {
        Arc::new(StringArray::from(values.to_vec()))
    }

    #[test]
    fn an_entity_has_one_key_whatever_its_column_looks_like() {
        let narrow: ArrayRef = Arc::new(Int32Array::from(vec![Some(42), None, Some(-1)]));
        let wide: ArrayRef = Arc::new(Int64Array::from(vec![Some(42), None, Some(-1)]));
        let keys = row_keys("v", &[narrow]).unwrap();
        assert_eq!(keys, row_keys("v", &[wide]).unwrap());
        assert_eq!(keys[1], None);
        let key = String::from_utf8(keys[0].clone().unwrap().to_vec()).unwrap();
        assert!(key.starts_with("ic:v:{") && key.ends_with("}42"), "{key}");
        let views = text(&[Some("ü\u{1F9CA}")]);
        let view = cast(&views, &DataType::Utf8View).unwrap();
        assert_eq!(row_keys("v", &[views]).unwrap(), row_keys("v", &[view]).unwrap());
    }

    #[test]
    fn keys_of_several_parts_are_never_taken_for_each_other() {
        let parts = ["", "a", "\u{1f}", "\u{1e}", "a\u{1f}", "\u{1e}\u{1f}a", "{a}"];
        let mut seen = std::collections::BTreeSet::new();
        for left in parts {
            for right in parts {
                let keys = row_keys("v", &[text(&[Some(left)]), text(&[Some(right)])]).unwrap();
                assert!(seen.insert(keys[0].clone().unwrap()), "{left:?} {right:?}");
            }
        }
    }
}
