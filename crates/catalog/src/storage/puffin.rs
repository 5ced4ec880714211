//! Puffin files, whole and of a bounded size: what stands in one is checked before it is used.
//!
//! The format is [Puffin](https://iceberg.apache.org/puffin-spec/).

use std::collections::BTreeMap;
use std::io::Read;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use iceberg::io::FileIO;
use icecore_core::{Error, Result};
use serde::Deserialize;

use super::limits::{StorageLimits, exceeded};
use crate::error::Context as _;

const MAGIC: &[u8; 4] = b"PFA1";
/// The length of the footer's text, the flags, and the magic.
const TAIL_BYTES: usize = 12;
/// What raises the limit.
const SETTING: &str = "storage.inflated_limit";

/// A piece of a file, inflated.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) kind: String,
    pub(crate) fields: Vec<i32>,
    pub(crate) properties: BTreeMap<String, String>,
    pub(crate) data: Bytes,
}

#[derive(Deserialize)]
struct Footer {
    blobs: Vec<Described>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Described {
    r#type: String,
    fields: Vec<i32>,
    offset: usize,
    length: usize,
    #[serde(default)]
    compression_codec: Option<String>,
    #[serde(default)]
    properties: BTreeMap<String, String>,
}

/// Reads a Puffin file of a table.
///
/// # Errors
///
/// `LimitExceeded` for a file that is larger than the limit, stored or inflated, `DataCorrupt` for
/// one that is no whole Puffin file, both naming it.
pub(crate) async fn read_puffin(io: &FileIO, location: &str) -> Result<Vec<Piece>> {
    let limit = StorageLimits::of_io(io).inflated_bytes;
    let cannot = || format!("cannot read `{location}`");
    let input = io.new_input(location).context(cannot)?;
    // What the metadata says of its size is not what is there.
    if input.metadata().await.context(cannot)?.size > limit {
        return Err(exceeded(location, "the file", limit, SETTING));
    }
    pieces(location, &input.read().await.context(cannot)?, limit)
}

fn pieces(location: &str, bytes: &Bytes, limit: u64) -> Result<Vec<Piece>> {
    let corrupt = |what: &str| {
        Error::corrupt(format!("`{location}` is no whole Puffin file")).with_note(what)
    };
    let footer = footer(bytes).ok_or_else(|| corrupt("its footer is not where it should be"))?;
    let footer: Footer = serde_json::from_slice(footer.map_err(|lz4| lz4.of(location))?)
        .map_err(|error| corrupt("its footer cannot be parsed").with_source(error))?;
    let mut left = limit;
    let mut pieces = Vec::with_capacity(footer.blobs.len());
    for blob in footer.blobs {
        let end = blob.offset.checked_add(blob.length);
        let stored = end.filter(|end| blob.offset >= MAGIC.len() && *end <= bytes.len());
        let stored = stored.map(|end| bytes.slice(blob.offset..end));
        let stored = stored.ok_or_else(|| corrupt("a piece of it lies outside of it"))?;
        let codec = blob.compression_codec.as_deref().filter(|codec| *codec != "none");
        let inflated = match codec {
            None => Ok(stored),
            Some("zstd") => zstd::stream::read::Decoder::new(&stored[..])
                .and_then(|content| inflated(content, left)),
            Some("gzip") => inflated(MultiGzDecoder::new(&stored[..]), left),
            Some(codec) => {
                return Err(Error::unsupported(format!(
                    "a piece of `{location}` is compressed with `{codec}`"
                ))
                .with_note("what can be read: none, zstd, gzip"));
            }
        };
        let data = inflated
            .map_err(|error| corrupt("a piece of it cannot be inflated").with_source(error))?;
        // Pieces that are stored as they are share the bytes of the file.
        if codec.is_some() {
            let room = left.checked_sub(data.len() as u64);
            left =
                room.ok_or_else(|| exceeded(location, "the inflated content", limit, SETTING))?;
        }
        let Described { r#type: kind, fields, properties, .. } = blob;
        pieces.push(Piece { kind, fields, properties, data });
    }
    Ok(pieces)
}

/// Up to one byte more than there is room for.
fn inflated(content: impl Read, left: u64) -> std::io::Result<Bytes> {
    let mut data = Vec::new();
    content.take(left.saturating_add(1)).read_to_end(&mut data)?;
    Ok(Bytes::from(data))
}

/// A footer that is compressed, which is done with LZ4 alone.
struct Compressed;

impl Compressed {
    fn of(self, location: &str) -> Error {
        Error::unsupported(format!("the footer of `{location}` is compressed"))
            .with_help("write it without the compression of its footer")
    }
}

/// The text of a file's footer: magic, text, its length, flags, magic.
fn footer(bytes: &[u8]) -> Option<std::result::Result<&[u8], Compressed>> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (rest, tail) = rest.split_at_checked(rest.len().checked_sub(TAIL_BYTES)?)?;
    let (length, tail) = tail.split_first_chunk::<4>()?;
    let (flags, magic) = tail.split_first_chunk::<4>()?;
    if magic != MAGIC {
        return None;
    }
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (rest, text) = rest.split_at_checked(rest.len().checked_sub(length)?)?;
    if !rest.ends_with(MAGIC) {
        return None;
    }
    Some(if *flags == [0; 4] { Ok(text) } else { Err(Compressed) })
}

#[cfg(test)]
mod tests {
    use icecore_core::ErrorKind;
    use proptest::prelude::*;

    use super::*;

    const LIMIT: u64 = 1 << 20;

    fn file(data: &[u8], length: usize, codec: Option<&str>) -> Bytes {
        let mut described = serde_json::json!({
            "type": "t", "fields": [1], "snapshot-id": 1, "sequence-number": 1,
            "offset": 4, "length": length, "properties": { "a": "b" },
        });
        if let Some(codec) = codec {
            described["compression-codec"] = codec.into();
        }
        let text = serde_json::json!({ "blobs": [described] }).to_string();
        let mut file = MAGIC.to_vec();
        file.extend(data);
        file.extend(MAGIC);
        file.extend(text.as_bytes());
        file.extend(u32::try_from(text.len()).unwrap().to_le_bytes());
        file.extend([0; 4]);
        file.extend(MAGIC);
        file.into()
    }

    fn whole(codec: Option<&str>, content: &[u8]) -> Bytes {
        let data = match codec {
            Some("zstd") => zstd::stream::encode_all(content, 1).unwrap(),
            Some("gzip") => {
                let mut data = Vec::new();
                let level = flate2::Compression::fast();
                flate2::read::GzEncoder::new(content, level).read_to_end(&mut data).unwrap();
                data
            }
            _ => content.to_vec(),
        };
        file(&data, data.len(), codec)
    }

    #[test]
    fn pieces_are_read_however_they_are_compressed() {
        for codec in [None, Some("none"), Some("zstd"), Some("gzip")] {
            let read = pieces("a.stats", &whole(codec, b"content"), LIMIT).unwrap();
            let [piece] = read.as_slice() else { panic!("{read:?}") };
            assert_eq!((piece.kind.as_str(), piece.fields.as_slice()), ("t", [1].as_slice()));
            assert_eq!(piece.properties["a"], "b");
            assert_eq!(&piece.data[..], b"content");
        }
        let error = pieces("a.stats", &whole(Some("lz4"), b"content"), LIMIT).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }

    #[test]
    fn what_inflates_to_more_than_the_limit_is_refused() {
        let zeros = vec![0; 64 << 20];
        for codec in ["zstd", "gzip"] {
            let bomb = whole(Some(codec), &zeros);
            assert!(bomb.len() < 1 << 20, "{}", bomb.len());
            let error = pieces("a.stats", &bomb, LIMIT).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::LimitExceeded);
            assert!(error.to_string().contains("`a.stats`"), "{error}");
        }
        pieces("a.stats", &whole(Some("zstd"), &zeros[..1 << 20]), LIMIT).unwrap();
    }

    #[test]
    fn what_is_no_whole_file_is_damaged() {
        let good = whole(None, b"content");
        let cut = good.slice(..good.len() - 1);
        for bytes in [
            Bytes::new(),
            Bytes::from_static(b"PFA1"),
            Bytes::from_static(b"PFA1PFA1\0\0\0\0\0\0\0\0PFA1"),
            cut,
            file(b"content", 1 << 40, None),
            file(b"content", usize::MAX, None),
            file(b"no zstd", 7, Some("zstd")),
        ] {
            let error = pieces("a.stats", &bytes, LIMIT).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::DataCorrupt, "{bytes:?}");
            assert!(error.to_string().contains("`a.stats`"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_change_of_bytes_is_a_panic(
            at in 0_usize..200,
            new in prop::collection::vec(any::<u8>(), 1..9),
            codec in prop::sample::select(vec![None, Some("zstd"), Some("gzip")]),
        ) {
            let mut bytes = whole(codec, b"content").to_vec();
            for (byte, new) in bytes.iter_mut().skip(at).zip(new) {
                *byte = new;
            }
            let _ = pieces("a.stats", &bytes.into(), LIMIT);
        }
    }
}
