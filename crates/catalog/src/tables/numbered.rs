//! Numbers for what a change adds, before a server sees it.
//!
//! "The one that was added last" is enough for our own metadata, which gives out the numbers itself.
//! Some servers give them out too; others take what they are sent, and must be sent the numbers
//! that snapshots of the same change go by.

use iceberg::TableUpdate;
use iceberg::table::Table;
use icecore_core::Result;

use crate::commit::after;

/// The last one that was added, as updates call it.
const LAST_ADDED: i32 = -1;

/// The same updates, with the numbers of new schemas, partitionings and orders. One that the table
/// has already is not added again.
///
/// # Errors
///
/// `InvalidInput` for updates that do not fit the table.
pub(super) fn numbered(head: &Table, updates: &[TableUpdate]) -> Result<Vec<TableUpdate>> {
    let mut sent: Vec<TableUpdate> = Vec::with_capacity(updates.len());
    for (at, update) in updates.iter().enumerate() {
        let state = || after(head, updates.get(..=at).unwrap_or(updates));
        let next = match update {
            TableUpdate::SetCurrentSchema { schema_id: LAST_ADDED } => {
                let state = state()?;
                let schema = state.metadata().current_schema();
                let known = head.metadata().schema_by_id(schema.schema_id()).is_some();
                replace_last(&mut sent, !known, || TableUpdate::AddSchema {
                    schema: schema.as_ref().clone(),
                });
                TableUpdate::SetCurrentSchema { schema_id: schema.schema_id() }
            }
            TableUpdate::SetDefaultSpec { spec_id: LAST_ADDED } => {
                let state = state()?;
                let spec = state.metadata().default_partition_spec();
                let known = head.metadata().partition_spec_by_id(spec.spec_id()).is_some();
                replace_last(&mut sent, !known, || TableUpdate::AddSpec {
                    spec: spec.as_ref().clone().into_unbound(),
                });
                TableUpdate::SetDefaultSpec { spec_id: spec.spec_id() }
            }
            TableUpdate::SetDefaultSortOrder { sort_order_id: -1 } => {
                let state = state()?;
                let order = state.metadata().default_sort_order();
                let known = head.metadata().sort_order_by_id(order.order_id).is_some();
                replace_last(&mut sent, !known, || TableUpdate::AddSortOrder {
                    sort_order: order.as_ref().clone(),
                });
                TableUpdate::SetDefaultSortOrder { sort_order_id: order.order_id }
            }
            other => other.clone(),
        };
        sent.push(next);
    }
    Ok(sent)
}

/// Puts an addition in the place of the one without a number, which was the last update.
fn replace_last(sent: &mut Vec<TableUpdate>, adds: bool, addition: impl FnOnce() -> TableUpdate) {
    sent.pop();
    if adds {
        sent.push(addition());
    }
}
