//! A lakehouse in a temporary directory, events in it, and a second way to compute features.

#[cfg(test)]
mod naive;
mod oracle;

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::TimestampMicrosecondType;
use arrow::datatypes::{DataType, Date32Type, Field, Float64Type, Int64Type, Schema, SchemaRef};
use datafusion::logical_expr::{ColumnarValue, Volatility, create_udf};
use datafusion::prelude::SessionContext;
use datafusion::scalar::ScalarValue;
use icecore_catalog::{CatalogOptions, IcebergCatalog};
use icecore_core::{
    BatchStream, CommitOptions, FixedClock, NewTable, PinnedTable, ScanOptions, SnapshotCatalog,
    SnapshotSelector, TableName, Timestamp, WriteMode,
};
use icecore_engine::{Engine, EngineOptions, View};

pub(crate) use naive::naive_rows;
pub(crate) use oracle::{Oracle, Rows};

use crate::source::moment_type;

pub(crate) const DAY: i64 = 86_400_000_000;

/// The two views that the demo ships.
pub(crate) const VIEWS: &str = r#"
[[entity]]
name = "user"
join_keys = ["user_token"]

[[feature_view]]
name = "user_transaction_features"
entities = ["user"]
source = "events.raw_transactions"
event_timestamp = "event_timestamp"
ttl = "90d"
closed = "both"
emit = "last_per_day"
table = "ml_features.user_transaction_features"
partition_by = ["feature_date"]
write = "overwrite_partitions"

[[feature_view.aggregate]]
name = "txn_count"
function = "count"
column = "txn_id"
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
windows = ["7d", "30d"]

[[feature_view.aggregate]]
name = "decline_count"
function = "count"
column = "txn_id"
where = "status = 'declined'"
windows = ["30d"]

[[feature_view.aggregate]]
name = "unique_merchants"
function = "approx_count_distinct"
column = "merchant_id"
windows = ["90d"]

[[feature_view.aggregate]]
name = "exact_merchants"
function = "count_distinct"
column = "merchant_id"
windows = ["90d"]

[[feature_view.derived]]
name = "decline_rate_30d"
expression = "decline_count_30d / greatest(txn_count_30d, 1)"

[[feature_view]]
name = "churn_features"
entities = ["user"]
source = "events.raw_transactions"
ttl = "90d"
emit = { every = "1d" }
table = "ml_features.churn_features"
partition_by = ["feature_date"]

[[feature_view.aggregate]]
name = "txn_count"
function = "count"
column = "txn_id"
windows = ["7d", "30d", "90d"]

[[feature_view.aggregate]]
name = "avg_amount"
function = "mean"
column = "amount"
windows = ["7d", "30d"]

[[feature_view.aggregate]]
name = "decline_count"
function = "count"
column = "txn_id"
where = "status = 'declined'"
windows = ["30d"]

[[feature_view.aggregate]]
name = "days_since_last_txn"
function = "days_since_last"
column = "txn_id"
windows = ["lifetime"]

[[feature_view.aggregate]]
name = "unique_merchants"
function = "approx_count_distinct"
column = "merchant_id"
windows = ["90d"]

[[feature_view.derived]]
name = "decline_rate_30d"
expression = "decline_count_30d / greatest(txn_count_30d, 1)"
"#;

/// A payment; anything may be missing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Event {
    pub(crate) user: Option<String>,
    pub(crate) time: Option<i64>,
    pub(crate) txn: Option<String>,
    pub(crate) amount: Option<f64>,
    pub(crate) status: Option<&'static str>,
    pub(crate) merchant: Option<String>,
}

pub(crate) fn event(user: &str, time: &str, amount: f64) -> Event {
    Event {
        user: Some(user.to_owned()),
        time: Some(Timestamp::parse(time).unwrap().micros()),
        txn: Some(format!("{user} {time}")),
        amount: Some(amount),
        status: Some("approved"),
        merchant: Some("m".to_owned()),
    }
}

/// Payments of a few users over some months: unsorted, with ties, gaps, nulls and duplicates.
/// Amounts are quarters, so that sums are exact in any order.
pub(crate) fn events(seed: u64, count: usize) -> Vec<Event> {
    let mut state = seed;
    let mut below = |bound: u64| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % bound
    };
    let mut events: Vec<Event> = Vec::with_capacity(count);
    for number in 0..count {
        if number > 0 && below(12) == 0 {
            let copy = events[below(number as u64) as usize].clone();
            events.push(copy);
            continue;
        }
        // Few days keep the partitions few; they are 7, 30 and 90 days apart, too.
        let day =
            [0, 1, 7, 8, 30, 31, 37, 38, 60, 61, 90, 97, 98, 120, 121, 128][below(16) as usize];
        // Few different times of day, midnight among them, make ties and bounds that are hit.
        let time = 1_700_006_400_000_000 + day * DAY + below(4) as i64 * (DAY / 4);
        events.push(Event {
            user: (below(40) > 0).then(|| format!("u{}", below(7))),
            time: (below(40) > 0).then_some(time),
            txn: (below(15) > 0).then(|| format!("t{number}")),
            amount: (below(10) > 0).then(|| below(400) as f64 / 4.0),
            status: [Some("approved"), Some("declined"), None][below(3) as usize],
            merchant: (below(8) > 0).then(|| format!("m{}", below(6))),
        });
    }
    events
}

pub(crate) struct Lakehouse {
    pub(crate) engine: Engine,
    pub(crate) catalog: IcebergCatalog,
    root: tempfile::TempDir,
}

impl Lakehouse {
    pub(crate) async fn open(threads: usize) -> Self {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name).display().to_string();
        let options =
            CatalogOptions::new(format!("sqlite:{}", path("catalog.db")), path("warehouse"))
                .with_clock(Arc::new(FixedClock(Timestamp::parse("2024-06-01").unwrap())));
        let catalog = IcebergCatalog::open(options).await.unwrap();
        let engine =
            Engine::new(catalog.clone(), EngineOptions::default().with_threads(threads)).unwrap();
        Self { engine, catalog, root }
    }

    /// Appends events, in files of at most so many rows.
    pub(crate) async fn append(&self, events: &[Event], rows_per_file: usize) -> PinnedTable {
        let table = source();
        let new = NewTable::new(event_schema()).with_partition_by(["month(event_timestamp)"]);
        self.catalog.ensure_table(&table, &new).await.unwrap();
        let mut pinned = self.catalog.pin(&table, &SnapshotSelector::Latest).await.unwrap();
        for part in events.chunks(rows_per_file.max(1)) {
            let rows = BatchStream::from_batches(event_schema(), vec![batch(part)]);
            let options = CommitOptions::new(WriteMode::Append);
            pinned = self.catalog.commit(&table, rows, options).await.unwrap().pinned;
        }
        pinned
    }

    /// Takes the data files of the events off the disk: whoever reads them from now on, fails.
    pub(crate) fn lose_events(&self) {
        let (mut open, mut lost) = (vec![self.root.path().to_owned()], 0);
        while let Some(directory) = open.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                let name = path.display().to_string();
                if path.is_dir() {
                    open.push(path);
                } else if name.contains("raw_transactions") && name.ends_with(".parquet") {
                    std::fs::remove_file(path).unwrap();
                    lost += 1;
                }
            }
        }
        assert!(lost > 0);
    }

    /// Makes a view of the catalog say this.
    pub(crate) async fn say(&self, view: &str, sql: &str) {
        let view = View {
            name: TableName::parse(view).unwrap(),
            sql: sql.to_owned(),
            made_by: "test".to_owned(),
            created_at: Timestamp::from_micros(0),
        };
        assert!(self.engine.put_view(&view, CommitOptions::default()).await.unwrap());
    }

    pub(crate) async fn pin(&self, table: &str) -> PinnedTable {
        let table = TableName::parse(table).unwrap();
        self.catalog.pin(&table, &SnapshotSelector::Latest).await.unwrap()
    }

    /// A table's rows as text, sorted.
    pub(crate) async fn rows(&self, table: &str) -> Vec<String> {
        let pin = self.pin(table).await;
        let rows = self.catalog.scan(&pin, ScanOptions::default()).await.unwrap();
        text_rows(&rows.concat().await.unwrap())
    }

    /// The paths of a table's files, with their partitions.
    pub(crate) async fn files(&self, table: &str) -> Vec<(String, String)> {
        let plan = self.catalog.plan_files(&self.pin(table).await, None).await.unwrap();
        let files = plan.files.iter();
        files.map(|file| (format!("{:?}", file.partition()), file.path().to_string())).collect()
    }
}

/// A session with a function that is another one each time, under a name that nobody knows, and
/// one that is not.
pub(crate) fn moonstruck() -> SessionContext {
    let context = SessionContext::new();
    for (name, volatility) in
        [("phase_of_the_moon", Volatility::Stable), ("answer", Volatility::Immutable)]
    {
        context.register_udf(create_udf(
            name,
            Vec::new(),
            DataType::Int64,
            volatility,
            Arc::new(|_: &[ColumnarValue]| Ok(ColumnarValue::Scalar(ScalarValue::from(42_i64)))),
        ));
    }
    context
}

pub(crate) fn source() -> TableName {
    TableName::parse("events.raw_transactions").unwrap()
}

fn event_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("user_token", DataType::Utf8, true),
        Field::new("event_timestamp", moment_type(), true),
        Field::new("txn_id", DataType::Utf8, true),
        Field::new("amount", DataType::Float64, true),
        Field::new("status", DataType::Utf8, true),
        Field::new("merchant_id", DataType::Utf8, true),
        Field::new("unused", DataType::Utf8, true),
    ]))
}

fn batch(events: &[Event]) -> RecordBatch {
    let texts = |pick: fn(&Event) -> Option<String>| -> ArrayRef {
        Arc::new(events.iter().map(pick).collect::<StringArray>())
    };
    let times = events.iter().map(|event| event.time).collect::<TimestampMicrosecondArray>();
    let columns: Vec<ArrayRef> = vec![
        texts(|event| event.user.clone()),
        Arc::new(times.with_timezone("+00:00")),
        texts(|event| event.txn.clone()),
        Arc::new(events.iter().map(|event| event.amount).collect::<Float64Array>()),
        texts(|event| event.status.map(str::to_owned)),
        texts(|event| event.merchant.clone()),
        texts(|_| Some("x".to_owned())),
    ];
    RecordBatch::try_new(event_schema(), columns).unwrap()
}

/// Rows as text, sorted: name=value of every column, floats to the last bit.
pub(crate) fn text_rows(batch: &RecordBatch) -> Vec<String> {
    let value = |column: &ArrayRef, row: usize| -> String {
        if column.is_null(row) {
            return "-".to_owned();
        }
        match column.data_type() {
            DataType::Utf8 => column.as_string::<i32>().value(row).to_owned(),
            DataType::Int64 => column.as_primitive::<Int64Type>().value(row).to_string(),
            DataType::Float64 => format!("{:?}", column.as_primitive::<Float64Type>().value(row)),
            DataType::Date32 => {
                let days = column.as_primitive::<Date32Type>().value(row);
                icecore_core::Date::from_days(days).to_string()
            }
            DataType::Timestamp(..) => {
                let micros = column.as_primitive::<TimestampMicrosecondType>().value(row);
                Timestamp::from_micros(micros).to_string()
            }
            other => panic!("no text for {other}"),
        }
    };
    let schema = batch.schema();
    let row = |row: usize| {
        let columns = schema.fields().iter().zip(batch.columns());
        let columns =
            columns.map(|(field, column)| format!("{}={}", field.name(), value(column, row)));
        columns.collect::<Vec<_>>().join(" ")
    };
    let mut rows: Vec<String> = (0..batch.num_rows()).map(row).collect();
    rows.sort();
    rows
}
