//! How the blocks of an Avro file are compressed.

use std::collections::HashMap;
use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use icecore_core::{Error, ErrorKind, Result};

use super::Failed;
use super::cursor::Malformed;

/// The property that says how manifests are compressed, and the one that says how much.
const CODEC: &str = "write.avro.compression-codec";
const LEVEL: &str = "write.avro.compression-level";

/// How many times as long a block is likely to be once it is inflated.
const INFLATES_TO: usize = 4;

/// The checksum after a block of snappy.
pub(super) const SNAPPY_TAIL: usize = 4;

/// How blocks are compressed that are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    Null,
    Deflate(u32),
    Snappy,
    Zstandard(i32),
}

impl Codec {
    /// What a table's properties say; `gzip` where they say nothing, as for every engine.
    ///
    /// # Errors
    ///
    /// `Unsupported` for a codec that Avro does not have, `InvalidInput` for a level that is none.
    pub(crate) fn of(properties: &HashMap<String, String>) -> Result<Self> {
        // A manifest is written once and read often: what a higher level saves is not worth it.
        let level = |default: i32, max: i32| match properties.get(LEVEL) {
            None => Ok(default),
            Some(text) => {
                text.parse().ok().filter(|level| (0..=max).contains(level)).ok_or_else(|| {
                    Error::invalid(format!("table property `{LEVEL}` is `{text}`"))
                        .with_help(format!("give a number from 0 to {max}"))
                })
            }
        };
        match properties.get(CODEC).map_or("gzip", String::as_str).to_ascii_lowercase().as_str() {
            "gzip" | "deflate" => Ok(Self::Deflate(level(1, 9)?.unsigned_abs())),
            "zstd" | "zstandard" => level(1, 22).map(Self::Zstandard),
            "snappy" => Ok(Self::Snappy),
            "uncompressed" | "none" | "null" => Ok(Self::Null),
            other => Err(Error::new(
                ErrorKind::Unsupported,
                format!("table property `{CODEC}` is `{other}`, which icecore does not write"),
            )
            .with_help("set it to `gzip`, `zstd`, `snappy` or `uncompressed`")),
        }
    }

    /// Its name in a file's header.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Deflate(_) => "deflate",
            Self::Snappy => "snappy",
            Self::Zstandard(_) => "zstandard",
        }
    }

    pub(super) fn compress(self, content: Vec<u8>) -> Result<Vec<u8>> {
        let cannot = |error| Error::internal("cannot compress a manifest").with_source(error);
        match self {
            Self::Null => Ok(content),
            Self::Deflate(level) => {
                let mut encoder = DeflateEncoder::new(Vec::new(), Compression::new(level));
                encoder.write_all(&content).and_then(|()| encoder.finish()).map_err(cannot)
            }
            Self::Snappy => {
                let block = snap::raw::Encoder::new().compress_vec(&content);
                let mut block = block.map_err(|error| {
                    Error::internal("cannot compress a manifest").with_source(error)
                })?;
                block.extend(crc32fast::hash(&content).to_be_bytes());
                Ok(block)
            }
            Self::Zstandard(level) => zstd::encode_all(&content[..], level).map_err(cannot),
        }
    }
}

/// The content of a block, which is at most `left` bytes.
pub(super) fn inflate<E: From<Malformed>>(
    codec: &[u8],
    block: &[u8],
    left: u64,
) -> Result<Vec<u8>, Failed<E>> {
    let bad = |_| Malformed("a block cannot be inflated");
    let capped = |reader: &mut dyn Read| {
        let likely = block.len().saturating_mul(INFLATES_TO) as u64;
        let mut content = Vec::with_capacity(likely.min(left) as usize);
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
