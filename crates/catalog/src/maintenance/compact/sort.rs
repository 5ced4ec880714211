//! Sorting the rows of a partition across all of its files, in bounded memory.
//!
//! Files that are in order already are merged as they are. Others are written in order first, into
//! files that nobody else sees, and those are merged.

use std::sync::Arc;

use iceberg::spec::{DataFile, Struct};
use icecore_core::{BatchStream, Result};

use super::merge::merge;
use super::rewrite::Copier;
use crate::scan::FileTask;
use crate::storage::KnownFile as _;
use crate::tables::Tables;
use crate::write::{RowOrder, WrittenFiles};

/// Streams that are merged at a time.
const MERGED_AT_ONCE: usize = 64;

/// Sorts by the table's order.
pub(super) struct Sorter<'a> {
    copier: &'a Copier,
    tables: &'a Tables,
    order: Arc<RowOrder>,
}

/// Files that hold rows in order, one after the other.
struct Sorted {
    files: Vec<FileTask>,
    /// Whether they were just written, and may stay as they are.
    fresh: bool,
}

impl<'a> Sorter<'a> {
    /// `None` where the table has no order that rows can be sorted by.
    pub(super) fn of(copier: &'a Copier, tables: &'a Tables) -> Result<Option<Self>> {
        let target = &copier.target;
        let order = RowOrder::try_new(target.current_schema(), target.default_sort_order())?;
        Ok(order.map(|order| Self { copier, tables, order: Arc::new(order) }))
    }

    /// Writes the rows of files into new files, so that each file's rows come after those of the
    /// one before.
    pub(super) async fn rewrite(
        &self,
        tasks: Vec<FileTask>,
        sequence: i64,
    ) -> Result<WrittenFiles> {
        let mut temporary = Temporary::default();
        let written = self.sort(tasks, sequence, &mut temporary).await;
        let kept = |path: &String| {
            let files =
                written.as_ref().map(|written| written.files.as_slice()).unwrap_or_default();
            files.iter().any(|file| file.file_path() == path)
        };
        temporary.0.retain(|path| !kept(path));
        self.tables.discard(&temporary.0).await;
        written
    }

    async fn sort(
        &self,
        tasks: Vec<FileTask>,
        sequence: i64,
        temporary: &mut Temporary,
    ) -> Result<WrittenFiles> {
        let id = self.order.id();
        let spec = self.copier.target.default_partition_spec_id();
        let is_run = |task: &FileTask| task.spec_id == spec && task.file.sort_order_id() == id;
        let (sorted, unsorted): (Vec<_>, Vec<_>) =
            tasks.into_iter().partition(|task| id.is_some() && is_run(task));
        let mut partitions: Vec<(Struct, Vec<Sorted>)> = Vec::new();
        for task in sorted {
            let of = task.file.partition().clone();
            add(&mut partitions, of, Sorted { files: vec![task], fresh: false });
        }
        if !unsorted.is_empty() {
            let written = self.copier.write(self.tables, self.copier.read(unsorted)?).await?;
            temporary.note(&written);
            for file in written.files {
                let of = file.partition().clone();
                let files = vec![self.task(file, sequence)];
                add(&mut partitions, of, Sorted { files, fresh: true });
            }
        }
        let mut all = WrittenFiles::default();
        for (_, runs) in partitions {
            let written = self.merge_all(runs, sequence, temporary).await?;
            temporary.note(&written);
            all.rows += written.rows;
            all.files.extend(written.files);
        }
        Ok(all)
    }

    /// Merges the runs of one partition, so many at a time that memory is bounded.
    async fn merge_all(
        &self,
        mut runs: Vec<Sorted>,
        sequence: i64,
        temporary: &mut Temporary,
    ) -> Result<WrittenFiles> {
        while runs.len() > MERGED_AT_ONCE {
            let rest = runs.split_off(MERGED_AT_ONCE);
            let written = self.merge_once(runs).await?;
            temporary.note(&written);
            let files = written.files.into_iter().map(|file| self.task(file, sequence)).collect();
            runs = rest;
            runs.push(Sorted { files, fresh: true });
        }
        match runs.as_slice() {
            [Sorted { files, fresh: true }] => Ok(WrittenFiles {
                rows: files.iter().map(|task| task.file.record_count()).sum(),
                files: files.iter().map(|task| task.file.unpacked()).collect::<Result<_>>()?,
            }),
            _ => self.merge_once(runs).await,
        }
    }

    async fn merge_once(&self, runs: Vec<Sorted>) -> Result<WrittenFiles> {
        let streams: Result<Vec<BatchStream>> =
            runs.into_iter().map(|run| self.copier.read(run.files)).collect();
        let rows = merge(streams?, self.order.clone(), self.copier.schema()?);
        self.copier.write(self.tables, rows).await
    }

    /// A file that was just written, to be read.
    fn task(&self, file: DataFile, sequence: i64) -> FileTask {
        FileTask {
            file: Arc::new(file.into()),
            spec_id: self.copier.target.default_partition_spec_id(),
            sequence,
            // Its rows say themselves which rows they are.
            first_row_id: None,
            deletes: Vec::new(),
        }
    }
}

fn add(partitions: &mut Vec<(Struct, Vec<Sorted>)>, of: Struct, run: Sorted) {
    match partitions.iter_mut().find(|(partition, _)| *partition == of) {
        Some((_, runs)) => runs.push(run),
        None => partitions.push((of, vec![run])),
    }
}

/// Files that are gone once the sorted ones are written.
#[derive(Default)]
struct Temporary(Vec<String>);

impl Temporary {
    fn note(&mut self, written: &WrittenFiles) {
        self.0.extend(written.files.iter().map(|file| file.file_path().to_owned()));
    }
}
