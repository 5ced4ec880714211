//! Files of the user's own into tables.

mod layout;

use std::path::PathBuf;
use std::sync::Arc;

use futures::StreamExt;
use icecore_catalog::{RowChanges, RowMode, RowOptions, UpsertOptions};
use icecore_core::{
    BatchStream, CommitOptions, ErrorKind, NewTable, PinnedTable, RefName, Result, SnapshotCatalog,
    TableName, WriteMode,
};
use icecore_engine::files::{
    AbsentColumns, FileFormat, FileReadOptions, FileRows, OnError, Reject, Widened, read_files,
};

use crate::Project;

/// What to read into which table.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct IngestJob {
    /// The table; it is made if it is not there.
    pub table: TableName,
    /// The files, read in this order into one commit.
    pub files: Vec<PathBuf>,
    /// What happens to the rows that are there.
    pub mode: WriteMode,
    /// Instead of the mode: which rows of the table take part, one by one.
    pub rows: Option<RowWrite>,
    /// Partition fields of a new table.
    pub partition_by: Vec<String>,
    /// Columns that a new table's files are sorted by.
    pub sort_by: Vec<String>,
    /// What a bad row does.
    pub on_error: OnError,
    /// The files' format, where the extension does not tell.
    pub format: Option<FileFormat>,
    /// A name for this piece of work: repeating it changes nothing.
    pub job_id: Option<String>,
    /// The branch that the rows go to; absent means `main`.
    pub branch: Option<RefName>,
    /// Whether a branch that does not exist begins at the head of `main`.
    pub create_branch: bool,
    /// The version of Iceberg's format of a new table.
    pub format_version: Option<u8>,
    /// Reads and checks everything, and writes nothing.
    pub dry_run: bool,
}

impl IngestJob {
    /// Appends these files to this table.
    #[must_use]
    pub fn new(table: TableName, files: Vec<PathBuf>) -> Self {
        Self {
            table,
            files,
            mode: WriteMode::Append,
            rows: None,
            partition_by: Vec::new(),
            sort_by: Vec::new(),
            on_error: OnError::Fail,
            format: None,
            job_id: None,
            branch: None,
            create_branch: false,
            format_version: None,
            dry_run: false,
        }
    }

    /// Partitions a new table by these fields.
    #[must_use]
    pub fn with_partition_by(mut self, fields: Vec<String>) -> Self {
        self.partition_by = fields;
        self
    }

    /// Whether rows lack the columns that the files lack. Rows that are only added to a table may come
    /// from files that differ, and JSON lines are read twice to know what they lack.
    fn leaves_out(&self, options: &FileReadOptions) -> Result<bool> {
        if matches!(self.rows, Some(RowWrite::Upsert { .. })) {
            return Ok(true);
        }
        let [file] = self.files.as_slice() else { return Ok(false) };
        Ok(options.format.map_or_else(|| FileFormat::of_path(file), Ok)? != FileFormat::JsonLines)
    }

    /// Makes repeating this piece of work harmless.
    #[must_use]
    pub fn with_job_id(mut self, job_id: impl Into<String>) -> Self {
        self.job_id = Some(job_id.into());
        self
    }
}

/// A way to write rows that looks at the rows that are there.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum RowWrite {
    /// Inserts and updates rows by these columns.
    Upsert {
        /// The columns of the key.
        key: Vec<String>,
        /// What happens to matched and unmatched rows.
        options: UpsertOptions,
    },
    /// Replaces the rows for which a condition is true; it has to be true for each new row.
    OverwriteWhere {
        /// The condition, as SQL writes it after `WHERE`.
        condition: String,
        /// How rows leave their files; absent means what the table's property says.
        mode: Option<RowMode>,
    },
}

/// What an ingest did.
#[derive(Debug, Clone)]
pub struct IngestReport {
    /// The table.
    pub table: TableName,
    /// Its state; absent after a dry run.
    pub pinned: Option<PinnedTable>,
    /// Rows read and, unless it was a dry run, written.
    pub rows: u64,
    /// Rows that were left out.
    pub rejected: u64,
    /// The first of them.
    pub rejects: Vec<Reject>,
    /// Whether the table was made.
    pub created: bool,
    /// Columns that were added to the table, and paths of fields that were added to its structs.
    pub added_columns: Vec<String>,
    /// Columns of the table that hold more than they did.
    pub widened_columns: Vec<Widened>,
    /// Whether there is a new snapshot.
    pub changed: bool,
    /// What became of rows one by one, where the job looked at them.
    pub row_changes: Option<RowChanges>,
    /// What a person should know about the types that were inferred.
    pub notes: Vec<String>,
}

impl IngestReport {
    /// Whether the table's columns are to be others.
    const fn grows(&self) -> bool {
        !self.added_columns.is_empty() || !self.widened_columns.is_empty()
    }
}

impl Project {
    /// Reads files into a table, in one commit: either all rows are in, or none.
    ///
    /// Columns that the table lacks are added before, and those that have to hold more are widened;
    /// they stay so where the rows are refused afterwards, and no row that is there is another.
    ///
    /// # Errors
    ///
    /// `InvalidInput` with file, line and column for a bad row, and for a layout that the table
    /// does not have; `NotFound` for a missing file.
    pub async fn ingest(&self, job: IngestJob) -> Result<IngestReport> {
        let existing = match self.catalog().describe(&job.table).await {
            Ok(table) => Some(table),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if let Some(table) = &existing {
            self.keeps_layout(&job, table).await?;
        }
        let mut options = FileReadOptions::default().with_on_error(job.on_error);
        options.format = job.format;
        let version = existing.as_ref().map_or(job.format_version, |it| Some(it.format_version));
        options.keeps_nanoseconds = version == Some(3);
        options.target = existing.as_ref().map(|table| Arc::clone(&table.schema));
        // What the files lack is not null: of a row that is there it stays, a new one has the default.
        if job.leaves_out(&options)? {
            options.absent_columns = AbsentColumns::LeaveOut;
        }
        let FileRows { stream, rejects, unknown_columns, widened_columns, notes } =
            read_files(&job.files, options).await?;

        let mut report = IngestReport {
            table: job.table.clone(),
            pinned: None,
            rows: 0,
            rejected: 0,
            rejects: Vec::new(),
            created: existing.is_none(),
            added_columns: unknown_columns,
            widened_columns,
            changed: false,
            row_changes: None,
            notes,
        };
        if job.dry_run {
            self.rehearse(&job, stream, &mut report).await?;
        } else {
            self.write(&job, stream, &mut report).await?;
        }
        report.rejected = rejects.count();
        report.rejects = rejects.list();
        Ok(report)
    }

    async fn write(
        &self,
        job: &IngestJob,
        rows: BatchStream,
        report: &mut IngestReport,
    ) -> Result<()> {
        let schema = Arc::clone(rows.schema());
        if report.created {
            let mut new = NewTable::new(Arc::clone(&schema))
                .with_partition_by(job.partition_by.iter().cloned())
                .with_sort_by(job.sort_by.iter().cloned());
            new.format_version = job.format_version;
            self.catalog().ensure_table(&job.table, &new).await?;
        } else if report.grows() {
            self.catalog().evolve(&job.table, &schema).await?;
        }
        let files: Vec<String> = job.files.iter().map(|file| file.display().to_string()).collect();
        let mut options =
            CommitOptions::new(job.mode).with_summary("icecore.source-files", files.join(", "));
        options.job_id.clone_from(&job.job_id);
        options.branch.clone_from(&job.branch);
        options.create_branch = job.create_branch;
        let written = match &job.rows {
            None => self.catalog().commit(&job.table, rows, options).await.map(|committed| {
                report.rows = if committed.changed { committed.added_rows } else { 0 };
                report.changed = committed.changed;
                committed.pinned
            }),
            Some(write) => self.write_by_row(job, write, rows, options).await.map(|changes| {
                let put_in = changes.inserted + changes.updated;
                report.rows = if changes.changed { put_in } else { 0 };
                report.changed = changes.changed;
                report.row_changes = Some(changes.clone());
                changes.pinned
            }),
        };
        match written {
            Ok(pinned) => {
                report.pinned = Some(pinned);
                Ok(())
            }
            Err(error) => {
                if report.created && error.kind() != ErrorKind::OutcomeUnknown {
                    self.take_back(&job.table).await;
                }
                Err(error)
            }
        }
    }

    /// Takes a table back that was made for rows that could not be read, unless somebody else has put
    /// rows into it since, be it in this moment.
    async fn take_back(&self, table: &TableName) {
        let taken_back = match self.catalog().describe(table).await {
            Ok(found) if found.head.is_none() => {
                self.catalog().drop_table_at(table, &found.metadata_location).await.map(|_| ())
            }
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(second) = taken_back {
            tracing::warn!(%table, %second, "cannot take back an empty table");
        }
    }
}

impl Project {
    async fn write_by_row(
        &self,
        job: &IngestJob,
        write: &RowWrite,
        rows: BatchStream,
        commit: CommitOptions,
    ) -> Result<RowChanges> {
        match write {
            RowWrite::Upsert { key, options } => {
                let mut options = options.clone().with_commit(commit);
                options.dry_run = job.dry_run;
                self.catalog().upsert(&job.table, rows, key, options).await
            }
            RowWrite::OverwriteWhere { condition, mode } => {
                let filter = self.row_filter(&job.table, condition).await?;
                let mut options = RowOptions::default().with_commit(commit);
                (options.mode, options.dry_run) = (*mode, job.dry_run);
                self.catalog().overwrite_where(&job.table, filter, rows, options).await
            }
        }
    }

    /// Says what would be written, as far as that can be known without writing.
    async fn rehearse(
        &self,
        job: &IngestJob,
        rows: BatchStream,
        report: &mut IngestReport,
    ) -> Result<()> {
        if !report.created && report.grows() {
            self.catalog().check_evolve(&job.table, rows.schema()).await?;
        }
        match &job.rows {
            // New columns would have to be added first.
            Some(write) if !report.created && !report.grows() => {
                let changes = self.write_by_row(job, write, rows, CommitOptions::default()).await?;
                report.rows = changes.inserted + changes.updated;
                report.row_changes = Some(changes);
            }
            _ => report.rows = count(rows).await?,
        }
        Ok(())
    }
}

async fn count(mut rows: BatchStream) -> Result<u64> {
    let mut count = 0;
    while let Some(batch) = rows.next().await {
        count += batch?.num_rows() as u64;
    }
    Ok(count)
}
