//! Committing rows that were written: append, overwrite, overwrite of partitions.

use std::collections::BTreeMap;

use async_trait::async_trait;
use iceberg::spec::{DataFile, Operation, TableMetadataRef};
use iceberg::table::Table;
use icecore_core::{Error, ErrorKind, Result};

use super::partitions::Touched;
use super::snapshot::{self, Delta, Removal};
use super::{Attempt, Change, JOB_ID, Plan, conflict};
use crate::history::ancestors;

/// Which rows the new ones replace.
#[derive(Debug)]
pub(crate) enum Replace {
    Nothing,
    Everything,
    /// Those of the partitions that the new ones lie in.
    Partitions(Touched),
}

/// Makes data files part of a table.
#[derive(Debug)]
pub(crate) struct WriteRows {
    /// The table's metadata when the files were written.
    pub(crate) written_for: TableMetadataRef,
    pub(crate) files: Vec<DataFile>,
    pub(crate) replace: Replace,
    /// The state of the table that the rows were computed from.
    pub(crate) base: Option<i64>,
    /// Fields for the summary.
    pub(crate) fields: BTreeMap<String, String>,
    pub(crate) job_id: Option<String>,
}

impl WriteRows {
    /// The partitions that these files lie in: everything where there are no partitions.
    pub(crate) fn partitions_of(files: &[DataFile], written_for: &TableMetadataRef) -> Replace {
        let spec = written_for.default_partition_spec();
        if spec.is_unpartitioned() {
            Replace::Everything
        } else {
            Replace::Partitions(Touched::of(files, spec.spec_id()))
        }
    }

    fn removal(&self) -> Removal<'_> {
        match &self.replace {
            Replace::Nothing => Removal::Nothing,
            Replace::Everything => Removal::Everything,
            Replace::Partitions(touched) => Removal::Partitions(touched),
        }
    }

    fn operation(&self) -> Operation {
        match self.replace {
            Replace::Nothing => Operation::Append,
            _ if self.files.is_empty() => Operation::Delete,
            _ => Operation::Overwrite,
        }
    }

    /// The snapshot that the same piece of work made before.
    pub(crate) fn done_before(head: &Table, job_id: Option<&str>) -> Option<i64> {
        let (job_id, metadata) = (job_id?, head.metadata());
        let found = ancestors(metadata, metadata.current_snapshot_id()).find(|snapshot| {
            let summary = &snapshot.summary().additional_properties;
            summary.get(JOB_ID).is_some_and(|id| id == job_id)
        });
        found.map(|snapshot| snapshot.snapshot_id())
    }
}

#[async_trait]
impl Change for WriteRows {
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
        if let Some(snapshot) = Self::done_before(head, self.job_id.as_deref()) {
            return Ok(Plan::DoneBefore(snapshot));
        }
        let nothing_to_remove = match self.replace {
            Replace::Nothing => true,
            _ => metadata.current_snapshot_id().is_none(),
        };
        if self.files.is_empty() && nothing_to_remove {
            return Ok(Plan::Nothing);
        }
        if !matches!(self.replace, Replace::Nothing) {
            conflict::check(head, self.base, self.removal()).await?;
        }
        let mut fields = self.fields.clone();
        if let Some(job_id) = &self.job_id {
            fields.insert(JOB_ID.to_owned(), job_id.clone());
        }
        if matches!(self.replace, Replace::Partitions(_)) {
            fields.insert("replace-partitions".to_owned(), "true".to_owned());
        }
        let delta = Delta {
            operation: self.operation(),
            added: &self.files,
            schema: self.written_for.current_schema().clone(),
            spec: self.written_for.default_partition_spec().clone(),
            removed: self.removal(),
            fields: &fields,
        };
        snapshot::plan(head, delta, attempt).await
    }

    fn is_repeatable(&self) -> bool {
        false
    }
}
