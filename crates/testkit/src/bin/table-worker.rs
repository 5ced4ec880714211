//! A process that works on a table, for tests that start many of them and kill some.
//!
//! ```text
//! table-worker CATALOG WAREHOUSE WORK WRITER COMMITS
//! ```
//!
//! WORK is `mix`, `append` or `maintain`. It begins when its standard input ends. After each commit
//! it says so on a line of its own: `ok NUMBER SNAPSHOT`, `unknown NUMBER ATTEMPT` or
//! `failed NUMBER ERROR`; at the end it says `took MILLISECONDS`.
#![expect(clippy::expect_used, reason = "a worker that cannot work has failed")]
#![expect(clippy::print_stdout, reason = "its answers are what it is for")]

use std::io::Read;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{Int32Array, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use icecore_catalog::{
    CatalogOptions, CleanOptions, ExpireOptions, IcebergCatalog, RowOptions, TagMove, UpsertOptions,
};
use icecore_core::{
    BatchStream, CommitOptions, Committed, ErrorKind, Literal, NewTable, Predicate, RefName,
    Result, SnapshotCatalog, SnapshotSelector, TableName, WriteMode,
};

/// Ids of one writer's rows.
const IDS: i64 = 1_000_000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [catalog, warehouse, work, writer, commits] = arguments.as_slice() else {
        println!("usage: table-worker CATALOG WAREHOUSE WORK WRITER COMMITS");
        return;
    };
    let writer: i32 = writer.parse().expect("the number of the writer");
    let commits: i64 = commits.parse().expect("a number of commits");
    // One thread, so that system calls come in the same order each time.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let options = CatalogOptions::new(catalog, warehouse);
        let worker = Worker {
            catalog: IcebergCatalog::open(options).await.expect("a catalog"),
            table: TableName::parse("lake.events").expect("a name"),
            writer,
        };
        std::io::stdin().read_to_end(&mut Vec::new()).expect("an end of the input");
        let began = Instant::now();
        for number in 0..commits {
            worker.say(number, worker.step(work, number).await);
        }
        println!("took {}", began.elapsed().as_millis());
    });
}

struct Worker {
    catalog: IcebergCatalog,
    table: TableName,
    writer: i32,
}

impl Worker {
    async fn step(&self, work: &str, number: i64) -> Result<i64> {
        match (work, number % 10) {
            ("create", _) => self.create().await,
            ("maintain", _) => self.maintain().await,
            ("append", _) | (_, 0..=5) => self.commit(number, WriteMode::Append).await,
            (_, 6) => self.commit(number, WriteMode::OverwritePartitions).await,
            (_, 7) => self.upsert(number).await,
            (_, 8) => self.tag(number).await,
            _ => self.delete(number).await,
        }
    }

    async fn create(&self) -> Result<i64> {
        let new = NewTable::new(columns()).with_partition_by(["part"]);
        self.catalog.ensure_table(&self.table, &new).await.map(i64::from)
    }

    /// One row into the writer's own partition.
    async fn commit(&self, number: i64, mode: WriteMode) -> Result<i64> {
        let id = i64::from(self.writer) * IDS + number;
        let rows = self.rows(&[id])?;
        let options = CommitOptions::new(mode).with_summary("test.id", id.to_string());
        self.catalog.commit(&self.table, rows, options).await.map(|done| snapshot(&done))
    }

    /// The row of the last overwrite, and a new one.
    async fn upsert(&self, number: i64) -> Result<i64> {
        let id = |number: i64| i64::from(self.writer) * IDS + number;
        let rows = self.rows(&[id(number - 1), id(number)])?;
        let key = ["id".to_owned()];
        let changes =
            self.catalog.upsert(&self.table, rows, &key, UpsertOptions::default()).await?;
        Ok(changes.pinned.snapshot.get())
    }

    /// The row of the last upsert that was new.
    async fn delete(&self, number: i64) -> Result<i64> {
        let id = i64::from(self.writer) * IDS + number - 2;
        let filter = Predicate::And(vec![
            Predicate::equal("part", Literal::Int(self.writer.into())),
            Predicate::equal("id", Literal::Int(id)),
        ]);
        let changes = self.catalog.delete(&self.table, filter, RowOptions::default()).await?;
        Ok(changes.pinned.snapshot.get())
    }

    fn rows(&self, ids: &[i64]) -> Result<BatchStream> {
        let parts = Int32Array::from(vec![self.writer; ids.len()]);
        let ids = Int64Array::from(ids.to_vec());
        let rows = RecordBatch::try_new(columns(), vec![Arc::new(ids), Arc::new(parts)])?;
        Ok(BatchStream::from_batches(columns(), vec![rows]))
    }

    async fn tag(&self, number: i64) -> Result<i64> {
        let pin = self.catalog.pin(&self.table, &SnapshotSelector::Latest).await?;
        let name = RefName::parse(&format!("w{}-{number}", self.writer))?;
        self.catalog.tag(&pin, &name, TagMove::Refuse).await?;
        Ok(pin.snapshot.get())
    }

    async fn maintain(&self) -> Result<i64> {
        let expire = ExpireOptions::default()
            .with_older_than(Some(icecore_core::Timestamp::from_micros(i64::MAX / 2)))
            .with_retain_last(Some(20));
        let expired = self.catalog.expire(&self.table, expire).await?;
        self.catalog.clean(&self.table, CleanOptions::default()).await?;
        Ok(i64::try_from(expired.expired.len()).unwrap_or(0))
    }

    fn say(&self, number: i64, done: Result<i64>) {
        match done {
            Ok(snapshot) => println!("ok {number} {snapshot}"),
            Err(error) if error.kind() == ErrorKind::OutcomeUnknown => {
                println!("unknown {number} {}", error.attempt().unwrap_or("-"));
            }
            Err(error) => println!("failed {number} {error:?}"),
        }
    }
}

fn columns() -> Arc<Schema> {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("part", DataType::Int32, false),
    ]))
}

fn snapshot(done: &Committed) -> i64 {
    done.pinned.snapshot.get()
}
