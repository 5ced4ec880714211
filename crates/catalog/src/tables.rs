//! Tables as they are now: loading them, and swapping in their next metadata.

mod cache;

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use iceberg::io::FileIO;
use iceberg::spec::{MAIN_BRANCH, TableMetadata};
use iceberg::table::Table;
use iceberg::{MetadataLocation, NamespaceIdent, TableIdent, TableRequirement, TableUpdate};
use icecore_core::{Clock, Error, Result, TableName};
use serde_json::Value;

use crate::error::Context;
use crate::pointer::{PointerStore, Swap};
use cache::TableCache;

/// Manifests that stay in memory, in bytes per table.
const MANIFEST_CACHE_BYTES: u64 = 16 << 20;

/// Every table of a catalog.
#[derive(Debug)]
pub(crate) struct Tables {
    pointers: Arc<dyn PointerStore>,
    io: FileIO,
    clock: Arc<dyn Clock>,
    cache: TableCache,
    turns: Mutex<HashMap<TableName, Turn>>,
}

/// Held by the one of this process's writers that commits to a table.
pub(crate) type Turn = Arc<tokio::sync::Mutex<()>>;

/// A table's next metadata, written but not pointed at.
#[derive(Debug)]
pub(crate) struct NextMetadata {
    pub(crate) location: String,
    /// The table as it will be. It is made before the swap, after which nothing may fail.
    table: Table,
}

impl Tables {
    pub(crate) fn new(pointers: Arc<dyn PointerStore>, io: FileIO, clock: Arc<dyn Clock>) -> Self {
        Self { pointers, io, clock, cache: TableCache::default(), turns: Mutex::default() }
    }

    pub(crate) fn pointers(&self) -> &dyn PointerStore {
        &*self.pointers
    }

    pub(crate) fn io(&self) -> &FileIO {
        &self.io
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// What writers to a table take turns by.
    pub(crate) fn turn(&self, name: &TableName) -> Turn {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.entry(name.clone()).or_default().clone()
    }

    /// The table as it is now. Costs one look at the pointer where the metadata is known already.
    ///
    /// # Errors
    ///
    /// `NotFound` naming what is near for a table that does not exist.
    pub(crate) async fn load(&self, name: &TableName) -> Result<Table> {
        match self.find(name).await? {
            Some(table) => Ok(table),
            None => Err(self.unknown(name).await),
        }
    }

    /// The table as it is now, or `None` where there is none.
    pub(crate) async fn find(&self, name: &TableName) -> Result<Option<Table>> {
        let Some(location) = self.pointers.find(name).await? else { return Ok(None) };
        if let Some(table) = self.cache.get(&location) {
            return Ok(Some(table));
        }
        let metadata = read_metadata(&self.io, &location).await?;
        let table = self.build(name, metadata, &location)?;
        self.cache.insert(&location, &table);
        Ok(Some(table))
    }

    async fn unknown(&self, name: &TableName) -> Error {
        let error = Error::not_found(format!("there is no table `{name}`"));
        match self.pointers.list().await {
            Ok(tables) if tables.is_empty() => error.with_note("the catalog has no tables"),
            Ok(tables) => {
                let near =
                    icecore_core::nearest(name.as_str(), tables.iter().map(TableName::as_str));
                let same: Vec<&str> = tables
                    .iter()
                    .filter(|table| table.table() == name.table())
                    .map(TableName::as_str)
                    .collect();
                match (near, same.as_slice()) {
                    (Some(near), _) => error.with_help(format!("did you mean `{near}`?")),
                    (None, [same]) => error.with_help(format!("did you mean `{same}`?")),
                    _ => error.with_help("`icecore table list` shows the tables"),
                }
            }
            Err(_) => error,
        }
    }

    /// Writes the metadata that a new table begins with.
    pub(crate) async fn write_first(
        &self,
        name: &TableName,
        metadata: TableMetadata,
    ) -> Result<NextMetadata> {
        let location = MetadataLocation::new_with_metadata(metadata.location(), &metadata);
        let now = self.clock.now().millis();
        self.write(name, &location, stamped(&metadata, now, false)?).await
    }

    /// Checks the requirements against a state of a table, applies the updates to it and writes
    /// the metadata that results. Nothing points at it yet.
    ///
    /// # Errors
    ///
    /// `Conflict` if the state does not meet a requirement.
    pub(crate) async fn write_next(
        &self,
        name: &TableName,
        head: &Table,
        requirements: &[TableRequirement],
        updates: Vec<TableUpdate>,
    ) -> Result<NextMetadata> {
        for requirement in requirements {
            requirement
                .check(Some(head.metadata()))
                .context(|| format!("table `{name}` is not what the change was made for"))?;
        }
        let adds = updates.iter().any(|update| matches!(update, TableUpdate::AddSnapshot { .. }));
        let moves_main = updates.iter().any(|update| {
            matches!(update, TableUpdate::SetSnapshotRef { ref_name, .. } if ref_name == MAIN_BRANCH)
        });
        let current = location_of(head)?;
        let cannot = || format!("cannot change the metadata of table `{name}`");
        let mut builder = head.metadata().clone().into_builder(Some(current.to_owned()));
        for update in updates {
            builder = update.apply(builder).context(cannot)?;
        }
        let metadata = builder.build().context(cannot)?.metadata;
        let value = if adds {
            let at = metadata.last_updated_ms();
            stamped(&metadata, at, false)?
        } else {
            let at = self.clock.now().millis().max(head.metadata().last_updated_ms());
            stamped(&metadata, at, moves_main)?
        };
        let location = MetadataLocation::from_str(current)
            .context(cannot)?
            .with_next_version()
            .with_new_metadata(&metadata);
        self.write(name, &location, value).await
    }

    /// Points a table at its next metadata if it is still in the state that this was made from.
    pub(crate) async fn swap(&self, name: &TableName, head: &Table, next: &NextMetadata) -> Swap {
        match location_of(head) {
            Ok(from) => self.pointers.swap(name, from, &next.location).await,
            Err(error) => Swap::Failed(error),
        }
    }

    /// The table that a swap made current.
    pub(crate) fn adopt(&self, next: NextMetadata) -> Table {
        self.cache.insert(&next.location, &next.table);
        next.table
    }

    async fn write(
        &self,
        name: &TableName,
        location: &MetadataLocation,
        value: Value,
    ) -> Result<NextMetadata> {
        let path = location.to_string();
        let cannot = || format!("cannot write metadata `{path}`");
        let bytes = serde_json::to_vec(&value).context(cannot)?;
        let metadata: TableMetadata = serde_json::from_value(value)
            .context(|| "cannot understand metadata that icecore made")?;
        let table = self.build(name, metadata, &path)?;
        if path.ends_with(".gz.metadata.json") {
            table.metadata().write_to(&self.io, location).await.context(cannot)?;
        } else {
            let output = self.io.new_output(&path).context(cannot)?;
            output.write(Bytes::from(bytes)).await.context(cannot)?;
        }
        Ok(NextMetadata { location: path, table })
    }

    fn build(&self, name: &TableName, metadata: TableMetadata, location: &str) -> Result<Table> {
        let cannot = || format!("cannot open table `{name}`");
        let namespace = NamespaceIdent::from_strs(name.namespace().split('.')).context(cannot)?;
        Table::builder()
            .identifier(TableIdent::new(namespace, name.table().to_owned()))
            .file_io(self.io.clone())
            .metadata(metadata)
            .metadata_location(location)
            .cache_size_bytes(MANIFEST_CACHE_BYTES)
            .runtime(iceberg::Runtime::try_current().context(cannot)?)
            .build()
            .context(cannot)
    }
}

/// Where the metadata of a loaded table is.
pub(crate) fn location_of(table: &Table) -> Result<&str> {
    table.metadata_location_result().context(|| "a table has no metadata file")
}

/// Reads a metadata file.
pub(crate) async fn read_metadata(io: &FileIO, location: &str) -> Result<TableMetadata> {
    TableMetadata::read_from(io, location)
        .await
        .context(|| format!("cannot read metadata `{location}`"))
}

/// Metadata as JSON whose times come from our clock, and whose snapshots are in order.
///
/// The builder reads the machine's clock wherever no snapshot was added, and keeps snapshots in a
/// hash map, while other readers list them as they stand in the file.
fn stamped(metadata: &TableMetadata, now_ms: i64, log_too: bool) -> Result<Value> {
    let mut value = serde_json::to_value(metadata).context(|| "cannot write metadata as JSON")?;
    if let Some(fields) = value.as_object_mut() {
        fields.insert("last-updated-ms".to_owned(), now_ms.into());
        if let Some(snapshots) = fields.get_mut("snapshots").and_then(Value::as_array_mut) {
            snapshots.sort_by_key(|snapshot| {
                snapshot.get("sequence-number").and_then(Value::as_i64).unwrap_or(0)
            });
        }
        let log = fields.get_mut("snapshot-log").and_then(Value::as_array_mut);
        if let Some(last) = log.and_then(|log| log.last_mut()).filter(|_| log_too)
            && let Some(entry) = last.as_object_mut()
        {
            entry.insert("timestamp-ms".to_owned(), now_ms.into());
        }
    }
    Ok(value)
}
