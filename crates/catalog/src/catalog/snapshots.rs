//! The catalog as everyone else sees it.

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use iceberg::spec::SnapshotRef;
use iceberg::table::Table;
use icecore_core::{
    BatchStream, CommitOptions, Committed, Error, ErrorKind, NewTable, PinnedTable, Result,
    ScanOptions, SnapshotCatalog, SnapshotId, SnapshotInfo, SnapshotSelector, TableName, WriteMode,
};

use super::IcebergCatalog;
use crate::commit::{self, Outcome, Replace, WriteRows};
use crate::ids::new_uuid;
use crate::write::{WriteTarget, WrittenFiles, write_rows};
use crate::{history, scan, schema};

#[async_trait]
impl SnapshotCatalog for IcebergCatalog {
    async fn tables(&self) -> Result<Vec<TableName>> {
        self.tables_now().pointers().list().await
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
        let head = self.tables_now().load(table).await?;
        commit::check_writable(&head)?;
        if let Some(id) = WriteRows::done_before(&head, options.job_id.as_deref()) {
            return Ok(done_before(table, &head, id));
        }
        let target = WriteTarget {
            metadata: head.metadata_ref(),
            io: self.tables_now().io().clone(),
            commit: new_uuid(&**self.tables_now().ids()),
        };
        let written = write_rows(&target, rows).await?;
        let paths: Vec<String> =
            written.files.iter().map(|file| file.file_path().to_owned()).collect();
        let result = self.commit_files(table, &head, written, options).await;
        let unused = match &result {
            Ok(done) => !done.changed,
            // Nobody knows whether the table refers to them.
            Err(error) => error.kind() != ErrorKind::OutcomeUnknown,
        };
        if unused {
            self.tables_now().discard(&paths).await;
        }
        result
    }
}

impl IcebergCatalog {
    async fn commit_files(
        &self,
        name: &TableName,
        head: &Table,
        written: WrittenFiles,
        options: CommitOptions,
    ) -> Result<Committed> {
        let (written_for, added_rows) = (head.metadata_ref(), written.rows);
        let replace = match options.mode {
            WriteMode::Append => Replace::Nothing,
            WriteMode::Overwrite => Replace::Everything,
            WriteMode::OverwritePartitions if written.rows == 0 => Replace::Nothing,
            WriteMode::OverwritePartitions => {
                WriteRows::partitions_of(&written.files, &written_for)
            }
            mode => {
                return Err(Error::unsupported(format!("cannot commit in mode {mode:?}")));
            }
        };
        let base = match options.base {
            Some(PinnedTable::EMPTY) => None,
            Some(base) => Some(base.get()),
            None => written_for.current_snapshot_id(),
        };
        let change = WriteRows {
            files: written.files,
            written_for,
            replace,
            base,
            fields: options.summary,
            job_id: options.job_id,
        };
        match commit::commit(self.tables_now(), name, &change).await? {
            Outcome::Unchanged(table) => Ok(unchanged(name, &table)),
            Outcome::DoneBefore(table, id) => Ok(done_before(name, &table, id)),
            Outcome::Committed(table, attempt) => {
                let done = match commit::made_by(table.metadata(), &attempt) {
                    Some(snapshot) => committed(name, &table, snapshot, true),
                    // Stored, found out late, and expired by then.
                    None => Committed { added_rows, changed: true, ..unchanged(name, &table) },
                };
                tracing::info!(
                    table = %name,
                    snapshot = %done.pinned.snapshot,
                    added = done.added_rows,
                    removed = done.removed_rows,
                    "committed snapshot"
                );
                Ok(done)
            }
        }
    }
}

/// What a snapshot did, for the caller that made it.
pub(super) fn committed(
    name: &TableName,
    table: &Table,
    snapshot: &SnapshotRef,
    changed: bool,
) -> Committed {
    let (added_rows, removed_rows) = commit::counts(&snapshot.summary().additional_properties);
    Committed {
        pinned: PinnedTable {
            table: name.clone(),
            uuid: table.metadata().uuid().to_string(),
            snapshot: SnapshotId::new(snapshot.snapshot_id()),
        },
        added_rows,
        removed_rows,
        changed,
    }
}

fn done_before(name: &TableName, table: &Table, id: i64) -> Committed {
    match table.metadata().snapshot_by_id(id) {
        Some(snapshot) => committed(name, table, snapshot, false),
        None => unchanged(name, table),
    }
}

fn unchanged(name: &TableName, table: &Table) -> Committed {
    let metadata = table.metadata();
    let snapshot = metadata.current_snapshot_id().map_or(PinnedTable::EMPTY, SnapshotId::new);
    let pinned = PinnedTable { table: name.clone(), uuid: metadata.uuid().to_string(), snapshot };
    Committed { pinned, added_rows: 0, removed_rows: 0, changed: false }
}
