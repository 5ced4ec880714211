//! Whether what was committed since a state contradicts a change that was computed from it.

use iceberg::spec::{
    DataContentType, DataFile, DataFileFormat, Manifest, ManifestContentType, ManifestEntry,
    ManifestFile, ManifestStatus, Operation, PartitionSpecRef, SnapshotRef, TableMetadata,
};
use iceberg::table::Table;
use icecore_core::{Error, ErrorKind, Isolation, Result};

use super::branch::Tip;
use super::delta::{FileSet, Removal};
use super::manifests::{load, spec_of};
use super::partitions::Touched;
use crate::history::ancestors;
use crate::planted::{self, PlantedBug};
use crate::predicate::{Filter, PartitionFilter};
use crate::scan::FileFacts;
use crate::storage;

/// The column of a file of position deletes that names the data file.
const DELETED_FILE_PATH: i32 = 2_147_483_546;

/// What a change was computed from, and so what contradicts it.
#[derive(Debug)]
pub(crate) struct Validation<'a> {
    pub(crate) branch: &'a str,
    /// The state that the change was computed from.
    pub(crate) base: Option<i64>,
    pub(crate) isolation: Isolation,
    /// Where rows that others added since would have changed the outcome (if serializable).
    pub(crate) reads: Reads<'a>,
    /// What the change removes: rows of it that others removed since must not come back, and
    /// deletes of rows of it must not be lost.
    pub(crate) removes: Removal<'a>,
    /// Data files that are rewritten or pointed at by new delete files: they must still be alive.
    pub(crate) depends_on: &'a FileSet,
    /// What deletes of rows of `depends_on` that others added do to the change.
    pub(crate) new_deletes: NewDeletes,
}

/// Rows that a change was computed from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reads<'a> {
    Nothing,
    Everything,
    Partitions(&'a Touched),
    /// Those that pass.
    Filter(&'a Filter),
}

/// Which deletes contradict a change of the files that they apply to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NewDeletes {
    /// All: rows that are written again would come back.
    Conflict,
    /// Those by position. Deletes by equality still apply, since rows keep their sequence number.
    ByPositionConflict,
    /// Deletion vectors, of which a data file has one at most.
    OnlyVectorsConflict,
}

/// Fails if a snapshot of the branch that came after `base` contradicts a change.
///
/// # Errors
///
/// `Conflict` naming the snapshot, or saying that the branch was rolled back behind `base`.
pub(crate) async fn validate(head: &Table, validation: &Validation<'_>) -> Result<()> {
    let metadata = head.metadata();
    let tip = Tip::at(head, validation.branch).snapshot.map(|snapshot| snapshot.snapshot_id());
    let is_blind = planted::has(PlantedBug::NothingIsValidated);
    if tip == validation.base || !validation.asks() || is_blind {
        return Ok(());
    }
    for snapshot in since(head, tip, validation)? {
        let check = Check { head, metadata, snapshot, validation };
        check.run().await?;
    }
    Ok(())
}

/// The snapshots that came after the base, newest first.
fn since<'t>(
    head: &'t Table,
    tip: Option<i64>,
    validation: &Validation<'_>,
) -> Result<Vec<&'t SnapshotRef>> {
    let mut lineage: Vec<&SnapshotRef> = ancestors(head.metadata(), tip).collect();
    let found = lineage.iter().position(|snapshot| Some(snapshot.snapshot_id()) == validation.base);
    match (found, validation.base) {
        (Some(position), _) => lineage.truncate(position),
        // The first snapshot that is left must be the first there was.
        (None, None) if lineage.last().is_none_or(|s| s.parent_snapshot_id().is_none()) => {}
        (None, base) => {
            let error = Error::new(
                ErrorKind::Conflict,
                format!("table `{}` was rolled back meanwhile", head.identifier()),
            );
            let error = match base {
                Some(base) => error.with_note(format!(
                    "snapshot `{base}`, which was read, is not part of `{}` any more",
                    validation.branch
                )),
                None => error.with_note("its first snapshots were expired"),
            };
            return Err(error.with_help("compute the rows again from the table as it is"));
        }
    }
    Ok(lineage)
}

impl Validation<'_> {
    /// Whether anything could contradict the change.
    fn asks(&self) -> bool {
        !matches!(self.removes, Removal::Nothing)
            || !matches!(self.reads, Reads::Nothing)
            || !self.depends_on.is_empty()
    }

    /// Whether the change removes all rows of an area, whichever files they are in.
    const fn removes_area(&self) -> bool {
        matches!(self.removes, Removal::Everything | Removal::Partitions(_))
    }
}

/// Checks one snapshot.
struct Check<'a> {
    head: &'a Table,
    metadata: &'a TableMetadata,
    snapshot: &'a SnapshotRef,
    validation: &'a Validation<'a>,
}

impl Check<'_> {
    async fn run(&self) -> Result<()> {
        let list = storage::load_list(self.head, self.snapshot).await?;
        for file in &list {
            if file.added_snapshot_id != self.snapshot.snapshot_id() || !self.concerns(file)? {
                continue;
            }
            let manifest = load(self.head, file).await?;
            let spec = spec_of(self.metadata, file)?;
            self.check_manifest(file, &manifest, spec)?;
        }
        Ok(())
    }

    /// A rewrite moves rows to other files and changes none.
    fn moves_only(&self) -> bool {
        self.snapshot.summary().operation == Operation::Replace
    }

    /// Whether a manifest that the snapshot wrote may contradict the change. Errs towards yes.
    fn concerns(&self, file: &ManifestFile) -> Result<bool> {
        let may_touch = file.content == ManifestContentType::Deletes || file.has_deleted_files();
        if may_touch && !self.validation.depends_on.is_empty() {
            return Ok(true);
        }
        if self.moves_only() && self.validation.isolation == Isolation::Serializable {
            return Ok(false);
        }
        Ok(self.validation.removes.may_take(file, self.metadata)?
            || match self.validation.reads {
                Reads::Nothing => false,
                Reads::Everything => true,
                Reads::Filter(filter) => {
                    let spec = spec_of(self.metadata, file)?;
                    PartitionFilter::new(filter, spec).may_name(file.partitions.as_ref())
                }
                Reads::Partitions(touched) => touched.may_hold(file, spec_of(self.metadata, file)?),
            })
    }

    fn check_manifest(
        &self,
        file: &ManifestFile,
        manifest: &Manifest,
        spec: &PartitionSpecRef,
    ) -> Result<()> {
        let id = self.snapshot.snapshot_id();
        let mut found = Findings::default();
        for entry in manifest.entries() {
            if entry.snapshot_id() != Some(id) {
                continue;
            }
            match (file.content, entry.status()) {
                (_, ManifestStatus::Existing) => {}
                (ManifestContentType::Data, ManifestStatus::Added) => {
                    found.added += u64::from(self.added_data(spec, entry.data_file())?);
                }
                (ManifestContentType::Data, ManifestStatus::Deleted) => {
                    found.removed += u64::from(self.removed_data(spec, entry.data_file())?);
                }
                (ManifestContentType::Deletes, ManifestStatus::Added) => {
                    found.deletes += u64::from(self.added_delete(spec, entry)?);
                }
                (ManifestContentType::Deletes, ManifestStatus::Deleted) => {}
            }
        }
        if found == Findings::default() { Ok(()) } else { Err(self.conflict(&found)) }
    }

    fn added_data(&self, spec: &PartitionSpecRef, file: &DataFile) -> Result<bool> {
        let removed = || self.validation.removes.takes(self.metadata, spec, file);
        if self.validation.isolation == Isolation::Snapshot {
            // What was added since stays, so old rows must not be mixed into it.
            return Ok(self.moves_only() && self.validation.removes_area() && removed()?);
        }
        if self.moves_only() {
            return Ok(false);
        }
        let read = match self.validation.reads {
            Reads::Nothing => false,
            Reads::Everything => true,
            Reads::Partitions(touched) => touched.hold(self.metadata, spec, file)?,
            Reads::Filter(filter) => may_pass(filter, spec, file),
        };
        Ok(read || self.validation.removes_area() && removed()?)
    }

    fn removed_data(&self, spec: &PartitionSpecRef, file: &DataFile) -> Result<bool> {
        if self.validation.depends_on.contains(file) {
            return Ok(true);
        }
        Ok(!self.moves_only()
            && self.validation.removes_area()
            && self.validation.removes.takes(self.metadata, spec, file)?)
    }

    fn added_delete(&self, spec: &PartitionSpecRef, entry: &ManifestEntry) -> Result<bool> {
        let file = entry.data_file();
        if self.applies_to_dependency(spec, file) {
            return Ok(true);
        }
        Ok(!self.moves_only()
            && self.validation.removes_area()
            // Deletes of no partition apply to all.
            && (spec.is_unpartitioned()
                || self.validation.removes.takes(self.metadata, spec, file)?))
    }

    /// Whether a delete file contradicts the change of a data file that it may apply to.
    fn applies_to_dependency(&self, spec: &PartitionSpecRef, file: &DataFile) -> bool {
        let (depends_on, counts) = (self.validation.depends_on, self.validation.new_deletes);
        if depends_on.is_empty() {
            return false;
        }
        let is_vector = file.file_format() == DataFileFormat::Puffin;
        if self.moves_only() && !is_vector {
            return false;
        }
        match file.content_type() {
            DataContentType::Data => false,
            DataContentType::EqualityDeletes => {
                counts == NewDeletes::Conflict
                    && (spec.is_unpartitioned() || depends_on.touch(file.partition()))
            }
            DataContentType::PositionDeletes => {
                (is_vector || counts != NewDeletes::OnlyVectorsConflict)
                    && may_point_at(file, depends_on)
            }
        }
    }

    fn conflict(&self, found: &Findings) -> Error {
        let (table, id) = (self.head.identifier(), self.snapshot.snapshot_id());
        let operation = self.snapshot.summary().operation.as_str();
        let mut did = Vec::new();
        for (count, what) in [
            (found.added, "added {} file(s) where this change read or replaces rows"),
            (found.removed, "removed {} file(s) that this change replaces or points at"),
            (found.deletes, "deleted rows of files that this change replaces, in {} file(s)"),
        ] {
            if count > 0 {
                did.push(what.replace("{}", &count.to_string()));
            }
        }
        Error::new(
            ErrorKind::Conflict,
            format!("another writer changed rows of `{table}` that this commit replaces"),
        )
        .with_note(format!("snapshot `{id}` ({operation}) {}", did.join(", ")))
        .with_help("compute the rows again from the table as it is")
    }
}

/// What of one manifest contradicts the change.
#[derive(Debug, Default, PartialEq, Eq)]
struct Findings {
    added: u64,
    removed: u64,
    deletes: u64,
}

/// Whether position deletes may point at one of these files.
fn may_point_at(deletes: &DataFile, files: &FileSet) -> bool {
    if let Some(path) = deletes.referenced_data_file() {
        return files.has_path(&path);
    }
    let bound = |bounds: &std::collections::HashMap<i32, iceberg::spec::Datum>| match bounds
        .get(&DELETED_FILE_PATH)
        .map(iceberg::spec::Datum::literal)
    {
        Some(iceberg::spec::PrimitiveLiteral::String(path)) => Some(path.clone()),
        _ => None,
    };
    let (lower, upper) = (bound(deletes.lower_bounds()), bound(deletes.upper_bounds()));
    files.paths().any(|path| {
        lower.as_deref().is_none_or(|lower| lower <= path)
            // An upper bound may be a prefix of the greatest path.
            && upper.as_deref().is_none_or(|upper| path <= upper || path.starts_with(upper))
    })
}

/// Whether a file may hold a row that passes. Errs towards yes.
fn may_pass(filter: &Filter, spec: &PartitionSpecRef, file: &DataFile) -> bool {
    PartitionFilter::new(filter, spec).may_hold(file.partition())
        && filter.may_pass(&FileFacts(file))
}
