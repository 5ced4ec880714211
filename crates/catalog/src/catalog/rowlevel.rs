//! Changing rows of a table.

use std::sync::{Arc, Mutex};

use iceberg::spec::Operation as SnapshotOperation;
use icecore_core::{
    BatchStream, CommitOptions, Committed, ErrorKind, PinnedTable, RefName, Result, SnapshotId,
    TableName,
};

use super::IcebergCatalog;
use crate::commit::{self, FileChange, Tip, isolation};
use crate::rowlevel::{
    Delete, Overwrite, RowChanges, RowDelta, RowFilter, RowOperation, RowOptions, Source, Target,
    Upsert, UpsertOptions, Writing, delete_keys,
};
use crate::schema;

/// How often a change is computed again because others committed what contradicts it.
const TRIES_MAX: u32 = 8;

impl IcebergCatalog {
    /// Deletes the rows that pass a filter, in one commit. Files of nothing but such rows are
    /// removed without being read; files without such rows stay as they are. Where no row passes,
    /// no snapshot is made.
    ///
    /// Others may commit at the same time: unless `base` is given, the rows to delete are then
    /// looked for again in what they made.
    ///
    /// # Errors
    ///
    /// `NotFound` for an unknown table, branch or column; `InvalidInput` for a literal of the
    /// wrong kind; `Conflict` if what others committed since `base` contradicts the change;
    /// `OutcomeUnknown` with the attempt id if nobody knows whether it is stored.
    pub async fn delete(
        &self,
        table: &TableName,
        filter: impl Into<RowFilter> + Send,
        options: RowOptions,
    ) -> Result<RowChanges> {
        let operation = Delete { filter: filter.into() };
        self.change_rows(table, &operation, &options).await
    }

    /// Replaces the rows that pass a filter by others, in one commit. Without new rows, it deletes.
    ///
    /// # Errors
    ///
    /// `InvalidInput` naming the first new row that does not pass, and those of
    /// [`delete`](Self::delete). Rows that others committed since `base`, or since the call
    /// began, are never replaced unseen: that is a `Conflict`.
    pub async fn overwrite_where(
        &self,
        table: &TableName,
        filter: impl Into<RowFilter> + Send,
        rows: BatchStream,
        options: RowOptions,
    ) -> Result<RowChanges> {
        let operation = Overwrite {
            filter: filter.into(),
            rows: Mutex::new(Some(rows)),
            dry_run: options.dry_run,
        };
        self.change_rows(table, &operation, &options).await
    }

    /// Inserts and updates rows by key, in one commit. Rows that have the new values already are
    /// left alone: where all have, no snapshot is made.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a null in a key or for two new rows of one key, unless the options allow
    /// for them; `LimitExceeded` for more new rows than may be held in memory; and those of
    /// [`delete`](Self::delete).
    pub async fn upsert(
        &self,
        table: &TableName,
        rows: BatchStream,
        key: &[String],
        options: UpsertOptions,
    ) -> Result<RowChanges> {
        let head = self.tables_now().load(table).await?;
        let columns = schema::to_arrow(head.metadata().current_schema())?;
        let source = Arc::new(Source::read(&columns, rows, key, &options).await?);
        let row_options = RowOptions {
            commit: options.commit.clone(),
            mode: options.mode,
            dry_run: options.dry_run,
        };
        self.change_rows(table, &Upsert { source, options }, &row_options).await
    }

    /// Deletes rows by key without looking for them, and puts rows in, in one commit. See
    /// [`RowDelta`] for what that costs; [`upsert`](Self::upsert) is what most want.
    ///
    /// # Errors
    ///
    /// `Unsupported` for keys that no delete file can hold or whose partition does not follow from
    /// them, and those of [`delete`](Self::delete).
    pub async fn row_delta(
        &self,
        table: &TableName,
        delta: RowDelta,
        options: CommitOptions,
    ) -> Result<Committed> {
        let (target, mut change) = match self.begin(table, &options, "merge").await? {
            Begun::Done(RowChanges { pinned, inserted: added_rows, .. }) => {
                return Ok(Committed { pinned, added_rows, removed_rows: 0, changed: false });
            }
            Begun::Open(target, change) => (target, change),
        };
        let mut writing = Writing::new(&target);
        if let Err(error) = delete_keys(&target, delta, &mut writing).await {
            self.tables_now().discard(&writing.into_paths()).await;
            return Err(error);
        }
        writing.complete(&mut change)?;
        self.commit_change(table, *change).await
    }

    async fn change_rows(
        &self,
        name: &TableName,
        operation: &dyn RowOperation,
        options: &RowOptions,
    ) -> Result<RowChanges> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.change_rows_once(name, operation, options).await {
                Err(error)
                    if error.kind() == ErrorKind::Conflict
                        && operation.is_repeatable()
                        && options.commit.base.is_none()
                        && tries < TRIES_MAX =>
                {
                    tracing::debug!(table = %name, tries, %error, "computing a change again");
                }
                result => return result,
            }
        }
    }

    async fn change_rows_once(
        &self,
        name: &TableName,
        operation: &dyn RowOperation,
        options: &RowOptions,
    ) -> Result<RowChanges> {
        let (target, mut change) =
            match self.begin(name, &options.commit, operation.kind().name()).await? {
                Begun::Done(done) => return Ok(done),
                Begun::Open(target, change) => (target, change),
            };
        let metadata = target.table.metadata();
        let mode = operation.kind().mode(options.mode, metadata.properties())?;
        let computed = operation.compute(&target, mode).await?;
        let mut changes = computed.changes(pinned(name, &target));
        changes.changed = changes.is_something();
        let mut writing = Writing::new(&target);
        if options.dry_run || !changes.changed {
            return Ok(changes);
        }
        match computed.write(&mut writing, mode).await {
            Ok(reads) => change.reads = reads,
            Err(error) => {
                self.tables_now().discard(&writing.into_paths()).await;
                return Err(error);
            }
        }
        writing.complete(&mut change)?;
        change.fields.extend(changes.fields());
        let done = self.commit_change(name, *change).await?;
        changes.pinned = done.pinned;
        changes.changed = done.changed;
        Ok(changes)
    }

    /// Finds the state to change, unless the same job did it before.
    async fn begin(
        &self,
        name: &TableName,
        options: &CommitOptions,
        operation: &str,
    ) -> Result<Begun> {
        let head = self.tables_now().load(name).await?;
        commit::check_writable(&head)?;
        let branch = options.branch.clone().unwrap_or_else(RefName::main);
        if let Some(id) = commit::done_before(&head, &branch, options.job_id.as_deref()) {
            let ids = self.tables_now().ids().clone();
            let target = Target { table: head.clone(), snapshot: Some(id), ids };
            let summary = head
                .metadata()
                .snapshot_by_id(id)
                .map(|snapshot| snapshot.summary().additional_properties.clone());
            let done = RowChanges::of_summary(pinned(name, &target), &summary.unwrap_or_default());
            return Ok(Begun::Done(done));
        }
        let tip = Tip::of(&head, &branch, options.create_branch)?.snapshot;
        let base = match options.base {
            Some(PinnedTable::EMPTY) => None,
            Some(base) => Some(base.get()),
            None => tip.map(|tip| tip.snapshot_id()),
        };
        let change = FileChange {
            base,
            isolation: isolation(head.metadata(), options.isolation, operation)?,
            branch,
            create_branch: options.create_branch,
            fields: options.summary.clone(),
            job_id: options.job_id.clone(),
            ..FileChange::new(head.metadata_ref(), SnapshotOperation::Append)
        };
        let ids = self.tables_now().ids().clone();
        Ok(Begun::Open(Arc::new(Target { table: head, snapshot: base, ids }), Box::new(change)))
    }
}

enum Begun {
    /// The same job did it before.
    Done(RowChanges),
    /// The state to change, and a change of it that does nothing yet.
    Open(Arc<Target>, Box<FileChange>),
}

fn pinned(name: &TableName, target: &Target) -> PinnedTable {
    PinnedTable {
        table: name.clone(),
        uuid: target.table.metadata().uuid().to_string(),
        snapshot: target.snapshot.map_or(PinnedTable::EMPTY, SnapshotId::new),
    }
}
