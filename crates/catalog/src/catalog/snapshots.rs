//! The catalog as everyone else sees it.

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use icecore_core::{
    BatchStream, CommitOptions, Committed, NewTable, PinnedTable, Result, ScanOptions,
    SnapshotCatalog, SnapshotInfo, SnapshotSelector, TableName,
};

use super::IcebergCatalog;
use crate::{history, scan, schema};

#[async_trait]
impl SnapshotCatalog for IcebergCatalog {
    async fn tables(&self) -> Result<Vec<TableName>> {
        self.tables_now().list().await
    }

    async fn pin(&self, table: &TableName, selector: &SnapshotSelector) -> Result<PinnedTable> {
        let head = self.tables_now().load(table).await?;
        history::select(table, &head, selector).await
    }

    async fn schema(&self, pinned: &PinnedTable) -> Result<SchemaRef> {
        let table = self.tables_now().load(&pinned.table).await?;
        let metadata = table.metadata();
        match history::pinned(pinned, &table).await? {
            Some(snapshot) => {
                use crate::error::Context;
                let columns = snapshot
                    .schema(metadata)
                    .context(|| format!("cannot find the columns of `{pinned}`"))?;
                schema::to_arrow(&columns)
            }
            None => schema::to_arrow(metadata.current_schema()),
        }
    }

    async fn history(&self, table: &TableName) -> Result<Vec<SnapshotInfo>> {
        history::log(self.tables_now().load(table).await?.metadata())
    }

    async fn scan(&self, pinned: &PinnedTable, options: ScanOptions) -> Result<BatchStream> {
        let table = self.tables_now().load(&pinned.table).await?;
        let snapshot = history::pinned(pinned, &table).await?.map(|found| found.snapshot_id());
        scan::scan(&table, snapshot, options).await
    }

    async fn ensure_table(&self, table: &TableName, new: &NewTable) -> Result<bool> {
        self.ensure(table, new).await
    }

    async fn commit(
        &self,
        table: &TableName,
        rows: BatchStream,
        options: CommitOptions,
    ) -> Result<Committed> {
        self.commit_rows(table, rows, options).await
    }
}
