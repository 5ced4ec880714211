//! Whether what was committed since a state contradicts a change that was computed from it.

use std::collections::HashSet;

use iceberg::spec::{ManifestStatus, Operation, SnapshotRef};
use iceberg::table::Table;
use icecore_core::{Error, ErrorKind, Result};

use super::snapshot::{Removal, load};
use crate::error::Context;
use crate::history::ancestors;

/// Fails if a snapshot that came after `base` added or removed files which this change removes:
/// the rows of those files were not seen by what computed the change (serializable isolation).
///
/// # Errors
///
/// `Conflict` naming the snapshot, or saying that the table was rolled back behind `base`.
pub(super) async fn check(head: &Table, base: Option<i64>, removal: Removal<'_>) -> Result<()> {
    let metadata = head.metadata();
    if metadata.current_snapshot_id() == base {
        return Ok(());
    }
    let lineage: Vec<&SnapshotRef> = ancestors(metadata, metadata.current_snapshot_id()).collect();
    let since = lineage.iter().position(|snapshot| Some(snapshot.snapshot_id()) == base);
    let since = match (since, base) {
        (Some(position), _) => position,
        (None, None) => lineage.len(),
        (None, Some(base)) => {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!("table `{}` was rolled back meanwhile", head.identifier()),
            )
            .with_note(format!("snapshot `{base}`, which was read, is not part of `main` any more"))
            .with_help("compute the rows again from the table as it is"));
        }
    };
    for snapshot in lineage.into_iter().take(since) {
        // A rewrite moves rows to other files and changes none.
        if snapshot.summary().operation != Operation::Replace {
            check_snapshot(head, snapshot, removal).await?;
        }
    }
    Ok(())
}

async fn check_snapshot(head: &Table, snapshot: &SnapshotRef, removal: Removal<'_>) -> Result<()> {
    let id = snapshot.snapshot_id();
    let list = head
        .manifest_list_reader(snapshot)
        .load()
        .await
        .context(|| format!("cannot read manifest list `{}`", snapshot.manifest_list()))?;
    for file in list.entries() {
        if file.added_snapshot_id != id || !removal.may_take(file, head.metadata())? {
            continue;
        }
        let manifest = load(head.file_io(), file).await?;
        let moved: HashSet<&str> = manifest
            .entries()
            .iter()
            .filter(|entry| {
                entry.status() != ManifestStatus::Existing && entry.snapshot_id() == Some(id)
            })
            .filter(|entry| removal.takes(file.partition_spec_id, entry.data_file()))
            .map(|entry| entry.file_path())
            .collect();
        if !moved.is_empty() {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!(
                    "another writer changed rows of `{}` that this commit replaces",
                    head.identifier()
                ),
            )
            .with_note(format!(
                "snapshot `{id}` ({}) added or removed {} file(s) there",
                snapshot.summary().operation.as_str(),
                moved.len()
            ))
            .with_help("compute the rows again from the table as it is"));
        }
    }
    Ok(())
}
