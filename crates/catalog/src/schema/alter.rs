//! Several changes of a table as one.

use iceberg::spec::{
    Schema, SortField, SortOrder, TableMetadata, UnboundPartitionField, UnboundPartitionSpec,
};
use iceberg::{TableRequirement, TableUpdate};
use icecore_core::{Error, Result};

use super::alteration::Alteration;
use super::draft::Draft;
use super::{columns, layout};
use crate::error::Context as _;

/// A table's columns and layout while they are being changed.
#[derive(Debug)]
pub(super) struct Design<'m> {
    pub(super) metadata: &'m TableMetadata,
    pub(super) draft: Draft,
    pub(super) partition: Vec<UnboundPartitionField>,
    pub(super) sort: Vec<SortField>,
}

/// What the changes come to.
#[derive(Debug)]
pub(crate) struct Redesign {
    pub(crate) requirements: Vec<TableRequirement>,
    /// None where the table is so already.
    pub(crate) updates: Vec<TableUpdate>,
    /// Whether the columns are others.
    pub(crate) changes_columns: bool,
}

/// Makes the changes one after the other, each on what the ones before it made.
///
/// # Errors
///
/// Those of every change that cannot be made: the first, the others related to it.
pub(crate) fn alter(metadata: &TableMetadata, alterations: &[Alteration]) -> Result<Redesign> {
    let mut design = Design {
        metadata,
        draft: Draft::of(metadata),
        partition: layout::partition_of(metadata),
        sort: metadata.default_sort_order().fields.clone(),
    };
    let made = alterations.iter().map(|alteration| design.make(alteration));
    let errors: Vec<Error> = made.filter_map(Result::err).collect();
    all_at_once(errors)?;
    design.finish()
}

/// The first error, with the others related to it.
fn all_at_once(errors: Vec<Error>) -> Result<()> {
    let mut errors = errors.into_iter();
    match errors.next() {
        Some(first) => Err(first.with_related(errors.collect())),
        None => Ok(()),
    }
}

impl Design<'_> {
    fn make(&mut self, alteration: &Alteration) -> Result<()> {
        match alteration {
            Alteration::AddColumn(new) => columns::add(self, new),
            Alteration::DropColumn(column) => columns::drop(self, column),
            Alteration::RenameColumn { column, to } => columns::rename(self, column, to),
            Alteration::WidenColumn { column, to } => columns::widen(self, column, to),
            Alteration::MakeOptional(column) => columns::make_optional(self, column),
            Alteration::Document { column, doc } => columns::document(self, column, doc.as_deref()),
            Alteration::MoveColumn { column, to } => columns::relocate(self, column, to),
            Alteration::SetIdentifier(wanted) => columns::identify(self, wanted),
            Alteration::PartitionBy(by) => layout::partition_by(self, by),
            Alteration::AddPartition(by) => layout::add_partition(self, by),
            Alteration::DropPartition(by) => layout::drop_partition(self, by),
            Alteration::SortBy(by) => layout::sort_by(self, by),
        }
    }

    fn finish(self) -> Result<Redesign> {
        let Self { metadata, draft, partition, sort } = self;
        let schema = draft.build()?;
        layout::check_widened(metadata, &schema)?;
        let current = metadata.current_schema();
        let mut updates = Vec::new();
        let mut requirements = vec![TableRequirement::UuidMatch { uuid: metadata.uuid() }];
        requirements.push(TableRequirement::CurrentSchemaIdMatch {
            current_schema_id: metadata.current_schema_id(),
        });
        let changes_columns = !same_columns(current, &schema);
        if changes_columns {
            requirements.push(TableRequirement::LastAssignedFieldIdMatch {
                last_assigned_field_id: metadata.last_column_id(),
            });
            updates.push(TableUpdate::AddSchema { schema });
            updates.push(TableUpdate::SetCurrentSchema { schema_id: -1 });
        }
        if partition != layout::partition_of(metadata) {
            requirements.push(TableRequirement::DefaultSpecIdMatch {
                default_spec_id: metadata.default_partition_spec_id(),
            });
            let spec = UnboundPartitionSpec::builder()
                .add_partition_fields(partition)
                .context(|| "cannot partition the table so")?
                .build();
            updates.push(TableUpdate::AddSpec { spec });
            updates.push(TableUpdate::SetDefaultSpec { spec_id: -1 });
        }
        if sort != metadata.default_sort_order().fields {
            requirements.push(TableRequirement::DefaultSortOrderIdMatch {
                default_sort_order_id: metadata.default_sort_order_id(),
            });
            let order_id = i64::from(!sort.is_empty());
            let sort_order = SortOrder { order_id, fields: sort };
            updates.push(TableUpdate::AddSortOrder { sort_order });
            updates.push(TableUpdate::SetDefaultSortOrder { sort_order_id: -1 });
        }
        Ok(Redesign { requirements, updates, changes_columns })
    }
}

fn same_columns(left: &Schema, right: &Schema) -> bool {
    let ids = |schema: &Schema| {
        let mut ids: Vec<i32> = schema.identifier_field_ids().collect();
        ids.sort_unstable();
        ids
    };
    left.as_struct() == right.as_struct() && ids(left) == ids(right)
}
