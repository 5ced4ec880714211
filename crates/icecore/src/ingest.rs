//! Files of the user's own into tables.

use std::path::PathBuf;
use std::sync::Arc;

use futures::StreamExt;
use icecore_core::{
    BatchStream, CommitOptions, Error, ErrorKind, NewTable, PinnedTable, Result, SnapshotCatalog,
    TableName, WriteMode,
};
use icecore_engine::files::{FileFormat, FileReadOptions, FileRows, OnError, Reject, read_files};

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
            partition_by: Vec::new(),
            sort_by: Vec::new(),
            on_error: OnError::Fail,
            format: None,
            job_id: None,
            dry_run: false,
        }
    }

    /// Partitions a new table by these fields.
    #[must_use]
    pub fn with_partition_by(mut self, fields: Vec<String>) -> Self {
        self.partition_by = fields;
        self
    }

    /// Makes repeating this piece of work harmless.
    #[must_use]
    pub fn with_job_id(mut self, job_id: impl Into<String>) -> Self {
        self.job_id = Some(job_id.into());
        self
    }
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
    /// Columns that were added to the table.
    pub added_columns: Vec<String>,
    /// Whether there is a new snapshot.
    pub changed: bool,
    /// What a person should know about the types that were inferred.
    pub notes: Vec<String>,
}

impl Project {
    /// Reads files into a table, in one commit: either all rows are in, or none.
    ///
    /// # Errors
    ///
    /// `InvalidInput` with file, line and column for a bad row; `NotFound` for a missing file.
    pub async fn ingest(&self, job: IngestJob) -> Result<IngestReport> {
        let existing = match self.catalog().describe(&job.table).await {
            Ok(table) => Some(table),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if let Some(table) = &existing
            && !job.partition_by.is_empty()
            && job.partition_by != table.partition_by
        {
            return Err(Error::invalid(format!("`{}` is partitioned in another way", job.table))
                .with_note(format!("it is partitioned by: {}", table.partition_by.join(", ")))
                .with_help("leave out the partitioning: a table keeps its own"));
        }
        let mut options = FileReadOptions::default().with_on_error(job.on_error);
        options.format = job.format;
        options.target = existing.as_ref().map(|table| Arc::clone(&table.schema));
        let FileRows { stream, rejects, unknown_columns, notes } =
            read_files(&job.files, options).await?;

        let mut report = IngestReport {
            table: job.table.clone(),
            pinned: None,
            rows: 0,
            rejected: 0,
            rejects: Vec::new(),
            created: existing.is_none(),
            added_columns: unknown_columns,
            changed: false,
            notes,
        };
        if job.dry_run {
            report.rows = count(stream).await?;
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
            let new = NewTable::new(Arc::clone(&schema))
                .with_partition_by(job.partition_by.iter().cloned())
                .with_sort_by(job.sort_by.iter().cloned());
            self.catalog().ensure_table(&job.table, &new).await?;
        } else if !report.added_columns.is_empty() {
            report.added_columns = self.catalog().evolve(&job.table, &schema).await?;
        }
        let files: Vec<String> = job.files.iter().map(|file| file.display().to_string()).collect();
        let mut options =
            CommitOptions::new(job.mode).with_summary("icecore.source-files", files.join(", "));
        options.job_id.clone_from(&job.job_id);
        match self.catalog().commit(&job.table, rows, options).await {
            Ok(committed) => {
                report.rows = if committed.changed { committed.added_rows } else { 0 };
                report.changed = committed.changed;
                report.pinned = Some(committed.pinned);
                Ok(())
            }
            Err(error) => {
                // A table that was made for rows that could not be read is taken back, unless
                // somebody else has put rows into it since.
                let unused = report.created
                    && error.kind() != ErrorKind::OutcomeUnknown
                    && self.catalog().history(&job.table).await.is_ok_and(|log| log.is_empty());
                if unused && let Err(second) = self.catalog().drop_table(&job.table).await {
                    tracing::warn!(table = %job.table, %second, "cannot take back an empty table");
                }
                Err(error)
            }
        }
    }
}

async fn count(mut rows: BatchStream) -> Result<u64> {
    let mut count = 0;
    while let Some(batch) = rows.next().await {
        count += batch?.num_rows() as u64;
    }
    Ok(count)
}
