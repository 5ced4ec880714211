//! Making a new snapshot of the rows that are there, under other columns.

use std::collections::BTreeMap;

use iceberg::TableUpdate;
use iceberg::spec::{MAIN_BRANCH, Operation, Snapshot};
use iceberg::table::Table;
use icecore_core::Result;

use super::delta::{Delta, Removal};
use super::snapshot;
use super::{Attempt, Plan};

/// A snapshot of `main` with the rows that it has, under the columns of this schema.
pub(crate) async fn same_rows(
    head: &Table,
    schema_id: i32,
    fields: &BTreeMap<String, String>,
    attempt: &mut Attempt,
) -> Result<Plan> {
    let delta = Delta {
        branch: MAIN_BRANCH,
        operation: Operation::Replace,
        added: &[],
        removed: Removal::Nothing,
        keeps_after: None,
        fields,
    };
    let mut plan = snapshot::plan(head, delta, attempt).await?;
    if let Plan::Apply { updates, .. } = &mut plan {
        for update in updates {
            if let TableUpdate::AddSnapshot { snapshot } = update {
                *snapshot = of_schema(snapshot, schema_id);
            }
        }
    }
    Ok(plan)
}

/// The same snapshot, of other columns.
fn of_schema(snapshot: &Snapshot, schema_id: i32) -> Snapshot {
    let builder = Snapshot::builder()
        .with_snapshot_id(snapshot.snapshot_id())
        .with_parent_snapshot_id(snapshot.parent_snapshot_id())
        .with_sequence_number(snapshot.sequence_number())
        .with_timestamp_ms(snapshot.timestamp_ms())
        .with_manifest_list(snapshot.manifest_list())
        .with_summary(snapshot.summary().clone())
        .with_schema_id(schema_id);
    match snapshot.row_range() {
        Some((first, count)) => builder.with_row_range(first, count).build(),
        None => builder.build(),
    }
}
