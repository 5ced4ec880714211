//! Delete files, written as other engines write them.

use std::collections::{BTreeMap, HashMap};

use arrow::array::{ArrayRef, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field};
use iceberg::metadata_columns::{
    RESERVED_FIELD_ID_DELETE_FILE_PATH, RESERVED_FIELD_ID_DELETE_FILE_POS,
};
use iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, DataFileFormat, ManifestContentType, Operation,
};
use parquet::arrow::ArrowWriter;
use roaring::RoaringTreemap;

use super::*;
use crate::commit::{AddedFiles, FileChange, FileSet, OwnedRemoval};
use crate::scan::{FileTask, TaskRead, plan_tasks, read_task};
use crate::storage::{KnownFile as _, ListedFile};

impl Lake {
    pub(super) async fn loaded(&self) -> iceberg::table::Table {
        self.catalog.tables_now().load(&self.table).await.unwrap()
    }

    pub(super) async fn tasks(&self) -> Vec<FileTask> {
        let table = self.loaded().await;
        plan_tasks(&table, table.metadata().current_snapshot_id(), None).await.unwrap()
    }

    /// The live rows of one file, with their places.
    pub(super) async fn places(&self, task: &FileTask) -> RecordBatch {
        let table = self.loaded().await;
        let columns = table.metadata().current_schema().clone();
        let read = TaskRead { columns, filter: None, positions: true, groups: None, batch_rows: 3 };
        read_task(&table, task, &read).concat().await.unwrap()
    }

    async fn put(&self, name: &str, bytes: Vec<u8>) -> (String, u64) {
        let table = self.loaded().await;
        let number = table.metadata().snapshots().len();
        let path = format!("{}/data/{name}-{number}-{}", table.metadata().location(), bytes.len());
        let size = bytes.len() as u64;
        table.file_io().new_output(&path).unwrap().write(bytes.into()).await.unwrap();
        (path, size)
    }

    pub(super) async fn put_parquet(&self, name: &str, batch: &RecordBatch) -> (String, u64) {
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
        writer.write(batch).unwrap();
        self.put(&format!("{name}.parquet"), writer.into_inner().unwrap()).await
    }

    /// Commits delete files of this partitioning, and takes others out.
    pub(super) async fn commit_deletes(
        &self,
        spec_id: i32,
        files: Vec<DataFile>,
        replaced: Vec<&ListedFile>,
    ) -> PinnedTable {
        let table = self.loaded().await;
        let metadata = table.metadata_ref();
        let mut change = FileChange::new(metadata.clone(), Operation::Delete);
        change.added = vec![AddedFiles {
            content: ManifestContentType::Deletes,
            schema: metadata.current_schema().clone(),
            spec: metadata.partition_spec_by_id(spec_id).unwrap().clone(),
            sequence: None,
            files,
        }];
        if !replaced.is_empty() {
            let mut set = FileSet::default();
            for file in replaced {
                set.insert(file);
            }
            change.removed = OwnedRemoval::Files(set);
        }
        self.catalog.commit_change(&self.table, change).await.unwrap().pinned
    }

    /// Deletes rows of a file by their places.
    pub(super) async fn position_deletes(&self, task: &FileTask, places: &[i64]) -> DataFile {
        let id = |id: i32| HashMap::from([("PARQUET:field_id".to_owned(), id.to_string())]);
        let fields = vec![
            Field::new("file_path", DataType::Utf8, false)
                .with_metadata(id(RESERVED_FIELD_ID_DELETE_FILE_PATH)),
            Field::new("pos", DataType::Int64, false)
                .with_metadata(id(RESERVED_FIELD_ID_DELETE_FILE_POS)),
        ];
        let paths = vec![task.file.file_path(); places.len()];
        let columns: Vec<ArrayRef> =
            vec![Arc::new(StringArray::from(paths)), Arc::new(Int64Array::from(places.to_vec()))];
        let batch = RecordBatch::try_new(Arc::new(ArrowSchema::new(fields)), columns).unwrap();
        let (path, size) = self.put_parquet("positions", &batch).await;
        described(DataContentType::PositionDeletes, path, size, places.len())
            .partition(task.file.partition().clone())
            .build()
            .unwrap()
    }

    /// A deletion vector.
    pub(super) async fn vector(&self, task: &FileTask, places: &RoaringTreemap) -> DataFile {
        let blob = vector_blob(places);
        let offset = 4;
        let bytes = [b"PFA1".as_slice(), &blob, b"PFA1".as_slice()].concat();
        let (path, size) = self.put("vector.puffin", bytes).await;
        let count = usize::try_from(places.len()).unwrap();
        described(DataContentType::PositionDeletes, path, size, count)
            .file_format(DataFileFormat::Puffin)
            .partition(task.file.partition().clone())
            .referenced_data_file(Some(task.file.file_path().to_owned()))
            .content_offset(Some(offset))
            .content_size_in_bytes(Some(i64::try_from(blob.len()).unwrap()))
            .build()
            .unwrap()
    }

    /// Deletes the rows of a partition that have one of these keys. Columns carry their ids.
    pub(super) async fn equality_deletes(&self, task: &FileTask, keys: &RecordBatch) -> DataFile {
        let schema = keys.schema();
        let ids = schema.fields().iter().map(|f| f.metadata()["PARQUET:field_id"].parse());
        let ids: Vec<i32> = ids.collect::<Result<_, _>>().unwrap();
        let (path, size) = self.put_parquet("keys", keys).await;
        described(DataContentType::EqualityDeletes, path, size, keys.num_rows())
            .partition(task.file.partition().clone())
            .equality_ids(Some(ids))
            .build()
            .unwrap()
    }

    /// Some columns of some rows, with their ids, as keys to delete by.
    pub(super) async fn keys(&self, rows: &RecordBatch, names: &[&str]) -> RecordBatch {
        let schema = self.catalog.describe(&self.table).await.unwrap().schema;
        let fields = names.iter().map(|name| schema.field_with_name(name).unwrap().clone());
        let columns = names.iter().map(|name| rows.column_by_name(name).unwrap().clone());
        let fields = ArrowSchema::new(fields.collect::<Vec<_>>());
        RecordBatch::try_new(Arc::new(fields), columns.collect()).unwrap()
    }
}

fn described(content: DataContentType, path: String, size: u64, rows: usize) -> DataFileBuilder {
    let mut builder = DataFileBuilder::default();
    builder
        .content(content)
        .file_path(path)
        .file_format(DataFileFormat::Parquet)
        .file_size_in_bytes(size)
        .record_count(rows as u64);
    builder
}

/// A `deletion-vector-v1` blob.
pub(super) fn vector_blob(places: &RoaringTreemap) -> Vec<u8> {
    let mut content = vec![0xD1, 0xD3, 0x39, 0x64];
    places.serialize_into(&mut content).unwrap();
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    let checksum = crc32fast::hash(&content).to_be_bytes();
    [length.as_slice(), &content, checksum.as_slice()].concat()
}

/// Tasks by the partition that their files lie in.
pub(super) fn by_partition(tasks: &[FileTask]) -> Vec<&FileTask> {
    let mut found: BTreeMap<String, &FileTask> = BTreeMap::new();
    for task in tasks {
        found.insert(format!("{} {:?}", task.spec_id, task.file.partition()), task);
    }
    found.into_values().collect()
}
