//! Bytes of a Parquet file.

use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt, try_join_all};
use iceberg::io::{FileIO, FileRead};
use icecore_core::{Error, Result};
use parquet::arrow::RowNumber;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::basic::Type as PhysicalType;
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};

use crate::error::Context as _;

/// What a row's place in its file is called while the file is read.
pub(super) const POSITION: &str = "\u{1}position";
/// Bytes at the end of a file that are read first. Most footers fit.
const FOOTER_GUESS: usize = 64 << 10;
/// Ranges with less than this between them are read in one go.
const GAP: u64 = 128 << 10;

/// A file that Parquet is read from.
pub(super) struct Input {
    reader: Box<dyn FileRead>,
    path: Arc<str>,
    size: u64,
}

impl Input {
    pub(super) async fn open(io: &FileIO, path: &str, size: u64) -> Result<Self> {
        let cannot = || cannot_read(path);
        let reader = io.new_input(path).context(cannot)?.reader().await.context(cannot)?;
        Ok(Self { reader, path: path.into(), size })
    }

    async fn read(&self, range: Range<u64>) -> std::result::Result<Bytes, ParquetError> {
        if range.start > range.end || range.end > self.size {
            return Err(ParquetError::External(Box::new(Error::corrupt(format!(
                "`{}` has {} bytes and says that there are some at {}..{}",
                self.path, self.size, range.start, range.end
            )))));
        }
        let wanted = range.end - range.start;
        let bytes = self
            .reader
            .read(range)
            .await
            .map_err(|error| ParquetError::External(Box::new(error)))?;
        if bytes.len() as u64 == wanted {
            return Ok(bytes);
        }
        Err(ParquetError::External(Box::new(Error::corrupt(format!(
            "`{}` is shorter than the table says",
            self.path
        )))))
    }
}

pub(super) fn cannot_read(path: &str) -> String {
    format!("cannot read `{path}`")
}

impl AsyncFileReader for Input {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        self.read(range).boxed()
    }

    fn get_byte_ranges(
        &mut self,
        ranges: Vec<Range<u64>>,
    ) -> BoxFuture<'_, Result<Vec<Bytes>, ParquetError>> {
        async move {
            let merged = merge(&ranges);
            let read = try_join_all(merged.iter().map(|range| self.read(range.clone()))).await?;
            ranges
                .iter()
                .map(|range| {
                    let within = merged.partition_point(|merged| merged.end < range.end);
                    let found = merged.get(within).zip(read.get(within));
                    let slice = found.and_then(|(merged, bytes)| {
                        let start = usize::try_from(range.start.checked_sub(merged.start)?).ok()?;
                        let length = usize::try_from(range.end.checked_sub(range.start)?).ok()?;
                        (start + length <= bytes.len()).then(|| bytes.slice(start..start + length))
                    });
                    slice.ok_or_else(|| ParquetError::EOF("a range is missing".to_owned()))
                })
                .collect()
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        async move {
            let (size, guess) = (self.size, FOOTER_GUESS);
            let mut reader = ParquetMetaDataReader::new().with_prefetch_hint(Some(guess));
            if let Some(options) = options {
                reader = reader
                    .with_metadata_options(Some(options.metadata_options().clone()))
                    .with_column_index_policy(options.column_index_policy())
                    .with_offset_index_policy(options.offset_index_policy());
            }
            reader.load_and_finish(self, size).await.map(Arc::new)
        }
        .boxed()
    }
}

/// Ranges in order that hold all of these.
fn merge(ranges: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut sorted = ranges.to_vec();
    sorted.sort_unstable_by_key(|range| (range.start, range.end));
    let mut merged: Vec<Range<u64>> = Vec::with_capacity(sorted.len());
    for range in sorted {
        match merged.last_mut() {
            Some(last) if range.start <= last.end.saturating_add(GAP) => {
                last.end = last.end.max(range.end);
            }
            _ => merged.push(range),
        }
    }
    merged
}

/// Reads a file's footer. Types are taken from Parquet, not from what some writer noted beside.
pub(super) async fn read_footer(
    input: &mut Input,
    pages: PageIndexPolicy,
    positions: bool,
) -> Result<ArrowReaderMetadata> {
    let path = input.path.clone();
    let cannot = || cannot_read(&path);
    let mut options =
        ArrowReaderOptions::new().with_skip_arrow_metadata(true).with_page_index_policy(pages);
    if positions {
        let field = Field::new(POSITION, DataType::Int64, false).with_extension_type(RowNumber);
        options = options.with_virtual_columns(vec![Arc::new(field)]).context(cannot)?;
    }
    let footer = ArrowReaderMetadata::load_async(input, options.clone()).await.context(cannot)?;
    match wide_int96(&footer, positions) {
        Some(schema) => {
            ArrowReaderMetadata::try_new(footer.metadata().clone(), options.with_schema(schema))
                .context(cannot)
        }
        None => Ok(footer),
    }
}

/// The file's columns with old timestamps in microseconds, which every date fits in.
fn wide_int96(footer: &ArrowReaderMetadata, positions: bool) -> Option<SchemaRef> {
    let leaves = footer.parquet_schema().columns();
    if !leaves.iter().any(|leaf| leaf.physical_type() == PhysicalType::INT96) {
        return None;
    }
    let schema = footer.schema();
    let own = schema.fields().len() - usize::from(positions);
    let mut leaf = 0;
    let mut is_int96 = || {
        leaf += 1;
        leaves.get(leaf - 1).is_some_and(|leaf| leaf.physical_type() == PhysicalType::INT96)
    };
    let fields: Fields =
        schema.fields().iter().take(own).map(|field| wide_field(field, &mut is_int96)).collect();
    Some(Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone())))
}

fn wide_field(field: &FieldRef, is_int96: &mut impl FnMut() -> bool) -> FieldRef {
    let data_type = match field.data_type() {
        DataType::Struct(fields) => {
            DataType::Struct(fields.iter().map(|field| wide_field(field, is_int96)).collect())
        }
        DataType::List(item) => DataType::List(wide_field(item, is_int96)),
        DataType::Map(entries, sorted) => DataType::Map(wide_field(entries, is_int96), *sorted),
        leaf => match (is_int96(), leaf) {
            (true, DataType::Timestamp(_, zone)) => {
                DataType::Timestamp(TimeUnit::Microsecond, zone.clone())
            }
            (_, other) => other.clone(),
        },
    };
    Arc::new(field.as_ref().clone().with_data_type(data_type))
}
