//! Which files a read has to open, with what has to be known to read them.

use std::sync::Arc;

use futures::{StreamExt, stream};
use iceberg::spec::{
    DataContentType, DataFileFormat, Datum, ManifestContentType, ManifestFile, NestedField,
    SnapshotRef,
};
use iceberg::table::Table;
use icecore_core::{Error, Result};
use tokio::sync::OnceCell;

use super::delete::{DeleteIndex, Deleted, PathBounds};
use super::snapshot;
use crate::commit::RowIds;
use crate::error::Context as _;
use crate::predicate::{
    Evidence, Filter, Known, Nulls, PartitionFilter, Question, Value, has_nan, primitive,
};
use crate::storage::{self, Headers, KnownFile, ListedEntry, ListedFile};

/// Manifests that are read at a time.
const MANIFESTS_AT_ONCE: usize = 16;

/// A data file of a snapshot with everything that is needed to read its live rows.
#[derive(Debug, Clone)]
pub(crate) struct FileTask {
    pub(crate) file: Arc<ListedFile>,
    /// The partitioning that it was written under.
    pub(crate) spec_id: i32,
    /// Its data sequence number.
    pub(crate) sequence: i64,
    /// The id of its first row (format version 3).
    pub(crate) first_row_id: Option<u64>,
    /// Position deletes, deletion vectors and equality deletes that apply to it.
    pub(crate) deletes: Vec<Arc<DeleteTask>>,
}

/// A delete file of a snapshot. What it says is read once, however many data files it applies to.
#[derive(Debug)]
pub(crate) struct DeleteTask {
    pub(crate) file: ListedFile,
    pub(crate) spec_id: i32,
    /// Its data sequence number.
    pub(crate) sequence: i64,
    /// The paths of the data files that it is of.
    pub(super) paths: Option<PathBounds>,
    pub(super) content: OnceCell<Deleted>,
}

impl DeleteTask {
    /// One that nothing was read of.
    pub(crate) fn new(file: ListedFile, spec_id: i32, sequence: i64) -> Self {
        let paths = PathBounds::of(&file);
        Self { file, spec_id, sequence, paths, content: OnceCell::new() }
    }

    /// Whether it is a deletion vector.
    pub(crate) fn is_vector(&self) -> bool {
        self.file.content_type() == DataContentType::PositionDeletes
            && self.file.file_format() == DataFileFormat::Puffin
    }
}

/// The files of a snapshot that may hold rows that pass a filter.
#[derive(Debug, Default)]
pub(super) struct Planned {
    /// In order of their paths.
    pub(super) tasks: Vec<FileTask>,
    /// How many data files the snapshot has.
    pub(super) total_files: usize,
    /// Whether the snapshot has delete files, whatever they apply to.
    pub(super) has_deletes: bool,
}

/// Which files have to be opened, those without a row that can pass left out; deletes attached by
/// the format's rules. In order of their paths.
///
/// # Errors
///
/// `NotFound` for an unknown snapshot; `DataCorrupt` naming a manifest that cannot be understood.
pub(crate) async fn plan_tasks(
    table: &Table,
    snapshot_id: Option<i64>,
    filter: Option<&Filter>,
) -> Result<Vec<FileTask>> {
    match snapshot(table, snapshot_id)? {
        Some(snapshot) => plan(table, &snapshot, filter).await.map(|planned| planned.tasks),
        None => Ok(Vec::new()),
    }
}

pub(super) async fn plan(
    table: &Table,
    snapshot: &SnapshotRef,
    filter: Option<&Filter>,
) -> Result<Planned> {
    if filter.is_some_and(Filter::is_never) {
        return Ok(Planned::default());
    }
    let list = storage::load_list(table, snapshot).await?;
    let mut planner = Planner {
        table,
        filter: filter.filter(|filter| !filter.is_always()),
        partitions: PartitionFilters::default(),
        deletes: DeleteIndex::default(),
        planned: Planned::default(),
    };
    let live =
        |manifest: &ManifestFile| manifest.has_added_files() || manifest.has_existing_files();
    let (deletes, data): (Vec<_>, Vec<_>) = list
        .into_iter()
        .filter(live)
        .partition(|manifest| manifest.content == ManifestContentType::Deletes);
    planner.planned.has_deletes = !deletes.is_empty();
    let headers = Arc::new(Headers::default());
    for manifests in [deletes, data] {
        let wanted = planner.wanted(manifests)?;
        let (owned, headers) = (table.clone(), headers.clone());
        let mut loaded = stream::iter(wanted)
            .map(move |manifest| load(owned.clone(), manifest, headers.clone()))
            .buffered(MANIFESTS_AT_ONCE);
        while let Some(loaded) = loaded.next().await {
            let (manifest, entries) = loaded?;
            planner.take(&manifest, entries)?;
        }
    }
    let mut planned = planner.planned;
    planned.tasks.sort_by(|left, right| left.file.file_path().cmp(right.file.file_path()));
    Ok(planned)
}

/// Reads and parses a manifest on a thread of its own.
async fn load(
    table: Table,
    file: ManifestFile,
    headers: Arc<Headers>,
) -> Result<(ManifestFile, Vec<ListedEntry>)> {
    let parsed = tokio::spawn(async move {
        let entries = storage::load_entries(&table, &file, &headers).await?;
        Ok((file, entries))
    });
    parsed.await.context(|| "cannot read a manifest")?
}

/// The filter by partitioning, made for each when it is first met.
#[derive(Debug, Default)]
struct PartitionFilters(std::collections::HashMap<i32, Option<Arc<PartitionFilter>>>);

struct Planner<'a> {
    table: &'a Table,
    filter: Option<&'a Filter>,
    partitions: PartitionFilters,
    deletes: DeleteIndex,
    planned: Planned,
}

impl Planner<'_> {
    /// The manifests that may name files that hold rows that pass.
    fn wanted(&mut self, manifests: Vec<ManifestFile>) -> Result<Vec<ManifestFile>> {
        let mut wanted = Vec::with_capacity(manifests.len());
        for manifest in manifests {
            let filter = self.partition_filter(&manifest)?;
            if filter.is_none_or(|filter| filter.may_name(manifest.partitions.as_ref())) {
                wanted.push(manifest);
            } else if manifest.content == ManifestContentType::Data {
                let count = |files: Option<u32>| files.unwrap_or(0) as usize;
                self.planned.total_files +=
                    count(manifest.added_files_count) + count(manifest.existing_files_count);
            }
        }
        Ok(wanted)
    }

    fn partition_filter(
        &mut self,
        manifest: &ManifestFile,
    ) -> Result<Option<Arc<PartitionFilter>>> {
        let id = manifest.partition_spec_id;
        let spec = self.table.metadata().partition_spec_by_id(id).ok_or_else(|| {
            Error::corrupt(format!(
                "manifest `{}` names partition spec {id}, which the table does not have",
                manifest.manifest_path
            ))
        })?;
        let made = self.partitions.0.entry(id).or_insert_with(|| {
            let filter = self.filter?;
            Some(Arc::new(PartitionFilter::new(filter, spec)))
        });
        Ok(made.clone())
    }

    fn take(&mut self, manifest: &ManifestFile, entries: Vec<ListedEntry>) -> Result<()> {
        let spec_id = manifest.partition_spec_id;
        let partitions = self.partition_filter(manifest)?;
        let mut row_ids = RowIds::of(manifest);
        for entry in entries.into_iter().filter(ListedEntry::is_alive) {
            let file = entry.file;
            let first_row_id = row_ids.first_of(&file);
            let Some(sequence) = entry.sequence else {
                return Err(Error::corrupt(format!(
                    "manifest `{}` does not say when `{}` was added",
                    manifest.manifest_path,
                    file.file_path()
                )));
            };
            let fits = partitions.as_ref().is_none_or(|filter| filter.may_hold(file.partition()));
            if manifest.content == ManifestContentType::Deletes {
                if fits {
                    let spec = self.table.metadata().partition_spec_by_id(spec_id);
                    let is_global = spec.is_some_and(|spec| spec.is_unpartitioned());
                    self.deletes.add(DeleteTask::new(file, spec_id, sequence), is_global)?;
                }
                continue;
            }
            self.planned.total_files += 1;
            if !fits || !self.filter.is_none_or(|filter| filter.may_pass(&FileFacts(&file))) {
                continue;
            }
            check_format(&file)?;
            let deletes = self.deletes.of(&file, spec_id, sequence);
            let file = Arc::new(file);
            self.planned.tasks.push(FileTask { file, spec_id, sequence, first_row_id, deletes });
        }
        Ok(())
    }
}

fn check_format(file: &ListedFile) -> Result<()> {
    let path = file.file_path();
    if file.is_encrypted() {
        return Err(Error::unsupported(format!("data file `{path}` is encrypted")));
    }
    match file.file_format() {
        DataFileFormat::Parquet => Ok(()),
        other => Err(Error::unsupported(format!(
            "data file `{path}` is {other}, and icecore reads Parquet"
        ))),
    }
}

/// What a manifest says of the rows of a data file.
#[derive(Debug)]
pub(crate) struct FileFacts<'a, F>(pub(crate) &'a F);

impl<F: KnownFile> FileFacts<'_, F> {
    /// About which share of the rows passes a filter.
    pub(crate) fn share(&self, filter: &Filter) -> f64 {
        filter.share(&|column| {
            let (file, of) = (self.0, primitive(column)?);
            let number =
                |bound: &Datum| Value::of_datum(bound, of).and_then(|value| value.number());
            Some((number(&*file.lower(column.id)?)?, number(&*file.upper(column.id)?)?))
        })
    }
}

impl<F: KnownFile> Evidence for FileFacts<'_, F> {
    fn allows(&self, column: &NestedField, question: &Question) -> bool {
        let Some(of) = primitive(column) else { return true };
        let (file, id) = (self.0, column.id);
        let nulls = Nulls::counted(file.nulls(id), Some(file.record_count()));
        let may_be_nan = has_nan(of) && file.nans(id) != Some(0);
        let (lower, upper) = (file.lower(id), file.upper(id));
        let min = lower.as_deref().and_then(|lower| Value::of_datum(lower, of));
        let max = upper.as_deref().and_then(|upper| Value::of_datum(upper, of));
        Known::between(min, max, nulls, may_be_nan).allows(question, of)
    }
}
