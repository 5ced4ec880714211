//! Changes of a table's properties and columns.

use std::collections::{BTreeMap, HashMap};

use arrow::datatypes::SchemaRef;
use iceberg::spec::FormatVersion;
use iceberg::table::Table;
use iceberg::{TableRequirement, TableUpdate};
use icecore_core::{Error, Result, TableName};

use super::IcebergCatalog;
pub(super) use super::create::check_properties;
use crate::commit::{self, Edit, Plan};
use crate::error::Context;
use crate::schema;
use crate::write::check_written;

/// Which columns, partitioning and order new files of a table have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableLayout {
    schema: i32,
    spec: i32,
    order: i64,
}

impl TableLayout {
    fn of(table: &Table) -> Self {
        let metadata = table.metadata();
        Self {
            schema: metadata.current_schema_id(),
            spec: metadata.default_partition_spec_id(),
            order: metadata.default_sort_order_id(),
        }
    }
}

impl IcebergCatalog {
    /// Sets and removes table properties in one step.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a property that Iceberg keeps to itself, and for a value that files could
    /// not be written by; `Unsupported` for a codec that icecore does not write.
    pub async fn set_properties(
        &self,
        table: &TableName,
        set: BTreeMap<String, String>,
        remove: Vec<String>,
    ) -> Result<()> {
        check_properties(set.keys().chain(&remove))?;
        self.edit(table, |head| plan_properties(head, &set, &remove)).await?;
        Ok(())
    }

    /// Whether [`set_properties`](Self::set_properties) would take this now. Nothing is changed.
    ///
    /// # Errors
    ///
    /// Those of it.
    pub async fn check_set_properties(
        &self,
        table: &TableName,
        set: &BTreeMap<String, String>,
        remove: &[String],
    ) -> Result<()> {
        check_properties(set.keys().chain(remove))?;
        plan_properties(&self.tables_now().load(table).await?, set, remove).map(|_| ())
    }

    /// Upgrades a table to a later version of Iceberg's format. Its files stay as they are; readers
    /// that do not know the version cannot read it any more, and there is no way back.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a version that is earlier than the table's, or that does not exist.
    pub async fn upgrade(&self, table: &TableName, version: u8) -> Result<()> {
        let format_version = match version {
            2 => FormatVersion::V2,
            3 => FormatVersion::V3,
            _ => {
                return Err(Error::invalid(format!(
                    "no table can be upgraded to format version {version}"
                ))
                .with_help("upgrade to 2 or 3"));
            }
        };
        self.edit(table, |head| {
            let metadata = head.metadata();
            let now = metadata.format_version();
            if now == format_version {
                return Ok(Plan::Nothing);
            }
            if now > format_version {
                return Err(Error::invalid(format!(
                    "table `{table}` has format version {} already",
                    now as u8
                ))
                .with_note("there is no way back to an earlier version"));
            }
            Ok(Plan::Apply {
                requirements: vec![TableRequirement::UuidMatch { uuid: metadata.uuid() }],
                updates: vec![TableUpdate::UpgradeFormatVersion { format_version }],
            })
        })
        .await?;
        tracing::info!(table = %table, version, "upgraded");
        Ok(())
    }

    /// Adds the columns that are new, as optional ones, and widens those that have to hold more
    /// (int to long, float to double), also inside of structs, lists and maps. Returns the names of
    /// the new columns.
    ///
    /// # Errors
    ///
    /// `InvalidInput` naming every column whose type cannot become the wanted one.
    pub async fn evolve(&self, table: &TableName, schema: &SchemaRef) -> Result<Vec<String>> {
        let before = self.tables_now().load(table).await?;
        let outcome = self.edit(table, |head| plan_evolution(head, schema)).await?;
        let old = before.metadata().current_schema();
        let new = outcome.metadata().current_schema().as_struct().fields();
        let added = new.iter().filter(|field| old.field_by_name(&field.name).is_none());
        Ok(added.map(|field| field.name.clone()).collect())
    }

    /// Fails where [`evolve`](Self::evolve) would, and changes nothing.
    ///
    /// # Errors
    ///
    /// As [`evolve`](Self::evolve).
    pub async fn check_evolve(&self, table: &TableName, schema: &SchemaRef) -> Result<()> {
        plan_evolution(&self.tables_now().load(table).await?, schema).map(|_| ())
    }

    /// Which columns, partitioning and order new files of a table have.
    ///
    /// # Errors
    ///
    /// `NotFound` for an unknown table.
    pub async fn layout(&self, table: &TableName) -> Result<TableLayout> {
        Ok(TableLayout::of(&self.tables_now().load(table).await?))
    }

    /// Takes back a change of columns and layout that no rows were published with: what was in
    /// force before is again. Nothing happens, and the answer is `false`, where somebody else has
    /// changed the layout since.
    ///
    /// # Errors
    ///
    /// `NotFound` for an unknown table.
    pub async fn restore_layout(
        &self,
        table: &TableName,
        made: TableLayout,
        before: TableLayout,
    ) -> Result<bool> {
        let plan = |head: &Table| {
            if TableLayout::of(head) != made || made == before {
                return Ok(Plan::Nothing);
            }
            Ok(Plan::Apply {
                requirements: vec![
                    TableRequirement::UuidMatch { uuid: head.metadata().uuid() },
                    TableRequirement::CurrentSchemaIdMatch { current_schema_id: made.schema },
                ],
                updates: vec![
                    TableUpdate::SetCurrentSchema { schema_id: before.schema },
                    TableUpdate::SetDefaultSpec { spec_id: before.spec },
                    TableUpdate::SetDefaultSortOrder { sort_order_id: before.order },
                ],
            })
        };
        let after = self.edit(table, plan).await?;
        Ok(TableLayout::of(&after) == before)
    }

    /// Commits a change that writes no files, and returns the table after it.
    pub(super) async fn edit<F>(&self, table: &TableName, plan: F) -> Result<Table>
    where
        F: Fn(&Table) -> Result<Plan> + Send + Sync,
    {
        commit::commit(self.tables_now(), table, &Edit(plan)).await.map(commit::Outcome::into_table)
    }
}

pub(super) fn plan_properties(
    head: &Table,
    set: &BTreeMap<String, String>,
    remove: &[String],
) -> Result<Plan> {
    let metadata = head.metadata();
    let stored = metadata.properties();
    let updates: HashMap<String, String> = set
        .iter()
        .filter(|(name, value)| stored.get(*name) != Some(value))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let removals: Vec<String> = remove
        .iter()
        .filter(|name| stored.contains_key(*name) && !set.contains_key(*name))
        .cloned()
        .collect();
    if updates.is_empty() && removals.is_empty() {
        return Ok(Plan::Nothing);
    }
    let cannot = || "cannot change the table's properties";
    let after = metadata.clone().into_builder(None).set_properties(updates.clone());
    let after = after.context(cannot)?.remove_properties(&removals).context(cannot)?;
    if let Err(error) = check_written(&after.build().context(cannot)?.metadata)
        // What another engine has set that icecore does not write is no reason to refuse the rest.
        && check_written(metadata).is_ok()
    {
        return Err(error);
    }
    Ok(Plan::Apply {
        requirements: vec![TableRequirement::UuidMatch { uuid: metadata.uuid() }],
        updates: vec![
            TableUpdate::SetProperties { updates },
            TableUpdate::RemoveProperties { removals },
        ],
    })
}

pub(super) fn plan_evolution(head: &Table, wanted: &SchemaRef) -> Result<Plan> {
    let metadata = head.metadata();
    let Some(next) = schema::evolution(metadata, wanted)? else {
        return Ok(Plan::Nothing);
    };
    Ok(Plan::Apply {
        requirements: vec![
            TableRequirement::UuidMatch { uuid: metadata.uuid() },
            TableRequirement::CurrentSchemaIdMatch {
                current_schema_id: metadata.current_schema_id(),
            },
            TableRequirement::LastAssignedFieldIdMatch {
                last_assigned_field_id: metadata.last_column_id(),
            },
        ],
        updates: vec![
            TableUpdate::AddSchema { schema: next },
            TableUpdate::SetCurrentSchema { schema_id: -1 },
        ],
    })
}
