//! Tables as they are now: loading them, and swapping in their next metadata.

mod backend;
mod cache;
mod commit;
mod metadata;
mod numbered;
mod tidy;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use iceberg::io::FileIO;
use iceberg::spec::TableMetadata;
use iceberg::table::Table;
use iceberg::{NamespaceIdent, TableIdent};
use icecore_core::{Clock, Error, Result, TableName};

use crate::error::Context;
use crate::ids::{Ids, RandomIds};
#[cfg(test)]
use crate::pointer::PointerStore;
use crate::storage::Files;
use crate::timer::{SystemTimer, Timer};
pub(crate) use backend::{Backend, Created, Hidden};
use cache::TableCache;
pub(crate) use commit::{Collided, Open, Planned, Stored};
use metadata::NextMetadata;

/// Manifests that stay in memory, in bytes per table.
const MANIFEST_CACHE_BYTES: u64 = 16 << 20;

/// Every table of a catalog.
#[derive(Debug)]
pub(crate) struct Tables {
    backend: Backend,
    files: Files,
    io: FileIO,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    timer: Arc<dyn Timer>,
    cache: TableCache,
    turns: Mutex<HashMap<TableName, Turn>>,
}

/// Held by the one of this process's writers that commits to a table.
pub(crate) type Turn = Arc<tokio::sync::Mutex<()>>;

impl Tables {
    pub(crate) fn new(backend: Backend, files: Files, clock: Arc<dyn Clock>) -> Self {
        Self {
            backend,
            io: files.io(),
            files,
            clock,
            ids: Arc::new(RandomIds),
            timer: Arc::new(SystemTimer),
            cache: TableCache::default(),
            turns: Mutex::default(),
        }
    }

    /// Takes ids from elsewhere.
    pub(crate) fn with_ids(mut self, ids: Arc<dyn Ids>) -> Self {
        self.ids = ids;
        self
    }

    /// Waits with something else than the machine's clock.
    pub(crate) fn with_timer(mut self, timer: Arc<dyn Timer>) -> Self {
        self.timer = timer;
        self
    }

    pub(crate) fn timer(&self) -> &dyn Timer {
        &*self.timer
    }

    /// How many states of a table stay loaded.
    #[cfg(test)]
    pub(crate) fn states_of(&self, table: &Table) -> usize {
        self.cache.states_of(table)
    }

    #[cfg(test)]
    pub(crate) fn pointers(&self) -> &dyn PointerStore {
        match &self.backend {
            Backend::Pointers(pointers) => &**pointers,
            Backend::Rest(_) => unreachable!("a REST catalog has no pointers"),
        }
    }

    /// What reads and writes files.
    pub(crate) fn files(&self) -> &Files {
        &self.files
    }

    /// The files of the warehouse and of tables that were opened.
    pub(crate) fn io(&self) -> &FileIO {
        &self.io
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    pub(crate) fn ids(&self) -> &Arc<dyn Ids> {
        &self.ids
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

    /// The error for a table that does not exist, which names what is near.
    pub(crate) async fn unknown(&self, name: &TableName) -> Error {
        let error = Error::not_found(format!("there is no table `{name}`"));
        match self.list().await {
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

    /// The table that a swap made current.
    fn adopt(&self, next: NextMetadata) -> Table {
        self.cache.insert(&next.location, &next.table);
        next.table
    }

    fn build(&self, name: &TableName, metadata: TableMetadata, location: &str) -> Result<Table> {
        let cannot = || format!("cannot open table `{name}`");
        let namespace = NamespaceIdent::from_strs(name.namespace().split('.')).context(cannot)?;
        Table::builder()
            .identifier(TableIdent::new(namespace, name.table().to_owned()))
            .file_io(self.files.io_of(&metadata, location)?)
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
