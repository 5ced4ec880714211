//! Making a new snapshot of a branch.

use std::collections::BTreeMap;

use iceberg::spec::{FormatVersion, Operation, Snapshot, Summary, TableMetadata};
use iceberg::table::Table;
use iceberg::{TableRequirement, TableUpdate};
use icecore_core::{Error, Result};

use super::branch::Tip;
use super::delta::Delta;
use super::manifests::{Producer, WrittenList};
use super::{ATTEMPT_ID, Attempt, Plan};
use crate::ids::{Ids, new_uuid};

/// Writes a snapshot of a branch that follows its head, and says how to make it current.
pub(crate) async fn plan(head: &Table, delta: Delta<'_>, attempt: &mut Attempt) -> Result<Plan> {
    check_writable(head)?;
    let tip = Tip::at(head, delta.branch);
    let mut producer = Producer::new(head, &tip, attempt);
    producer.keep(&delta).await?;
    producer.add(&delta).await?;
    producer.merge().await?;
    complete(producer, &tip, (delta.operation, delta.fields)).await
}

/// Writes the manifest list of a snapshot whose manifests are put together, and says how to make it
/// current.
pub(super) async fn complete(
    mut producer: Producer<'_>,
    tip: &Tip<'_>,
    (operation, own_fields): (Operation, &BTreeMap<String, String>),
) -> Result<Plan> {
    let metadata = producer.head.metadata();
    let WrittenList { location, row_ids } = producer.write_list().await?;
    let Producer { head, snapshot: id, changes, attempt, parent, .. } = producer;

    let mut fields = changes.into_fields(metadata);
    super::summary::add_totals(
        &mut fields,
        parent.map(|parent| &parent.summary().additional_properties),
    );
    fields.extend(own_fields.clone());
    fields.insert(ATTEMPT_ID.to_owned(), attempt.id.clone());
    let summary = Summary { operation, additional_properties: fields };
    let builder = Snapshot::builder()
        .with_snapshot_id(id)
        .with_parent_snapshot_id(parent.map(|parent| parent.snapshot_id()))
        .with_sequence_number(metadata.next_sequence_number())
        .with_timestamp_ms(attempt.now_ms)
        .with_manifest_list(location)
        .with_summary(summary)
        .with_schema_id(metadata.current_schema_id());
    let snapshot = match row_ids {
        Some((first, count)) => builder.with_row_range(first, count).build(),
        None => builder.build(),
    };
    let moved = tip.moved(head, id, attempt)?;
    Ok(Plan::Apply {
        requirements: vec![TableRequirement::UuidMatch { uuid: metadata.uuid() }, tip.unmoved()],
        updates: vec![TableUpdate::AddSnapshot { snapshot }, moved],
    })
}

/// Refuses tables of format version 1, which has no sequence numbers: without them, deletes and
/// concurrent changes cannot be told apart from the rows they came before.
pub(crate) fn check_writable(head: &Table) -> Result<()> {
    match head.metadata().format_version() {
        FormatVersion::V2 | FormatVersion::V3 => Ok(()),
        FormatVersion::V1 => Err(Error::unsupported(format!(
            "table `{}` has format version 1, which icecore reads but does not write",
            head.identifier()
        ))
        .with_help(format!(
            "`icecore table upgrade {} --to 2` upgrades it; its files stay as they are",
            head.identifier()
        ))),
    }
}

/// An id that no snapshot of the table has.
pub(super) fn new_snapshot_id(metadata: &TableMetadata, ids: &dyn Ids) -> i64 {
    loop {
        let (high, low) = new_uuid(ids).as_u64_pair();
        let id = ((high ^ low) >> 1) as i64;
        if id > 0 && metadata.snapshot_by_id(id).is_none() {
            return id;
        }
    }
}
