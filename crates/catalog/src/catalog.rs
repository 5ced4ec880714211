//! The catalog of tables, and the trait that readers and writers use it through.

mod alter;
mod branches;
mod changes;
mod checks;
mod commits;
mod create;
mod edits;
mod foreign;
mod open;
mod options;
mod reading;
mod rowlevel;
mod snapshots;
mod statistics;
mod transaction;
mod upkeep;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use icecore_core::{Committed, Error, PinnedTable, Result, SnapshotId, TableName};
use object_store::ObjectStore;

pub use alter::{AlterOptions, Altered};
pub use create::TableDesign;
pub use edits::TableLayout;
pub use options::{CatalogAccess, CatalogOptions, CatalogParts};
pub use statistics::StatisticsBlob;

use crate::commit;
use crate::storage::Warehouse;
use crate::tables::{Tables, location_of};
use crate::{history, schema};

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
    /// Paths of the columns that tell a row from every other one.
    pub identifier: Vec<String>,
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
            identifier: schema::describe_identifier(columns),
            properties: metadata.properties().clone().into_iter().collect(),
            head: metadata.current_snapshot_id().map(SnapshotId::new),
        })
    }

    /// Forgets a table, and says where the metadata of its last state is. Its files stay where they
    /// are: [`register_table`](Self::register_table) brings it back.
    ///
    /// # Errors
    ///
    /// `NotFound` for an unknown table; `Conflict` if others commit to it without a pause.
    pub async fn drop_table(&self, table: &TableName) -> Result<String> {
        let Some(location) = self.tables_now().remove(table).await? else {
            return Err(self.tables_now().unknown(table).await);
        };
        tracing::info!(table = %table, location, "dropped");
        Ok(location)
    }

    /// Forgets a table if its last state is still this one, and says whether it was.
    ///
    /// # Errors
    ///
    /// Those of the catalog. A catalog behind a protocol that has no such condition forgets it anyway.
    pub async fn drop_table_at(&self, table: &TableName, metadata_location: &str) -> Result<bool> {
        let is_dropped = self.tables_now().remove_at(table, metadata_location).await?;
        tracing::info!(table = %table, is_dropped, "dropped where nothing happened");
        Ok(is_dropped)
    }

    /// Gives a table another name, in one step. Its files, snapshots and id stay what they are;
    /// whatever names it, such as definitions, has to be told.
    ///
    /// # Errors
    ///
    /// `NotFound` for an unknown table; `AlreadyExists` if the new name is taken; `Conflict` if
    /// others commit to the table without a pause; `OutcomeUnknown` if nobody knows.
    pub async fn rename_table(&self, table: &TableName, to: &TableName) -> Result<()> {
        self.tables_now().rename(table, to).await?;
        tracing::info!(%table, %to, "renamed");
        Ok(())
    }

    /// Enters a table whose metadata file exists: one of another catalog, or one that was dropped.
    /// Two catalogs must not both write to it.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if the name is taken; those of reading the file.
    pub async fn register_table(&self, table: &TableName, metadata_location: &str) -> Result<()> {
        self.tables_now().register(table, metadata_location).await?;
        tracing::info!(%table, metadata_location, "registered");
        Ok(())
    }

    /// What became of a commit whose outcome was unknown: what it did, or `None` if no table has
    /// it (now; a writer that still runs may store it later).
    ///
    /// # Errors
    ///
    /// `InvalidInput` for what is no id of an attempt; `Unavailable` if the catalog cannot be read.
    pub async fn find_attempt(&self, attempt: &str) -> Result<Option<Committed>> {
        if uuid::Uuid::parse_str(attempt).is_err() {
            return Err(Error::invalid(format!("`{attempt}` is no id of an attempt"))
                .with_help("copy it whole from the message: it has 36 characters"));
        }
        for name in self.tables_now().list().await? {
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

    /// Looks whether the place of new tables can be reached, and says where it is.
    ///
    /// # Errors
    ///
    /// `Unavailable` or `Denied` if it cannot.
    pub async fn check_warehouse(&self) -> Result<String> {
        use crate::error::Context;
        let place = self.warehouse();
        if !self.shared.warehouse.is_place() {
            return Ok("where the catalog's server says".to_owned());
        }
        let looked = self.tables_now().io().exists(place).await;
        looked.context(|| format!("cannot reach the warehouse at `{place}`"))?;
        Ok(place.to_owned())
    }

    async fn check_pin(&self, pinned: &PinnedTable) -> Result<(), Error> {
        let table = self.tables_now().load(&pinned.table).await?;
        history::pinned(pinned, &table).await.map(|_| ())
    }
}

pub use transaction::Transaction;

#[cfg(test)]
pub(crate) mod tests;
