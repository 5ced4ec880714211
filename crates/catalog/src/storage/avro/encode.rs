//! Writing Avro's numbers and lengths, and the file around them.

use icecore_core::Result;

use super::codec::Codec;
use super::{MAGIC, SYNC_BYTES};

/// A block ends when it has this many bytes: small enough to be read a piece at a time, large
/// enough to be compressed well.
const BLOCK_BYTES: usize = 64 << 10;

/// Values one after the other.
#[derive(Debug, Default)]
pub(super) struct Encoder(Vec<u8>);

impl Encoder {
    /// A zigzag number of up to ten bytes.
    pub(super) fn long(&mut self, value: i64) {
        let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
        while rest >= 0x80 {
            self.0.push((rest & 0x7f) as u8 | 0x80);
            rest >>= 7;
        }
        self.0.push(rest as u8);
    }

    pub(super) fn int(&mut self, value: i32) {
        self.long(value.into());
    }

    /// Bytes or text, with their length.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.length(bytes.len());
        self.raw(bytes);
    }

    /// Bytes as they are.
    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn flag(&mut self, value: bool) {
        self.0.push(value.into());
    }

    /// A value that may be null.
    pub(super) fn some<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        match value {
            None => self.long(0),
            Some(value) => {
                self.long(1);
                write(self, value);
            }
        }
    }

    /// An array, in one block.
    pub(super) fn array<T>(
        &mut self,
        items: impl ExactSizeIterator<Item = T>,
        mut write: impl FnMut(&mut Self, T),
    ) {
        if items.len() > 0 {
            self.length(items.len());
            items.for_each(|item| write(self, item));
        }
        self.long(0);
    }

    fn length(&mut self, length: usize) {
        // Nothing in memory is longer than that.
        self.long(i64::try_from(length).unwrap_or(i64::MAX));
    }
}

/// A file that rows of one schema are put into. Its bytes depend on nothing but what it is given.
#[derive(Debug)]
pub(super) struct ContainerWriter {
    codec: Codec,
    sync: [u8; SYNC_BYTES],
    file: Encoder,
    block: Encoder,
    rows: i64,
}

impl ContainerWriter {
    /// A file of this schema, and what its header says beside it.
    pub(super) fn new(schema: &str, notes: &[(&str, Vec<u8>)], codec: Codec) -> Self {
        let mut file = Encoder::default();
        file.raw(MAGIC);
        let own: [(&str, &[u8]); 2] =
            [("avro.schema", schema.as_bytes()), ("avro.codec", codec.name().as_bytes())];
        let notes = notes.iter().map(|(name, value)| (*name, value.as_slice()));
        let all: Vec<(&str, &[u8])> = own.into_iter().chain(notes).collect();
        file.array(all.into_iter(), |file, (name, value)| {
            file.bytes(name.as_bytes());
            file.bytes(value);
        });
        let sync = mark(&file.0);
        file.raw(&sync);
        Self { codec, sync, file, block: Encoder::default(), rows: 0 }
    }

    /// Adds a row.
    pub(super) fn row(&mut self, write: impl FnOnce(&mut Encoder) -> Result<()>) -> Result<()> {
        write(&mut self.block)?;
        self.rows += 1;
        if self.block.0.len() >= BLOCK_BYTES { self.end_block() } else { Ok(()) }
    }

    fn end_block(&mut self) -> Result<()> {
        let content = std::mem::take(&mut self.block).0;
        self.file.long(std::mem::take(&mut self.rows));
        self.file.bytes(&self.codec.compress(content)?);
        self.file.raw(&self.sync);
        Ok(())
    }

    /// The whole file.
    pub(super) fn finish(mut self) -> Result<Vec<u8>> {
        if self.rows > 0 {
            self.end_block()?;
        }
        Ok(self.file.0)
    }
}

/// The bytes that end each block: any that are unlikely elsewhere, and the same for the same file.
fn mark(header: &[u8]) -> [u8; SYNC_BYTES] {
    let mut mark = [0; SYNC_BYTES];
    for (salt, part) in (1_u32..).zip(mark.chunks_mut(4)) {
        let mut hash = crc32fast::Hasher::new();
        hash.update(&salt.to_le_bytes());
        hash.update(header);
        part.copy_from_slice(&hash.finalize().wrapping_mul(0x9e37_79b1).to_le_bytes());
    }
    mark
}
