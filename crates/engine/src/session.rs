//! What a session knows: functions, settings, and the names of tables.

use std::any::Any;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemorySchemaProvider, SchemaProvider, TableProvider,
};
use datafusion::common::{DataFusionError, plan_err};
use datafusion::execution::SessionStateDefaults;
use datafusion::execution::registry::FunctionRegistry;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::functions_aggregate::approx_distinct::approx_distinct_udaf;
use datafusion::prelude::{SessionConfig, SessionContext};

use crate::dialect;
use crate::engine::EngineOptions;
use crate::error::to_datafusion;
use crate::literals::{AsTyped, Comparisons};
use crate::resolve::Resolver;
use crate::window::window_planner;

/// The catalog of names without one: `namespace.table`.
pub(crate) const CATALOG: &str = "icecore";
/// The namespace of names without one, in which no table can be.
pub(crate) const NO_NAMESPACE: &str = "public";

/// What every session begins with.
pub(crate) fn base_state(config: SessionConfig, runtime: Arc<RuntimeEnv>) -> SessionState {
    // No file formats and no table factories: SQL reaches the catalog's tables and nothing else.
    let mut aggregates = SessionStateDefaults::default_aggregate_functions();
    let approx = approx_distinct_udaf().as_ref().clone();
    aggregates.push(Arc::new(approx.with_aliases(["approx_count_distinct"])));
    let functions = SessionStateDefaults::default_table_functions();
    let mut scalars = SessionStateDefaults::default_scalar_functions();
    scalars.extend(dialect::functions());
    let mut planners = dialect::planners().to_vec();
    planners.push(Arc::new(Comparisons));
    planners.extend(SessionStateDefaults::default_expr_planners());
    let mut state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime)
        .with_expr_planners(planners)
        .with_type_planner(dialect::types())
        .with_scalar_functions(scalars)
        .with_aggregate_functions(aggregates)
        .with_window_functions(SessionStateDefaults::default_window_functions())
        .with_table_functions(
            functions.into_iter().map(|function| (function.name().to_owned(), function)).collect(),
        )
        // How our plan nodes become operators.
        .with_query_planner(window_planner())
        .build();
    // A session keeps what its state rewrites; there is no other way to say so than on the state.
    if let Err(error) = state.register_function_rewrite(Arc::new(AsTyped)) {
        tracing::warn!(%error, "literals beside decimals are doubles");
    }
    state
}

/// How queries are planned and run.
pub(crate) fn config(options: &EngineOptions) -> SessionConfig {
    let partitions = options.partitions();
    let mut config = SessionConfig::new()
        .with_target_partitions(partitions)
        .with_batch_size(options.batch_rows.max(1))
        .with_create_default_catalog_and_schema(false)
        .with_default_catalog_and_schema(CATALOG, NO_NAMESPACE)
        .with_information_schema(false);
    let settings = config.options_mut();
    settings.execution.time_zone = Some("+00:00".to_owned());
    // Each sort sets this aside for its merge: it must not be most of a small pool.
    let share = options.memory_limit / (8 * partitions.max(1));
    settings.execution.sort_spill_reservation_bytes =
        settings.execution.sort_spill_reservation_bytes.min(share);
    // Strings are `Utf8` from the file to the seam: a view would have to be copied there, and our
    // own plan nodes would have to know both.
    settings.execution.parquet.schema_force_view_types = false;
    settings.sql_parser.map_string_types_to_utf8view = false;
    settings.sql_parser.collect_spans = true;
    // `IS NOT TRUE` is never null, which the two planners do not agree on.
    settings.execution.skip_physical_aggregate_schema_check = true;
    config
}

/// A session over the tables that a resolver finds.
pub(crate) fn context(base: &SessionState, resolver: Resolver) -> SessionContext {
    let names = Names { resolver: Arc::new(resolver) };
    let state = SessionStateBuilder::new_from_existing(base.clone())
        .with_catalog_list(Arc::new(names))
        .build();
    SessionContext::new_with_state(state)
}

/// Every first part of a name: `catalog.namespace.table`.
#[derive(Debug)]
struct Names {
    resolver: Arc<Resolver>,
}

impl CatalogProviderList for Names {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn register_catalog(
        &self,
        _name: String,
        _catalog: Arc<dyn CatalogProvider>,
    ) -> Option<Arc<dyn CatalogProvider>> {
        None
    }

    fn catalog_names(&self) -> Vec<String> {
        vec![CATALOG.to_owned()]
    }

    fn catalog(&self, name: &str) -> Option<Arc<dyn CatalogProvider>> {
        let resolver = Arc::clone(&self.resolver);
        Some(Arc::new(Namespaces { resolver, catalog: name.to_owned() }))
    }
}

#[derive(Debug)]
struct Namespaces {
    resolver: Arc<Resolver>,
    catalog: String,
}

impl CatalogProvider for Namespaces {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn schema_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        Some(Arc::new(Tables {
            resolver: Arc::clone(&self.resolver),
            catalog: self.catalog.clone(),
            namespace: name.to_owned(),
        }))
    }
}

#[derive(Debug)]
struct Tables {
    resolver: Arc<Resolver>,
    catalog: String,
    namespace: String,
}

#[async_trait]
impl SchemaProvider for Tables {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn table_names(&self) -> Vec<String> {
        Vec::new()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        if let Some(local) = self.local()
            && let Some(table) = local.table(name).await?
        {
            return Ok(Some(table));
        }
        let found = self.resolver.provider(&self.catalog, &self.namespace, name).await;
        found.map_err(to_datafusion)
    }

    fn register_table(
        &self,
        name: String,
        table: Arc<dyn TableProvider>,
    ) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        match self.local() {
            Some(local) => local.register_table(name, table),
            None => plan_err!("a session's own tables have names without a namespace"),
        }
    }

    fn deregister_table(
        &self,
        name: &str,
    ) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        self.local().map_or(Ok(None), |local| local.deregister_table(name))
    }

    fn table_exist(&self, name: &str) -> bool {
        // Tables of the catalog are asked for one at a time.
        self.local().is_some_and(|local| local.table_exist(name))
    }
}

impl Tables {
    /// The session's own tables, if these are the names without a namespace.
    fn local(&self) -> Option<&MemorySchemaProvider> {
        (self.catalog == CATALOG && self.namespace == NO_NAMESPACE).then_some(&self.resolver.local)
    }
}
