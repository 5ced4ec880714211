//! Several changes of one table in one step.

use async_trait::async_trait;
use iceberg::spec::{TableMetadata, TableMetadataBuilder};
use iceberg::table::Table;
use iceberg::{TableRequirement, TableUpdate};
use icecore_core::Result;

use super::{Attempt, Change, Plan};
use crate::error::Context;

/// Changes of which each is planned on the state that the ones before it lead to, and which become
/// visible together.
pub(crate) struct Several(pub(crate) Vec<Box<dyn Change>>);

#[async_trait]
impl Change for Several {
    async fn plan(&self, head: &Table, attempt: &mut Attempt) -> Result<Plan> {
        // One builder for all: a state that is built takes the machine's clock where nothing else
        // tells its time, and the next snapshot must not have to come after that.
        let mut builder = head.metadata().clone().into_builder(None);
        let mut state = head.clone();
        let (mut requirements, mut updates) = (Vec::new(), Vec::new());
        for (number, step) in self.0.iter().enumerate() {
            attempt.begin_step(number);
            match step.plan(&state, attempt).await? {
                Plan::Nothing => {}
                // They were all done together.
                Plan::DoneBefore(snapshot) => return Ok(Plan::DoneBefore(snapshot)),
                Plan::Apply { requirements: needs, updates: does } => {
                    for need in needs.iter().map(|need| before(head.metadata(), need)) {
                        if !requirements.contains(&need) {
                            requirements.push(need);
                        }
                    }
                    builder = apply(head, builder, &does)?;
                    state = built(head, builder.clone())?;
                    updates.extend(does);
                }
            }
        }
        if updates.is_empty() {
            return Ok(Plan::Nothing);
        }
        Ok(Plan::Apply { requirements, updates })
    }

    fn is_repeatable(&self) -> bool {
        self.0.iter().all(|step| step.is_repeatable())
    }
}

/// What a requirement of a later step asks of the state before the first one.
fn before(head: &TableMetadata, requirement: &TableRequirement) -> TableRequirement {
    match requirement {
        TableRequirement::RefSnapshotIdMatch { r#ref, .. } => {
            let snapshot_id = head.snapshot_for_ref(r#ref).map(|snapshot| snapshot.snapshot_id());
            TableRequirement::RefSnapshotIdMatch { r#ref: r#ref.clone(), snapshot_id }
        }
        TableRequirement::LastAssignedFieldIdMatch { .. } => {
            TableRequirement::LastAssignedFieldIdMatch {
                last_assigned_field_id: head.last_column_id(),
            }
        }
        TableRequirement::CurrentSchemaIdMatch { .. } => {
            TableRequirement::CurrentSchemaIdMatch { current_schema_id: head.current_schema_id() }
        }
        TableRequirement::LastAssignedPartitionIdMatch { .. } => {
            TableRequirement::LastAssignedPartitionIdMatch {
                last_assigned_partition_id: head.last_partition_id(),
            }
        }
        TableRequirement::DefaultSpecIdMatch { .. } => TableRequirement::DefaultSpecIdMatch {
            default_spec_id: head.default_partition_spec_id(),
        },
        TableRequirement::DefaultSortOrderIdMatch { .. } => {
            TableRequirement::DefaultSortOrderIdMatch {
                default_sort_order_id: head.default_sort_order_id(),
            }
        }
        other @ (TableRequirement::UuidMatch { .. } | TableRequirement::NotExist) => other.clone(),
    }
}

/// The state that updates lead to. It is nowhere stored.
///
/// # Errors
///
/// `InvalidInput` or `Conflict` for updates that do not fit the state.
pub(crate) fn after(state: &Table, updates: &[TableUpdate]) -> Result<Table> {
    let builder = state.metadata().clone().into_builder(None);
    built(state, apply(state, builder, updates)?)
}

fn apply(
    head: &Table,
    mut builder: TableMetadataBuilder,
    updates: &[TableUpdate],
) -> Result<TableMetadataBuilder> {
    for update in updates {
        builder = update.clone().apply(builder).context(|| cannot(head))?;
    }
    Ok(builder)
}

fn built(head: &Table, builder: TableMetadataBuilder) -> Result<Table> {
    Table::builder()
        .identifier(head.identifier().clone())
        .file_io(head.file_io().clone())
        .metadata(builder.build().context(|| cannot(head))?.metadata)
        .disable_cache()
        .runtime(iceberg::Runtime::try_current().context(|| cannot(head))?)
        .build()
        .context(|| cannot(head))
}

fn cannot(head: &Table) -> String {
    format!("cannot change the metadata of table `{}`", head.identifier())
}
