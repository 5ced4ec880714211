//! Rows into files of the user's.

mod csv;

use std::fs::File;
use std::path::Path;

use futures::TryStreamExt;
use icecore_catalog::spread_columns;
use icecore_core::{BatchStream, Error, Result};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;

pub use csv::write_csv;

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
    let schema = rows.schema().clone();
    let first = rows.try_next().await?;
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).map_err(encode)?));
    for column in first.iter().flat_map(spread_columns) {
        let path = ColumnPath::new(vec![column]);
        properties = properties.set_column_dictionary_enabled(path, false);
    }
    let mut writer =
        ArrowWriter::try_new(file, schema, Some(properties.build())).map_err(encode)?;
    let mut count = 0;
    let mut next = first;
    while let Some(batch) = next {
        count += batch.num_rows() as u64;
        writer.write(&batch).map_err(encode)?;
        next = rows.try_next().await?;
    }
    let file = writer.into_inner().map_err(encode)?;
    file.sync_all().map_err(io)?;
    Ok(count)
}
