//! The engine: one memory pool, one place to spill, any number of sessions.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::dataframe::DataFrame;
use datafusion::execution::TaskContext;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::SessionState;
use datafusion::prelude::SessionContext;
use datafusion::sql::TableReference;
use icecore_catalog::{IcebergCatalog, RowFilter, RowTest};
use icecore_core::{BatchStream, Error, PinnedTable, Result, SnapshotSelector, TableName};

use crate::condition;
use crate::error::OrOurs as _;
use crate::query::{self, Pinning, ViewsTable};
use crate::resolve::{Resolver, Scope};
use crate::{session, stream};

/// The least memory that an engine works in.
const MEMORY_MIN: usize = 16 << 20;
/// How many consumers an error about memory names.
const CONSUMERS_NAMED: NonZeroUsize = NonZeroUsize::new(5).unwrap();

/// What an engine may use.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct EngineOptions {
    /// How many partitions a query runs in; zero means as many as there are cores.
    pub threads: usize,
    /// Bytes that all queries together may hold before they spill, at least 16 MiB.
    pub memory_limit: usize,
    /// Where to spill to; absent means the system's directory of temporary files.
    pub spill_dir: Option<PathBuf>,
    /// Rows per batch.
    pub batch_rows: usize,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self { threads: 0, memory_limit: 4 << 30, spill_dir: None, batch_rows: 8192 }
    }
}

impl EngineOptions {
    /// Runs queries in this many partitions; zero means as many as there are cores.
    #[must_use]
    pub const fn with_threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// Lets all queries together hold this many bytes before they spill.
    #[must_use]
    pub const fn with_memory_limit(mut self, bytes: usize) -> Self {
        self.memory_limit = bytes;
        self
    }

    /// Spills to this directory.
    #[must_use]
    pub fn with_spill_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.spill_dir = Some(directory.into());
        self
    }

    /// Makes batches of this many rows.
    #[must_use]
    pub const fn with_batch_rows(mut self, rows: usize) -> Self {
        self.batch_rows = rows;
        self
    }

    /// The number of partitions, with zero resolved.
    pub(crate) fn partitions(&self) -> usize {
        match self.threads {
            0 => std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
            threads => threads,
        }
    }
}

/// Runs queries over pinned tables. Cheap to clone; clones share memory and caches.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

struct Shared {
    catalog: IcebergCatalog,
    /// What every session begins with: functions, configuration, memory.
    base: Arc<SessionState>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("catalog", &self.shared.catalog).finish_non_exhaustive()
    }
}

impl Engine {
    /// An engine over the tables of a catalog.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if the memory limit is below 16 MiB; `Unavailable` if the directory to spill
    /// to cannot be made.
    pub fn new(catalog: IcebergCatalog, options: EngineOptions) -> Result<Self> {
        let config = session::config(&options);
        let base = Arc::new(session::base_state(config, runtime(&catalog, options)?));
        Ok(Self { shared: Arc::new(Shared { catalog, base }) })
    }

    /// The catalog that the tables are in.
    #[must_use]
    pub fn catalog(&self) -> &IcebergCatalog {
        &self.shared.catalog
    }

    /// The number of partitions that queries run in.
    #[must_use]
    pub fn partitions(&self) -> usize {
        self.shared.base.config().target_partitions()
    }

    /// What plans are executed with outside a session: the engine's memory, spilling and tables.
    #[must_use]
    pub fn task_context(&self) -> Arc<TaskContext> {
        self.shared.base.task_ctx()
    }

    /// Pins every table that a query reads: by `at` where a table is listed there, at its latest
    /// state otherwise. Metadata tables have no pin.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for what is no query, or for a table in `at` that the query does not read;
    /// `NotFound` for an unknown table or snapshot, naming what is near.
    pub async fn pin_query(
        &self,
        sql: &str,
        at: &[(TableName, SnapshotSelector)],
    ) -> Result<Vec<PinnedTable>> {
        self.pin_in(sql, &Scope::default(), at).await
    }

    /// [`pin_query`](Self::pin_query) in a scope: what it pins stays, and what its views read is
    /// pinned too.
    ///
    /// # Errors
    ///
    /// As `pin_query`.
    pub async fn pin_in(
        &self,
        sql: &str,
        scope: &Scope,
        at: &[(TableName, SnapshotSelector)],
    ) -> Result<Vec<PinnedTable>> {
        let pinning = Pinning { at, of_views: ViewsTable::LeftOut, is_strict: true };
        self.pinned(sql, scope, pinning).await
    }

    /// [`pin_query`](Self::pin_query), and with it the table in which views are kept, where the
    /// query reads one of them. With such pins, a view says what it says now, whatever becomes of
    /// it.
    ///
    /// # Errors
    ///
    /// As `pin_query`.
    pub async fn pin_query_with_views(
        &self,
        sql: &str,
        at: &[(TableName, SnapshotSelector)],
    ) -> Result<Vec<PinnedTable>> {
        let pinning = Pinning { at, of_views: ViewsTable::Read, is_strict: true };
        self.pinned(sql, &Scope::default(), pinning).await
    }

    /// [`pin_query_with_views`](Self::pin_query_with_views) for one of several queries, the others
    /// of which may read what this one does not: `at` holds for the tables that it reads, where
    /// views are looked through in the state that `at` names.
    ///
    /// # Errors
    ///
    /// As `pin_query`, but for tables in `at` that the query does not read.
    pub async fn pin_what_is_read(
        &self,
        sql: &str,
        at: &[(TableName, SnapshotSelector)],
    ) -> Result<Vec<PinnedTable>> {
        let pinning = Pinning { at, of_views: ViewsTable::Read, is_strict: false };
        self.pinned(sql, &Scope::default(), pinning).await
    }

    async fn pinned(
        &self,
        sql: &str,
        scope: &Scope,
        pinning: Pinning<'_>,
    ) -> Result<Vec<PinnedTable>> {
        let statement = query::parse(sql)?;
        let resolver = self.resolver(scope.clone());
        query::pin(&self.shared.base, &statement, &resolver, pinning).await
    }

    /// The views that the catalog keeps and that a query reads, itself or by way of another, with
    /// their queries: in the state of their table that is pinned, else in the latest one.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for what is no query; `NotFound` if the pinned state of the views is gone.
    pub async fn views_read(
        &self,
        sql: &str,
        pins: &[PinnedTable],
    ) -> Result<BTreeMap<TableName, String>> {
        let statement = query::parse(sql)?;
        let resolver = self.resolver(Scope::new(pins));
        let names = query::names(&self.shared.base, &statement, &resolver).await?;
        Ok(query::expand(&self.shared.base, names, &resolver).await?.kept_views)
    }

    /// Pins tables, and what the views among them read, at one moment: all of these pins were the
    /// answers at once. What the scope pins stays.
    ///
    /// # Errors
    ///
    /// `NotFound` for an unknown table, naming what is near.
    pub async fn pin_tables(&self, names: &[TableName], scope: &Scope) -> Result<Vec<PinnedTable>> {
        let resolver = self.resolver(scope.clone());
        let expanded = query::expand(&self.shared.base, names.to_vec(), &resolver).await?;
        let wanted: Vec<(TableName, SnapshotSelector)> =
            expanded.tables.into_iter().map(|name| (name, SnapshotSelector::Latest)).collect();
        resolver.pin_all(&wanted).await
    }

    /// The tables and views that a query names, without what its views read, in order.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for what is no query.
    pub async fn names(&self, sql: &str) -> Result<Vec<TableName>> {
        let statement = query::parse(sql)?;
        let resolver = self.resolver(Scope::default());
        query::names(&self.shared.base, &statement, &resolver).await
    }

    fn resolver(&self, scope: Scope) -> Resolver {
        Resolver::new(self.catalog().clone(), Arc::clone(&self.shared.base), scope)
    }

    /// Runs a query. Tables are `namespace.table`, also `production.namespace.table`; tables that
    /// are not among the pins are read at their latest state, which is the same for the whole
    /// query, and so are views, unless the table that keeps them is among the pins.
    /// `namespace.table$snapshots` and the like are the tables about a table.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a query that cannot be parsed or planned, with its place; `NotFound` for
    /// an unknown table; `Unsupported` for anything that is not a query; `LimitExceeded` where it
    /// needs more memory than the limit and cannot spill.
    pub async fn sql(&self, sql: &str, pins: &[PinnedTable]) -> Result<BatchStream> {
        self.stream(self.query(sql, pins).await?).await
    }

    /// Plans a query without running it. See [`sql`](Self::sql).
    ///
    /// # Errors
    ///
    /// As [`sql`](Self::sql), without those of the execution.
    pub async fn query(&self, sql: &str, pins: &[PinnedTable]) -> Result<DataFrame> {
        self.query_in(sql, &Scope::new(pins)).await
    }

    /// Plans a query in a scope.
    ///
    /// # Errors
    ///
    /// As [`query`](Self::query).
    pub async fn query_in(&self, sql: &str, scope: &Scope) -> Result<DataFrame> {
        let statement = query::parse(sql)?;
        query::plan(&self.session_in(scope.clone())?, statement).await
    }

    /// Runs a query in a scope.
    ///
    /// # Errors
    ///
    /// As [`sql`](Self::sql).
    pub async fn sql_in(&self, sql: &str, scope: &Scope) -> Result<BatchStream> {
        self.stream(self.query_in(sql, scope).await?).await
    }

    /// The columns of a query's answer in a scope, in the types in which they leave the engine.
    ///
    /// # Errors
    ///
    /// As [`query`](Self::query).
    pub async fn schema_in(&self, sql: &str, scope: &Scope) -> Result<SchemaRef> {
        let frame = self.query_in(sql, scope).await?;
        Ok(stream::seam_schema(frame.schema().inner()))
    }

    /// A session in which tables resolve to the pins, and to their latest state where there is no
    /// pin: asked once, when a query first names the table, and the same from then on. Tables of
    /// the session's own can be registered under names without a namespace.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if two pins name the same table.
    pub async fn session(&self, pins: &[PinnedTable]) -> Result<SessionContext> {
        self.session_in(Scope::new(pins))
    }

    fn session_in(&self, scope: Scope) -> Result<SessionContext> {
        let pins = &scope.pins;
        for (at, pin) in pins.iter().enumerate() {
            let same = pins.iter().take(at).find(|other| other.table == pin.table);
            if same.is_some_and(|other| other != pin) {
                return Err(Error::invalid(format!("table `{}` is pinned twice", pin.table)));
            }
        }
        Ok(session::context(&self.shared.base, self.resolver(scope)))
    }

    /// A pinned table as a frame.
    ///
    /// # Errors
    ///
    /// `NotFound` if the pin's table or snapshot is gone.
    pub async fn table(&self, pin: &PinnedTable) -> Result<DataFrame> {
        let session = self.session(std::slice::from_ref(pin)).await?;
        let name = TableReference::partial(pin.table.namespace(), pin.table.table());
        session.table(name).await.or_ours()
    }

    /// Rows at hand as a frame, which may be read more than once.
    ///
    /// # Errors
    ///
    /// `Internal` if the batches are not of one schema.
    pub async fn rows(&self, rows: RecordBatch) -> Result<DataFrame> {
        self.session(&[]).await?.read_batch(rows).or_ours()
    }

    /// Understands a condition on rows of these columns, as SQL writes it after `WHERE`. What a
    /// predicate can say becomes one; anything else is asked of each row.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for what is no condition, `NotFound` for an unknown column.
    pub fn row_filter(&self, columns: &SchemaRef, condition: &str) -> Result<RowFilter> {
        condition::row_filter(&self.shared.base, columns, condition)
    }

    /// Understands a condition on rows of these columns, as SQL writes it after `WHERE`, to be asked
    /// of rows that are at hand.
    ///
    /// # Errors
    ///
    /// As [`row_filter`](Self::row_filter).
    pub fn row_test(&self, columns: &SchemaRef, condition: &str) -> Result<Arc<dyn RowTest>> {
        condition::row_test(&self.shared.base, columns, condition)
    }

    /// Runs a frame: strings become `Utf8`, moments `Timestamp(Microsecond, "+00:00")`, errors
    /// ours. Rows of a sorted frame keep their order. Dropping the stream stops the query.
    ///
    /// # Errors
    ///
    /// As [`sql`](Self::sql); those of the execution come out of the stream.
    pub async fn stream(&self, frame: DataFrame) -> Result<BatchStream> {
        stream::normalized(frame.execute_stream().await.or_ours()?)
    }
}

fn runtime(catalog: &IcebergCatalog, options: EngineOptions) -> Result<Arc<RuntimeEnv>> {
    if options.memory_limit < MEMORY_MIN {
        return Err(Error::invalid(format!(
            "a memory limit of {} bytes is too little to run a query in",
            options.memory_limit
        ))
        .with_help("set `engine.memory_limit` to `16MiB` or more"));
    }
    let mode = match options.spill_dir {
        Some(directory) => {
            std::fs::create_dir_all(&directory).map_err(|error| {
                let shown = directory.display();
                Error::unavailable(format!("cannot make the spill directory `{shown}`"))
                    .with_source(error)
            })?;
            DiskManagerMode::Directories(vec![directory])
        }
        None => DiskManagerMode::OsTmpDirectory,
    };
    // Every operator that can spill gets the same share, so that one sort cannot starve another.
    let pool = TrackConsumersPool::new(FairSpillPool::new(options.memory_limit), CONSUMERS_NAMED);
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(pool))
        .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(mode))
        .build_arc()
        .or_ours()?;
    runtime.register_object_store(store_url()?.as_ref(), catalog.object_store());
    Ok(runtime)
}

/// The name under which the engine knows the catalog's object store.
pub(crate) fn store_url() -> Result<ObjectStoreUrl> {
    ObjectStoreUrl::parse("icecore://tables").or_ours()
}
