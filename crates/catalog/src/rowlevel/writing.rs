//! Writing what a change of rows needs, and saying which files come and go.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt;
use iceberg::spec::{
    DataContentType, DataFile, ManifestContentType, Operation as SnapshotOperation,
};
use icecore_core::{BatchStream, Error, Result};

use super::options::RowMode;
use super::patch::{NewValues, Patch, Patcher};
use super::splice::splice;
use super::target::{Target, for_each};
use crate::blocking::cores;
use crate::commit::{AddedFiles, FileChange, FileSet, OwnedRemoval};
use crate::scan::{FileTask, deleted_positions};
use crate::schema;
use crate::storage::KnownFile as _;
use crate::write::equality_deletes::{DeletedKeys, write_equality_deletes};
use crate::write::position_deletes::{DeletedRows, write_position_deletes};
use crate::write::{WrittenFiles, deletion_vector::write_deletion_vectors, write_rows};

/// Files that are written again at the same time: each may hold a row group or two in memory.
const REWRITES_MAX: usize = 4;

/// What becomes of a data file.
#[derive(Debug)]
pub(super) struct Effect {
    pub(super) task: FileTask,
    pub(super) fate: Fate,
}

/// See [`Effect`].
#[derive(Debug)]
pub(super) enum Fate {
    /// It is gone as a whole.
    Removed,
    /// Some of its rows are gone or change.
    Patched(Patch),
}

/// Files that were written for a change, and files that it takes away.
#[derive(Debug)]
pub(crate) struct Writing {
    target: Arc<Target>,
    data: Vec<DataFile>,
    /// Delete files with the specs that they were written under.
    deletes: Vec<(i32, DataFile)>,
    removed: FileSet,
    depends_on: FileSet,
}

impl Writing {
    pub(crate) fn new(target: &Arc<Target>) -> Self {
        Self {
            target: target.clone(),
            data: Vec::new(),
            deletes: Vec::new(),
            removed: FileSet::default(),
            depends_on: FileSet::default(),
        }
    }

    /// Takes rows out of their files. Changed rows are left in place with their new values where
    /// files are written again; otherwise they leave, and are to be inserted.
    pub(super) async fn apply(
        &mut self,
        effects: Vec<Effect>,
        values: &Arc<NewValues>,
        mode: RowMode,
    ) -> Result<()> {
        let mut patched = Vec::with_capacity(effects.len());
        for effect in effects {
            match effect.fate {
                Fate::Removed => self.remove(&effect.task),
                Fate::Patched(patch) => patched.push((effect.task, patch)),
            }
        }
        match mode {
            RowMode::CopyOnWrite => self.rewrite(patched, values).await,
            RowMode::MergeOnRead if self.target.has_vectors() => self.mark_vectors(patched).await,
            RowMode::MergeOnRead => self.mark_positions(patched).await,
        }
    }

    /// Puts rows in.
    pub(super) async fn insert(&mut self, rows: BatchStream) -> Result<()> {
        let written = write_rows(&self.target.write_target(), rows).await?;
        self.take_in(written);
        Ok(())
    }

    /// Puts rows in that were rows of the table before, with what they keep.
    pub(super) async fn insert_moved(&mut self, rows: BatchStream) -> Result<()> {
        let written = self.target.write_moved(&self.target.write_target(), rows).await?;
        self.take_in(written);
        Ok(())
    }

    /// Makes files that were written before part of the change.
    pub(super) fn take_in(&mut self, written: WrittenFiles) {
        self.data.extend(written.files);
    }

    /// Deletes rows of these keys from files of one partitioning.
    pub(super) async fn delete_keys(&mut self, keys: &DeletedKeys) -> Result<()> {
        let files = write_equality_deletes(&self.target.write_target(), keys, 0).await?;
        let spec = keys.spec.spec_id();
        self.deletes.extend(files.into_iter().map(|file| (spec, file)));
        Ok(())
    }

    /// Every file that was written.
    pub(crate) fn into_paths(self) -> Vec<String> {
        let files = self.data.iter().chain(self.deletes.iter().map(|(_, file)| file));
        let mut paths: Vec<String> = files.map(|file| file.file_path().to_owned()).collect();
        // Deletion vectors share a file.
        paths.sort_unstable();
        paths.dedup();
        paths
    }

    /// Says what the change consists of.
    ///
    /// # Errors
    ///
    /// `Internal` for a file of a partitioning that the table does not have.
    pub(crate) fn complete(&mut self, change: &mut FileChange) -> Result<()> {
        let metadata = self.target.table.metadata();
        let takes = !self.removed.is_empty() || !self.deletes.is_empty();
        change.operation = match (takes, self.data.is_empty()) {
            (false, _) => SnapshotOperation::Append,
            (true, false) => SnapshotOperation::Overwrite,
            (true, true) => SnapshotOperation::Delete,
        };
        if !self.data.is_empty() {
            change.added.push(AddedFiles::data(metadata, std::mem::take(&mut self.data)));
        }
        let mut by_spec: BTreeMap<i32, Vec<DataFile>> = BTreeMap::new();
        for (spec, file) in std::mem::take(&mut self.deletes) {
            by_spec.entry(spec).or_default().push(file);
        }
        for (spec, files) in by_spec {
            let spec = metadata.partition_spec_by_id(spec).ok_or_else(|| {
                Error::internal(format!("delete files are of partitioning {spec}, which is none"))
            })?;
            change.added.push(AddedFiles {
                content: ManifestContentType::Deletes,
                schema: metadata.current_schema().clone(),
                spec: spec.clone(),
                sequence: None,
                files,
            });
        }
        if !self.removed.is_empty() {
            change.removed = OwnedRemoval::Files(std::mem::take(&mut self.removed));
        }
        change.depends_on = std::mem::take(&mut self.depends_on);
        Ok(())
    }

    /// Takes a data file away, with the delete files that speak of nothing else.
    fn remove(&mut self, task: &FileTask) {
        self.removed.insert(&*task.file);
        self.depends_on.insert(&*task.file);
        self.supersede(task);
    }

    /// Takes the delete files away that speak of nothing but this data file.
    fn supersede(&mut self, task: &FileTask) {
        let path = task.file.file_path();
        let of_file = task.deletes.iter().filter(|delete| {
            delete.file.content_type() == DataContentType::PositionDeletes
                && delete.file.referenced_data_file() == Some(path)
        });
        of_file.for_each(|delete| self.removed.insert(&delete.file));
    }

    async fn rewrite(
        &mut self,
        patched: Vec<(FileTask, Patch)>,
        values: &Arc<NewValues>,
    ) -> Result<()> {
        let tasks: Vec<FileTask> = patched.iter().map(|(task, _)| task.clone()).collect();
        let columns = self.target.moved_columns()?;
        let arrow = schema::to_arrow(&columns)?;
        let work = |(task, patch): (FileTask, Patch)| {
            let (target, columns, arrow) = (self.target.clone(), columns.clone(), arrow.clone());
            let values = values.clone();
            let write_target = target.write_target();
            async move {
                if let Some(written) = splice(&target, &task, &patch, &values).await? {
                    return Ok(written);
                }
                let mut patcher = Patcher::new(patch, values, arrow.clone());
                let rows = target.read(&task, columns, None);
                let rows = rows.map(move |batch| patcher.batch(&batch?));
                target.write_moved(&write_target, BatchStream::new(arrow, rows)).await
            }
        };
        let mut done: Vec<DataFile> = Vec::new();
        let at_once = cores().min(REWRITES_MAX);
        let mut undo = |undone: WrittenFiles| done.extend(undone.files);
        let written = for_each(patched, at_once, work, &mut undo).await;
        self.data.extend(done);
        written?.into_iter().for_each(|written| self.take_in(written));
        tasks.iter().for_each(|task| self.remove(task));
        Ok(())
    }

    async fn mark_positions(&mut self, patched: Vec<(FileTask, Patch)>) -> Result<()> {
        let write_target = self.target.write_target();
        patched.iter().for_each(|(task, _)| self.depends_on.insert(&*task.file));
        let numbered: Vec<_> = patched.into_iter().enumerate().collect();
        let work = |(number, (task, patch)): (usize, (FileTask, Patch))| {
            let write_target = write_target.clone();
            async move {
                let deleted = deleted_rows(&task, patch.places());
                let file = write_position_deletes(&write_target, deleted, number).await?;
                Ok((task.spec_id, file))
            }
        };
        let mut done = Vec::new();
        let written = for_each(numbered, cores(), work, &mut |undone| done.push(undone)).await;
        self.deletes.extend(done);
        self.deletes.extend(written?);
        Ok(())
    }

    async fn mark_vectors(&mut self, patched: Vec<(FileTask, Patch)>) -> Result<()> {
        if patched.is_empty() {
            return Ok(());
        }
        let mut deleted = Vec::with_capacity(patched.len());
        for (task, patch) in &patched {
            // A file has one vector, so the new one says what those before it said.
            let places = deleted_positions(&self.target.table, task).await? | patch.places();
            deleted.push(deleted_rows(task, places));
        }
        let files = write_deletion_vectors(&self.target.write_target(), &deleted, 0).await?;
        for ((task, _), file) in patched.iter().zip(files) {
            self.deletes.push((task.spec_id, file));
            self.depends_on.insert(&*task.file);
            self.supersede(task);
        }
        Ok(())
    }
}

fn deleted_rows(task: &FileTask, positions: roaring::RoaringTreemap) -> DeletedRows {
    DeletedRows {
        path: task.file.file_path().to_owned(),
        partition: task.file.partition().clone(),
        spec_id: task.spec_id,
        positions,
    }
}
