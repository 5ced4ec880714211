//! Committing files that were written, in place of files that are there.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use iceberg::spec::{DataFile, ManifestContentType, Operation, TableMetadata, TableMetadataRef};
use iceberg::table::Table;
use icecore_core::{Error, ErrorKind, Isolation, RefName, Result};

use super::branch::Tip;
use super::delta::{AddedFiles, Delta, FileSet, Removal};
use super::partitions::Touched;
use super::validate::{NewDeletes, Reads, Validation, validate};
use super::{Attempt, Change, JOB_ID, Plan, snapshot};
use crate::history::ancestors;

/// Makes files part of a table, and others no part of it any more. The files were written before;
/// what it does to each state that it meets is to check that nothing which was committed since
/// `base` contradicts it, and to write manifests.
#[derive(Debug)]
pub(crate) struct FileChange {
    /// The table's metadata when the files were written.
    pub(crate) written_for: TableMetadataRef,
    /// The state that the change was computed from.
    pub(crate) base: Option<i64>,
    pub(crate) isolation: Isolation,
    pub(crate) branch: RefName,
    /// Whether a branch that does not exist begins at the head of `main`.
    pub(crate) create_branch: bool,
    pub(crate) operation: Operation,
    pub(crate) added: Vec<AddedFiles>,
    pub(crate) removed: OwnedRemoval,
    /// Where rows that others added since `base` would have changed the outcome.
    pub(crate) reads: OwnedReads,
    /// Data files that are rewritten or pointed at by new delete files.
    pub(crate) depends_on: FileSet,
    /// Fields for the summary.
    pub(crate) fields: BTreeMap<String, String>,
    pub(crate) job_id: Option<String>,
}

/// Which of the live files a change removes.
#[derive(Debug, Default)]
pub(crate) enum OwnedRemoval {
    #[default]
    Nothing,
    Everything,
    Partitions(Arc<Touched>),
    Files(FileSet),
}

/// Which rows a change was computed from.
#[derive(Debug, Default)]
pub(crate) enum OwnedReads {
    #[default]
    Nothing,
    Everything,
    Partitions(Arc<Touched>),
    /// Those that pass.
    Filter(crate::predicate::Filter),
}

impl FileChange {
    /// A change of `main` that does nothing yet, computed from this state of the table.
    pub(crate) fn new(written_for: TableMetadataRef, operation: Operation) -> Self {
        Self {
            base: written_for.current_snapshot_id(),
            written_for,
            isolation: Isolation::default(),
            branch: RefName::main(),
            create_branch: false,
            operation,
            added: Vec::new(),
            removed: OwnedRemoval::Nothing,
            reads: OwnedReads::Nothing,
            depends_on: FileSet::default(),
            fields: BTreeMap::new(),
            job_id: None,
        }
    }

    /// Every file that it adds.
    pub(crate) fn added_files(&self) -> impl Iterator<Item = &DataFile> {
        self.added.iter().flat_map(|added| &added.files)
    }

    fn removal(&self) -> Removal<'_> {
        match &self.removed {
            OwnedRemoval::Nothing => Removal::Nothing,
            OwnedRemoval::Everything => Removal::Everything,
            OwnedRemoval::Partitions(touched) => Removal::Partitions(touched),
            OwnedRemoval::Files(files) => Removal::Files(files),
        }
    }

    fn reads(&self) -> Reads<'_> {
        match &self.reads {
            OwnedReads::Nothing => Reads::Nothing,
            OwnedReads::Everything => Reads::Everything,
            OwnedReads::Partitions(touched) => Reads::Partitions(touched),
            OwnedReads::Filter(filter) => Reads::Filter(filter),
        }
    }

    /// What deletes that others added to the files which this change depends on do to it.
    fn new_deletes(&self) -> NewDeletes {
        let added = |content| {
            self.added.iter().filter(move |a| a.content == content && !a.files.is_empty())
        };
        let rewrites_as_old = added(ManifestContentType::Data).all(|a| a.sequence.is_some());
        let removes_files = !matches!(self.removed, OwnedRemoval::Nothing);
        if added(ManifestContentType::Data).next().is_none() && !removes_files {
            // Deleting a row twice deletes it, but a file has one deletion vector at most.
            return NewDeletes::OnlyVectorsConflict;
        }
        if rewrites_as_old && self.operation == Operation::Replace {
            NewDeletes::ByPositionConflict
        } else {
            NewDeletes::Conflict
        }
    }

    /// Under snapshot isolation, rows that others added since the change was computed stay.
    fn keeps_after(&self, head: &TableMetadata) -> Option<i64> {
        let replaces_area =
            matches!(self.removed, OwnedRemoval::Everything | OwnedRemoval::Partitions(_));
        if self.isolation == Isolation::Serializable || !replaces_area {
            return None;
        }
        let base = self.base.and_then(|base| head.snapshot_by_id(base));
        Some(base.map_or(0, |base| base.sequence_number()))
    }

    fn has_nothing_to_do(&self, head: &Tip<'_>) -> bool {
        let removes = match &self.removed {
            OwnedRemoval::Nothing => false,
            OwnedRemoval::Everything | OwnedRemoval::Partitions(_) => head.snapshot.is_some(),
            OwnedRemoval::Files(files) => !files.is_empty(),
        };
        !removes && self.added_files().next().is_none()
    }
}

/// The snapshot of a branch that the same piece of work made before.
pub(crate) fn done_before(head: &Table, branch: &RefName, job_id: Option<&str>) -> Option<i64> {
    let (job_id, metadata) = (job_id?, head.metadata());
    let tip = metadata.snapshot_for_ref(branch.as_str()).map(|snapshot| snapshot.snapshot_id());
    let found = ancestors(metadata, tip).find(|snapshot| {
        let summary = &snapshot.summary().additional_properties;
        summary.get(JOB_ID).is_some_and(|id| id == job_id)
    });
    found.map(|snapshot| snapshot.snapshot_id())
}

/// What contradicts an operation: what the caller asks for, else what the table's property
/// `write.OPERATION.isolation-level` says, else all that could change the outcome.
///
/// # Errors
///
/// `InvalidInput` for a property that says something else.
pub(crate) fn isolation(
    metadata: &TableMetadata,
    asked: Option<Isolation>,
    operation: &str,
) -> Result<Isolation> {
    if let Some(asked) = asked {
        return Ok(asked);
    }
    let name = format!("write.{operation}.isolation-level");
    match metadata.properties().get(&name) {
        Some(stored) => stored.parse().map_err(|error: Error| {
            error.with_note(format!("it is the table's property `{name}`"))
        }),
        None => Ok(Isolation::default()),
    }
}

#[async_trait]
impl Change for FileChange {
    async fn plan(&self, head: &Table, attempt: &mut Attempt) -> Result<Plan> {
        let metadata = head.metadata();
        if metadata.uuid() != self.written_for.uuid() {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!(
                    "table `{}` was dropped and created again while it was written to",
                    head.identifier()
                ),
            ));
        }
        if let Some(snapshot) = done_before(head, &self.branch, self.job_id.as_deref()) {
            return Ok(Plan::DoneBefore(snapshot));
        }
        let tip = Tip::of(head, &self.branch, self.create_branch)?;
        if self.has_nothing_to_do(&tip) {
            return Ok(Plan::Nothing);
        }
        let validation = Validation {
            branch: self.branch.as_str(),
            base: self.base,
            isolation: self.isolation,
            reads: self.reads(),
            removes: self.removal(),
            depends_on: &self.depends_on,
            new_deletes: self.new_deletes(),
        };
        validate(head, &validation).await?;
        let mut fields = self.fields.clone();
        if let Some(job_id) = &self.job_id {
            fields.insert(JOB_ID.to_owned(), job_id.clone());
        }
        if matches!(self.removed, OwnedRemoval::Partitions(_)) {
            fields.insert("replace-partitions".to_owned(), "true".to_owned());
        }
        let delta = Delta {
            branch: self.branch.as_str(),
            operation: self.operation.clone(),
            added: &self.added,
            removed: self.removal(),
            keeps_after: self.keeps_after(metadata),
            fields: &fields,
        };
        snapshot::plan(head, delta, attempt).await
    }

    fn is_repeatable(&self) -> bool {
        false
    }
}
