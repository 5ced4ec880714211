//! Values that may be null, in the forms that Iceberg writes them in.

use super::cursor::{Cursor, Malformed};
use super::datum::Shape;

/// Why a value was not read here.
#[derive(Debug)]
pub(super) enum Odd {
    /// It may be right, and is not written as the specification says.
    Unfamiliar,
    /// It cannot be read by anyone.
    Malformed,
}

impl From<Malformed> for Odd {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

/// What a value is if it may be null; `None` where it is.
pub(super) fn some<'s>(shape: &'s Shape, data: &mut Cursor<'_>) -> Result<Option<&'s Shape>, Odd> {
    match shape {
        Shape::Union(variants) => {
            let index = usize::try_from(data.long()?).ok();
            let variant = index.and_then(|index| variants.get(index));
            match variant.ok_or(Malformed("a union has no such variant"))? {
                Shape::Nothing => Ok(None),
                Shape::Union(_) => Err(Odd::Unfamiliar),
                variant => Ok(Some(variant)),
            }
        }
        Shape::Nothing => Ok(None),
        shape => Ok(Some(shape)),
    }
}

pub(super) fn number(shape: &Shape, data: &mut Cursor<'_>) -> Result<Option<i64>, Odd> {
    match some(shape, data)? {
        None => Ok(None),
        Some(Shape::Number) => Ok(Some(data.long()?)),
        Some(_) => Err(Odd::Unfamiliar),
    }
}

/// A number of 32 bits.
pub(super) fn flag(shape: &Shape, data: &mut Cursor<'_>) -> Result<Option<i32>, Odd> {
    number(shape, data)?.map(i32::try_from).transpose().map_err(|_| Odd::Unfamiliar)
}

/// A number that is there and not negative.
pub(super) fn count(shape: &Shape, data: &mut Cursor<'_>) -> Result<u64, Odd> {
    number(shape, data)?.and_then(|count| u64::try_from(count).ok()).ok_or(Odd::Unfamiliar)
}

pub(super) fn raw<'d>(shape: &Shape, data: &mut Cursor<'d>) -> Result<Option<&'d [u8]>, Odd> {
    match some(shape, data)? {
        None => Ok(None),
        Some(Shape::Bytes) => Ok(Some(data.bytes()?)),
        Some(_) => Err(Odd::Unfamiliar),
    }
}

/// A value that is true or false.
pub(super) fn truth(shape: &Shape, data: &mut Cursor<'_>) -> Result<Option<bool>, Odd> {
    match some(shape, data)? {
        None => Ok(None),
        Some(Shape::Fixed(1)) => match data.take(1)? {
            [0] => Ok(Some(false)),
            [1] => Ok(Some(true)),
            _ => Err(Odd::Malformed),
        },
        Some(_) => Err(Odd::Unfamiliar),
    }
}

pub(super) fn text(shape: &Shape, data: &mut Cursor<'_>) -> Result<Option<String>, Odd> {
    let bytes = raw(shape, data)?;
    let text = bytes.map(|bytes| String::from_utf8(bytes.to_vec())).transpose();
    text.map_err(|_| Odd::Unfamiliar)
}

pub(super) fn numbers(shape: &Shape, data: &mut Cursor<'_>) -> Result<Option<Vec<i64>>, Odd> {
    let items = match some(shape, data)? {
        None => return Ok(None),
        Some(Shape::Array(items)) if matches!(**items, Shape::Number) => items,
        Some(_) => return Err(Odd::Unfamiliar),
    };
    let mut found = Vec::new();
    while let Some(count) = data.block_length()? {
        for _ in 0..count {
            data.value()?;
            found.push(number(items, data)?.ok_or(Odd::Unfamiliar)?);
        }
    }
    Ok(Some(found))
}
