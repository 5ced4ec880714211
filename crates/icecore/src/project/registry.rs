//! The registry of feature views, and who uses one.

use icecore_core::{
    ErrorKind, ModelRegistry, Result, RunTracker, SnapshotCatalog, SnapshotSelector, TableName,
};
use icecore_features::{
    Definitions, Difference, FeatureLineage, FeatureRegistry, RegisteredView, ViewChange,
    ViewChangeKind,
};
use icecore_models::NodeKind;
use serde_json::Value;

use crate::{ModelJob, Project};

/// What a change of a feature view touches.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ViewUse {
    /// The table with its rows.
    pub table: Option<TableName>,
    /// Rows of the table as it is.
    pub rows: u64,
    /// Bytes of its files.
    pub size_bytes: u64,
    /// Training sets that take features of it.
    pub datasets: Vec<String>,
    /// Scoring jobs that read it.
    pub scorings: Vec<String>,
    /// SQL models, other feature views and spines that read its table.
    pub readers: Vec<String>,
    /// Versions of models that learned from it, `name version`.
    pub models: Vec<String>,
}

impl ViewUse {
    /// Whether something would have to follow a change.
    #[must_use]
    pub fn is_used(&self) -> bool {
        self.rows > 0
            || !self.datasets.is_empty()
            || !self.scorings.is_empty()
            || !self.readers.is_empty()
            || !self.models.is_empty()
    }
}

impl Project {
    /// Every version of every feature view that was applied.
    #[must_use]
    pub fn feature_registry(&self) -> FeatureRegistry {
        FeatureRegistry::new(self.engine().clone())
    }

    /// What applying the project's definitions would do, and what each change touches.
    ///
    /// # Errors
    ///
    /// Mistakes in definitions, and those of reading the registry.
    pub async fn plan_features(&self) -> Result<Vec<(ViewChange, ViewUse)>> {
        let definitions = self.definitions()?;
        let mut planned = Vec::new();
        for change in self.feature_registry().plan(&definitions).await? {
            let found = match change.kind {
                ViewChangeKind::Changed | ViewChangeKind::Removed => {
                    self.use_of(&definitions, &change).await?
                }
                _ => ViewUse::default(),
            };
            planned.push((change, found));
        }
        Ok(planned)
    }

    /// Makes the project's definitions the newest versions in the registry.
    ///
    /// # Errors
    ///
    /// Mistakes in definitions; `Conflict` if others apply definitions all the time.
    pub async fn apply_features(&self) -> Result<Vec<ViewChange>> {
        let definitions = self.definitions()?;
        icecore_features::check(self.engine(), &definitions).await?;
        self.feature_registry().apply(&definitions, self.clock().now()).await
    }

    /// The versions of a feature view.
    ///
    /// # Errors
    ///
    /// `NotFound` for a view that was never applied.
    pub async fn feature_history(&self, view: Option<&str>) -> Result<Vec<RegisteredView>> {
        self.feature_registry().history(view).await
    }

    /// What differs between two versions of a view; without the later one, from the earlier one to
    /// the project's files; without both, from the newest.
    ///
    /// # Errors
    ///
    /// `NotFound` for a version that does not exist.
    pub async fn feature_differences(
        &self,
        view: &str,
        from: Option<i64>,
        to: Option<i64>,
    ) -> Result<Vec<Difference>> {
        let registry = self.feature_registry();
        let from = match from {
            Some(from) => from,
            None => registry.history(Some(view)).await?.last().map_or(1, |row| row.version),
        };
        registry.differences(&self.definitions()?, view, (from, to)).await
    }

    /// Who uses a feature view of the project.
    ///
    /// # Errors
    ///
    /// `NotFound` for an unknown view, `InvalidInput` for a definition that cannot be read.
    pub async fn feature_use(&self, view: &str) -> Result<ViewUse> {
        let definitions = self.definitions()?;
        let table = definitions.view(view)?.table.clone();
        self.users(view, table).await
    }

    /// What each feature of a view is computed from, down to the columns of tables.
    ///
    /// # Errors
    ///
    /// `NotFound` for an unknown view or table.
    pub async fn feature_lineage(&self, view: &str) -> Result<Vec<FeatureLineage>> {
        let definitions = self.definitions()?;
        let found = definitions.view(view)?;
        let pins = icecore_features::pin_sources(self.engine(), found, &[]).await?;
        icecore_features::source_lineage(self.engine(), &definitions, found, &pins).await
    }

    /// The computations of a feature view as OpenLineage events, oldest first.
    ///
    /// # Errors
    ///
    /// `NotFound` for an unknown view.
    pub async fn feature_lineage_events(&self, view: &str) -> Result<Vec<Value>> {
        let namespace = format!("iceberg://{}", self.config().catalog.name);
        let project =
            self.dir().file_name().map_or("icecore".into(), |name| name.to_string_lossy());
        let names = (namespace.as_str(), project.as_ref());
        icecore_features::lineage_events(self.engine(), &self.definitions()?, view, names).await
    }

    async fn use_of(&self, definitions: &Definitions, change: &ViewChange) -> Result<ViewUse> {
        let table = if change.kind == ViewChangeKind::Removed {
            let before = self.feature_registry().version(&change.view, change.version - 1).await?;
            before.view(&change.view)?.table.clone()
        } else {
            definitions.view(&change.view)?.table.clone()
        };
        self.users(&change.view, table).await
    }

    async fn users(&self, view: &str, table: Option<TableName>) -> Result<ViewUse> {
        let mut found = ViewUse { table: table.clone(), ..ViewUse::default() };
        for name in self.definition_names("training")? {
            let (spec, _) = self.training(&name)?;
            if spec.takes_features_of(view) {
                found.datasets.push(name);
            }
        }
        for name in self.definition_names("scoring")? {
            if self.scoring(&name)?.views().contains(&view) {
                found.scorings.push(name);
            }
        }
        let Some(table) = table else { return Ok(found) };
        found.readers = self.readers(&table).await?;
        match self.catalog().pin(&table, &SnapshotSelector::Latest).await {
            Ok(pin) => {
                let plan = self.catalog().plan_files(&pin, None).await?;
                found.rows =
                    plan.files.iter().map(|file| file.live_rows.unwrap_or(file.rows)).sum();
                found.size_bytes = plan.files.iter().map(|file| file.size_bytes).sum();
            }
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(found),
            Err(error) => return Err(error),
        }
        let learned =
            |pins: &[icecore_core::PinnedTable]| pins.iter().any(|pin| pin.table == table);
        let runs = self.tracker().list(None).await?;
        let runs: Vec<_> =
            runs.iter().filter(|run| learned(&run.inputs)).map(|run| &run.id).collect();
        for model in self.tracker().versions(None).await? {
            if runs.contains(&&model.run) {
                found.models.push(format!("{} {}", model.model, model.version));
            }
        }
        Ok(found)
    }

    /// SQL models, other feature views and spines that read a table.
    async fn readers(&self, table: &TableName) -> Result<Vec<String>> {
        let mut queries = Vec::new();
        let models = self.models(&ModelJob::default())?;
        for node in models.order.iter().filter_map(|id| models.nodes.get(id)) {
            if node.kind == NodeKind::Model {
                queries.push((format!("model {}", node.name), models.compile(node, false)?));
            }
        }
        let mut readers = Vec::new();
        for view in self.definitions()?.views {
            let reader = format!("feature view {}", view.name);
            match (view.source, view.source_sql) {
                (Some(source), _) if source == *table => readers.push(reader),
                (_, Some(query)) => queries.push((reader, query)),
                _ => {}
            }
        }
        for name in self.definition_names("training")? {
            let (spec, _) = self.training(&name)?;
            queries.push((format!("the spine of {name}"), spec.spine_sql()?));
        }
        for (reader, query) in queries {
            if self.engine().names(&query).await?.contains(table) {
                readers.push(reader);
            }
        }
        Ok(readers)
    }
}
