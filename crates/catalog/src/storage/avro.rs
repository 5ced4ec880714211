//! Avro files: manifests and manifest lists, read and written, and a look through any before it is
//! parsed, so that what it declares cannot exhaust memory. Lengths are those of bytes that are
//! there, and inflated blocks stay below a limit.

mod codec;
mod cursor;
mod datum;
mod encode;
mod list;
mod manifest;
mod schema;
mod values;

use std::collections::HashMap;

use bytes::Bytes;
use icecore_core::{Error, Result};

use super::limits::exceeded;
use codec::inflate;
use cursor::{Cursor, Malformed};
use datum::Shape;

pub(crate) use codec::Codec;
pub(super) use list::list;
pub(crate) use list::{ListKind, write_list};
pub(super) use manifest::{Bounds, Columns, Counts, Manifest, manifest};
pub(crate) use manifest::{Headers, ManifestKind, ManifestWriter, NewEntry};
pub(crate) use schema::avro_name;

const MAGIC: &[u8] = b"Obj\x01";
const SYNC_BYTES: usize = 16;
/// Parsed values are many times as large as their bytes, so that they are limited too: one for so
/// many bytes of the limit.
const BYTES_OF_VALUE: u64 = 8;

/// Fails for a file that is no whole Avro container, or that is larger inflated than `limit`.
///
/// # Errors
///
/// `DataCorrupt` or `LimitExceeded`, naming the file.
pub(super) fn check(location: &str, bytes: &[u8], limit: u64) -> Result<()> {
    walk(bytes, limit).map_err(|failed| match failed {
        Failed::Value(Malformed(what)) => {
            Error::corrupt(format!("`{location}` is not a whole Avro file")).with_note(what)
        }
        Failed::TooLarge => {
            exceeded(location, "the inflated content", limit, "storage.inflated_limit")
        }
    })
}

/// Why values cannot be taken.
enum Failed<E = Malformed> {
    /// What one of them, or the file around them, is not.
    Value(E),
    TooLarge,
}

impl<E: From<Malformed>> From<Malformed> for Failed<E> {
    fn from(malformed: Malformed) -> Self {
        Self::Value(malformed.into())
    }
}

fn walk(bytes: &[u8], limit: u64) -> Result<(), Failed> {
    let container = Container::open(bytes)?;
    container.each(limit, |shape, data| shape.skip(data))
}

/// The parts of a file, its header not understood yet.
struct Parts<'a> {
    /// All that is before the blocks, which many files have alike.
    header: &'a [u8],
    codec: &'a [u8],
    schema: &'a [u8],
    /// What else the header says.
    notes: Vec<(&'a [u8], &'a [u8])>,
    sync: &'a [u8],
    blocks: &'a [u8],
}

impl<'a> Parts<'a> {
    fn of(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut file = Cursor::new(bytes);
        if file.take(MAGIC.len())? != MAGIC {
            return Err(Malformed("it does not begin as one"));
        }
        let (mut codec, mut schema, mut notes) = (&b"null"[..], &b""[..], Vec::new());
        while let Some(count) = file.block_length()? {
            for _ in 0..count {
                let (key, value) = (file.bytes()?, file.bytes()?);
                match key {
                    b"avro.codec" => codec = value,
                    b"avro.schema" => schema = value,
                    _ => notes.push((key, value)),
                }
            }
        }
        let header = bytes.get(..bytes.len() - file.rest().len()).unwrap_or(bytes);
        let sync = file.take(SYNC_BYTES)?;
        Ok(Self { header, codec, schema, notes, sync, blocks: file.rest() })
    }

    fn notes(&self) -> HashMap<String, Vec<u8>> {
        let notes = self.notes.iter();
        notes
            .map(|(key, value)| (String::from_utf8_lossy(key).into_owned(), value.to_vec()))
            .collect()
    }
}

/// A file of values of one schema, in blocks.
struct Container<'a> {
    parts: Parts<'a>,
    shape: Shape,
}

impl<'a> Container<'a> {
    fn open(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let parts = Parts::of(bytes)?;
        Ok(Self { shape: Shape::parse(parts.schema)?, parts })
    }

    /// Takes each value in turn.
    fn each<E: From<Malformed>>(
        &self,
        limit: u64,
        mut value: impl FnMut(&Shape, &mut Cursor<'_>) -> Result<(), E>,
    ) -> Result<(), Failed<E>> {
        self.parts.each(&self.shape, limit, |shape, data, _| value(shape, data))
    }
}

impl Parts<'_> {
    /// Takes each value of this shape in turn, with the block that it is in.
    fn each<E: From<Malformed>>(
        &self,
        shape: &Shape,
        limit: u64,
        mut value: impl FnMut(&Shape, &mut Cursor<'_>, &Bytes) -> Result<(), E>,
    ) -> Result<(), Failed<E>> {
        let mut file = Cursor::new(self.blocks);
        let (mut left, mut values_left) = (limit, limit / BYTES_OF_VALUE);
        while !file.is_empty() {
            let count = file.long()?;
            let block = file.bytes()?;
            let inflated = Bytes::from(inflate(self.codec, block, left)?);
            left -= inflated.len() as u64;
            let mut data = Cursor::new(&inflated).with_values_max(values_left);
            if usize::try_from(count).map_or(true, |count| count > inflated.len()) {
                return Err(Malformed("a block declares more rows than it holds").into());
            }
            for _ in 0..count {
                match value(shape, &mut data, &inflated) {
                    Err(_) if data.values_left() == 0 => return Err(Failed::TooLarge),
                    taken => taken.map_err(Failed::Value)?,
                }
            }
            values_left = data.values_left();
            if !data.is_empty() {
                return Err(Malformed("a block holds more than its rows").into());
            }
            if file.take(SYNC_BYTES)? != self.sync {
                return Err(Malformed("a block does not end with the file's mark").into());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
