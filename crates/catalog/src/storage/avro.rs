//! Looking through an Avro file before it is parsed, so that what it declares cannot exhaust
//! memory: lengths are those of bytes that are there, and inflated blocks stay below a limit.

mod cursor;
mod datum;
mod manifest;

use std::collections::HashMap;
use std::io::Read;

use flate2::read::DeflateDecoder;
use icecore_core::{Error, Result};

use super::limits::exceeded;
use cursor::{Cursor, Malformed};
use datum::Shape;
pub(super) use manifest::manifest;

const MAGIC: &[u8] = b"Obj\x01";
const SYNC_BYTES: usize = 16;
/// Parsed values are many times as large as their bytes, so that they are limited too: one for so
/// many bytes of the limit.
const BYTES_OF_VALUE: u64 = 8;
/// The checksum after a block of snappy.
const SNAPPY_TAIL: usize = 4;

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

/// A file of values of one schema, in blocks.
struct Container<'a> {
    codec: &'a [u8],
    shape: Shape,
    /// What else its header says.
    notes: HashMap<String, Vec<u8>>,
    sync: &'a [u8],
    blocks: &'a [u8],
}

impl<'a> Container<'a> {
    fn open(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut file = Cursor::new(bytes);
        if file.take(MAGIC.len())? != MAGIC {
            return Err(Malformed("it does not begin as one"));
        }
        let (mut codec, mut schema, mut notes) = (&b"null"[..], &b""[..], HashMap::new());
        while let Some(count) = file.block_length()? {
            for _ in 0..count {
                let (key, value) = (file.bytes()?, file.bytes()?);
                match key {
                    b"avro.codec" => codec = value,
                    b"avro.schema" => schema = value,
                    _ => {
                        notes.insert(String::from_utf8_lossy(key).into_owned(), value.to_vec());
                    }
                }
            }
        }
        let shape = Shape::parse(schema)?;
        let sync = file.take(SYNC_BYTES)?;
        Ok(Self { codec, shape, notes, sync, blocks: file.rest() })
    }

    /// Takes each value in turn.
    fn each<E: From<Malformed>>(
        &self,
        limit: u64,
        mut value: impl FnMut(&Shape, &mut Cursor<'_>) -> Result<(), E>,
    ) -> Result<(), Failed<E>> {
        let mut file = Cursor::new(self.blocks);
        let (mut left, mut values_left) = (limit, limit / BYTES_OF_VALUE);
        while !file.is_empty() {
            let count = file.long()?;
            let block = file.bytes()?;
            let inflated = inflate(self.codec, block, left)?;
            left -= inflated.len() as u64;
            let mut data = Cursor::new(&inflated).with_values_max(values_left);
            if usize::try_from(count).map_or(true, |count| count > inflated.len()) {
                return Err(Malformed("a block declares more rows than it holds").into());
            }
            for _ in 0..count {
                match value(&self.shape, &mut data) {
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

/// The content of a block, which is at most `left` bytes.
fn inflate<E: From<Malformed>>(
    codec: &[u8],
    block: &[u8],
    left: u64,
) -> Result<Vec<u8>, Failed<E>> {
    let bad = |_| Malformed("a block cannot be inflated");
    let capped = |reader: &mut dyn Read| {
        let mut content = Vec::new();
        reader.take(left.saturating_add(1)).read_to_end(&mut content).map_err(bad)?;
        if content.len() as u64 > left { Err(Failed::TooLarge) } else { Ok(content) }
    };
    match codec {
        b"null" => capped(&mut &block[..]),
        b"deflate" => capped(&mut DeflateDecoder::new(block)),
        b"zstandard" => {
            let mut decoder = zstd::stream::read::Decoder::new(block).map_err(bad)?;
            // A window of 128 MiB is what the format's own tools take.
            decoder.window_log_max(27).map_err(bad)?;
            capped(&mut decoder)
        }
        b"snappy" => {
            let end = block.len().checked_sub(SNAPPY_TAIL);
            let block = end.and_then(|end| block.get(..end));
            let block = block.ok_or(Malformed("a block is cut short"))?;
            let declared = snap::raw::decompress_len(block)
                .map_err(|_| Malformed("a block cannot be inflated"))?;
            if declared as u64 > left {
                return Err(Failed::TooLarge);
            }
            let content = snap::raw::Decoder::new().decompress_vec(block);
            Ok(content.map_err(|_| Malformed("a block cannot be inflated"))?)
        }
        _ => Err(Malformed("its codec is none of null, deflate, snappy, zstandard").into()),
    }
}

#[cfg(test)]
mod tests;
