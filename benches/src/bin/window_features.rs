//! The churn view from a file of events to a file of features: icecore's side, and that of
//! DataFusion's own window operator, of `benches/peers/windows.py`.
//!
//! `window_features icecore|datafusion EVENTS FEATURES THREADS MEMORY_MIB`. Prints one JSON object
//! with what it cost.

use std::error::Error;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use datafusion::config::TableParquetOptions;
use datafusion::dataframe::{DataFrame, DataFrameWriteOptions};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext, col, ident, lit};
use futures::TryStreamExt as _;
use icecore_benches::usage;
use icecore_core::{AggregateFunction, BatchStream, Closed, Emit, Span, TimeRange, Window};
use icecore_engine::files::write_parquet;
use icecore_engine::{WindowNode, from_datafusion, window_frame};
use icecore_kernel::{WindowColumn, WindowSpec};
use serde_json::json;

fn main() -> Result<(), Box<dyn Error>> {
    icecore_engine::share_heaps();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [side, events, features, threads, memory] = arguments.as_slice() else {
        return Err("usage: window_features icecore|datafusion EVENTS FEATURES THREADS MIB".into());
    };
    let threads = threads.parse::<usize>()?;
    let memory = memory.parse::<usize>()? << 20;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    let started = usage::start();
    runtime.block_on(run(side, (events, features), (threads, memory)))?;
    let used = started.usage();
    let report = json!({
        "seconds": used.seconds, "cpu_seconds": used.cpu_seconds, "peak_mib": used.peak_mib,
    });
    writeln!(std::io::stdout(), "{report}")?;
    Ok(())
}

async fn run(
    side: &str,
    (events, features): (&str, &str),
    (threads, memory): (usize, usize),
) -> Result<(), Box<dyn Error>> {
    let mut config = SessionConfig::new().with_target_partitions(threads);
    let settings = config.options_mut();
    settings.execution.parquet.schema_force_view_types = side == "datafusion";
    settings.execution.time_zone = Some("+00:00".to_owned());
    let pool = Arc::new(FairSpillPool::new(memory));
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(pool).build_arc()?;
    let context = SessionContext::new_with_config_rt(config, runtime);
    context.register_parquet("events", events, ParquetReadOptions::default()).await?;
    match side {
        "icecore" => {
            let rows = ours(context.table("events").await?)?.execute_stream().await?;
            let schema = rows.schema();
            let rows = BatchStream::new(schema, rows.map_err(from_datafusion));
            write_parquet(rows, Path::new(features)).await?;
        }
        "datafusion" => {
            let frame = context.sql(THEIRS).await?;
            let mut options = TableParquetOptions::default();
            options.global.compression = Some("zstd(1)".to_owned());
            let single = DataFrameWriteOptions::new().with_single_file_output(true);
            frame.write_parquet(features, single, Some(options)).await?;
        }
        other => return Err(format!("no side is named `{other}`").into()),
    }
    Ok(())
}

fn ours(events: DataFrame) -> Result<DataFrame, Box<dyn Error>> {
    let declined = col("status").eq(lit("declined"));
    let events = events.with_column("declined", declined)?;
    let column = |name: &str, function, input, mask, days| WindowColumn {
        name: name.to_owned(),
        function,
        input,
        mask,
        window: Window::last(Span::from_days(days)),
        closed: Closed::Both,
    };
    let columns = vec![
        column("txn_count_7d", AggregateFunction::Count, None, None, 7),
        column("txn_amount_7d", AggregateFunction::Sum, Some(0), None, 7),
        column("avg_amount_7d", AggregateFunction::Mean, Some(0), None, 7),
        column("txn_count_30d", AggregateFunction::Count, None, None, 30),
        column("txn_amount_30d", AggregateFunction::Sum, Some(0), None, 30),
        column("decline_count_30d", AggregateFunction::Count, None, Some(0), 30),
        column("txn_count_90d", AggregateFunction::Count, None, None, 90),
        column("unique_merchants_90d", AggregateFunction::CountDistinct, Some(1), None, 90),
    ];
    let node = WindowNode {
        keys: vec!["user_token".to_owned()],
        time: "event_timestamp".to_owned(),
        spec: WindowSpec { columns, emit: Emit::LastPerDay, idle: None },
        inputs: vec!["amount".to_owned(), "merchant_id".to_owned()],
        masks: vec!["declined".to_owned()],
        range: TimeRange::default(),
        output_time: "event_timestamp".to_owned(),
        asked: None,
    };
    let features = window_frame(events, node)?;
    // The row's own event is in its windows, so no count is zero.
    let rate = ident("decline_count_30d") * lit(1.0_f64) / ident("txn_count_30d");
    Ok(features.with_column("decline_rate_30d", rate)?)
}

/// The same by SQL, in microseconds.
const THEIRS: &str = "
SELECT user_token, event_timestamp, c7 AS txn_count_7d, a7 AS txn_amount_7d, v7 AS avg_amount_7d,
       c30 AS txn_count_30d, a30 AS txn_amount_30d, d30 AS decline_count_30d, c90 AS txn_count_90d,
       m90 AS unique_merchants_90d, d30 * 1.0 / c30 AS decline_rate_30d
FROM (
  SELECT user_token, event_timestamp,
    count(*) OVER w7 AS c7, sum(amount) OVER w7 AS a7, avg(amount) OVER w7 AS v7,
    count(*) OVER w30 AS c30, sum(amount) OVER w30 AS a30,
    count(CASE WHEN status = 'declined' THEN 1 END) OVER w30 AS d30,
    count(*) OVER w90 AS c90, count(DISTINCT merchant_id) OVER w90 AS m90,
    row_number() OVER (PARTITION BY user_token, day ORDER BY at DESC) AS place
  FROM (
    SELECT *, CAST(event_timestamp AS BIGINT) AS at, CAST(event_timestamp AS DATE) AS day FROM events
  ) AS timed
  WINDOW
    w7 AS (PARTITION BY user_token ORDER BY at RANGE BETWEEN 604800000000 PRECEDING AND CURRENT ROW),
    w30 AS (PARTITION BY user_token ORDER BY at RANGE BETWEEN 2592000000000 PRECEDING AND CURRENT ROW),
    w90 AS (PARTITION BY user_token ORDER BY at RANGE BETWEEN 7776000000000 PRECEDING AND CURRENT ROW)
) AS ranked
WHERE place = 1";
