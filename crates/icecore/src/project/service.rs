//! The HTTP service of a project.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use icecore_core::{Error, ErrorKind, Model, ModelRegistry, ModelSelector, Result};
use icecore_online::FeatureStore;
use icecore_score::ScoringSpec;
use icecore_serve::{
    LakeLookup, LakeOptions, ModelSource, OnlineFeatures, ScoreRoute, ScoreService, ServeOptions,
};
use icecore_tracking::{FileArtifacts, SqlTracker};

use crate::Project;
use crate::project::request_log::LogTables;

impl Project {
    /// The service that answers for the project's scoring jobs: the cache first, then the
    /// lakehouse, then the default (C86-C91). Hand it to [`serve`](crate::serve::serve).
    ///
    /// A cache that cannot be opened is left out with a warning: scores still come from the
    /// lakehouse (C164).
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a mistake in a scoring definition.
    pub async fn service(&self) -> Result<ScoreService> {
        let mut routes = Vec::new();
        for name in self.definition_names("scoring")? {
            routes.extend(route(&self.scoring(&name)?));
        }
        let (store, memory) = match self.cached_online().await {
            Ok((store, memory)) => (Some(store), memory),
            Err(error) => {
                tracing::warn!(%error, "serving without the cache");
                (None, None)
            }
        };
        let lake = LakeLookup::new(
            self.catalog().clone(),
            Arc::clone(self.clock()),
            LakeOptions::default(),
        );
        let options = ServeOptions {
            routes,
            token: self.config().serve.token.clone(),
            tokens: self.config().serve.grants(),
            tls: self.config().serve.certificates(self.dir()),
            ..self.config().serve.options()?
        };
        let features = OnlineFeatures::new(
            self.engine().clone(),
            Arc::new(self.definitions()?),
            store.clone().map(FeatureStore::new),
            Arc::clone(self.clock()),
            self.config().serve.feature_options()?,
        );
        let models = RegisteredModels {
            tracker: self.tracker().clone(),
            artifacts: self.artifacts().clone(),
            default_model: self.default_model()?,
        };
        let pushes = self.pushes(store.clone())?;
        let has_pushes = !pushes.status().is_empty();
        let service = ScoreService::new(store, Arc::new(lake), Arc::clone(self.clock()), options)?;
        let service = service.with_features(features).with_models(Arc::new(models));
        let service = match memory {
            Some(cached) => service.with_memory(cached),
            None => service,
        };
        let service = if has_pushes { service.with_pushes(Arc::new(pushes)) } else { service };
        Ok(match &self.config().serve.log {
            None => service,
            Some(log) => {
                let (catalog, namespace) = (self.catalog().clone(), log.namespace.clone());
                service.with_log(Arc::new(LogTables::new(catalog, namespace)), log.options()?)
            }
        })
    }

    /// The model that `/invocations` asks: the one that the settings name, else the one that all
    /// scoring jobs score with.
    fn default_model(&self) -> Result<Option<String>> {
        if let Some(name) = &self.config().serve.model {
            return Ok(Some(name.clone()));
        }
        let mut names = Vec::new();
        for scoring in self.definition_names("scoring")? {
            names.push(self.scoring(&scoring)?.model.name);
        }
        names.dedup();
        Ok(if names.len() == 1 { names.pop() } else { None })
    }
}

/// The route that a scoring job declares, if it declares one.
fn route(spec: &ScoringSpec) -> Option<ScoreRoute> {
    let served = spec.serve.as_ref()?;
    let mut route = ScoreRoute::new(&spec.name, &served.route, spec.table.clone());
    route.key_template = spec.materialize.as_ref().map(|cached| cached.key.clone());
    route.prediction_column.clone_from(&spec.prediction);
    route.date_column.clone_from(&spec.date_column);
    route.default = served.default;
    // Both paths give the same number for the same score.
    route.round = spec.materialize.as_ref().and_then(|cached| cached.round);
    Some(route)
}

/// The models of the project's registry. The one that serves is `Production`, else the newest.
#[derive(Debug)]
struct RegisteredModels {
    tracker: SqlTracker,
    artifacts: FileArtifacts,
    default_model: Option<String>,
}

#[async_trait]
impl ModelSource for RegisteredModels {
    async fn resolve(&self, name: &str, version: Option<&str>) -> Result<String> {
        let found = match version.map(str::parse) {
            Some(Ok(number)) => self.tracker.resolve(name, &ModelSelector::Version(number)).await,
            Some(Err(_)) => {
                let alias = ModelSelector::Alias(version.unwrap_or_default().to_owned());
                self.tracker.resolve(name, &alias).await
            }
            None => {
                let alias = ModelSelector::Alias("Production".to_owned());
                match self.tracker.resolve(name, &alias).await {
                    Err(error) if error.kind() == ErrorKind::NotFound => {
                        self.tracker.resolve(name, &ModelSelector::Latest).await
                    }
                    found => found,
                }
            }
        };
        Ok(found?.version.to_string())
    }

    async fn names(&self) -> Result<Vec<String>> {
        let versions = self.tracker.versions(None).await?;
        let names: BTreeSet<String> = versions.into_iter().map(|found| found.model).collect();
        Ok(names.into_iter().collect())
    }

    async fn load(&self, name: &str, version: &str) -> Result<Arc<dyn Model>> {
        let number = version
            .parse()
            .map_err(|_| Error::internal(format!("`{version}` is no version of a model")))?;
        let version = self.tracker.resolve(name, &ModelSelector::Version(number)).await?;
        crate::project::train::load_registered(&self.artifacts, &version).await
    }

    fn default_model(&self) -> Option<&str> {
        self.default_model.as_deref()
    }
}
