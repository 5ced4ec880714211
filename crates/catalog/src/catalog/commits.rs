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
    self, AddedFiles, FileChange, Outcome, OwnedReads, OwnedRemoval, Tip, Touched, check_no_tag,
    isolation,
};
use crate::history;
use crate::ids::new_uuid;
use crate::planted::{self, PlantedBug};
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
            Err(error) => {
                error.kind() != ErrorKind::OutcomeUnknown
                    || planted::has(PlantedBug::UnknownIsCleanedUp)
            }
        };
        if unused {
            self.tables_now().discard(&paths).await;
        }
        result
    }

    async fn try_change(&self, name: &TableName, change: &FileChange) -> Result<Committed> {
        let outcome = commit::commit(self.tables_now(), name, change).await?;
        let mut done = self.committed(name, outcome, &change.branch);
        if done.changed && done.added_rows == 0 {
            // Stored, found out late, and perhaps expired by then.
            done.added_rows = rows_of(change);
        }
        Ok(done)
    }

    /// What a commit to a branch came to, for its caller.
    pub(super) fn committed(
        &self,
        name: &TableName,
        outcome: Outcome,
        branch: &RefName,
    ) -> Committed {
        match outcome {
            Outcome::Unchanged(table) => unchanged(name, &table, branch),
            Outcome::DoneBefore(table, id) => done_before(name, &table, branch, id),
            Outcome::Committed(table, attempt) => {
                let done = match commit::made_by(table.metadata(), &attempt) {
                    Some(snapshot) => committed(name, &table, snapshot, true),
                    None => Committed { changed: true, ..unchanged(name, &table, branch) },
                };
                tracing::info!(
                    table = %name,
                    branch = %branch,
                    snapshot = %done.pinned.snapshot,
                    added = done.added_rows,
                    removed = done.removed_rows,
                    "committed snapshot"
                );
                done
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
        let change = row_change(self, &head, rows, options).await?;
        self.commit_change(name, change).await
    }
}

/// Writes rows, and says what they change.
pub(super) async fn row_change(
    catalog: &IcebergCatalog,
    head: &Table,
    rows: BatchStream,
    options: CommitOptions,
) -> Result<FileChange> {
    let mode = options.mode;
    let mut change = unwritten(head, options)?;
    let target = WriteTarget {
        metadata: head.metadata_ref(),
        io: catalog.tables_now().io().clone(),
        commit: new_uuid(&**catalog.tables_now().ids()),
    };
    let written = write_rows(&target, rows).await?;
    replace(&mut change, mode, &written);
    if !written.files.is_empty() {
        change.added = vec![AddedFiles::data(&change.written_for, written.files)];
    }
    Ok(change)
}

/// A change that nothing was written for yet.
fn unwritten(head: &Table, options: CommitOptions) -> Result<FileChange> {
    let branch = options.branch.unwrap_or_else(RefName::main);
    check_no_tag(head, &branch)?;
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

pub(super) fn done_before(name: &TableName, table: &Table, branch: &RefName, id: i64) -> Committed {
    match table.metadata().snapshot_by_id(id) {
        Some(snapshot) => committed(name, table, snapshot, false),
        None => unchanged(name, table, branch),
    }
}

fn unchanged(name: &TableName, table: &Table, branch: &RefName) -> Committed {
    let pinned = history::at_ref(name, table, branch);
    Committed { pinned, added_rows: 0, removed_rows: 0, changed: false }
}
