//! From names in a query to pinned tables.

mod opaque;
mod scope;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use datafusion::catalog::view::ViewTable;
use datafusion::catalog::{MemTable, MemorySchemaProvider, TableProvider};
use datafusion::execution::SessionStateDefaults;
use datafusion::execution::session_state::SessionState;
use icecore_catalog::{IcebergCatalog, MetadataTable};
use icecore_core::{
    Error, ErrorKind, PinnedTable, Result, SnapshotCatalog, SnapshotSelector, TableName,
};
use tokio::sync::{Mutex, OnceCell};

use crate::error::OrOurs as _;
use crate::provider::PinnedProvider;
use crate::session::{CATALOG, NO_NAMESPACE};
use crate::view::{self, View};
use crate::{query, session};

pub(crate) use opaque::OpaqueView;
pub use scope::Scope;

/// A first part of a name that means the catalog itself, as in `production.events.payments`.
const ALIASES: [&str; 2] = [CATALOG, "production"];
/// The most views that read one another in a row.
const VIEWS_MAX: usize = 32;

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
    /// What sessions begin with, to plan views in.
    base: Arc<SessionState>,
    scope: Arc<Scope>,
    pins: Arc<Mutex<HashMap<TableName, PinnedTable>>>,
    /// The views that the catalog keeps.
    views: Arc<OnceCell<BTreeMap<TableName, View>>>,
    /// The views that are being planned, the outermost first.
    within: Vec<TableName>,
    /// Tables that the session was given under a name without a namespace.
    pub(crate) local: MemorySchemaProvider,
}

impl Resolver {
    pub(crate) fn new(catalog: IcebergCatalog, base: Arc<SessionState>, scope: Scope) -> Self {
        let pins = scope.pins.iter().map(|pin| (pin.table.clone(), pin.clone())).collect();
        Self {
            catalog,
            base,
            scope: Arc::new(scope),
            pins: Arc::new(Mutex::new(pins)),
            views: Arc::default(),
            within: Vec::new(),
            local: MemorySchemaProvider::new(),
        }
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
            Named::Table(name) => Some(self.table(name).await?),
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

    /// A table, or what stands for one.
    async fn table(&self, name: TableName) -> Result<Arc<dyn TableProvider>> {
        if let Some(rows) = self.scope.rows.get(&name) {
            let rows = vec![vec![rows.clone()]];
            let schema = rows.iter().flatten().next().map(arrow::array::RecordBatch::schema);
            let schema = schema.unwrap_or_else(|| Arc::new(arrow::datatypes::Schema::empty()));
            return Ok(Arc::new(MemTable::try_new(schema, rows).or_ours()?));
        }
        if let Some(sql) = self.view(&name).await? {
            return self.view_table(name, &sql).await;
        }
        let pin = self.pin(&name, &SnapshotSelector::Latest).await?;
        Ok(Arc::new(PinnedProvider::open(self.catalog.clone(), pin).await?))
    }

    /// The query of the view of this name: the scope's own, or one that the catalog keeps.
    pub(crate) async fn view(&self, name: &TableName) -> Result<Option<String>> {
        if let Some(sql) = self.scope.views.get(name) {
            return Ok(Some(sql.clone()));
        }
        // What is pinned is a table, and so is where views are kept.
        if view::is_views_table(name) || self.pins.lock().await.contains_key(name) {
            return Ok(None);
        }
        Ok(self.kept().await?.get(name).map(|view| view.sql.clone()))
    }

    /// The views that the catalog keeps.
    async fn kept(&self) -> Result<&BTreeMap<TableName, View>> {
        self.views.get_or_try_init(|| self.read_views()).await
    }

    /// Reads the views of the pinned state of their table, which is the latest one unless somebody
    /// pinned another.
    async fn read_views(&self) -> Result<BTreeMap<TableName, View>> {
        let table = view::table()?;
        let mut pins = self.pins.lock().await;
        let pinned = pins.get(&table).cloned();
        let pin = match pinned {
            Some(pin) => pin,
            None => match self.catalog.pin(&table, &SnapshotSelector::Latest).await {
                Ok(pin) => pin,
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
                Err(error) => return Err(error),
            },
        };
        pins.insert(table, pin.clone());
        drop(pins);
        view::of_state(&self.catalog, &pin).await
    }

    /// Whether rows or a query of the scope stand for this name.
    pub(crate) fn has_rows(&self, name: &TableName) -> bool {
        self.scope.rows.contains_key(name)
    }

    /// Whether the scope has a view of this name.
    pub(crate) fn has_view(&self, name: &TableName) -> bool {
        self.scope.views.contains_key(name)
    }

    async fn view_table(&self, name: TableName, sql: &str) -> Result<Arc<dyn TableProvider>> {
        if self.within.contains(&name) {
            let path: Vec<&str> = self.within.iter().map(TableName::as_str).collect();
            return Err(Error::invalid(format!("view `{name}` reads itself"))
                .with_note(format!("by way of: {} -> {name}", path.join(" -> "))));
        }
        if self.within.len() >= VIEWS_MAX {
            return Err(Error::new(
                ErrorKind::LimitExceeded,
                format!("`{name}` is read by way of {VIEWS_MAX} views, one by the other"),
            )
            .with_help(
                "store what one of them answers in a table, as a model does, and read that",
            ));
        }
        let in_view = |error: Error| error.with_note(format!("in view `{name}`"));
        let mut within = self.within.clone();
        within.push(name.clone());
        let inner = Self {
            catalog: self.catalog.clone(),
            base: Arc::clone(&self.base),
            scope: Arc::clone(&self.scope),
            pins: Arc::clone(&self.pins),
            views: Arc::clone(&self.views),
            within,
            local: MemorySchemaProvider::new(),
        };
        let session = session::context(&self.base, inner);
        let statement = query::parse(sql).map_err(in_view)?;
        let frame = query::plan(&session, statement).await.map_err(in_view)?;
        let plan = frame.into_unoptimized_plan();
        if self.scope.is_opaque {
            return Ok(Arc::new(OpaqueView::new(name, plan.schema().inner())));
        }
        Ok(Arc::new(ViewTable::new(plan, Some(sql.to_owned()))))
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
                // It looks for the views, whose table is pinned for that.
                drop(pins);
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
        let Ok(mut tables) = self.catalog.tables().await else { return error };
        if tables.iter().any(|table| table.as_str() == name) {
            // The table is there, its snapshot is not.
            return error;
        }
        if let Ok(kept) = self.kept().await {
            tables.extend(kept.keys().chain(self.scope.views.keys()).cloned());
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
