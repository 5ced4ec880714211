//! One operation on one table per process: icecore's side of `benches/peers/run.py`.
//!
//! `table_ops OPERATION LAKE TABLE [ARGUMENTS]`, where LAKE is a directory with `catalog.db` and
//! `warehouse`. Prints one JSON object: what it cost, rows, and a checksum where it read some.

use std::error::Error;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray as _, RecordBatch};
use arrow::datatypes::{DataType, Date32Type, Float64Type, Int32Type, Int64Type};
use datafusion::prelude::{ParquetReadOptions, SessionContext, col, lit};
use futures::StreamExt as _;
use icecore_benches::usage;
use icecore_catalog::{CatalogOptions, IcebergCatalog, RowMode, RowOptions, UpsertOptions};
use icecore_core::{
    BatchStream, CommitOptions, CompareOp, Date, Literal, NewTable, Predicate, ScanOptions,
    SnapshotCatalog as _, SnapshotSelector, TableName, WriteMode,
};
use icecore_engine::files::{FileReadOptions, read_files};
use icecore_engine::{Engine, EngineOptions};
use serde_json::{Value as Json, json};

type Outcome = Result<Json, Box<dyn Error>>;

/// What J3 reads of a feature table, and the day from which on.
const SCANNED: [&str; 6] = [
    "txn_count_30d",
    "decline_rate_30d",
    "avg_amount_7d",
    "txn_count_90d",
    "unique_merchants_90d",
    "churn_label",
];
const SCANNED_FROM: &str = "2023-02-01";

fn main() -> Result<(), Box<dyn Error>> {
    icecore_engine::share_heaps();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [operation, lake, table, rest @ ..] = arguments.as_slice() else {
        return Err("usage: table_ops OPERATION LAKE TABLE [ARGUMENTS]".into());
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(std::thread::available_parallelism().map_or(1, usize::from))
        .enable_all()
        .build()?;
    let report = runtime.block_on(run(operation, Path::new(lake), table, rest))?;
    writeln!(std::io::stdout(), "{report}")?;
    Ok(())
}

async fn run(operation: &str, lake: &Path, table: &str, rest: &[String]) -> Outcome {
    let started = usage::start();
    let side = Side::open(lake, table).await?;
    let mut report = match (operation, rest) {
        ("create", [file, by @ ..]) => side.create(file, by, &[]).await?,
        ("create-sorted", [file, by @ ..]) => side.create(file, &[], by).await?,
        ("append", files) => side.write(WriteMode::Append, files).await?,
        ("overwrite-partitions", files) => {
            side.write(WriteMode::OverwritePartitions, files).await?
        }
        ("overwrite-where", [file]) => side.overwrite_where(file).await?,
        ("upsert", [file, key]) => side.upsert(file, key, RowMode::CopyOnWrite).await?,
        ("upsert-merge-on-read", [file, key]) => {
            side.upsert(file, key, RowMode::MergeOnRead).await?
        }
        ("delete", [users]) => side.delete(users, RowMode::CopyOnWrite).await?,
        ("delete-merge-on-read", [users]) => side.delete(users, RowMode::MergeOnRead).await?,
        ("scan", []) => side.scan().await?,
        ("query", []) => side.query().await?,
        ("query-bare", [list]) => bare(&lines(list)?).await?,
        ("plan", []) => side.plan().await?,
        ("count", []) => side.count().await?,
        ("many-files", [files]) => side.many_files(files.parse()?).await?,
        _ => return Err(format!("no operation `{operation}` with {rest:?}").into()),
    };
    let used = started.usage();
    report["operation"] = json!(operation);
    report["seconds"] = json!(used.seconds);
    report["cpu_seconds"] = json!(used.cpu_seconds);
    report["peak_mib"] = json!(used.peak_mib);
    Ok(report)
}

fn lines(path: &str) -> Result<Vec<String>, Box<dyn Error>> {
    Ok(std::fs::read_to_string(path)?.lines().map(str::to_owned).collect())
}

struct Side {
    catalog: IcebergCatalog,
    table: TableName,
}

impl Side {
    async fn open(lake: &Path, table: &str) -> Result<Self, Box<dyn Error>> {
        let path = |name: &str| lake.join(name).display().to_string();
        let options =
            CatalogOptions::new(format!("sqlite:{}", path("catalog.db")), path("warehouse"));
        let catalog = IcebergCatalog::open(options).await?;
        Ok(Self { catalog, table: TableName::parse(table)? })
    }

    fn engine(&self) -> Result<Engine, Box<dyn Error>> {
        Ok(Engine::new(self.catalog.clone(), EngineOptions::default())?)
    }

    async fn read(files: &[String]) -> Result<BatchStream, Box<dyn Error>> {
        let files: Vec<PathBuf> = files.iter().map(PathBuf::from).collect();
        Ok(read_files(&files, FileReadOptions::default()).await?.stream)
    }

    /// Makes an empty table of a file's columns, partitioned and sorted by the fields given.
    async fn create(&self, file: &str, by: &[String], sorted: &[String]) -> Outcome {
        let rows = Self::read(&[file.to_owned()]).await?;
        let new = NewTable::new(rows.schema().clone()).with_partition_by(by).with_sort_by(sorted);
        self.catalog.ensure_table(&self.table, &new).await?;
        Ok(json!({}))
    }

    async fn write(&self, mode: WriteMode, files: &[String]) -> Outcome {
        let rows = Self::read(files).await?;
        let done = self.catalog.commit(&self.table, rows, CommitOptions::new(mode)).await?;
        Ok(json!({ "rows": done.added_rows, "removed": done.removed_rows }))
    }

    /// Replaces the rows of the day that the file's first row is of.
    async fn overwrite_where(&self, file: &str) -> Outcome {
        let rows = Self::read(&[file.to_owned()]).await?;
        let schema = rows.schema().clone();
        let batches = rows.collect().await?;
        let first = batches.first().and_then(|batch| batch.column_by_name("feature_date"));
        let days = first.ok_or("the file has no `feature_date`")?.as_primitive::<Date32Type>();
        let filter =
            Predicate::equal("feature_date", Literal::Date(Date::from_days(days.value(0))));
        let rows = BatchStream::from_batches(schema, batches);
        let options = RowOptions::default();
        let done = self.catalog.overwrite_where(&self.table, filter, rows, options).await?;
        Ok(json!({ "rows": done.inserted, "removed": done.deleted }))
    }

    /// Inserts and updates the rows of a file by columns with commas between them.
    async fn upsert(&self, file: &str, key: &str, mode: RowMode) -> Outcome {
        let rows = Self::read(&[file.to_owned()]).await?;
        let key: Vec<String> = key.split(',').map(str::to_owned).collect();
        let options = UpsertOptions::default().with_mode(mode);
        let done = self.catalog.upsert(&self.table, rows, &key, options).await?;
        Ok(json!({ "rows": done.inserted + done.updated, "updated": done.updated }))
    }

    /// Deletes the rows of the users that a file lists.
    async fn delete(&self, users: &str, mode: RowMode) -> Outcome {
        let users = std::fs::read_to_string(users)?;
        let users = users.split_whitespace().map(|user| Literal::Text(user.to_owned()));
        let filter = Predicate::In("user_token".to_owned(), users.collect());
        let options = RowOptions::default().with_mode(mode);
        let done = self.catalog.delete(&self.table, filter, options).await?;
        Ok(json!({ "rows": done.deleted }))
    }

    /// Six columns with a filter, as Arrow batches, by the catalog's own scan.
    async fn scan(&self) -> Outcome {
        let pin = self.catalog.pin(&self.table, &SnapshotSelector::Latest).await?;
        let day = Literal::Date(Date::parse(SCANNED_FROM)?);
        let filter = Predicate::And(vec![
            Predicate::compare("feature_date", CompareOp::GtEq, day),
            Predicate::IsNotNull("churn_label".to_owned()),
        ]);
        let options = ScanOptions::default().with_columns(SCANNED).with_filter(filter);
        summed(self.catalog.scan(&pin, options).await?).await
    }

    /// The same through the engine.
    async fn query(&self) -> Outcome {
        let query = format!(
            "SELECT {} FROM {} WHERE feature_date >= DATE '{SCANNED_FROM}' \
             AND churn_label IS NOT NULL",
            SCANNED.join(", "),
            self.table
        );
        summed(self.engine()?.sql(&query, &[]).await?).await
    }

    /// Which files the table is made of.
    async fn plan(&self) -> Outcome {
        let pin = self.catalog.pin(&self.table, &SnapshotSelector::Latest).await?;
        let plan = self.catalog.plan_files(&pin, None).await?;
        Ok(json!({ "rows": plan.files.len() }))
    }

    async fn count(&self) -> Outcome {
        let query = format!("SELECT count(*) FROM {}", self.table);
        let answer = self.engine()?.sql(&query, &[]).await?.concat().await?;
        Ok(json!({ "rows": answer.column(0).as_primitive::<Int64Type>().value(0) }))
    }

    /// Fills a table partitioned by `bucket` with as many files, a hundred to a commit.
    async fn many_files(&self, files: i64) -> Outcome {
        use std::sync::Arc;

        use arrow::array::Int64Array;
        use arrow::datatypes::{Field, Schema};

        let fields = ["bucket", "value"].map(|name| Field::new(name, DataType::Int64, false));
        let schema = Arc::new(Schema::new(fields.to_vec()));
        let new = NewTable::new(schema.clone()).with_partition_by(["bucket"]);
        self.catalog.ensure_table(&self.table, &new).await?;
        for commit in 0..files / 100 {
            let buckets = Int64Array::from_iter_values(0..100);
            let values = Int64Array::from_iter_values((0..100).map(|at| commit * 100 + at));
            let batch =
                RecordBatch::try_new(schema.clone(), vec![Arc::new(buckets), Arc::new(values)])?;
            let rows = BatchStream::from_batches(schema.clone(), vec![batch]);
            self.catalog.commit(&self.table, rows, CommitOptions::default()).await?;
        }
        Ok(json!({ "rows": files }))
    }
}

/// The same rows by DataFusion alone, from the same files, without a table around them.
async fn bare(files: &[String]) -> Outcome {
    let context = SessionContext::new();
    let frame = context
        .read_parquet(files.to_vec(), ParquetReadOptions::default())
        .await?
        .filter(col("feature_date").gt_eq(lit(SCANNED_FROM)).and(col("churn_label").is_not_null()))?
        .select_columns(&SCANNED)?;
    let mut batches = frame.execute_stream().await?;
    let mut sums = Sums::default();
    while let Some(batch) = batches.next().await {
        sums.add(&batch?);
    }
    Ok(sums.report())
}

async fn summed(mut rows: BatchStream) -> Outcome {
    let mut sums = Sums::default();
    while let Some(batch) = rows.next().await {
        sums.add(&batch?);
    }
    Ok(sums.report())
}

/// Rows, and the sum of each column: cheap enough to leave the measure alone, and equal for readers
/// that see the same rows.
#[derive(Default)]
struct Sums {
    rows: usize,
    sums: Vec<f64>,
}

impl Sums {
    fn add(&mut self, batch: &RecordBatch) {
        self.rows += batch.num_rows();
        self.sums.resize(batch.num_columns(), 0.0);
        for (sum, column) in self.sums.iter_mut().zip(batch.columns()) {
            *sum += total(column.as_ref());
        }
    }

    fn report(&self) -> Json {
        let sums: Vec<f64> = self.sums.iter().map(|sum| (sum * 100.0).round() / 100.0).collect();
        json!({ "rows": self.rows, "checksum": sums })
    }
}

#[expect(clippy::cast_precision_loss, reason = "sums of whole numbers stay below 2^53")]
fn total(column: &dyn Array) -> f64 {
    use arrow::compute::sum;
    match column.data_type() {
        DataType::Int32 => {
            column.as_primitive::<Int32Type>().iter().flatten().map(i64::from).sum::<i64>() as f64
        }
        DataType::Int64 => sum(column.as_primitive::<Int64Type>()).unwrap_or(0) as f64,
        DataType::Float64 => sum(column.as_primitive::<Float64Type>()).unwrap_or(0.0),
        _ => 0.0,
    }
}
