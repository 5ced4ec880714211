//! The catalog of tables, and the trait that readers and writers use it through.

mod commits;
mod create;
mod snapshots;
mod upkeep;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use iceberg::table::Table;
use iceberg::{TableRequirement, TableUpdate};
use icecore_core::{
    Clock, Committed, Error, PinnedTable, Predicate, RefName, Result, SnapshotCatalog as _,
    SnapshotId, SnapshotSelector, SystemClock, TableName,
};
use object_store::ObjectStore;

use crate::commit::{self, Edit, Plan};
use crate::ids::{Ids, RandomIds};
use crate::metadata_table::{self, MetadataTable};
use crate::refs::{self, NewTag, RefInfo, RollbackPolicy, TagMove};
use crate::scan::{self, FilePlan};
use crate::sql::SqlitePointers;
use crate::storage::{self, Warehouse};
use crate::tables::{Tables, location_of};
use crate::timer::{SystemTimer, Timer};
use crate::{history, schema};

/// The name that a catalog has in its `catalog_name` column unless it is given another.
const DEFAULT_NAME: &str = "icecore";

/// What to open.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CatalogOptions {
    /// Where the pointers to tables are: `sqlite:PATH`.
    pub uri: String,
    /// The `catalog_name` column: several catalogs may share a file.
    pub name: String,
    /// Where new tables are put: a directory or a `file://` URL.
    pub warehouse: String,
    /// Where times of commits come from.
    pub clock: Arc<dyn Clock>,
    /// Where ids of tables, snapshots and files come from.
    pub ids: Arc<dyn Ids>,
    /// What writers that collided wait with.
    pub timer: Arc<dyn Timer>,
}

impl CatalogOptions {
    /// A catalog named `icecore` on the machine's clock.
    pub fn new(uri: impl Into<String>, warehouse: impl Into<String>) -> Self {
        Self {
            uri: uri.into(),
            name: DEFAULT_NAME.to_owned(),
            warehouse: warehouse.into(),
            clock: Arc::new(SystemClock),
            ids: Arc::new(RandomIds),
            timer: Arc::new(SystemTimer),
        }
    }

    /// Takes the `catalog_name` column to be this.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Takes times of commits from this clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Takes ids from this source.
    #[must_use]
    pub fn with_ids(mut self, ids: Arc<dyn Ids>) -> Self {
        self.ids = ids;
        self
    }

    /// Waits with this between the tries of a commit.
    #[must_use]
    pub fn with_timer(mut self, timer: Arc<dyn Timer>) -> Self {
        self.timer = timer;
        self
    }
}

/// What a table is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TableDescription {
    /// Its name.
    pub name: TableName,
    /// Its uuid, hyphenated.
    pub uuid: String,
    /// Where its files are.
    pub location: String,
    /// Where its current metadata is.
    pub metadata_location: String,
    /// Iceberg's format version.
    pub format_version: u8,
    /// Its columns.
    pub schema: SchemaRef,
    /// What it is partitioned by, such as `day(event_timestamp)`.
    pub partition_by: Vec<String>,
    /// What rows of a file are sorted by.
    pub sort_by: Vec<String>,
    /// Its properties.
    pub properties: BTreeMap<String, String>,
    /// The head of `main`, absent before the first commit.
    pub head: Option<SnapshotId>,
}

/// Iceberg tables, found through an SQL catalog that PyIceberg opens too.
///
/// Cheap to clone; clones share connections and caches.
#[derive(Clone)]
pub struct IcebergCatalog {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    tables: Tables,
    name: String,
    warehouse: Warehouse,
    store: Arc<dyn ObjectStore>,
}

impl fmt::Debug for IcebergCatalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IcebergCatalog")
            .field("name", &self.shared.name)
            .field("warehouse", &self.shared.warehouse.url())
            .finish_non_exhaustive()
    }
}

impl IcebergCatalog {
    /// Opens a catalog, creating its file, its SQL tables and the warehouse where they are not
    /// there.
    ///
    /// # Errors
    ///
    /// `Unsupported` for a kind of catalog or warehouse that icecore does not open, `Unavailable`
    /// if the file or the directory cannot be opened.
    pub async fn open(options: CatalogOptions) -> Result<Self> {
        let warehouse = Warehouse::open(&options.warehouse).await?;
        let pointers = SqlitePointers::open(&options.uri, &options.name).await?;
        let tables = Tables::new(Arc::new(pointers), storage::file_io(), options.clock)
            .with_ids(options.ids)
            .with_timer(options.timer);
        Ok(Self::of(tables, options.name, warehouse))
    }

    fn of(tables: Tables, name: String, warehouse: Warehouse) -> Self {
        let store = storage::object_store();
        Self { shared: Arc::new(Shared { tables, name, warehouse, store }) }
    }

    pub(crate) fn tables_now(&self) -> &Tables {
        &self.shared.tables
    }

    /// Says what a table is.
    ///
    /// # Errors
    ///
    /// `NotFound` for an unknown table.
    pub async fn describe(&self, table: &TableName) -> Result<TableDescription> {
        let head = self.tables_now().load(table).await?;
        let metadata = head.metadata();
        let columns = metadata.current_schema();
        Ok(TableDescription {
            name: table.clone(),
            uuid: metadata.uuid().to_string(),
            location: metadata.location().to_owned(),
            metadata_location: location_of(&head)?.to_owned(),
            format_version: metadata.format_version() as u8,
            schema: schema::to_arrow(columns)?,
            partition_by: schema::describe_partition(columns, metadata.default_partition_spec()),
            sort_by: schema::describe_sort(columns, metadata.default_sort_order()),
            properties: metadata.properties().clone().into_iter().collect(),
            head: metadata.current_snapshot_id().map(SnapshotId::new),
        })
    }

    /// The tags and branches of a table, in order of name.
    ///
    /// # Errors
    ///
    /// `NotFound` for an unknown table.
    pub async fn refs(&self, table: &TableName) -> Result<Vec<RefInfo>> {
        refs::all(self.tables_now().load(table).await?.metadata())
    }

    /// Names a pinned state. A tag keeps its snapshot from being expired, and is mirrored in the
    /// table properties `training-dataset.TAG.snapshot_id`, `.created_at` and `.row_count`.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if the name is taken by a branch, or by a tag of another snapshot that may
    /// not move; `NotFound` if the pinned snapshot is gone.
    pub async fn tag(&self, pinned: &PinnedTable, name: &RefName, moving: TagMove) -> Result<()> {
        self.check_pin(pinned).await?;
        let tag = NewTag { pinned, name, moving, now: self.tables_now().clock().now() };
        self.edit(&pinned.table, |head| tag.plan(head)).await?;
        tracing::info!(table = %pinned.table, snapshot = %pinned.snapshot, tag = %name, "tagged");
        Ok(())
    }

    /// Begins a branch at a pinned state.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if the name is taken; `NotFound` if the pinned snapshot is gone.
    pub async fn branch(&self, pinned: &PinnedTable, name: &RefName) -> Result<()> {
        self.check_pin(pinned).await?;
        self.edit(&pinned.table, |head| refs::plan_branch(head, pinned, name)).await?;
        Ok(())
    }

    /// Drops a tag or branch. The snapshot stays until it is expired.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is none of that name; `InvalidInput` for `main`.
    pub async fn drop_ref(&self, table: &TableName, name: &RefName) -> Result<()> {
        self.edit(table, |head| refs::plan_drop(head, table, name)).await?;
        Ok(())
    }

    /// Points `main` at another snapshot. Nothing is lost: what `main` pointed at stays in the
    /// history, and going there again is another rollback.
    ///
    /// # Errors
    ///
    /// `NotFound` for an unknown snapshot; `InvalidInput` if `main` does not descend from it,
    /// unless forced.
    pub async fn rollback(
        &self,
        table: &TableName,
        to: SnapshotId,
        policy: RollbackPolicy,
    ) -> Result<PinnedTable> {
        let pinned = self.pin(table, &SnapshotSelector::Id(to)).await?;
        self.edit(table, |head| refs::plan_rollback(head, table, to, policy)).await?;
        tracing::info!(table = %table, snapshot = %to, "rolled back");
        Ok(pinned)
    }

    /// Sets and removes table properties in one step.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a property that Iceberg keeps to itself.
    pub async fn set_properties(
        &self,
        table: &TableName,
        set: BTreeMap<String, String>,
        remove: Vec<String>,
    ) -> Result<()> {
        create::check_properties(set.keys().chain(&remove))?;
        self.edit(table, |head| {
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
            Ok(Plan::Apply {
                requirements: vec![TableRequirement::UuidMatch { uuid: metadata.uuid() }],
                updates: vec![
                    TableUpdate::SetProperties { updates },
                    TableUpdate::RemoveProperties { removals },
                ],
            })
        })
        .await?;
        Ok(())
    }

    /// Forgets a table. Its files stay where they are.
    ///
    /// # Errors
    ///
    /// `NotFound` for an unknown table.
    pub async fn drop_table(&self, table: &TableName) -> Result<()> {
        // Loading first gives an unknown name its error.
        self.tables_now().load(table).await?;
        self.tables_now().pointers().remove(table).await?;
        tracing::info!(table = %table, "dropped");
        Ok(())
    }

    /// Adds the columns that are new, as optional ones, and widens those that have to hold more
    /// (int to long, float to double). Returns the names of the new columns.
    ///
    /// # Errors
    ///
    /// `InvalidInput` naming the column whose type cannot become the wanted one.
    pub async fn evolve(&self, table: &TableName, schema: &SchemaRef) -> Result<Vec<String>> {
        let before = self.tables_now().load(table).await?;
        let outcome = self
            .edit(table, |head| {
                let metadata = head.metadata();
                let current = metadata.current_schema();
                match schema::evolution(current, schema, metadata.last_column_id())? {
                    None => Ok(Plan::Nothing),
                    Some(next) => Ok(Plan::Apply {
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
                    }),
                }
            })
            .await?;
        let old = before.metadata().current_schema();
        let new = outcome.metadata().current_schema().as_struct().fields();
        let added = new.iter().filter(|field| old.field_by_name(&field.name).is_none());
        Ok(added.map(|field| field.name.clone()).collect())
    }

    /// The files that a pinned table is made of, without those that cannot hold a row that passes.
    ///
    /// # Errors
    ///
    /// `NotFound` if the pin's snapshot is gone or the filter names an unknown column.
    pub async fn plan_files(
        &self,
        pinned: &PinnedTable,
        filter: Option<&Predicate>,
    ) -> Result<FilePlan> {
        let table = self.tables_now().load(&pinned.table).await?;
        let snapshot = history::pinned(pinned, &table).await?.map(|found| found.snapshot_id());
        scan::plan_files(&table, snapshot, filter).await
    }

    /// What a table knows about itself, as rows.
    ///
    /// # Errors
    ///
    /// `NotFound` for an unknown table.
    pub async fn metadata_table(
        &self,
        table: &TableName,
        which: MetadataTable,
    ) -> Result<RecordBatch> {
        metadata_table::read(&self.tables_now().load(table).await?, which).await
    }

    /// What became of a commit whose outcome was unknown: what it did, or `None` if no table has
    /// it (now; a writer that still runs may store it later).
    ///
    /// # Errors
    ///
    /// `Unavailable` if the catalog cannot be read.
    pub async fn find_attempt(&self, attempt: &str) -> Result<Option<Committed>> {
        for name in self.tables_now().pointers().list().await? {
            let Some(table) = self.tables_now().find(&name).await? else { continue };
            if let Some(snapshot) = commit::made_by(table.metadata(), attempt) {
                return Ok(Some(commits::committed(&name, &table, snapshot, true)));
            }
        }
        Ok(None)
    }

    /// The files of tables: the keys are the [`PlannedFile::path`](crate::PlannedFile::path)s.
    #[must_use]
    pub fn object_store(&self) -> Arc<dyn ObjectStore> {
        self.shared.store.clone()
    }

    /// Where new tables are put: a URL without a slash at the end.
    #[must_use]
    pub fn warehouse(&self) -> &str {
        self.shared.warehouse.url()
    }

    /// Commits a change that writes no files, and returns the table after it.
    async fn edit<F>(&self, table: &TableName, plan: F) -> Result<Table>
    where
        F: Fn(&Table) -> Result<Plan> + Send + Sync,
    {
        commit::commit(self.tables_now(), table, &Edit(plan)).await.map(commit::Outcome::into_table)
    }

    async fn check_pin(&self, pinned: &PinnedTable) -> Result<(), Error> {
        let table = self.tables_now().load(&pinned.table).await?;
        history::pinned(pinned, &table).await.map(|_| ())
    }
}

#[cfg(test)]
pub(crate) mod tests;
