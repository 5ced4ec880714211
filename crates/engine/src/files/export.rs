//! Rows into a Parquet file of the user's.

use std::fs::File;
use std::path::Path;

use futures::TryStreamExt;
use icecore_core::{BatchStream, Error, Result};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

/// Writes rows to a new Parquet file (zstd) in bounded memory, syncs it, and returns how many it
/// has. A file of that name is replaced; one that fails half-way is left behind as it is, so give
/// it a temporary name and rename it.
///
/// # Errors
///
/// `Unavailable` if the file cannot be written, and the first error of the stream.
pub async fn write_parquet(mut rows: BatchStream, path: &Path) -> Result<u64> {
    let unwritable = || format!("cannot write `{}`", path.display());
    let io = |error: std::io::Error| Error::unavailable(unwritable()).with_source(error);
    let encode =
        |error: parquet::errors::ParquetError| Error::unavailable(unwritable()).with_source(error);
    let file = File::create(path).map_err(io)?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).map_err(encode)?))
        .build();
    let schema = rows.schema().clone();
    let mut writer = ArrowWriter::try_new(file, schema, Some(properties)).map_err(encode)?;
    let mut count = 0;
    while let Some(batch) = rows.try_next().await? {
        count += batch.num_rows() as u64;
        writer.write(&batch).map_err(encode)?;
    }
    let file = writer.into_inner().map_err(encode)?;
    file.sync_all().map_err(io)?;
    Ok(count)
}
