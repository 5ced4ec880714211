//! Reading numbers from bytes that may end too early.

use icecore_core::Result;

use super::corrupt;

/// What has not been read yet.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) const fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub(super) fn bytes(&mut self, count: usize) -> Result<&'a [u8]> {
        let Some((bytes, rest)) = self.rest.split_at_checked(count) else {
            return Err(corrupt("it is cut off"));
        };
        self.rest = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let Some((bytes, rest)) = self.rest.split_first_chunk() else {
            return Err(corrupt("it is cut off"));
        };
        self.rest = rest;
        Ok(*bytes)
    }

    pub(super) fn u8(&mut self) -> Result<u8> {
        self.array().map(|[byte]| byte)
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// A number that is not NaN.
    pub(super) fn number(&mut self) -> Result<f64> {
        let value = f64::from_le_bytes(self.array()?);
        if value.is_nan() { Err(corrupt("a number in it is none")) } else { Ok(value) }
    }

    /// A number within ± `max`.
    pub(super) fn bounded(&mut self, max: f64) -> Result<f64> {
        let value = self.number()?;
        if value.abs() <= max { Ok(value) } else { Err(corrupt("a number in it is out of bounds")) }
    }

    pub(super) fn end(&self) -> Result<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(corrupt("something follows its end")) }
    }
}
