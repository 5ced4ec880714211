use std::io::Write;

use flate2::Compression;
use flate2::write::DeflateEncoder;
use icecore_core::ErrorKind;
use proptest::prelude::*;

use super::codec::SNAPPY_TAIL;
use super::*;

const NUMBERS: &str = r#"{"type": "record", "name": "r", "fields": [
    {"name": "a", "type": "long"},
    {"name": "b", "type": ["null", {"type": "array", "items": "int"}]},
    {"name": "c", "type": {"type": "map", "values": "string"}}
]}"#;

fn long(value: i64) -> Vec<u8> {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    let mut bytes = Vec::new();
    loop {
        let byte = (rest & 0x7f) as u8;
        rest >>= 7;
        if rest == 0 {
            bytes.push(byte);
            return bytes;
        }
        bytes.push(byte | 0x80);
    }
}

fn text(value: &[u8]) -> Vec<u8> {
    [long(value.len() as i64), value.to_vec()].concat()
}

/// A container with blocks of so many rows and this stored content.
fn container(codec: &str, schema: &str, blocks: &[(i64, Vec<u8>)]) -> Vec<u8> {
    let mut file = MAGIC.to_vec();
    file.extend(long(2));
    for (key, value) in [("avro.codec", codec), ("avro.schema", schema)] {
        file.extend(text(key.as_bytes()));
        file.extend(text(value.as_bytes()));
    }
    file.extend(long(0));
    file.extend([7; SYNC_BYTES]);
    for (count, content) in blocks {
        file.extend(long(*count));
        file.extend(text(content));
        file.extend([7; SYNC_BYTES]);
    }
    file
}

/// The row (5, [1, 2], {"k": "v"}).
fn row() -> Vec<u8> {
    [long(5), long(1), long(2), long(1), long(2), long(0), long(1), text(b"k"), text(b"v"), long(0)]
        .concat()
}

fn deflated(content: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn kind(file: &[u8], limit: u64) -> Option<ErrorKind> {
    let checked = check("s3://lake/m.avro", file, limit);
    checked.err().map(|error| {
        assert!(error.to_string().contains("`s3://lake/m.avro`"), "{error}");
        error.kind()
    })
}

#[test]
fn whole_files_pass_whatever_their_codec() {
    let rows = [row(), row()].concat();
    let snappy = {
        let mut block = snap::raw::Encoder::new().compress_vec(&rows).unwrap();
        block.extend([0; SNAPPY_TAIL]);
        block
    };
    let zstandard = zstd::encode_all(&rows[..], 3).unwrap();
    let blocks = [
        ("null", rows.clone()),
        ("deflate", deflated(&rows)),
        ("snappy", snappy),
        ("zstandard", zstandard),
    ];
    for (codec, block) in blocks {
        let file = container(codec, NUMBERS, &[(2, block.clone()), (2, block)]);
        assert_eq!(kind(&file, 1 << 20), None, "{codec}");
        assert_eq!(kind(&file, rows.len() as u64), Some(ErrorKind::LimitExceeded), "{codec}");
    }
    // Many rows that are alike take fewer bytes than there are rows.
    let many = vec![row(); 10_000].concat();
    assert_eq!(kind(&container("deflate", NUMBERS, &[(10_000, deflated(&many))]), 1 << 20), None);
}

#[test]
fn a_bomb_is_refused_before_it_fills_memory() {
    // 1 GiB of zeros in a megabyte.
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    let zeros = vec![0; 1 << 20];
    for _ in 0..64 {
        encoder.write_all(&zeros).unwrap();
    }
    let file = container("deflate", NUMBERS, &[(1, encoder.finish().unwrap())]);
    assert!(file.len() < 1 << 20);
    assert_eq!(kind(&file, 16 << 20), Some(ErrorKind::LimitExceeded));
    // Snappy says how long the content is before it is there.
    let declared = [&[0xff, 0xff, 0xff, 0xff, 0x0f][..], &[0; 16]].concat();
    let file = container("snappy", NUMBERS, &[(1, declared)]);
    assert_eq!(kind(&file, 16 << 20), Some(ErrorKind::LimitExceeded));
}

#[test]
fn declared_lengths_are_not_believed() {
    let huge = 1_i64 << 40;
    let array = [long(5), long(1), long(huge)].concat();
    let array_by_size = [long(5), long(1), long(-huge), long(huge)].concat();
    let string = [long(5), long(0), long(1), long(huge)].concat();
    for content in [array, array_by_size, string, vec![0xff; 30], Vec::new()] {
        let file = container("null", NUMBERS, &[(1, content.clone())]);
        assert_eq!(kind(&file, 1 << 20), Some(ErrorKind::DataCorrupt), "{content:?}");
    }
    for count in [-1, 3, huge, i64::MIN, i64::MAX] {
        let file = container("null", NUMBERS, &[(count, [row(), row()].concat())]);
        assert_eq!(kind(&file, 1 << 20), Some(ErrorKind::DataCorrupt), "{count}");
    }
    let nothing = r#"{"type": "record", "name": "r", "fields": [{"name": "a", "type": "null"}]}"#;
    let file = container("null", nothing, &[(huge, Vec::new())]);
    assert_eq!(kind(&file, 1 << 20), Some(ErrorKind::DataCorrupt));
}

#[test]
fn schemas_that_grow_without_end_are_refused() {
    let mut fields =
        String::from(r#"{"name": "f0", "type": {"type": "fixed", "name": "t0", "size": 0}}"#);
    for level in 1..60 {
        let below = level - 1;
        fields.push_str(&format!(
            r#", {{"name": "f{level}", "type": {{"type": "record", "name": "t{level}", "fields": [
                {{"name": "a", "type": "t{below}"}}, {{"name": "b", "type": "t{below}"}}]}}}}"#
        ));
    }
    let schema = format!(r#"{{"type": "record", "name": "r", "fields": [{fields}]}}"#);
    assert_eq!(kind(&container("null", &schema, &[]), 1 << 20), Some(ErrorKind::DataCorrupt));
    let deep = format!("{}\"int\"{}", r#"{"type": "array", "items": "#.repeat(90), "}".repeat(90));
    assert_eq!(kind(&container("null", &deep, &[]), 1 << 20), Some(ErrorKind::DataCorrupt));
    for schema in ["", "{", "7", r#"{"type": "array"}"#, r#""nobody""#] {
        assert_eq!(kind(&container("null", schema, &[]), 1 << 20), Some(ErrorKind::DataCorrupt));
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_check_panic(
        noise in proptest::collection::vec(any::<(usize, u8)>(), 0..6),
        cut in any::<usize>(),
    ) {
        let content = deflated(&[row(), row()].concat());
        let mut file = container("deflate", NUMBERS, &[(2, content)]);
        for (at, byte) in noise {
            let at = at % file.len();
            file[at] = byte;
        }
        file.truncate(cut % (file.len() + 1));
        let _ = check("f", &file, 1 << 16);
    }
}
