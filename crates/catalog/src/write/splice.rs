//! Writing a file again of which most stays as it is: what does not change is copied as it is stored,
//! and what does is encoded.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use iceberg::io::FileWrite;
use iceberg::spec::{DataFile, Schema, Struct};
use icecore_core::{Error, Result};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{SchemaDescriptor, TypePtr};

use super::encode::{Encoding, cannot_encode};
use super::metrics::{FileFacts, NanCounts, data_file};
use super::naming::{data_file_path, partition_directories};
use super::{Conform, Limits, WriteTarget};
use crate::blocking::blocking;
use crate::error::Context as _;
use crate::scan::StoredChunk;
use crate::schema;

/// Rows that are collected before they are encoded.
const PIECE_BYTES: usize = 16 << 20;

/// A file that is put together of row groups, each of columns that are copied or encoded.
pub(crate) struct Splice {
    encoding: Encoding,
    arrow: SchemaRef,
    columns: Arc<Schema>,
    path: String,
    partition: Struct,
    output: Box<dyn FileWrite>,
    /// Absent after a failure.
    state: Option<Box<State>>,
    waiting: Vec<RecordBatch>,
    waiting_bytes: usize,
    conform: Option<Conform>,
}

/// What encoding works on.
struct State {
    writer: SerializedFileWriter<Vec<u8>>,
    factory: ArrowRowGroupWriterFactory,
    nans: NanCounts,
    group: Option<Group>,
    /// Which leaf columns the columns of the table are made of.
    leaves: Vec<Range<usize>>,
}

/// The row group that is being written.
struct Group {
    /// The table's columns that are encoded, by their places.
    encoded: Vec<usize>,
    writers: Vec<Option<ArrowColumnWriter>>,
}

/// A column that is copied, by its place among the table's, with its chunks.
pub(crate) type Copied = (usize, Vec<StoredChunk>);

impl Splice {
    /// Begins a file of these columns in a partition of the table's present partitioning, of which
    /// the rows come from another file.
    ///
    /// # Errors
    ///
    /// As [`super::write_rows`].
    pub(crate) async fn begin(
        target: &WriteTarget,
        columns: &Arc<Schema>,
        partition: Struct,
        source: &ParquetMetaData,
    ) -> Result<Self> {
        let arrow = schema::to_arrow(columns)?;
        let encoding = Encoding::try_new(target, arrow.clone(), Limits::default().group_rows)?;
        let (table, spec) =
            (target.metadata.current_schema(), target.metadata.default_partition_spec());
        let directories = partition_directories(table, spec, &partition)?;
        let path = data_file_path(encoding.location(), &directories, target.commit, 0);
        let properties = Some(encoding.properties_like(source));
        let writer = ArrowWriter::try_new(Vec::new(), arrow.clone(), properties);
        let (writer, factory) =
            writer.and_then(ArrowWriter::into_serialized_writer).map_err(cannot_encode)?;
        let leaves = column_leaves(writer.schema_descr());
        let cannot = || format!("cannot create `{path}`");
        let output = encoding.io().new_output(&path).context(cannot)?;
        let output = output.writer().await.context(cannot)?;
        let (nans, group) = (NanCounts::default(), None);
        let state = Some(Box::new(State { writer, factory, nans, group, leaves }));
        let (columns, waiting) = (columns.clone(), Vec::new());
        Ok(Self {
            encoding,
            arrow,
            columns,
            path,
            partition,
            output,
            state,
            waiting,
            waiting_bytes: 0,
            conform: None,
        })
    }

    /// The file's columns as Parquet has them.
    ///
    /// # Errors
    ///
    /// `Internal` after a failure.
    pub(crate) fn fields(&self) -> Result<&[TypePtr]> {
        Ok(self.state()?.writer.schema_descr().root_schema().get_fields())
    }

    /// The rows that a row group should have at most.
    pub(crate) const fn group_rows(&self) -> usize {
        self.encoding.group_rows()
    }

    /// Begins a row group of which these columns are encoded.
    ///
    /// # Errors
    ///
    /// `Internal` if there is no such column.
    pub(crate) fn begin_group(&mut self, encoded: &BTreeSet<usize>) -> Result<()> {
        let encoded: Vec<usize> = encoded.iter().copied().collect();
        let rows = Arc::new(self.arrow.project(&encoded)?);
        let fields = self.columns.as_struct().fields();
        let fields = encoded.iter().filter_map(|place| fields.get(*place)).cloned();
        let columns = Schema::builder().with_fields(fields).build();
        let columns = columns.context(|| "cannot take columns of a table")?;
        self.conform = Some(Conform::for_table(&rows, &rows, &columns)?);
        self.state.as_mut().ok_or_else(broken_off)?.begin(encoded)
    }

    /// Adds rows of the encoded columns.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a null in a required column.
    pub(crate) async fn push(&mut self, rows: &RecordBatch) -> Result<()> {
        let rows = match &self.conform {
            Some(conform) => conform.batch(rows)?,
            None => return Err(Error::internal("rows came before their row group")),
        };
        self.waiting_bytes += rows.get_array_memory_size();
        self.waiting.push(rows);
        if self.waiting_bytes >= PIECE_BYTES { self.work(None).await } else { Ok(()) }
    }

    /// Ends the row group with the columns that are copied.
    ///
    /// # Errors
    ///
    /// `Internal` if columns have different numbers of rows.
    pub(crate) async fn end_group(&mut self, copied: Vec<Copied>) -> Result<()> {
        self.work(Some(copied)).await
    }

    async fn work(&mut self, end: Option<Vec<Copied>>) -> Result<()> {
        self.waiting_bytes = 0;
        let waiting = std::mem::take(&mut self.waiting);
        let mut state = self.state.take().ok_or_else(broken_off)?;
        let worked = blocking(move || -> Result<(Box<State>, Bytes)> {
            waiting.iter().try_for_each(|rows| state.encode(rows))?;
            if let Some(copied) = end {
                state.end(copied)?;
            }
            let bytes = state.take_bytes()?;
            Ok((state, bytes))
        });
        let (state, bytes) = worked.await.context(|| "cannot encode rows")??;
        self.state = Some(state);
        self.write(bytes).await
    }

    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.output.write(bytes).await.context(|| format!("cannot write `{}`", self.path))
    }

    /// Makes the file visible under its name, and describes it. `nans` says of columns that were
    /// copied how many NaNs are in them, where that is known.
    ///
    /// # Errors
    ///
    /// Those of the storage.
    pub(crate) async fn finish(mut self, nans: &[(i32, Option<u64>)]) -> Result<DataFile> {
        let mut state = self.state.take().ok_or_else(broken_off)?;
        let metadata = state.writer.finish().map_err(cannot_encode)?;
        let footer = state.take_bytes()?;
        self.write(footer).await?;
        self.output.close().await.context(|| format!("cannot write `{}`", self.path))?;
        for (id, count) in nans {
            state.nans.copied(*id, *count);
        }
        let facts = FileFacts {
            path: self.path,
            partition: self.partition,
            spec_id: self.encoding.spec_id(),
            order_id: self.encoding.order_id(),
            bytes: state.writer.bytes_written() as u64,
            nans: state.nans,
        };
        data_file(self.encoding.described_by(), &metadata, facts)
    }

    fn state(&self) -> Result<&State> {
        self.state.as_deref().ok_or_else(broken_off)
    }
}

impl State {
    fn begin(&mut self, encoded: Vec<usize>) -> Result<()> {
        let index = self.writer.flushed_row_groups().len();
        let writers = self.factory.create_column_writers(index).map_err(cannot_encode)?;
        let writers = writers.into_iter().map(Some).collect();
        self.group = Some(Group { encoded, writers });
        Ok(())
    }

    fn encode(&mut self, rows: &RecordBatch) -> Result<()> {
        let group = self.group.as_mut().ok_or_else(broken_off)?;
        self.nans.add(rows);
        let schema = rows.schema_ref().fields();
        for ((place, field), column) in group.encoded.iter().zip(schema).zip(rows.columns()) {
            let parts = compute_leaves(field, column).map_err(cannot_encode)?;
            let leaves = self.leaves.get(*place).cloned().unwrap_or_default();
            for (leaf, part) in leaves.zip(parts) {
                let writer = group.writers.get_mut(leaf).and_then(Option::as_mut);
                writer.ok_or_else(broken_off)?.write(&part).map_err(cannot_encode)?;
            }
        }
        Ok(())
    }

    fn end(&mut self, copied: Vec<Copied>) -> Result<()> {
        let mut group = self.group.take().ok_or_else(broken_off)?;
        let mut copied: BTreeMap<usize, Vec<StoredChunk>> = copied.into_iter().collect();
        let mut into = self.writer.next_row_group().map_err(cannot_encode)?;
        for (place, leaves) in self.leaves.iter().enumerate() {
            if let Some(chunks) = copied.remove(&place) {
                for StoredChunk { bytes, close } in chunks {
                    into.append_column(&bytes, close).map_err(cannot_encode)?;
                }
                continue;
            }
            for leaf in leaves.clone() {
                let writer = group.writers.get_mut(leaf).and_then(Option::take);
                let chunk = writer.ok_or_else(broken_off)?.close().map_err(cannot_encode)?;
                chunk.append_to_row_group(&mut into).map_err(cannot_encode)?;
            }
        }
        into.close().map_err(cannot_encode)?;
        Ok(())
    }

    /// What was produced since the last time.
    fn take_bytes(&mut self) -> Result<Bytes> {
        self.writer.flush().context(|| "cannot encode rows")?;
        Ok(Bytes::from(std::mem::take(self.writer.inner_mut())))
    }
}

fn broken_off() -> Error {
    Error::internal("a file that was put together broke off")
}

/// Which leaf columns each column of a file is made of.
pub(crate) fn column_leaves(schema: &SchemaDescriptor) -> Vec<Range<usize>> {
    let mut found = vec![0..0; schema.root_schema().get_fields().len()];
    for leaf in 0..schema.num_columns() {
        if let Some(range) = found.get_mut(schema.get_column_root_idx(leaf)) {
            let start = if range.end == 0 { leaf } else { range.start };
            *range = start..leaf + 1;
        }
    }
    found
}
