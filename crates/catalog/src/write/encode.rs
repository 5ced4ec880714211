//! Encoding rows as Parquet.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use iceberg::io::{FileIO, FileWrite};
use iceberg::spec::{DataFile, Struct};
use icecore_core::{Error, Result};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;
use uuid::Uuid;

use super::codec::faster_codec;
use super::metrics::{FileFacts, NanCounts, data_file};
use super::modes::Modes;
use super::naming::data_file_path;
use super::options::Codec;
use super::sort::RowOrder;
use super::spread::spread_columns;
use super::{WriteTarget, options};
use crate::blocking::blocking;
use crate::error::Context as _;

/// What all files of one commit have in common.
#[derive(Debug)]
pub(super) struct Encoding {
    arrow: SchemaRef,
    schema: iceberg::spec::SchemaRef,
    spec_id: i32,
    order: Option<RowOrder>,
    properties: WriterProperties,
    codec: Codec,
    modes: Modes,
    /// Where data files go.
    location: String,
    commit: Uuid,
    io: FileIO,
    target_bytes: usize,
    group_bytes: usize,
    group_rows: usize,
}

impl Encoding {
    pub(super) fn try_new(
        target: &WriteTarget,
        arrow: SchemaRef,
        group_rows: usize,
    ) -> Result<Self> {
        let metadata = &target.metadata;
        let schema = metadata.current_schema().clone();
        Ok(Self {
            arrow,
            spec_id: metadata.default_partition_spec_id(),
            order: RowOrder::try_new(&schema, metadata.default_sort_order())?,
            schema,
            properties: options::writer_properties(metadata, group_rows)?,
            codec: options::codec(metadata)?,
            modes: Modes::of(metadata)?,
            location: options::data_location(metadata),
            commit: target.commit,
            io: target.io.clone(),
            target_bytes: options::target_bytes(metadata)?,
            group_bytes: options::group_bytes(metadata)?,
            group_rows,
        })
    }

    /// Whether this much should wait no longer: it fills a row group, or a file where a file must
    /// be sorted as a whole. Nothing is never enough: whoever encodes what is would not come to an
    /// end.
    pub(super) const fn is_enough(&self, rows: usize, bytes: usize) -> bool {
        rows > 0
            && match self.order {
                Some(_) => bytes >= self.target_bytes,
                None => rows >= self.group_rows || bytes >= self.group_bytes,
            }
    }

    /// Whether a file is written in one go.
    pub(super) const fn is_sorted(&self) -> bool {
        self.order.is_some()
    }

    pub(super) const fn io(&self) -> &FileIO {
        &self.io
    }

    /// Where data files go.
    pub(super) fn location(&self) -> &str {
        &self.location
    }

    pub(super) const fn group_rows(&self) -> usize {
        self.group_rows
    }

    pub(super) const fn spec_id(&self) -> i32 {
        self.spec_id
    }

    /// What a file that is sorted as the table wants says of itself.
    pub(super) fn order_id(&self) -> Option<i32> {
        self.order.as_ref().and_then(RowOrder::id)
    }

    /// What a description of a file goes by.
    pub(super) fn described_by(&self) -> (&iceberg::spec::Schema, &Modes) {
        (&self.schema, &self.modes)
    }

    /// How a file is written that begins with these rows.
    fn properties_for(&self, first: Option<&RecordBatch>) -> WriterProperties {
        let Some(first) = first else { return self.properties.clone() };
        let spread = spread_columns(first);
        if spread.is_empty() {
            return self.properties.clone();
        }
        let mut builder = self.properties.clone().into_builder();
        for name in spread {
            let path = ColumnPath::new(vec![name.clone()]);
            let codec = match (self.codec, first.column_by_name(&name)) {
                (Codec::ByColumn(level), Some(column)) => faster_codec(column, level),
                _ => None,
            };
            if let Some(codec) = codec {
                builder = builder.set_column_compression(path.clone(), codec);
            }
            builder = builder.set_column_dictionary_enabled(path, false);
        }
        builder.build()
    }

    /// How a file is written whose rows come from another one: measured numbers as they are there.
    pub(super) fn properties_like(&self, other: &ParquetMetaData) -> WriterProperties {
        let Some(group) = other.row_groups().first() else { return self.properties.clone() };
        let mut builder = self.properties.clone().into_builder();
        for column in group.columns() {
            let is_number =
                matches!(column.column_type(), Type::DOUBLE | Type::FLOAT | Type::INT64);
            if !is_number || column.dictionary_page_offset().is_some() {
                continue;
            }
            let (path, codec) = (column.column_path(), column.compression());
            let is_quick = matches!(codec, Compression::UNCOMPRESSED | Compression::LZ4_RAW);
            if is_quick && matches!(self.codec, Codec::ByColumn(_)) {
                builder = builder.set_column_compression(path.clone(), codec);
            }
            builder = builder.set_column_dictionary_enabled(path.clone(), false);
        }
        builder.build()
    }

    /// Opens the commit's `number`-th file, which begins with the rows of `first`.
    pub(super) async fn open(
        &self,
        number: usize,
        (partition, directories): (Struct, &str),
        first: Option<&RecordBatch>,
    ) -> Result<OpenFile> {
        let path = data_file_path(&self.location, directories, self.commit, number);
        let properties = Some(self.properties_for(first));
        let writer = ArrowWriter::try_new(Vec::new(), self.arrow.clone(), properties)
            .map_err(cannot_encode)?;
        let output = self.io.new_output(&path).context(|| format!("cannot create `{path}`"))?;
        let output = output.writer().await.context(|| format!("cannot create `{path}`"))?;
        Ok(OpenFile { path, number, partition, writer, output, nans: NanCounts::default() })
    }

    /// Adds rows to a file as row groups of their own.
    pub(super) async fn append(
        self: &Arc<Self>,
        mut file: OpenFile,
        pieces: Vec<RecordBatch>,
    ) -> Result<OpenFile> {
        let encoding = self.clone();
        let encode = move || -> Result<(OpenFile, Bytes)> {
            let bytes = encoding.encode(&mut file, &pieces)?;
            Ok((file, bytes))
        };
        let encoded = blocking(encode).await;
        let (mut file, bytes) = encoded.context(|| "cannot encode rows")??;
        file.write(bytes).await?;
        Ok(file)
    }

    fn encode(&self, file: &mut OpenFile, pieces: &[RecordBatch]) -> Result<Bytes> {
        let (writer, nans) = (&mut file.writer, &mut file.nans);
        let mut write = |rows: &RecordBatch| {
            nans.add(rows);
            writer.write(rows).map_err(cannot_encode)
        };
        match &self.order {
            Some(order) => order.for_each(pieces, write)?,
            None => pieces.iter().try_for_each(&mut write)?,
        }
        file.writer.flush().map_err(cannot_encode)?;
        file.take_bytes()
    }

    /// Whether a file has reached the size that files should have.
    pub(super) fn is_large(&self, file: &OpenFile) -> bool {
        file.writer.bytes_written() >= self.target_bytes
    }

    /// Makes a file visible under its name, and describes it.
    pub(super) async fn close(&self, mut file: OpenFile) -> Result<(usize, DataFile)> {
        let metadata: ParquetMetaData = file.writer.finish().map_err(cannot_encode)?;
        let footer = file.take_bytes()?;
        file.write(footer).await?;
        file.output.close().await.context(|| format!("cannot write `{}`", file.path))?;
        let facts = FileFacts {
            path: file.path,
            partition: file.partition,
            spec_id: self.spec_id,
            order_id: self.order_id(),
            bytes: file.writer.bytes_written() as u64,
            nans: file.nans,
        };
        data_file(self.described_by(), &metadata, facts).map(|described| (file.number, described))
    }
}

/// A file that is not visible yet. Dropped, it leaves nothing behind.
pub(super) struct OpenFile {
    path: String,
    number: usize,
    partition: Struct,
    writer: ArrowWriter<Vec<u8>>,
    output: Box<dyn FileWrite>,
    nans: NanCounts,
}

impl OpenFile {
    /// What the encoder has produced since the last time.
    fn take_bytes(&mut self) -> Result<Bytes> {
        self.writer.sync().context(|| "cannot encode rows")?;
        Ok(Bytes::from(std::mem::take(self.writer.inner_mut())))
    }

    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.output.write(bytes).await.context(|| format!("cannot write `{}`", self.path))
    }
}

pub(super) fn cannot_encode(error: ParquetError) -> Error {
    Error::internal("cannot encode rows as Parquet").with_source(error)
}
