//! A catalog in a temporary directory, with payments features and outcomes in it.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::array::{BooleanArray, TimestampMicrosecondArray};
use icecore_catalog::{CatalogOptions, IcebergCatalog};
use icecore_core::{
    BatchStream, CommitOptions, NewTable, PinnedTable, SnapshotCatalog, TableName, Timestamp,
    WriteMode,
};
use icecore_engine::{Engine, EngineOptions};
use icecore_features::Definitions;

use crate::DatasetSpec;

pub(crate) const FEATURES: &str = r#"
[[entity]]
name = "user"
join_keys = ["user_token"]

[[feature_view]]
name = "activity"
entities = ["user"]
source = "ml_features.activity"
event_timestamp = "event_timestamp"
ttl = "90d"
columns = ["txn_count_30d", "amount"]

[[feature_view]]
name = "account"
entities = ["user"]
source = "ml_features.account"
event_timestamp = "event_timestamp"
created_timestamp = "created"
columns = ["balance", "tier"]
"#;

pub(crate) const CHURN: &str = r#"
name = "churn"
spine = "SELECT user_token, observed_at AS event_timestamp, churned FROM labels.outcomes"
label = "churned"
features = ["activity:*", "account:balance"]
"#;

/// What a test works on.
pub(crate) struct Lake {
    dir: tempfile::TempDir,
    pub(crate) engine: Engine,
    pub(crate) definitions: Definitions,
}

impl Lake {
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        let uri = format!("sqlite:{}", at("catalog.db"));
        let options = CatalogOptions::new(uri, at("warehouse"));
        let catalog = IcebergCatalog::open(options).await.unwrap();
        let options = EngineOptions::default().with_threads(2).with_memory_limit(256 << 20);
        let engine = Engine::new(catalog, options).unwrap();
        let definitions = Definitions::parse("features/all.toml", FEATURES).unwrap();
        Self { dir, engine, definitions }
    }

    /// One of each table, with rows that lie on both sides of every observation.
    pub(crate) async fn filled() -> Self {
        let lake = Self::new().await;
        lake.write("labels.outcomes", outcomes(&OUTCOMES), WriteMode::Append).await;
        lake.write("ml_features.activity", activity(&ACTIVITY), WriteMode::Append).await;
        lake.write("ml_features.account", account(&ACCOUNT), WriteMode::Append).await;
        lake
    }

    pub(crate) async fn write(
        &self,
        table: &str,
        rows: RecordBatch,
        mode: WriteMode,
    ) -> PinnedTable {
        self.write_parts(table, vec![rows], mode).await
    }

    pub(crate) async fn write_parts(
        &self,
        table: &str,
        parts: Vec<RecordBatch>,
        mode: WriteMode,
    ) -> PinnedTable {
        let (catalog, table) = (self.engine.catalog(), TableName::parse(table).unwrap());
        let schema = parts[0].schema();
        catalog.ensure_table(&table, &NewTable::new(schema.clone())).await.unwrap();
        let rows = BatchStream::from_batches(schema, parts);
        catalog.commit(&table, rows, CommitOptions::new(mode)).await.unwrap().pinned
    }

    /// Writes the definition and reads it.
    pub(crate) fn spec(&self, text: &str) -> DatasetSpec {
        let path = self.path("training/churn.toml");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        DatasetSpec::load(&path).unwrap()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// User, observed at, churned.
pub(crate) const OUTCOMES: [(&str, &str, Option<bool>); 5] = [
    ("u1", "2024-01-15", Some(true)),
    ("u2", "2024-01-20", Some(false)),
    ("u3", "2024-02-01", Some(true)),
    ("u1", "2024-02-20", Some(false)),
    ("u9", "2024-02-20", None),
];

/// User, event timestamp, transactions of 30 days, amount.
pub(crate) const ACTIVITY: [(&str, &str, i64, f64); 6] = [
    ("u1", "2024-01-10", 3, 30.5),
    ("u1", "2024-02-14", 15, 155.25),
    ("u2", "2024-01-20", 7, 70.0),
    ("u2", "2024-01-21", 8, 71.0),
    ("u3", "2023-10-01", 99, 0.5),
    ("u1", "2024-03-01", 40, 400.0),
];

/// User, event timestamp, created, balance.
pub(crate) const ACCOUNT: [(&str, &str, &str, f64); 3] = [
    ("u1", "2024-01-01", "2024-01-01", 100.0),
    ("u1", "2024-01-01", "2024-02-01", 90.0),
    ("u2", "2024-01-01", "2024-03-01", 55.0),
];

fn texts<'a>(values: impl Iterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn moments<'a>(values: impl Iterator<Item = &'a str>) -> ArrayRef {
    let micros = values.map(|text| Timestamp::parse(text).unwrap().micros());
    Arc::new(TimestampMicrosecondArray::from_iter_values(micros).with_timezone("+00:00"))
}

fn batch<const N: usize>(columns: [(&str, ArrayRef); N]) -> RecordBatch {
    let columns = columns.map(|(name, column)| (name, column, true));
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

pub(crate) fn outcomes(rows: &[(&str, &str, Option<bool>)]) -> RecordBatch {
    batch([
        ("user_token", texts(rows.iter().map(|row| row.0))),
        ("observed_at", moments(rows.iter().map(|row| row.1))),
        ("churned", Arc::new(BooleanArray::from_iter(rows.iter().map(|row| row.2)))),
    ])
}

pub(crate) fn activity(rows: &[(&str, &str, i64, f64)]) -> RecordBatch {
    batch([
        ("user_token", texts(rows.iter().map(|row| row.0))),
        ("event_timestamp", moments(rows.iter().map(|row| row.1))),
        ("txn_count_30d", Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.2)))),
        ("amount", Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| row.3)))),
    ])
}

pub(crate) fn account(rows: &[(&str, &str, &str, f64)]) -> RecordBatch {
    batch([
        ("user_token", texts(rows.iter().map(|row| row.0))),
        ("event_timestamp", moments(rows.iter().map(|row| row.1))),
        ("created", moments(rows.iter().map(|row| row.2))),
        ("balance", Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| row.3)))),
        ("tier", texts(rows.iter().map(|_| "gold"))),
    ])
}
