//! Deletion vectors: which rows of a data file are gone (format version 3).
//!
//! The vectors of a commit lie in one Puffin file, one blob for each data file. A vector is a set
//! of row numbers as a 64-bit Roaring bitmap, between a magic number and a checksum.

use iceberg::metadata_columns::RESERVED_FIELD_ID_POS;
use iceberg::puffin::{CREATED_BY_PROPERTY, DELETION_VECTOR_V1};
use iceberg::spec::{DataContentType, DataFile, DataFileBuilder, DataFileFormat};
use icecore_core::{Error, Result};
use roaring::RoaringTreemap;
use serde_json::{Value, json};

use super::WriteTarget;
use super::naming::delete_file_path;
use super::position_deletes::DeletedRows;
use crate::error::Context as _;

/// Before, between and after the parts of a Puffin file.
const PUFFIN_MAGIC: &[u8; 4] = b"PFA1";
/// The footer is not compressed.
const NO_FLAGS: [u8; 4] = [0; 4];
const VECTOR_MAGIC: [u8; 4] = [0xD1, 0xD3, 0x39, 0x64];
/// What a vector that no snapshot has yet says of its snapshot and its sequence number.
const INHERITED: i64 = -1;

/// Writes the vectors of a commit into its `number`-th delete file, and describes them in their
/// order. A vector replaces the one that its data file has, so it must hold those rows too.
///
/// # Errors
///
/// Those of the storage.
pub(crate) async fn write_deletion_vectors(
    target: &WriteTarget,
    deleted: &[DeletedRows],
    number: usize,
) -> Result<Vec<DataFile>> {
    let path = delete_file_path(target.metadata.location(), target.commit, number, "puffin");
    let (bytes, blobs) = encode_file(deleted)?;
    let size = bytes.len() as u64;
    let output = target.io.new_output(&path).context(|| format!("cannot create `{path}`"))?;
    output.write(bytes.into()).await.context(|| format!("cannot write `{path}`"))?;
    let described = deleted.iter().zip(blobs).map(|(deleted, (offset, length))| {
        DataFileBuilder::default()
            .content(DataContentType::PositionDeletes)
            .file_path(path.clone())
            .file_format(DataFileFormat::Puffin)
            .partition(deleted.partition.clone())
            .partition_spec_id(deleted.spec_id)
            .record_count(deleted.positions.len())
            .file_size_in_bytes(size)
            .referenced_data_file(Some(deleted.path.clone()))
            .content_offset(Some(offset))
            .content_size_in_bytes(Some(length))
            .build()
            .map_err(|error| {
                Error::internal("cannot describe a deletion vector").with_source(error)
            })
    });
    described.collect()
}

/// Where in its file a vector begins, and how long it is.
type Blob = (i64, i64);

/// A Puffin file of these vectors.
fn encode_file(deleted: &[DeletedRows]) -> Result<(Vec<u8>, Vec<Blob>)> {
    let too_long = |_| Error::unsupported("the deletion vectors of one commit exceed 2^63 bytes");
    let mut file = PUFFIN_MAGIC.to_vec();
    let mut places = Vec::with_capacity(deleted.len());
    let mut blobs: Vec<Value> = Vec::with_capacity(deleted.len());
    for rows in deleted {
        let vector = encode_vector(&rows.positions)?;
        let offset = i64::try_from(file.len()).map_err(too_long)?;
        let length = i64::try_from(vector.len()).map_err(too_long)?;
        file.extend(vector);
        places.push((offset, length));
        blobs.push(json!({
            "type": DELETION_VECTOR_V1,
            "fields": [RESERVED_FIELD_ID_POS],
            "snapshot-id": INHERITED,
            "sequence-number": INHERITED,
            "offset": offset,
            "length": length,
            "properties": {
                "referenced-data-file": rows.path,
                "cardinality": rows.positions.len().to_string(),
            },
        }));
    }
    let created_by = concat!("icecore ", env!("CARGO_PKG_VERSION"));
    let footer = json!({ "blobs": blobs, "properties": { CREATED_BY_PROPERTY: created_by } });
    let footer = footer.to_string();
    let length = u32::try_from(footer.len())
        .map_err(|_| Error::unsupported("a commit deletes rows of too many files at once"))?;
    file.extend(PUFFIN_MAGIC);
    file.extend(footer.as_bytes());
    file.extend(length.to_le_bytes());
    file.extend(NO_FLAGS);
    file.extend(PUFFIN_MAGIC);
    Ok((file, places))
}

/// A `deletion-vector-v1` blob.
fn encode_vector(positions: &RoaringTreemap) -> Result<Vec<u8>> {
    let mut optimized = positions.clone();
    optimized.optimize();
    let body_length = VECTOR_MAGIC.len() + optimized.serialized_size();
    let length = u32::try_from(body_length)
        .map_err(|_| Error::unsupported("the deleted rows of one file do not fit a vector"))?;
    let mut vector = Vec::with_capacity(body_length + 8);
    vector.extend(length.to_be_bytes());
    vector.extend(VECTOR_MAGIC);
    optimized.serialize_into(&mut vector).context(|| "cannot encode a deletion vector")?;
    let checksum = crc32fast::hash(vector.get(4..).unwrap_or_default());
    vector.extend(checksum.to_be_bytes());
    Ok(vector)
}
