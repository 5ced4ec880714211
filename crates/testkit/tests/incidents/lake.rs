//! A table in memory, whose catalog answers as a test says.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::array::{AsArray, Int32Array, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use async_trait::async_trait;
use icecore_catalog::{CatalogParts, IcebergCatalog, PointerStore, Swap, Timer};
use icecore_core::{
    BatchStream, CommitOptions, Committed, Error, NewTable, PinnedTable, RefName, Result,
    ScanOptions, SnapshotCatalog, SnapshotSelector, TableName, Timestamp, WriteMode,
};
use icecore_testkit::faults::{MemoryPointers, MemoryStore};
use icecore_testkit::sim::{SimClock, SimTime};
use object_store::ObjectStore;

/// What becomes of a swap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It happens, and its answer is lost.
    LostAfter,
    /// It does not happen, and neither comes an answer.
    LostBefore,
    /// It happens a minute after its caller was told that nobody knows.
    Late,
    /// It happens, its answer is lost, and then the catalog cannot be reached.
    LostForGood,
}

/// Pointers that answer as a test says, and properly when it has nothing more to say.
#[derive(Debug)]
pub(crate) struct Scripted {
    inner: Arc<MemoryPointers>,
    time: SimTime,
    pub(crate) answers: Mutex<VecDeque<Answer>>,
    /// What is answered when the answers are used up.
    pub(crate) always: Option<Answer>,
    is_gone: Mutex<bool>,
}

fn closed() -> Error {
    Error::unavailable("the connection was closed")
}

#[async_trait]
impl PointerStore for Scripted {
    async fn list(&self) -> Result<Vec<TableName>> {
        self.inner.list().await
    }

    async fn find(&self, table: &TableName) -> Result<Option<String>> {
        if *self.is_gone.lock().unwrap() {
            return Err(closed());
        }
        self.inner.find(table).await
    }

    async fn create(&self, table: &TableName, location: &str) -> Swap {
        self.inner.create(table, location).await
    }

    async fn swap(&self, table: &TableName, from: &str, to: &str) -> Swap {
        let answer = self.answers.lock().unwrap().pop_front().or(self.always);
        match answer {
            None => return self.inner.swap(table, from, to).await,
            Some(Answer::LostBefore) => {}
            Some(Answer::LostAfter) => {
                let _ = self.inner.swap(table, from, to).await;
            }
            Some(Answer::LostForGood) => {
                let _ = self.inner.swap(table, from, to).await;
                *self.is_gone.lock().unwrap() = true;
            }
            Some(Answer::Late) => {
                let (inner, time) = (self.inner.clone(), self.time.clone());
                let (table, from, to) = (table.clone(), from.to_owned(), to.to_owned());
                tokio::spawn(async move {
                    time.sleep(Duration::from_secs(60)).await;
                    let _ = inner.swap(&table, &from, &to).await;
                });
            }
        }
        Swap::Unknown(closed())
    }

    async fn rename(&self, table: &TableName, to: &TableName, at: &str) -> Swap {
        self.inner.rename(table, to, at).await
    }

    async fn remove(&self, table: &TableName, at: &str) -> Swap {
        self.inner.remove(table, at).await
    }
}

/// A row: a number, and the partition that it lies in.
pub(crate) type Row = (i64, i32);

pub(crate) struct Lake {
    pub(crate) time: SimTime,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) pointers: Arc<MemoryPointers>,
    pub(crate) table: TableName,
    /// A process that nothing happens to.
    pub(crate) catalog: IcebergCatalog,
}

/// Plays an incident in simulated time.
pub(crate) fn play(incident: impl AsyncFnOnce(Lake)) {
    let time = SimTime::default();
    let runtime = time.runtime().unwrap();
    runtime.block_on(async { incident(Lake::new(time).await).await });
}

impl Lake {
    async fn new(time: SimTime) -> Self {
        let clock = Arc::new(SimClock::new(time.clone(), begin()));
        let store = Arc::new(MemoryStore::new(clock));
        let pointers = Arc::new(MemoryPointers::default());
        let table = TableName::parse("lake.events").unwrap();
        let catalog = catalog(&time, pointers.clone(), store.clone());
        let lake = Self { time, store, pointers, table, catalog };
        lake.create(&lake.table).await;
        lake
    }

    pub(crate) async fn create(&self, table: &TableName) {
        let new = NewTable::new(columns()).with_partition_by(["part"]);
        assert!(self.catalog.ensure_table(table, &new).await.unwrap());
    }

    /// Another process, whose swaps are answered like this.
    pub(crate) fn process(&self, answers: &[Answer]) -> IcebergCatalog {
        self.scripted(answers.iter().copied().collect(), None)
    }

    /// Another process, whose swaps are always answered like this.
    pub(crate) fn unlucky(&self, always: Answer) -> IcebergCatalog {
        self.scripted(VecDeque::new(), Some(always))
    }

    fn scripted(&self, answers: VecDeque<Answer>, always: Option<Answer>) -> IcebergCatalog {
        let pointers = Scripted {
            inner: self.pointers.clone(),
            time: self.time.clone(),
            answers: Mutex::new(answers),
            always,
            is_gone: Mutex::default(),
        };
        catalog(&self.time, Arc::new(pointers), self.store.clone())
    }

    /// Another process, whose files are here.
    pub(crate) fn on(&self, store: Arc<dyn ObjectStore>) -> IcebergCatalog {
        catalog(&self.time, self.pointers.clone(), store)
    }

    pub(crate) async fn commit(&self, mode: WriteMode, rows: &[Row]) -> Committed {
        let options = CommitOptions::new(mode);
        self.catalog.commit(&self.table, stream(rows), options).await.unwrap()
    }

    pub(crate) async fn pin(&self, selector: &str) -> PinnedTable {
        let selector = SnapshotSelector::parse(selector).unwrap();
        self.catalog.pin(&self.table, &selector).await.unwrap()
    }

    /// What a process that knows nothing reads.
    pub(crate) async fn rows(&self, pin: &PinnedTable) -> Vec<i64> {
        let fresh = catalog(&self.time, self.pointers.clone(), self.store.clone());
        let rows = fresh.scan(pin, ScanOptions::default()).await.unwrap().concat().await.unwrap();
        let mut rows = rows.column(0).as_primitive::<Int64Type>().values().to_vec();
        rows.sort_unstable();
        rows
    }

    pub(crate) async fn rows_now(&self) -> Vec<i64> {
        self.rows(&self.pin("latest").await).await
    }

    /// Every snapshot that is left reads without a missing file.
    pub(crate) async fn check(&self) {
        for snapshot in self.catalog.history(&self.table).await.unwrap() {
            let rows = self.rows(&self.pin(&snapshot.id.to_string()).await).await;
            assert_eq!(snapshot.count("total-records"), i64::try_from(rows.len()).unwrap());
        }
    }
}

fn begin() -> Timestamp {
    Timestamp::parse("2026-01-01").unwrap()
}

fn catalog(
    time: &SimTime,
    pointers: Arc<dyn PointerStore>,
    store: Arc<dyn ObjectStore>,
) -> IcebergCatalog {
    let mut parts = CatalogParts::new(pointers, store, "memory:///lake");
    parts.clock = Arc::new(SimClock::new(time.clone(), begin()));
    parts.timer = Arc::new(time.clone());
    IcebergCatalog::from_parts(parts).unwrap()
}

pub(crate) fn columns() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("number", DataType::Int64, false),
        Field::new("part", DataType::Int32, false),
    ]))
}

pub(crate) fn stream(rows: &[Row]) -> BatchStream {
    let numbers = Int64Array::from_iter_values(rows.iter().map(|(number, _)| *number));
    let parts = Int32Array::from_iter_values(rows.iter().map(|(_, part)| *part));
    let columns_of: Vec<arrow::array::ArrayRef> = vec![Arc::new(numbers), Arc::new(parts)];
    let batch = RecordBatch::try_new(columns(), columns_of).unwrap();
    BatchStream::from_batches(columns(), vec![batch])
}

pub(crate) fn named(name: &str) -> RefName {
    RefName::parse(name).unwrap()
}
