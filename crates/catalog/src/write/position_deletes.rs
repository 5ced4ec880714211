//! Position delete files: which rows of a data file are gone (format version 2).
//!
//! Each file speaks of one data file, so readers find it by name and writers see at once whether
//! two of them touched the same rows.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{Schema as ArrowSchema, SchemaRef};
use iceberg::metadata_columns::{
    RESERVED_FIELD_ID_DELETE_FILE_PATH, RESERVED_FIELD_ID_DELETE_FILE_POS, delete_file_path_field,
    delete_file_pos_field,
};
use iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, DataFileFormat, Datum, Schema, Struct,
};
use icecore_core::{Error, Result};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;
use roaring::RoaringTreemap;

use super::naming::delete_file_path;
use super::{CHUNK_ROWS, WriteTarget};
use crate::blocking::blocking;
use crate::error::Context as _;
use crate::schema;

/// Rows of one data file that are to be gone.
#[derive(Debug, Clone)]
pub(crate) struct DeletedRows {
    /// The data file.
    pub(crate) path: String,
    /// The partition that it lies in, of this spec.
    pub(crate) partition: Struct,
    pub(crate) spec_id: i32,
    /// The places of the rows in it. Never empty.
    pub(crate) positions: RoaringTreemap,
}

/// Writes the commit's `number`-th delete file.
///
/// # Errors
///
/// Those of the storage.
pub(crate) async fn write_position_deletes(
    target: &WriteTarget,
    deleted: DeletedRows,
    number: usize,
) -> Result<DataFile> {
    let path = delete_file_path(target.metadata.location(), target.commit, number, "parquet");
    let encoded = blocking(move || {
        let bytes = encode(&deleted.path, &deleted.positions)?;
        Ok::<_, Error>((bytes, deleted))
    });
    let (bytes, deleted) = encoded.await.context(|| "cannot encode deleted rows")??;
    let size = bytes.len() as u64;
    let output = target.io.new_output(&path).context(|| format!("cannot create `{path}`"))?;
    output.write(bytes.into()).await.context(|| format!("cannot write `{path}`"))?;
    describe(path, size, &deleted)
}

fn describe(path: String, size: u64, deleted: &DeletedRows) -> Result<DataFile> {
    let rows = deleted.positions.len();
    let (first, last) = (deleted.positions.min(), deleted.positions.max());
    let (Some(first), Some(last)) = (first, last) else {
        return Err(Error::internal("a delete file deletes nothing"));
    };
    let ids = [RESERVED_FIELD_ID_DELETE_FILE_PATH, RESERVED_FIELD_ID_DELETE_FILE_POS];
    // The path is never cut short: equal bounds tell a reader that one file is meant.
    let bounds = |position| {
        Ok::<_, Error>(
            [(ids[0], Datum::string(&deleted.path)), (ids[1], Datum::long(row_number(position)?))]
                .into(),
        )
    };
    DataFileBuilder::default()
        .content(DataContentType::PositionDeletes)
        .file_path(path)
        .file_format(DataFileFormat::Parquet)
        .partition(deleted.partition.clone())
        .partition_spec_id(deleted.spec_id)
        .record_count(rows)
        .file_size_in_bytes(size)
        .value_counts(ids.map(|id| (id, rows)).into())
        .null_value_counts(ids.map(|id| (id, 0)).into())
        .lower_bounds(bounds(first)?)
        .upper_bounds(bounds(last)?)
        .referenced_data_file(Some(deleted.path.clone()))
        .build()
        .map_err(|error| Error::internal("cannot describe a delete file").with_source(error))
}

fn row_number(position: u64) -> Result<i64> {
    i64::try_from(position).map_err(|_| Error::internal("a row's place is beyond all files"))
}

fn columns() -> Result<SchemaRef> {
    let fields = vec![delete_file_path_field().clone(), delete_file_pos_field().clone()];
    let schema = Schema::builder().with_fields(fields).build();
    let schema = schema.context(|| "cannot describe deleted rows")?;
    schema::to_arrow(&schema)
}

fn encode(path: &str, positions: &RoaringTreemap) -> Result<Vec<u8>> {
    let schema: Arc<ArrowSchema> = columns()?;
    let position_column = ColumnPath::from(schema.field(1).name().as_str());
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        // Sorted numbers, which differences say in a few bits each.
        .set_column_dictionary_enabled(position_column.clone(), false)
        .set_column_encoding(position_column, Encoding::DELTA_BINARY_PACKED)
        .build();
    let mut writer =
        ArrowWriter::try_new(Vec::new(), schema.clone(), Some(properties)).map_err(cannot)?;
    let mut positions = positions.iter();
    loop {
        let chunk = positions.by_ref().take(CHUNK_ROWS).map(row_number);
        let chunk: Vec<i64> = chunk.collect::<Result<_>>()?;
        if chunk.is_empty() {
            break;
        }
        let paths = StringArray::from_iter_values(std::iter::repeat_n(path, chunk.len()));
        let columns: Vec<ArrayRef> = vec![Arc::new(paths), Arc::new(Int64Array::from(chunk))];
        let batch = RecordBatch::try_new(schema.clone(), columns)?;
        writer.write(&batch).map_err(cannot)?;
    }
    writer.into_inner().map_err(cannot)
}

fn cannot(error: ParquetError) -> Error {
    Error::internal("cannot encode deleted rows").with_source(error)
}
