mod alter;
mod altered;
mod borders;
mod branches;
mod changes;
mod contention;
mod faults;
mod foreign;
mod history;
mod isolation;
mod lent;
mod lineage;
mod older_partitions;
mod oracle;
mod refs;
mod replace;
mod rowlevel;
mod serial;
mod services;
mod statistics;
mod tables;
mod transaction;
mod widened;

use std::sync::Mutex;

use arrow::array::{Date32Array, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Date32Type, Field, Int64Type, Schema, SchemaRef};
use iceberg::TableUpdate;
use iceberg::table::Table;
use icecore_core::{
    BatchStream, CommitOptions, Committed, ErrorKind, NewTable, RefName, ScanOptions,
    SnapshotCatalog, SnapshotSelector, Timestamp, WriteMode,
};

use icecore_core::Clock;

use super::*;
use crate::commit::Plan;
use crate::refs::{RollbackPolicy, TagMove};

/// A clock that moves when a test says so.
#[derive(Debug)]
pub(crate) struct HandClock(Mutex<Timestamp>);

impl HandClock {
    pub(crate) fn set(&self, moment: &str) {
        *self.0.lock().unwrap() = at(moment);
    }

    pub(crate) fn advance_ms(&self, millis: i64) {
        let mut now = self.0.lock().unwrap();
        *now = Timestamp::from_micros(now.micros() + millis * 1000);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

pub(crate) fn at(moment: &str) -> Timestamp {
    Timestamp::parse(moment).unwrap()
}

pub(crate) fn named(name: &str) -> RefName {
    RefName::parse(name).unwrap()
}

/// A row: a number, and a day by which tables are partitioned.
pub(crate) type Row = (i64, i32);

pub(crate) fn columns() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("number", DataType::Int64, false),
        Field::new("day", DataType::Date32, false),
    ]))
}

pub(crate) fn stream(rows: &[Row]) -> BatchStream {
    let numbers = Int64Array::from_iter_values(rows.iter().map(|(number, _)| *number));
    let days = Date32Array::from_iter_values(rows.iter().map(|(_, day)| *day));
    let batch = RecordBatch::try_new(columns(), vec![Arc::new(numbers), Arc::new(days)]).unwrap();
    BatchStream::from_batches(columns(), vec![batch])
}

/// A catalog in a directory of its own.
pub(crate) struct Lake {
    pub(crate) root: tempfile::TempDir,
    pub(crate) clock: Arc<HandClock>,
    pub(crate) catalog: IcebergCatalog,
    pub(crate) table: TableName,
}

impl Lake {
    /// With the table `ns.events`, partitioned by `day`, at the start of 2026.
    pub(crate) async fn new() -> Self {
        let lake = Self::empty().await;
        let new = NewTable::new(columns()).with_partition_by(["day"]);
        assert!(lake.catalog.ensure_table(&lake.table, &new).await.unwrap());
        lake
    }

    pub(crate) async fn empty() -> Self {
        let root = scratch();
        let clock = Arc::new(HandClock(Mutex::new(at("2026-01-01"))));
        let catalog = IcebergCatalog::open(options(&root, &clock)).await.unwrap();
        let table = TableName::parse("ns.events").unwrap();
        Self { root, clock, catalog, table }
    }

    /// Another process on the same files: it shares no connection and no cache.
    pub(crate) async fn reopened(&self) -> IcebergCatalog {
        IcebergCatalog::open(options(&self.root, &self.clock)).await.unwrap()
    }

    pub(crate) async fn commit(&self, mode: WriteMode, rows: &[Row]) -> Committed {
        self.try_commit(CommitOptions::new(mode), rows).await.unwrap()
    }

    pub(crate) async fn try_commit(
        &self,
        options: CommitOptions,
        rows: &[Row],
    ) -> Result<Committed> {
        self.catalog.commit(&self.table, stream(rows), options).await
    }

    pub(crate) async fn append(&self, rows: &[Row]) -> PinnedTable {
        self.commit(WriteMode::Append, rows).await.pinned
    }

    pub(crate) async fn pin(&self, selector: &str) -> Result<PinnedTable> {
        self.catalog.pin(&self.table, &SnapshotSelector::parse(selector).unwrap()).await
    }

    pub(crate) async fn rows(&self, pinned: &PinnedTable) -> Vec<Row> {
        rows_of(&self.catalog, pinned).await
    }

    pub(crate) async fn rows_now(&self) -> Vec<Row> {
        self.rows(&self.pin("latest").await.unwrap()).await
    }

    /// Paths of the data files of the head, in order.
    pub(crate) async fn paths(&self) -> Vec<String> {
        let pinned = self.pin("latest").await.unwrap();
        let plan = self.catalog.plan_files(&pinned, None).await.unwrap();
        let mut paths: Vec<String> = plan
            .files
            .iter()
            .map(|file| file.path().to_string().replacen("file/", "/", 1))
            .collect();
        paths.sort();
        paths
    }

    /// Changes the metadata as it is told.
    pub(crate) async fn update(&self, updates: &[TableUpdate]) {
        let plan =
            |_: &Table| Ok(Plan::Apply { requirements: Vec::new(), updates: updates.to_vec() });
        self.catalog.edit(&self.table, plan).await.unwrap();
    }

    /// Every file under the warehouse, in order.
    pub(crate) fn files_on_disk(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut directories = vec![self.root.path().join("warehouse")];
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    directories.push(path);
                } else {
                    found.push(path.display().to_string());
                }
            }
        }
        found.sort();
        found
    }
}

/// A directory in memory where there is one: syncing to a disk is most of a commit's time, and says
/// nothing about its logic.
fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn options(root: &tempfile::TempDir, clock: &Arc<HandClock>) -> CatalogOptions {
    options_at(root.path(), clock)
}

/// How another process opens the catalog of a directory.
pub(crate) fn options_at(root: &std::path::Path, clock: &Arc<HandClock>) -> CatalogOptions {
    let path = |name: &str| root.join(name).display().to_string();
    CatalogOptions::new(format!("sqlite:{}", path("catalog.db")), path("warehouse"))
        .with_clock(clock.clone())
}

/// The rows that a pin reads, in order.
pub(crate) async fn rows_of(catalog: &IcebergCatalog, pinned: &PinnedTable) -> Vec<Row> {
    use arrow::array::AsArray;
    let stream = catalog.scan(pinned, ScanOptions::default()).await.unwrap();
    let batch = stream.concat().await.unwrap();
    let numbers = batch.column(0).as_primitive::<Int64Type>().values();
    let days = batch.column(1).as_primitive::<Date32Type>().values();
    let mut rows: Vec<Row> = numbers.iter().copied().zip(days.iter().copied()).collect();
    rows.sort_unstable();
    rows
}
