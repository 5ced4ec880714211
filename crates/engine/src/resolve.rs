//! From names in a query to pinned tables.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::catalog::{MemTable, MemorySchemaProvider, TableProvider};
use datafusion::execution::SessionStateDefaults;
use icecore_catalog::{IcebergCatalog, MetadataTable};
use icecore_core::{
    Error, ErrorKind, PinnedTable, Result, SnapshotCatalog, SnapshotSelector, TableName,
};
use tokio::sync::Mutex;

use crate::error::OrOurs as _;
use crate::provider::PinnedProvider;
use crate::session::{CATALOG, NO_NAMESPACE};

/// A first part of a name that means the catalog itself, as in `production.events.payments`.
const ALIASES: [&str; 2] = [CATALOG, "production"];

/// What a name in a query means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Named {
    Table(TableName),
    Metadata(TableName, MetadataTable),
    /// `range(…)` and the like.
    Function,
}

/// Finds tables by name. What it found once stays: a session sees one state of each table.
#[derive(Debug)]
pub(crate) struct Resolver {
    catalog: IcebergCatalog,
    pins: Mutex<HashMap<TableName, PinnedTable>>,
    /// Tables that the session was given under a name without a namespace.
    pub(crate) local: MemorySchemaProvider,
}

impl Resolver {
    pub(crate) fn new(catalog: IcebergCatalog, pins: &[PinnedTable]) -> Self {
        let pins = pins.iter().map(|pin| (pin.table.clone(), pin.clone())).collect();
        Self { catalog, pins: Mutex::new(pins), local: MemorySchemaProvider::new() }
    }

    /// The provider of the table that a name means.
    pub(crate) async fn provider(
        &self,
        catalog: &str,
        namespace: &str,
        table: &str,
    ) -> Result<Option<Arc<dyn TableProvider>>> {
        Ok(match self.named(catalog, namespace, table).await? {
            Named::Function => None,
            Named::Table(name) => {
                let pin = self.pin(&name, &SnapshotSelector::Latest).await?;
                Some(Arc::new(PinnedProvider::open(self.catalog.clone(), pin).await?))
            }
            Named::Metadata(name, which) => {
                let batch = if which.is_of_snapshot() {
                    let pin = self.pin(&name, &SnapshotSelector::Latest).await?;
                    self.catalog.metadata_table_at(&pin, which).await?
                } else {
                    self.catalog.metadata_table(&name, which).await?
                };
                let table = MemTable::try_new(batch.schema(), vec![vec![batch]]).or_ours()?;
                Some(Arc::new(table))
            }
        })
    }

    /// Pins a table, if it is not pinned yet.
    pub(crate) async fn pin(
        &self,
        name: &TableName,
        selector: &SnapshotSelector,
    ) -> Result<PinnedTable> {
        let mut pins = self.pins.lock().await;
        if let Some(pin) = pins.get(name) {
            return Ok(pin.clone());
        }
        let pin = match self.catalog.pin(name, selector).await {
            Ok(pin) => pin,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(self.unknown(name.as_str(), error).await);
            }
            Err(error) => return Err(error),
        };
        pins.insert(name.clone(), pin.clone());
        Ok(pin)
    }

    /// Pins tables at one moment, as far as they are not pinned yet: a query that joins them sees
    /// no commit to one of them without an earlier one to another.
    pub(crate) async fn pin_all(
        &self,
        wanted: &[(TableName, SnapshotSelector)],
    ) -> Result<Vec<PinnedTable>> {
        let mut pins = self.pins.lock().await;
        let new: Vec<(TableName, SnapshotSelector)> =
            wanted.iter().filter(|(name, _)| !pins.contains_key(name)).cloned().collect();
        if new.len() > 1 {
            match self.catalog.pin_all(&new).await {
                Ok(found) => pins.extend(found.into_iter().map(|pin| (pin.table.clone(), pin))),
                // Asked for one by one, they tell which of them is not there.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        drop(pins);
        let mut all = Vec::with_capacity(wanted.len());
        for (name, selector) in wanted {
            all.push(self.pin(name, selector).await?);
        }
        Ok(all)
    }

    /// What a name means.
    pub(crate) async fn named(&self, catalog: &str, namespace: &str, table: &str) -> Result<Named> {
        if catalog == CATALOG && namespace == NO_NAMESPACE {
            let functions = SessionStateDefaults::default_table_functions();
            if functions.iter().any(|function| function.name() == table) {
                return Ok(Named::Function);
            }
            return Err(self.bare(table).await);
        }
        let (base, which) = match table.rsplit_once('$') {
            Some((base, which)) => (base, Some(MetadataTable::parse(which)?)),
            None => (table, None),
        };
        let short = format!("{namespace}.{base}");
        let name = if catalog == CATALOG {
            TableName::parse(&short)?
        } else {
            self.long_name(catalog, &short).await?
        };
        Ok(match which {
            Some(which) => Named::Metadata(name, which),
            None => Named::Table(name),
        })
    }

    /// A name of three parts: a namespace of two, or an alias of the catalog before a namespace.
    async fn long_name(&self, catalog: &str, short: &str) -> Result<TableName> {
        let long = TableName::parse(&format!("{catalog}.{short}"))?;
        if !ALIASES.contains(&catalog) {
            return Ok(long);
        }
        let is_pinned = self.pins.lock().await.contains_key(&long);
        if is_pinned || self.catalog.tables().await?.contains(&long) {
            return Ok(long);
        }
        TableName::parse(short)
    }

    /// The error for a name without a namespace.
    async fn bare(&self, table: &str) -> Error {
        let error = Error::not_found(format!("there is no table `{table}`"));
        let looks_like_file = [".parquet", ".csv", ".json", ".jsonl", "/", "\\", "://"]
            .iter()
            .any(|part| table.contains(part));
        if looks_like_file {
            return error
                .with_note("a query reads tables, not files")
                .with_help("bring the file into a table with `icecore ingest`");
        }
        let Ok(tables) = self.catalog.tables().await else { return error };
        let same: Vec<&TableName> = tables.iter().filter(|name| name.table() == table).collect();
        match same.as_slice() {
            [only] => error.with_help(format!("did you mean `{only}`?")),
            [] => {
                let error = error.with_note("tables are named `namespace.table`");
                let near = icecore_core::nearest(table, tables.iter().map(TableName::table));
                match tables.iter().find(|name| Some(name.table()) == near) {
                    Some(near) => error.with_help(format!("did you mean `{near}`?")),
                    None => error.with_note(listed(&tables)),
                }
            }
            several => {
                let names: Vec<&str> = several.iter().map(|name| name.as_str()).collect();
                error.with_help(format!("write one of: {}", names.join(", ")))
            }
        }
    }

    /// Adds what exists to the error for an unknown table.
    async fn unknown(&self, name: &str, error: Error) -> Error {
        let Ok(tables) = self.catalog.tables().await else { return error };
        if tables.iter().any(|table| table.as_str() == name) {
            // The table is there, its snapshot is not.
            return error;
        }
        let error = Error::not_found(format!("there is no table `{name}`"))
            .with_note(listed(&tables))
            .with_source(error);
        if let Some(table) = tables.iter().find(|table| table.as_str().eq_ignore_ascii_case(name)) {
            return error.with_help(format!(
                "names are made lowercase unless they are in double quotes; write \"{}\".\"{}\"",
                table.namespace(),
                table.table()
            ));
        }
        error.with_candidates(name, tables.iter().map(TableName::as_str))
    }
}

/// What there is, in one line.
fn listed(tables: &[TableName]) -> String {
    const SHOWN: usize = 20;
    if tables.is_empty() {
        return "there are no tables yet".to_owned();
    }
    let names: Vec<&str> = tables.iter().take(SHOWN).map(TableName::as_str).collect();
    let more = tables.len().saturating_sub(SHOWN);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("tables: {}{rest}", names.join(", "))
}
