//! The chain of a table's metadata files.

use futures::{StreamExt, TryStreamExt, stream};
use iceberg::spec::TableMetadata;
use icecore_core::Result;

use super::finding::{FindingKind, Findings};
use super::{Subject, is_damage};
use crate::storage::read_metadata;

/// Metadata files that are read at once.
const FILES_AT_ONCE: usize = 8;

/// Each metadata file must follow from the one before it: the same table, nothing older, and new
/// snapshots with new sequence numbers.
pub(super) async fn check(subject: &Subject, findings: &mut Findings) -> Result<()> {
    let Subject { io, location, metadata } = subject;
    let log = metadata.metadata_log();
    let mut past = stream::iter(log.to_vec())
        .map(async |entry| {
            match read_metadata(io, &entry.metadata_file).await {
                Ok(past) => Ok(Some((entry.metadata_file, past))),
                // Old metadata may be deleted at any time.
                Err(error) if is_damage(&error) => Ok(None),
                Err(error) => Err(error),
            }
        })
        .buffered(FILES_AT_ONCE);
    let mut before: Option<(String, TableMetadata)> = None;
    while let Some(next) = past.try_next().await? {
        let Some((next_location, next)) = next else {
            before = None;
            continue;
        };
        if let Some((location, metadata)) = &before {
            check_step((location, metadata), (&next_location, &next), findings);
        }
        before = Some((next_location, next));
    }
    if let Some((previous, past)) = &before {
        check_step((previous, past), (location, metadata), findings);
    }
    Ok(())
}

fn check_step(
    (from, before): (&str, &TableMetadata),
    (to, after): (&str, &TableMetadata),
    findings: &mut Findings,
) {
    let mut add = |message: String| findings.add(FindingKind::BrokenHistory, to, message);
    if before.uuid() != after.uuid() {
        add(format!("it is of table {}, and `{from}` of {}", after.uuid(), before.uuid()));
        return;
    }
    let previous = after.metadata_log().last().map(|entry| entry.metadata_file.as_str());
    if previous != Some(from) {
        let previous = previous.unwrap_or("nothing");
        add(format!(
            "it says that it follows `{previous}`, and the table that it follows `{from}`"
        ));
    }
    if after.last_updated_ms() < before.last_updated_ms() {
        add(format!("it is older than `{from}`, which it follows"));
    }
    if after.last_sequence_number() < before.last_sequence_number() {
        add(format!("its last sequence number is less than that of `{from}`"));
    }
    if after.last_column_id() < before.last_column_id() {
        add(format!("its last column id is less than that of `{from}`"));
    }
    for snapshot in after.snapshots() {
        let (id, number) = (snapshot.snapshot_id(), snapshot.sequence_number());
        match before.snapshot_by_id(id) {
            Some(same) if same == snapshot => {}
            Some(_) => add(format!("snapshot {id} is another one than in `{from}`")),
            None if number > 0 && number <= before.last_sequence_number() => add(format!(
                "snapshot {id} is new and has sequence number {number}, which was taken"
            )),
            None => {}
        }
    }
}
