//! The wire format of protocol buffers, as far as models need it.

use icecore_core::Result;

use crate::import::corrupt;

/// The value of a field.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'a> {
    Number(u64),
    Fixed64([u8; 8]),
    Fixed32([u8; 4]),
    Bytes(&'a [u8]),
}

/// The fields of a message, with their numbers.
pub(super) fn fields(mut bytes: &[u8]) -> Result<Vec<(u64, Value<'_>)>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let tag = number(&mut bytes)?;
        let value = match tag & 7 {
            0 => Value::Number(number(&mut bytes)?),
            1 => Value::Fixed64(array(&mut bytes)?),
            2 => {
                let length = usize::try_from(number(&mut bytes)?).unwrap_or(usize::MAX);
                let Some((value, rest)) = bytes.split_at_checked(length) else {
                    return Err(cut_off());
                };
                bytes = rest;
                Value::Bytes(value)
            }
            5 => Value::Fixed32(array(&mut bytes)?),
            _ => return Err(corrupt("it is no protocol buffer")),
        };
        fields.push((tag >> 3, value));
    }
    Ok(fields)
}

impl<'a> Value<'a> {
    pub(super) fn bytes(self) -> Result<&'a [u8]> {
        match self {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(corrupt("a field in it is no message")),
        }
    }

    pub(super) fn text(self) -> Result<&'a str> {
        std::str::from_utf8(self.bytes()?).map_err(|_| corrupt("a name in it is no text"))
    }

    pub(super) fn integer(self) -> Result<i64> {
        match self {
            Value::Number(number) => Ok(number as i64),
            _ => Err(corrupt("a field in it is no number")),
        }
    }

    pub(super) fn float(self) -> Result<f64> {
        match self {
            Value::Fixed32(bytes) => Ok(f64::from(f32::from_le_bytes(bytes))),
            Value::Fixed64(bytes) => Ok(f64::from_le_bytes(bytes)),
            _ => Err(corrupt("a field in it is no number")),
        }
    }

    /// Adds the integers of a repeated field, packed or not.
    pub(super) fn integers(self, to: &mut Vec<i64>) -> Result<()> {
        let Value::Bytes(mut packed) = self else {
            to.push(self.integer()?);
            return Ok(());
        };
        while !packed.is_empty() {
            to.push(number(&mut packed)? as i64);
        }
        Ok(())
    }

    /// Adds the floats of a repeated field, packed or not.
    pub(super) fn floats(self, to: &mut Vec<f64>) -> Result<()> {
        let Value::Bytes(packed) = self else {
            to.push(self.float()?);
            return Ok(());
        };
        let (floats, rest) = packed.as_chunks::<4>();
        if !rest.is_empty() {
            return Err(cut_off());
        }
        to.extend(floats.iter().map(|bytes| f64::from(f32::from_le_bytes(*bytes))));
        Ok(())
    }

    /// Adds the doubles of a repeated field, packed or not.
    pub(super) fn doubles(self, to: &mut Vec<f64>) -> Result<()> {
        let Value::Bytes(packed) = self else {
            to.push(self.float()?);
            return Ok(());
        };
        let (doubles, rest) = packed.as_chunks::<8>();
        if !rest.is_empty() {
            return Err(cut_off());
        }
        to.extend(doubles.iter().map(|bytes| f64::from_le_bytes(*bytes)));
        Ok(())
    }
}

fn number(bytes: &mut &[u8]) -> Result<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let Some((byte, rest)) = bytes.split_first() else { return Err(cut_off()) };
        *bytes = rest;
        value |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(corrupt("a number in it is too long"))
}

fn array<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N]> {
    let Some((value, rest)) = bytes.split_first_chunk() else { return Err(cut_off()) };
    *bytes = rest;
    Ok(*value)
}

fn cut_off() -> icecore_core::Error {
    corrupt("it is cut off")
}
