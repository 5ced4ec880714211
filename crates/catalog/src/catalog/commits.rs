//! Committing rows, and changes of files.

use std::sync::Arc;

use iceberg::spec::{DataFile, Operation, SnapshotRef};
use iceberg::table::Table;
use icecore_core::{
    BatchStream, CommitOptions, Committed, Error, ErrorKind, PinnedTable, RefName, Result,
    SnapshotId, TableName, WriteMode,
};

use super::IcebergCatalog;
use crate::commit::{
    self, AddedFiles, FileChange, Outcome, OwnedReads, OwnedRemoval, Tip, Touched, isolation,
};
use crate::ids::new_uuid;
use crate::write::{WriteTarget, WrittenFiles, write_rows};

impl IcebergCatalog {
    /// Makes files that were written part of a table, and deletes them if that failed for sure.
    ///
    /// # Errors
    ///
    /// `Conflict` if what others committed contradicts the change; `OutcomeUnknown` with the
    /// attempt id if nobody knows whether it is stored.
    pub(crate) async fn commit_change(
        &self,
        name: &TableName,
        change: FileChange,
    ) -> Result<Committed> {
        let mut paths: Vec<String> =
            change.added_files().map(|file| file.file_path().to_owned()).collect();
        // Deletion vectors share a file.
        paths.sort_unstable();
        paths.dedup();
        let result = self.try_change(name, &change).await;
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

    async fn try_change(&self, name: &TableName, change: &FileChange) -> Result<Committed> {
        let branch = &change.branch;
        match commit::commit(self.tables_now(), name, change).await? {
            Outcome::Unchanged(table) => Ok(unchanged(name, &table, branch)),
            Outcome::DoneBefore(table, id) => Ok(done_before(name, &table, branch, id)),
            Outcome::Committed(table, attempt) => {
                let done = match commit::made_by(table.metadata(), &attempt) {
                    Some(snapshot) => committed(name, &table, snapshot, true),
                    // Stored, found out late, and expired by then.
                    None => Committed {
                        added_rows: rows_of(change),
                        changed: true,
                        ..unchanged(name, &table, branch)
                    },
                };
                tracing::info!(
                    table = %name,
                    branch = %branch,
                    snapshot = %done.pinned.snapshot,
                    added = done.added_rows,
                    removed = done.removed_rows,
                    "committed snapshot"
                );
                Ok(done)
            }
        }
    }

    /// Writes rows, and commits the files.
    pub(super) async fn commit_rows(
        &self,
        name: &TableName,
        rows: BatchStream,
        options: CommitOptions,
    ) -> Result<Committed> {
        let head = self.tables_now().load(name).await?;
        commit::check_writable(&head)?;
        let branch = options.branch.clone().unwrap_or_else(RefName::main);
        if let Some(id) = commit::done_before(&head, &branch, options.job_id.as_deref()) {
            return Ok(done_before(name, &head, &branch, id));
        }
        let mut change = row_change(&head, branch, options.clone())?;
        let target = WriteTarget {
            metadata: head.metadata_ref(),
            io: self.tables_now().io().clone(),
            commit: new_uuid(&**self.tables_now().ids()),
        };
        let written = write_rows(&target, rows).await?;
        replace(&mut change, options.mode, &written);
        if !written.files.is_empty() {
            change.added = vec![AddedFiles::data(&change.written_for, written.files)];
        }
        self.commit_change(name, change).await
    }
}

/// A change that nothing was written for yet.
fn row_change(head: &Table, branch: RefName, options: CommitOptions) -> Result<FileChange> {
    let tip = Tip::of(head, &branch, options.create_branch)?.snapshot;
    let base = match options.base {
        Some(PinnedTable::EMPTY) => None,
        Some(base) => Some(base.get()),
        None => tip.map(|tip| tip.snapshot_id()),
    };
    let isolation = isolation(head.metadata(), options.isolation, "overwrite")?;
    match options.mode {
        WriteMode::Append | WriteMode::Overwrite | WriteMode::OverwritePartitions => {}
        mode => return Err(Error::unsupported(format!("cannot commit in mode {mode:?}"))),
    }
    Ok(FileChange {
        base,
        isolation,
        branch,
        create_branch: options.create_branch,
        fields: options.summary,
        job_id: options.job_id,
        ..FileChange::new(head.metadata_ref(), Operation::Append)
    })
}

/// Says which rows the new ones replace.
fn replace(change: &mut FileChange, mode: WriteMode, written: &WrittenFiles) {
    let spec = change.written_for.default_partition_spec().clone();
    let replaces_all = match mode {
        WriteMode::Overwrite => true,
        WriteMode::OverwritePartitions => written.rows > 0 && spec.is_unpartitioned(),
        _ => false,
    };
    if replaces_all {
        change.removed = OwnedRemoval::Everything;
        change.reads = OwnedReads::Everything;
    } else if mode == WriteMode::OverwritePartitions && written.rows > 0 {
        let schema = change.written_for.current_schema();
        let touched = Arc::new(Touched::of(&written.files, &spec, schema));
        change.removed = OwnedRemoval::Partitions(touched.clone());
        change.reads = OwnedReads::Partitions(touched);
    } else {
        return;
    }
    change.operation =
        if written.files.is_empty() { Operation::Delete } else { Operation::Overwrite };
}

fn rows_of(change: &FileChange) -> u64 {
    let is_data = |file: &&DataFile| file.content_type() == iceberg::spec::DataContentType::Data;
    change.added_files().filter(is_data).map(DataFile::record_count).sum()
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

fn done_before(name: &TableName, table: &Table, branch: &RefName, id: i64) -> Committed {
    match table.metadata().snapshot_by_id(id) {
        Some(snapshot) => committed(name, table, snapshot, false),
        None => unchanged(name, table, branch),
    }
}

fn unchanged(name: &TableName, table: &Table, branch: &RefName) -> Committed {
    let metadata = table.metadata();
    let tip = metadata.snapshot_for_ref(branch.as_str()).or_else(|| metadata.current_snapshot());
    let snapshot = tip.map_or(PinnedTable::EMPTY, |tip| SnapshotId::new(tip.snapshot_id()));
    let pinned = PinnedTable { table: name.clone(), uuid: metadata.uuid().to_string(), snapshot };
    Committed { pinned, added_rows: 0, removed_rows: 0, changed: false }
}
