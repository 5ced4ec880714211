//! A pinned table with a condition as a dense matrix: icecore's side of `benches/peers/matrix.py`.
//!
//! `dense_matrix load LAKE FILE…` appends files to a table, one commit each, and prints the snapshot
//! before the last one; `dense_matrix read|stream LAKE SNAPSHOT` reads it into a matrix, or batch
//! after batch. Prints one JSON object with the cost and sums of the columns.

use std::error::Error;
use std::io::Write as _;
use std::path::Path;

use futures::TryStreamExt as _;
use icecore_benches::usage;
use icecore_catalog::{CatalogOptions, IcebergCatalog};
use icecore_core::{
    CommitOptions, CompareOp, Literal, NewTable, Predicate, ScanOptions, SnapshotCatalog as _,
    SnapshotSelector, TableName, WriteMode,
};
use icecore_dataset::{DenseMatrix, Element as _};
use icecore_engine::files::{FileReadOptions, read_files};
use serde_json::{Value as Json, json};

type Outcome = Result<Json, Box<dyn Error>>;

const COLUMNS: [&str; 6] = [
    "txn_count_30d",
    "decline_rate_30d",
    "avg_amount_7d",
    "txn_count_90d",
    "unique_merchants_90d",
    "churn_label",
];

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [operation, lake, rest @ ..] = arguments.as_slice() else {
        return Err("usage: dense_matrix load|read|stream LAKE ARGUMENTS".into());
    };
    let report = run(operation, Path::new(lake), rest).await?;
    writeln!(std::io::stdout(), "{report}")?;
    Ok(())
}

async fn run(operation: &str, lake: &Path, rest: &[String]) -> Outcome {
    let path = |name: &str| lake.join(name).display().to_string();
    let uri = format!("sqlite:{}", path("catalog.db"));
    let table: TableName = "ml.churn".parse()?;
    let catalog = IcebergCatalog::open(CatalogOptions::new(uri, path("warehouse"))).await?;
    match (operation, rest) {
        ("load", files) => load(&catalog, &table, files).await,
        ("read" | "stream", [snapshot]) => {
            let started = usage::start();
            let pin = catalog.pin(&table, &SnapshotSelector::parse(snapshot)?).await?;
            let since = Literal::Date("2023-02-01".parse()?);
            let condition = Predicate::And(vec![
                Predicate::compare("feature_date", CompareOp::GtEq, since),
                Predicate::IsNotNull("churn_label".to_owned()),
            ]);
            let scan = ScanOptions::default().with_columns(COLUMNS).with_filter(condition);
            let rows = catalog.scan(&pin, scan).await?;
            let (count, sums) = match operation {
                "read" => {
                    let all = catalog.history(&table).await?;
                    let state = all.iter().find(|state| state.id == pin.snapshot);
                    let expected = state.map_or(0, |state| state.count("total-records"));
                    let matrix = DenseMatrix::<f32>::read(rows, usize::try_from(expected)?).await?;
                    let used = started.usage();
                    let sums: Vec<f64> =
                        (0..COLUMNS.len()).map(|at| sum(matrix.column(at))).collect();
                    return Ok(report(matrix.rows(), &sums, &used));
                }
                _ => streamed(rows).await?,
            };
            Ok(report(count, &sums, &started.usage()))
        }
        _ => Err(format!("no operation `{operation}` with {rest:?}").into()),
    }
}

fn sum(values: &[f32]) -> f64 {
    values.iter().map(|value| f64::from(*value)).sum()
}

fn report(rows: usize, sums: &[f64], used: &usage::Usage) -> Json {
    json!({
        "rows": rows, "sums": sums, "seconds": used.seconds, "cpu_seconds": used.cpu_seconds,
        "peak_mib": used.peak_mib,
    })
}

/// Looks at every batch and keeps none.
async fn streamed(
    mut rows: icecore_core::BatchStream,
) -> Result<(usize, Vec<f64>), Box<dyn Error>> {
    let (mut count, mut sums) = (0, vec![0.0; COLUMNS.len()]);
    let mut values = Vec::new();
    while let Some(batch) = rows.try_next().await? {
        count += batch.num_rows();
        for (column, total) in batch.columns().iter().zip(&mut sums) {
            values.clear();
            f32::append(column, &mut values)?;
            *total += sum(&values);
        }
    }
    Ok((count, sums))
}

async fn load(catalog: &IcebergCatalog, table: &TableName, files: &[String]) -> Outcome {
    let mut snapshots = Vec::new();
    for file in files {
        let rows = read_files(&[file.into()], FileReadOptions::default()).await?;
        catalog.ensure_table(table, &NewTable::new(rows.stream.schema().clone())).await?;
        let done =
            catalog.commit(table, rows.stream, CommitOptions::new(WriteMode::Append)).await?;
        snapshots.push(done.pinned.snapshot);
    }
    let pinned = snapshots.iter().rev().nth(1).or(snapshots.last());
    Ok(json!({ "snapshot": pinned.map(ToString::to_string) }))
}
