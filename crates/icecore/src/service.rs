//! The HTTP service of a project.

use std::sync::Arc;

use icecore_core::Result;
use icecore_score::ScoringSpec;
use icecore_serve::{LakeLookup, LakeOptions, ScoreRoute, ScoreService, ServeOptions};

use crate::Project;

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
        let store = match self.cached_online().await {
            Ok(store) => Some(store),
            Err(error) => {
                tracing::warn!(%error, "serving without the cache");
                None
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
            ..ServeOptions::default()
        };
        ScoreService::new(store, Arc::new(lake), Arc::clone(self.clock()), options)
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
