//! Reading: plans, files, and what a table knows about itself.

use arrow::array::RecordBatch;
use icecore_core::{BatchStream, PinnedTable, Predicate, Result, ScanOptions, TableName};

use super::IcebergCatalog;
use crate::history;
use crate::metadata_table::{self, MetadataTable};
use crate::scan::{self, FilePlan, PlannedFile};

impl IcebergCatalog {
    /// The files that a pinned table is made of, without those that cannot hold a row that passes.
    ///
    /// # Errors
    ///
    /// `NotFound` if the pin's snapshot is gone or the filter names an unknown column.
    pub async fn plan_files(
        &self,
        pinned: &PinnedTable,
        filter: Option<&Predicate>,
    ) -> Result<FilePlan> {
        let table = self.tables_now().load(&pinned.table).await?;
        let snapshot = history::pinned(pinned, &table).await?.map(|found| found.snapshot_id());
        scan::plan_files(&table, snapshot, filter).await
    }

    /// Rows of some files of a [plan](Self::plan_files), file after file in the order in which they
    /// are given: one file at a time is decoded, so that several such reads side by side share
    /// the work.
    ///
    /// # Errors
    ///
    /// `NotFound` if the pin's snapshot is gone or for an unknown column, `InvalidInput` for a
    /// literal of the wrong kind; the stream fails with what the storage says.
    pub async fn scan_files(
        &self,
        pinned: &PinnedTable,
        files: &[PlannedFile],
        options: ScanOptions,
    ) -> Result<BatchStream> {
        let table = self.tables_now().load(&pinned.table).await?;
        let snapshot = history::pinned(pinned, &table).await?.map(|found| found.snapshot_id());
        scan::scan_files(&table, snapshot, files, &options)
    }

    /// What a table knows about itself and its newest state, as rows.
    ///
    /// # Errors
    ///
    /// `NotFound` for an unknown table.
    pub async fn metadata_table(
        &self,
        table: &TableName,
        which: MetadataTable,
    ) -> Result<RecordBatch> {
        let table = self.tables_now().load(table).await?;
        metadata_table::read(&table, table.metadata().current_snapshot(), which).await
    }

    /// What a table knows about one of its states, as rows.
    ///
    /// # Errors
    ///
    /// `NotFound` if the pin's snapshot is gone.
    pub async fn metadata_table_at(
        &self,
        pinned: &PinnedTable,
        which: MetadataTable,
    ) -> Result<RecordBatch> {
        let table = self.tables_now().load(&pinned.table).await?;
        let snapshot = history::pinned(pinned, &table).await?;
        metadata_table::read(&table, snapshot, which).await
    }
}
