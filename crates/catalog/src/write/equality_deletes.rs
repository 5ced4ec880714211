//! Equality delete files: rows are gone that have one of these keys and are older than the file.
//!
//! They cost nothing to write and much to read, and some engines cannot read them at all, so they
//! are written only when they are asked for.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use iceberg::spec::{DataContentType, DataFile, PartitionSpec, Schema, Struct};
use icecore_core::{Error, Result};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::properties::WriterProperties;

use super::WriteTarget;
use super::buffer::Buffers;
use super::metrics::{FileFacts, NanCounts, data_file};
use super::modes::Modes;
use super::naming::delete_file_path;
use super::split::{Placed, Splitter};
use super::stage::Stage;
use crate::blocking::blocking;
use crate::described::told_again;
use crate::error::Context as _;

/// Keys of rows that are to be gone.
#[derive(Debug)]
pub(crate) struct DeletedKeys {
    /// The columns of the table that are compared, in the table's types and with their ids.
    pub(crate) schema: iceberg::spec::SchemaRef,
    /// Their values.
    pub(crate) keys: RecordBatch,
    /// The partitioning that the keys' files follow. A key of a partition says nothing about
    /// others, one of no partitioning speaks of the whole table.
    pub(crate) spec: Arc<PartitionSpec>,
}

/// Writes the commit's delete files from its `number`-th on, one for each partition.
///
/// # Errors
///
/// Those of the storage; `InvalidInput` if the partition does not follow from the keys.
pub(crate) async fn write_equality_deletes(
    target: &WriteTarget,
    deleted: &DeletedKeys,
    number: usize,
) -> Result<Vec<DataFile>> {
    let mut files = Vec::new();
    for (partition, keys) in by_partition(deleted)? {
        let location = target.metadata.location();
        let number = number + files.len();
        let path = delete_file_path(location, target.commit, number, "parquet");
        let encoded = blocking(move || encode(&keys));
        let (bytes, metadata, nans) = encoded.await.context(|| "cannot encode deleted keys")??;
        let facts = FileFacts {
            path: path.clone(),
            partition,
            spec_id: deleted.spec.spec_id(),
            order_id: None,
            bytes: bytes.len() as u64,
            nans,
        };
        let modes = Modes::of(&target.metadata)?;
        let described = data_file((&deleted.schema, &modes), &metadata, facts)?;
        let output = target.io.new_output(&path).context(|| format!("cannot create `{path}`"))?;
        output.write(bytes.into()).await.context(|| format!("cannot write `{path}`"))?;
        files.push(as_deletes(&described, deleted)?);
    }
    Ok(files)
}

fn by_partition(deleted: &DeletedKeys) -> Result<Vec<(Struct, RecordBatch)>> {
    if deleted.keys.num_rows() == 0 {
        return Ok(Vec::new());
    }
    if deleted.spec.is_unpartitioned() {
        return Ok(vec![(Struct::empty(), deleted.keys.clone())]);
    }
    let mut splitter = Splitter::try_new(&deleted.schema, &deleted.spec)?;
    let mut buffers = Buffers::default();
    match splitter.place(&deleted.keys, &mut buffers)? {
        Placed::Together(partition) => buffers.push(partition, deleted.keys.clone())?,
        Placed::Apart(partitions) => {
            let mut stage = Stage::default();
            stage.add(deleted.keys.clone(), &partitions);
            stage.hand_out(&mut buffers)?;
        }
    }
    let mut found = Vec::with_capacity(buffers.len());
    for load in (0..buffers.len()).filter_map(|index| buffers.take(index)) {
        let keys = concat_batches(&deleted.keys.schema(), &load.pieces)?;
        found.push((load.partition, keys));
    }
    Ok(found)
}

fn encode(keys: &RecordBatch) -> Result<(Vec<u8>, ParquetMetaData, NanCounts)> {
    let mut nans = NanCounts::default();
    nans.add(keys);
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .build();
    let mut writer =
        ArrowWriter::try_new(Vec::new(), keys.schema(), Some(properties)).map_err(cannot)?;
    writer.write(keys).map_err(cannot)?;
    let metadata = writer.finish().map_err(cannot)?;
    writer.sync().context(|| "cannot encode deleted keys")?;
    Ok((std::mem::take(writer.inner_mut()), metadata, nans))
}

fn cannot(error: ParquetError) -> Error {
    Error::internal("cannot encode deleted keys").with_source(error)
}

/// The same file, as one of deletes.
fn as_deletes(file: &DataFile, deleted: &DeletedKeys) -> Result<DataFile> {
    let ids = deleted.schema.as_struct().fields().iter().map(|field| field.id).collect();
    told_again(file)
        .content(DataContentType::EqualityDeletes)
        .equality_ids(Some(ids))
        .partition_spec_id(deleted.spec.spec_id())
        .build()
        .map_err(|error| Error::internal("cannot describe a delete file").with_source(error))
}

/// The columns of a table that keys are of, in the order of `names`, with their types and ids.
///
/// # Errors
///
/// `NotFound` for a column that the table lacks.
pub(crate) fn key_schema(schema: &Schema, names: &[String]) -> Result<Schema> {
    let mut fields = Vec::with_capacity(names.len());
    for name in names {
        let mut all = schema.as_struct().fields().iter();
        let field = all.find(|field| field.name == *name);
        fields.push(field.cloned().ok_or_else(|| crate::schema::no_such_column(schema, name))?);
    }
    Schema::builder().with_fields(fields).build().context(|| "cannot take the columns of a key")
}
