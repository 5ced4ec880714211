//! What a day costs that is computed from what changed, beside everything: the churn view of
//! `benches/peers/windows.py` over a table.
//!
//! `incremental_day EVENTS.parquet WORK_DIR ROUNDS`. The events of the last day are held back; the
//! rest is computed, the day is appended, and what changed is computed; then everything is computed
//! again. Prints one JSON object per round.

use std::error::Error;
use std::io::Write as _;
use std::path::Path;

use datafusion::prelude::{ParquetReadOptions, SessionContext, col, lit};
use datafusion::scalar::ScalarValue;
use icecore_benches::usage;
use icecore_catalog::{CatalogOptions, IcebergCatalog};
use icecore_core::{CommitOptions, NewTable, SnapshotCatalog, TableName, WriteMode};
use icecore_engine::{Engine, EngineOptions};
use icecore_features::{ComputeMode, ComputeOptions, Definitions, compute_view};
use serde_json::json;

const DAY_MICROS: i64 = 86_400_000_000;

const VIEW: &str = r#"
[[entity]]
name = "user"
join_keys = ["user_token"]

[[feature_view]]
name = "churn"
entities = ["user"]
source = "events.transactions"
table = "features.churn"
emit = "last_per_day"

[[feature_view.aggregate]]
name = "txn_count"
function = "count"
windows = ["7d", "30d", "90d"]

[[feature_view.aggregate]]
name = "txn_amount"
function = "sum"
column = "amount"
windows = ["7d", "30d"]

[[feature_view.aggregate]]
name = "avg_amount"
function = "mean"
column = "amount"
windows = ["7d"]

[[feature_view.aggregate]]
name = "decline_count"
function = "count"
where = "status = 'declined'"
windows = ["30d"]

[[feature_view.aggregate]]
name = "unique_merchants"
function = "count_distinct"
column = "merchant_id"
windows = ["90d"]

[[feature_view.derived]]
name = "decline_rate_30d"
expression = "decline_count_30d / txn_count_30d"
"#;

fn main() -> Result<(), Box<dyn Error>> {
    icecore_engine::share_heaps();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [events, work, rounds] = arguments.as_slice() else {
        return Err("usage: incremental_day EVENTS.parquet WORK_DIR ROUNDS".into());
    };
    let rounds = rounds.parse::<usize>()?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    for round in 0..rounds {
        let dir = Path::new(work).join(format!("round-{round}"));
        runtime.block_on(one_round(events, &dir))?;
        std::fs::remove_dir_all(&dir)?;
    }
    Ok(())
}

async fn one_round(events: &str, dir: &Path) -> Result<(), Box<dyn Error>> {
    std::fs::create_dir_all(dir)?;
    let at = |name: &str| dir.join(name).display().to_string();
    let options = CatalogOptions::new(format!("sqlite:{}", at("catalog.db")), at("warehouse"));
    let catalog = IcebergCatalog::open(options).await?;
    let engine = Engine::new(catalog.clone(), EngineOptions::default().with_threads(2))?;
    let definitions = Definitions::parse("churn.toml", VIEW)?;
    let context = SessionContext::new();
    context.register_parquet("events", events, ParquetReadOptions::default()).await?;
    let last = "SELECT CAST(max(event_timestamp) AS BIGINT) AS last FROM events";
    let last = context.sql(last).await?.collect().await?;
    let last = ScalarValue::try_from_array(last[0].column(0), 0)?;
    let ScalarValue::Int64(Some(last)) = last else { return Err("there are no events".into()) };
    let midnight = last - last.rem_euclid(DAY_MICROS);
    let moment = lit(ScalarValue::TimestampMicrosecond(Some(midnight), None));
    let table = TableName::parse("events.transactions")?;
    let old = context.table("events").await?.filter(col("event_timestamp").lt(moment.clone()))?;
    append(&engine, &table, old).await?;
    let mut costs = Vec::new();
    costs.push(("first", compute(&engine, &definitions, ComputeMode::Incremental).await?));
    let new = context.table("events").await?.filter(col("event_timestamp").gt_eq(moment))?;
    append(&engine, &table, new).await?;
    costs.push(("day", compute(&engine, &definitions, ComputeMode::Incremental).await?));
    costs.push(("nothing", compute(&engine, &definitions, ComputeMode::Incremental).await?));
    costs.push(("full", compute(&engine, &definitions, ComputeMode::Full).await?));
    let report: serde_json::Map<_, _> =
        costs.into_iter().map(|(name, cost)| (name.to_owned(), cost)).collect();
    writeln!(std::io::stdout(), "{}", serde_json::Value::Object(report))?;
    Ok(())
}

async fn append(
    engine: &Engine,
    table: &TableName,
    frame: datafusion::dataframe::DataFrame,
) -> Result<(), Box<dyn Error>> {
    let rows = engine.stream(frame).await?;
    let new = NewTable::new(rows.schema().clone()).with_partition_by(["month(event_timestamp)"]);
    match engine.catalog().ensure_table(table, &new).await {
        Err(error) if error.kind() != icecore_core::ErrorKind::AlreadyExists => {
            return Err(error.into());
        }
        _ => {}
    }
    engine.catalog().commit(table, rows, CommitOptions::new(WriteMode::Append)).await?;
    Ok(())
}

async fn compute(
    engine: &Engine,
    definitions: &Definitions,
    mode: ComputeMode,
) -> Result<serde_json::Value, Box<dyn Error>> {
    let started = usage::start();
    let options = ComputeOptions { mode, ..ComputeOptions::default() };
    let report = compute_view(engine, definitions, "churn", options).await?;
    let used = started.usage();
    Ok(json!({
        "cpu_seconds": used.cpu_seconds, "seconds": used.seconds, "peak_mib": used.peak_mib,
        "rows": report.rows, "events": report.input_rows, "entities": report.entities,
    }))
}
