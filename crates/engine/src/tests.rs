//! The engine over real tables in a directory of their own.

mod conditions;
mod deep;
mod deletes;
mod dialect;
mod diff;
mod known;
mod lineage;
mod narrow;
mod pruning;
mod sql;
mod views;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use icecore_catalog::{CatalogOptions, IcebergCatalog};
use icecore_core::{
    BatchStream, CommitOptions, Committed, Error, NewTable, PinnedTable, SnapshotCatalog,
    SnapshotSelector, TableName, WriteMode,
};

use crate::{Engine, EngineOptions};

/// A catalog, an engine over it, and the directory that both live in.
pub(crate) struct Lake {
    pub(crate) engine: Engine,
    directory: tempfile::TempDir,
}

impl Lake {
    pub(crate) async fn new() -> Self {
        Self::with(EngineOptions::default().with_threads(2)).await
    }

    async fn with(options: EngineOptions) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        let uri = format!("sqlite:{}", path("catalog.db"));
        let catalog =
            IcebergCatalog::open(CatalogOptions::new(uri, path("warehouse"))).await.unwrap();
        Self { engine: Engine::new(catalog, options).unwrap(), directory }
    }

    pub(crate) fn catalog(&self) -> &IcebergCatalog {
        self.engine.catalog()
    }

    pub(crate) async fn create(&self, table: &str, new: NewTable) {
        assert!(self.catalog().ensure_table(&name(table), &new).await.unwrap());
    }

    pub(crate) async fn append(&self, table: &str, batch: RecordBatch) -> Committed {
        self.commit(table, batch, WriteMode::Append).await
    }

    async fn commit(&self, table: &str, batch: RecordBatch, mode: WriteMode) -> Committed {
        let rows = BatchStream::from_batches(batch.schema(), vec![batch]);
        self.catalog().commit(&name(table), rows, CommitOptions::new(mode)).await.unwrap()
    }

    async fn latest(&self, table: &str) -> PinnedTable {
        self.catalog().pin(&name(table), &SnapshotSelector::Latest).await.unwrap()
    }

    /// The rows of a query's answer, each as text.
    async fn rows(&self, sql: &str) -> Vec<String> {
        self.rows_at(sql, &[]).await
    }

    async fn rows_at(&self, sql: &str, pins: &[PinnedTable]) -> Vec<String> {
        lines(&self.engine.sql(sql, pins).await.unwrap().concat().await.unwrap())
    }

    async fn error(&self, sql: &str) -> Error {
        match self.engine.sql(sql, &[]).await {
            Ok(rows) => rows.collect().await.expect_err(sql),
            Err(error) => error,
        }
    }
}

fn name(table: &str) -> TableName {
    TableName::parse(table).unwrap()
}

pub(crate) fn lines(batch: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::default().with_null("null");
    let columns: Vec<ArrayFormatter<'_>> = batch
        .columns()
        .iter()
        .map(|column| ArrayFormatter::try_new(column.as_ref(), &options).unwrap())
        .collect();
    (0..batch.num_rows())
        .map(|row| {
            let cells: Vec<String> =
                columns.iter().map(|column| column.value(row).to_string()).collect();
            cells.join("|")
        })
        .collect()
}

/// Rows written as `id|user|amount|at`, with `-` for null.
pub(crate) fn payments(rows: &str) -> RecordBatch {
    use arrow::array::{Float64Array, Int64Array, StringArray, TimestampMicrosecondArray};
    let cells: Vec<Vec<&str>> =
        rows.split_whitespace().map(|row| row.split('|').collect()).collect();
    let column = |at: usize| cells.iter().map(move |row| Some(row[at]).filter(|cell| *cell != "-"));
    let id: Int64Array =
        column(0).map(|cell| cell.map(|cell| cell.parse::<i64>().unwrap())).collect();
    let user: StringArray = column(1).collect();
    let amount: Float64Array =
        column(2).map(|cell| cell.map(|cell| cell.parse::<f64>().unwrap())).collect();
    let at: TimestampMicrosecondArray = column(3)
        .map(|cell| cell.map(|cell| icecore_core::Timestamp::parse(cell).unwrap().micros()))
        .collect();
    RecordBatch::try_new(
        payments_schema(),
        vec![Arc::new(id), Arc::new(user), Arc::new(amount), Arc::new(at.with_timezone("+00:00"))],
    )
    .unwrap()
}

pub(crate) fn payments_schema() -> SchemaRef {
    use arrow::datatypes::{DataType, Field, Schema};
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("user_token", DataType::Utf8, true),
        Field::new("amount", DataType::Float64, true),
        Field::new("event_timestamp", crate::files::moment(), true),
    ]))
}
