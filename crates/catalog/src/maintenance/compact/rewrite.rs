//! Writing groups of files anew, and committing what was written.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use futures::{StreamExt, stream};
use iceberg::spec::{DataContentType, DataFile, Operation, TableMetadata};
use iceberg::table::Table;
use icecore_core::{BatchStream, Error, Result};

use super::options::{CompactOptions, CompactStrategy};
use super::plan::{Deletes, Group, Plan};
use super::sort::Sorter;
use super::target::target_of;
use crate::commit::{AddedFiles, FileChange, FileSet, OwnedRemoval};
use crate::ids::new_uuid;
use crate::scan::{FileTask, TaskRead, read_task};
use crate::storage::KnownFile as _;
use crate::tables::Tables;
use crate::write::{WriteTarget, WrittenFiles, write_rows};

/// Rows of a batch.
const BATCH_ROWS: usize = 8192;

/// How rows are read and written.
#[derive(Debug, Clone)]
pub(super) struct Copier {
    pub(super) table: Table,
    /// The table as the writer sees it.
    pub(super) target: Arc<TableMetadata>,
    read: TaskRead,
}

impl Copier {
    /// The columns that are read and written.
    pub(super) fn schema(&self) -> Result<SchemaRef> {
        self.read.schema()
    }

    /// The live rows of files, one file after the other.
    pub(super) fn read(&self, tasks: Vec<FileTask>) -> Result<BatchStream> {
        let schema = self.schema()?;
        let (table, read) = (self.table.clone(), self.read.clone());
        let files = stream::iter(tasks).map(move |task| read_task(&table, &task, &read));
        Ok(BatchStream::new(schema, files.flatten()))
    }

    /// Writes rows into new files.
    pub(super) async fn write(&self, tables: &Tables, rows: BatchStream) -> Result<WrittenFiles> {
        let target = WriteTarget {
            metadata: self.target.clone(),
            io: self.table.file_io().clone(),
            commit: new_uuid(&**tables.ids()),
        };
        write_rows(&target, rows).await
    }
}

/// Groups that were written anew and not committed yet.
pub(super) struct Batch<'a> {
    tables: &'a Tables,
    copier: Copier,
    options: &'a CompactOptions,
    snapshot: i64,
    sequence: i64,
    deletes: Deletes,
    written: Vec<DataFile>,
    replaced: Vec<FileTask>,
    done: Done,
}

/// What one commit does.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) groups: u64,
    pub(super) removed_files: u64,
    pub(super) removed_bytes: u64,
    pub(super) added_files: u64,
    pub(super) added_bytes: u64,
    pub(super) rows: u64,
    pub(super) removed_delete_files: u64,
    /// The files that were to be replaced.
    replaced: Vec<FileTask>,
}

impl<'a> Batch<'a> {
    pub(super) fn new(
        tables: &'a Tables,
        table: Table,
        plan: &Plan,
        options: &'a CompactOptions,
    ) -> Result<Self> {
        let target = target_of(table.metadata(), plan.target_bytes)?;
        let read = TaskRead {
            columns: target.current_schema().clone(),
            filter: None,
            positions: false,
            groups: None,
            batch_rows: BATCH_ROWS,
        };
        Ok(Self {
            tables,
            copier: Copier { table, target, read },
            options,
            snapshot: plan.snapshot,
            sequence: plan.sequence,
            deletes: plan.deletes.clone(),
            written: Vec::new(),
            replaced: Vec::new(),
            done: Done::default(),
        })
    }

    /// Bytes of files that were read since the last commit.
    pub(super) const fn bytes(&self) -> u64 {
        self.done.removed_bytes
    }

    /// Writes the rows of a group into new files.
    pub(super) async fn rewrite(&mut self, group: Group) -> Result<()> {
        let Group { tasks, bytes } = group;
        let sorter = match self.options.strategy {
            CompactStrategy::Sort => Sorter::of(&self.copier, self.tables)?,
            CompactStrategy::BinPack => None,
        };
        let written = match sorter {
            Some(sorter) => sorter.rewrite(tasks.clone(), self.sequence).await?,
            None => self.copier.write(self.tables, self.copier.read(tasks.clone())?).await?,
        };
        self.done.added_files += written.files.len() as u64;
        self.done.added_bytes +=
            written.files.iter().map(DataFile::file_size_in_bytes).sum::<u64>();
        self.written.extend(written.files);
        check_rows(&tasks, written.rows)?;
        self.done.groups += 1;
        self.done.removed_files += tasks.len() as u64;
        self.done.removed_bytes += bytes;
        self.done.rows += written.rows;
        tasks.iter().for_each(|task| self.deletes.release(task));
        self.replaced.extend(tasks);
        Ok(())
    }

    /// What is to be committed now, if anything.
    pub(super) fn take(&mut self) -> Option<(FileChange, Done)> {
        let unused = self.deletes.take_unused();
        if self.replaced.is_empty() && unused.is_empty() {
            return None;
        }
        let metadata = self.copier.table.metadata_ref();
        let mut change = FileChange::new(metadata.clone(), Operation::Replace);
        change.base = Some(self.snapshot);
        change.branch = self.options.branch.clone();
        let replaced = self.replaced.iter().map(|task| &*task.file);
        change.depends_on = FileSet::of(replaced.clone());
        change.removed = OwnedRemoval::Files(FileSet::of(replaced.chain(&unused)));
        if !self.written.is_empty() {
            let mut added = AddedFiles::data(&metadata, std::mem::take(&mut self.written));
            added.sequence = Some(self.sequence);
            change.added = vec![added];
        }
        let mut done = std::mem::take(&mut self.done);
        done.removed_delete_files = unused.len() as u64;
        done.replaced = std::mem::take(&mut self.replaced);
        Some((change, done))
    }

    /// Takes note that a commit did not come to pass: its files are there, and so are their deletes.
    pub(super) fn give_up(&mut self, done: &Done) {
        done.replaced.iter().for_each(|task| self.deletes.retain(task));
    }

    /// Deletes what was written and not committed.
    pub(super) async fn abandon(self) {
        let paths: Vec<String> =
            self.written.iter().map(|file| file.file_path().to_owned()).collect();
        self.tables.discard(&paths).await;
    }
}

/// A file without deletes has as many rows as it says.
fn check_rows(tasks: &[FileTask], written: u64) -> Result<()> {
    let recorded: u64 = tasks.iter().map(|task| task.file.record_count()).sum();
    let deletes = tasks.iter().flat_map(|task| &task.deletes);
    let has_deletes = deletes.clone().next().is_some();
    let vectors_only = deletes.clone().all(|delete| delete.is_vector());
    let deleted: u64 = deletes
        .filter(|delete| delete.file.content_type() == DataContentType::PositionDeletes)
        .map(|delete| delete.file.record_count())
        .sum();
    let expected = match (has_deletes, vectors_only) {
        (false, _) => Some(recorded),
        (true, true) => recorded.checked_sub(deleted),
        // Deletes of several files may say the same, and keys may be of no row.
        (true, false) => None,
    };
    if expected.is_none_or(|expected| expected == written) && written <= recorded {
        return Ok(());
    }
    let first = tasks.first().map(|task| task.file.file_path()).unwrap_or_default();
    Err(Error::corrupt(format!(
        "{} files hold {written} rows, and their manifests say {}",
        tasks.len(),
        expected.unwrap_or(recorded)
    ))
    .with_note(format!("the first is `{first}`"))
    .with_help("`icecore fsck --deep` says which file is wrong; nothing was changed"))
}
