//! Changing a table's columns and layout.

use std::collections::BTreeMap;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use iceberg::table::Table;
use icecore_core::{PinnedTable, Result, SnapshotId, TableName};

use super::IcebergCatalog;
use crate::commit::{self, Attempt, Change, Plan};
use crate::schema::{self, Alteration, Redesign};

/// The summary field of a snapshot that says how the columns were changed.
const ALTERED: &str = "icecore.altered";

/// How to alter a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct AlterOptions {
    /// Checks everything and says what the table would be, but changes nothing.
    pub dry_run: bool,
}

impl AlterOptions {
    /// Changes nothing.
    #[must_use]
    pub const fn dry_run() -> Self {
        Self { dry_run: true }
    }
}

/// What a table is after it was altered.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Altered {
    /// Whether that is something else than before.
    pub changed: bool,
    /// The head of `main`: a new snapshot of the same rows where the columns changed.
    pub pinned: PinnedTable,
    /// Its columns.
    pub schema: SchemaRef,
    /// Paths of the columns that tell a row from every other one.
    pub identifier: Vec<String>,
    /// What new files are partitioned by.
    pub partition_by: Vec<String>,
    /// What the rows of new files are sorted by.
    pub sort_by: Vec<String>,
}

impl IcebergCatalog {
    /// Changes a table's columns and layout in one step. The changes are made one after the other:
    /// each sees what the ones before it made.
    ///
    /// No file is rewritten. A table that has rows gets a new snapshot of the same rows where its
    /// columns change, so that a pin has the columns of its time for ever: `main` shows the new
    /// ones from here on, and older snapshots keep theirs.
    ///
    /// # Errors
    ///
    /// `NotFound` for an unknown table or column; `AlreadyExists` for a name that is taken;
    /// `InvalidInput` for what Iceberg does not allow; `Unsupported` for what needs a newer format
    /// version. Every change that cannot be made is named: the first, the others related to it.
    pub async fn alter(
        &self,
        table: &TableName,
        alterations: &[Alteration],
        options: AlterOptions,
    ) -> Result<Altered> {
        let head = self.tables_now().load(table).await?;
        let redesign = schema::alter(head.metadata(), alterations)?;
        let after = if redesign.updates.is_empty() || options.dry_run {
            commit::after(&head, &redesign.updates)?
        } else {
            let change = Alter { alterations };
            let outcome = commit::commit(self.tables_now(), table, &change).await?;
            tracing::info!(table = %table, changes = alterations.len(), "altered");
            outcome.into_table()
        };
        altered(table, &after, !redesign.updates.is_empty())
    }
}

/// Changes of columns and layout.
struct Alter<'a> {
    alterations: &'a [Alteration],
}

#[async_trait]
impl Change for Alter<'_> {
    async fn plan(&self, head: &Table, attempt: &mut Attempt) -> Result<Plan> {
        let redesign = schema::alter(head.metadata(), self.alterations)?;
        if redesign.updates.is_empty() {
            return Ok(Plan::Nothing);
        }
        let after = commit::after(head, &redesign.updates)?;
        let Redesign { mut requirements, mut updates, changes_columns, .. } = redesign;
        if changes_columns && head.metadata().current_snapshot_id().is_some() {
            let words: Vec<String> = self
                .alterations
                .iter()
                .filter(|alteration| alteration.is_of_columns())
                .map(ToString::to_string)
                .collect();
            let fields = BTreeMap::from([(ALTERED.to_owned(), words.join("; "))]);
            // The same files under the new columns.
            let schema_id = after.metadata().current_schema_id();
            let plan = commit::same_rows(head, schema_id, &fields, attempt).await?;
            if let Plan::Apply { requirements: more, updates: snapshot } = plan {
                requirements.extend(more);
                updates.extend(snapshot);
            }
        }
        Ok(Plan::Apply { requirements, updates })
    }

    fn is_repeatable(&self) -> bool {
        false
    }
}

/// Changes columns and layout, and leaves the next rows to show them.
pub(super) fn plan_alter(head: &Table, alterations: &[Alteration]) -> Result<Plan> {
    let Redesign { requirements, updates, .. } = schema::alter(head.metadata(), alterations)?;
    if updates.is_empty() {
        return Ok(Plan::Nothing);
    }
    Ok(Plan::Apply { requirements, updates })
}

fn altered(name: &TableName, table: &Table, changed: bool) -> Result<Altered> {
    let metadata = table.metadata();
    let columns = metadata.current_schema();
    let snapshot = metadata.current_snapshot_id().map_or(PinnedTable::EMPTY, SnapshotId::new);
    Ok(Altered {
        changed,
        pinned: PinnedTable { table: name.clone(), uuid: metadata.uuid().to_string(), snapshot },
        schema: schema::to_arrow(columns)?,
        identifier: schema::describe_identifier(columns),
        partition_by: schema::describe_partition(columns, metadata.default_partition_spec()),
        sort_by: schema::describe_sort(columns, metadata.default_sort_order()),
    })
}
