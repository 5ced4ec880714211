//! The profile of a state, from the statistics of the snapshots that led to it.

use std::collections::{BTreeMap, BTreeSet};

use icecore_catalog::IcebergCatalog;
use icecore_core::{PinnedTable, Result, SnapshotCatalog, SnapshotId, SnapshotInfo};

use super::{KIND, PartitionFilter, TableWriteMode, read_blob};
use crate::Profile;

/// What is known of a state of a table without reading a row.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TableProfile {
    /// The statistics of what is known.
    pub profile: Profile,
    /// The same by partition; one of an empty name where the table has none.
    pub partitions: BTreeMap<String, Profile>,
    /// Whether they are those of the rows, all of them and no others.
    pub complete: bool,
    /// Why they are not.
    pub notes: Vec<String>,
}

/// Puts the profile of a state together.
///
/// # Errors
///
/// `NotFound` if the table is gone; `DataCorrupt` for statistics that cannot be read.
pub async fn profile_of_table(
    catalog: &IcebergCatalog,
    pin: &PinnedTable,
    filter: Option<&PartitionFilter>,
) -> Result<TableProfile> {
    let history = catalog.history(&pin.table).await?;
    let by_id: BTreeMap<SnapshotId, &SnapshotInfo> =
        history.iter().map(|info| (info.id, info)).collect();
    let total = by_id.get(&pin.snapshot).map(|info| rows_of(info));
    let mut walk = Walk { filter, total, ..Walk::default() };
    let mut next = (pin.snapshot != PinnedTable::EMPTY).then_some(pin.snapshot);
    while let Some(id) = next {
        let Some(info) = by_id.get(&id) else {
            walk.note("older snapshots have expired, and their statistics with them".to_owned());
            break;
        };
        // Files are rewritten, rows are not.
        if info.operation != "replace" {
            let state = PinnedTable { snapshot: id, ..pin.clone() };
            let blobs = catalog.statistics(&state).await?;
            match blobs.iter().find(|blob| blob.kind == KIND) {
                Some(blob) => walk.take(info, read_blob(blob)?),
                None => walk.miss(info),
            }
        }
        if walk.is_over() {
            break;
        }
        next = info.parent;
    }
    Ok(walk.finish())
}

/// Rows of a state, as its summary says, without those that are deleted in files that stay.
fn rows_of(info: &SnapshotInfo) -> u64 {
    let rows = info.count("total-records") - info.count("total-position-deletes");
    u64::try_from(rows).unwrap_or(0)
}

#[derive(Debug, Default)]
struct Walk<'a> {
    filter: Option<&'a PartitionFilter>,
    total: Option<u64>,
    partitions: BTreeMap<String, Profile>,
    /// Partitions whose older rows were replaced.
    closed: BTreeSet<String>,
    all_closed: bool,
    notes: Vec<String>,
}

impl Walk<'_> {
    fn take(
        &mut self,
        info: &SnapshotInfo,
        (mode, parts): (TableWriteMode, Vec<(String, Profile)>),
    ) {
        if mode == TableWriteMode::Delta && info.removed_rows() > 0 {
            self.note(format!(
                "snapshot {} replaced {} rows inside of partitions, which still count",
                info.id,
                info.removed_rows()
            ));
        }
        let mut written = Vec::with_capacity(parts.len());
        for (label, profile) in parts {
            let wanted = self.filter.is_none_or(|filter| filter.takes(&label));
            if wanted && !self.closed.contains(&label) {
                self.partitions.entry(label.clone()).or_default().merge(&profile);
            }
            written.push(label);
        }
        match mode {
            TableWriteMode::Replace => self.all_closed = true,
            TableWriteMode::ReplacePartitions => self.closed.extend(written),
            TableWriteMode::Append | TableWriteMode::Delta => {}
        }
    }

    /// A snapshot without statistics matters if it changed rows.
    fn miss(&mut self, info: &SnapshotInfo) {
        let (added, removed) = (info.count("added-records"), info.removed_rows());
        if added > 0 || removed > 0 {
            self.note(format!(
                "snapshot {} has no statistics: it added {added} rows and removed {removed}",
                info.id
            ));
        }
    }

    fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    fn rows(&self) -> u64 {
        self.partitions.values().map(Profile::rows).sum()
    }

    /// Whether nothing older can count any more.
    fn is_over(&self) -> bool {
        let only = self.filter.and_then(PartitionFilter::only);
        let has_all = self.filter.is_none() && self.total == Some(self.rows());
        self.all_closed
            || only.is_some_and(|label| self.closed.contains(&label))
            || (has_all && self.notes.is_empty())
    }

    fn finish(mut self) -> TableProfile {
        let mut profile = Profile::default();
        for (at, part) in self.partitions.values().enumerate() {
            match at {
                0 => profile = part.clone(),
                _ => profile.merge(part),
            }
        }
        if self.filter.is_none()
            && let Some(total) = self.total
            && total != profile.rows()
        {
            let known = profile.rows();
            self.note(format!("statistics count {known} rows, and the table has {total}"));
        }
        TableProfile {
            profile,
            partitions: self.partitions,
            complete: self.notes.is_empty(),
            notes: self.notes,
        }
    }
}
