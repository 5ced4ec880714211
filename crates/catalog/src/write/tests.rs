mod casts;
mod deletes;
mod partitions;
mod properties;
mod rows;
mod transforms;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use arrow::array::{Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema, SchemaRef, TimeUnit};
use arrow::util::display::array_value_to_string;
use bytes::Bytes;
use iceberg::TableCreation;
use iceberg::spec::TableMetadataBuilder;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::*;
use crate::storage::{Files, StorageOptions, Warehouse};

/// A table that has no catalog.
pub(crate) struct Bench {
    root: Option<tempfile::TempDir>,
    pub(crate) schema: SchemaRef,
    target: WriteTarget,
}

#[derive(Default)]
struct Layout<'a> {
    partition_by: &'a [&'a str],
    sort_by: &'a [&'a str],
    properties: &'a [(&'a str, &'a str)],
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

impl Bench {
    fn new(schema: &SchemaRef, layout: &Layout<'_>) -> Self {
        let root = tempfile::tempdir().unwrap();
        let location = format!("file://{}", root.path().display());
        let options = StorageOptions::default();
        let io = Files::open(&Warehouse::at(&location), &options).unwrap().io();
        Self { root: Some(root), ..Self::at(&location, io, schema, layout) }
    }

    /// For tests of thousands of files.
    fn in_memory(schema: &SchemaRef, layout: &Layout<'_>) -> Self {
        Self::at("memory:///t", FileIO::new_with_memory(), schema, layout)
    }

    fn at(location: &str, io: FileIO, schema: &SchemaRef, layout: &Layout<'_>) -> Self {
        let columns = schema::to_iceberg(schema).unwrap();
        let properties = layout.properties.iter();
        let creation = TableCreation::builder()
            .name("t".to_owned())
            .location(location.to_owned())
            .partition_spec(schema::partition_spec(&columns, &owned(layout.partition_by)).unwrap())
            .sort_order(schema::sort_order(&columns, &owned(layout.sort_by)).unwrap())
            .properties(properties.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
            .schema(columns)
            .build();
        let metadata =
            TableMetadataBuilder::from_table_creation(creation).unwrap().build().unwrap().metadata;
        let target = WriteTarget { metadata: Arc::new(metadata), io, commit: Uuid::from_u128(7) };
        Self { root: None, schema: schema.clone(), target }
    }

    async fn write(
        &self,
        batches: Vec<RecordBatch>,
        limits: Limits,
    ) -> Result<(WrittenFiles, usize)> {
        let rows = BatchStream::from_batches(self.schema.clone(), batches);
        let columns = self.target.metadata.current_schema();
        write_within(&self.target, columns, rows, limits).await
    }

    /// Every file below the table's directory, by its path relative to it.
    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        let root = self.root.as_ref().unwrap().path();
        collect(root, root, &mut files);
        files
    }

    async fn bytes(&self, file: &DataFile) -> Bytes {
        self.target.io.new_input(file.file_path()).unwrap().read().await.unwrap()
    }

    /// What one file holds, read by Parquet's own reader.
    async fn rows(&self, file: &DataFile) -> RecordBatch {
        let reader = ParquetRecordBatchReaderBuilder::try_new(self.bytes(file).await).unwrap();
        let schema = reader.schema().clone();
        let batches: Vec<_> = reader.build().unwrap().map(std::result::Result::unwrap).collect();
        arrow::compute::concat_batches(&schema, &batches).unwrap()
    }

    async fn lines(&self, files: &[DataFile]) -> Vec<String> {
        let mut all = Vec::new();
        for file in files {
            all.extend(lines(&self.rows(file).await));
        }
        all
    }
}

fn collect(root: &Path, directory: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, files);
        } else {
            let bytes = std::fs::read(&path).unwrap();
            files.insert(path.strip_prefix(root).unwrap().to_owned(), bytes);
        }
    }
}

/// A batch as lines of text, which sort and compare.
pub(crate) fn lines(batch: &RecordBatch) -> Vec<String> {
    (0..batch.num_rows())
        .map(|row| {
            let cells = batch.columns().iter().map(|column| {
                if column.is_null(row) {
                    "∅".to_owned()
                } else {
                    array_value_to_string(column, row).unwrap()
                }
            });
            cells.collect::<Vec<_>>().join("|")
        })
        .collect()
}

fn events_schema() -> SchemaRef {
    Arc::new(ArrowSchema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("user", DataType::Utf8, true),
        Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())), true),
    ]))
}

/// Rows as a generator would make them: every user and hour comes up all the time.
fn events(ids: std::ops::Range<i64>) -> RecordBatch {
    let users = ids.clone().map(|id| (id % 11 != 3).then(|| format!("user-{}", id * 7919 % 101)));
    let times =
        ids.clone().map(|id| (id % 13 != 5).then_some(id * 3_600_000_000 * 7 % 40_000_000_000_000));
    RecordBatch::try_new(
        events_schema(),
        vec![
            Arc::new(Int64Array::from_iter_values(ids)),
            Arc::new(StringArray::from_iter(users)),
            Arc::new(TimestampMicrosecondArray::from_iter(times).with_timezone("+00:00")),
        ],
    )
    .unwrap()
}

fn cut(batch: &RecordBatch, sizes: &[usize]) -> Vec<RecordBatch> {
    let mut batches = Vec::new();
    let (mut start, mut sizes) = (0, sizes.iter().cycle());
    while start < batch.num_rows() {
        let size = (*sizes.next().unwrap()).clamp(1, batch.num_rows() - start);
        batches.push(batch.slice(start, size));
        start += size;
    }
    batches
}
