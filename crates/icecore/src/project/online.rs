//! The online store of a project.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, StringArray};
use arrow::compute::{CastOptions, cast_with_options};
use icecore_core::{Error, OnlineStore, Result, Timestamp};
use icecore_features::Definitions;
use icecore_materialize::{
    MaterializeOptions, Source, VectorReport, VerifyReport, ViewReport, ViewStatus,
    materialize_service, materialize_view, verify_view, view_status,
};
use icecore_online::{CacheOptions, CachedStore, FeatureStore};
use icecore_serve::{FeatureOptions, FeatureQuery, OnlineFeatures};
use serde::Serialize;

use crate::Project;

/// One value of an entity.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OnlineValue {
    /// The feature, or the join key.
    pub feature: String,
    /// Its value.
    pub value: serde_json::Value,
    /// `PRESENT`, `NULL_VALUE`, `NOT_FOUND` or `OUTSIDE_MAX_AGE`.
    pub status: &'static str,
    /// When its row happened.
    pub event_timestamp: Option<Timestamp>,
    /// Where it is from: `online` or `lakehouse`.
    pub source: &'static str,
    /// Why it is not from the online store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
}

impl Project {
    /// The rows of feature views in the online store.
    ///
    /// # Errors
    ///
    /// As [`online`](Self::online).
    pub async fn online_features(&self) -> Result<FeatureStore> {
        Ok(FeatureStore::new(self.online().await?))
    }

    /// The online store behind a bounded cache in memory, if there is to be one: what a service
    /// reads. The cache by itself, too.
    ///
    /// # Errors
    ///
    /// As [`online`](Self::online), and `InvalidInput` for a size that is none.
    pub async fn cached_online(&self) -> Result<(Arc<dyn OnlineStore>, Option<CachedStore>)> {
        let store = self.online().await?;
        let config = &self.config().online;
        let bytes = config.cache_bytes()?;
        if bytes == 0 {
            return Ok((store, None));
        }
        let max_age = Duration::from_micros(config.cache_ttl.micros().unsigned_abs());
        let cached = CachedStore::new(store, &CacheOptions { bytes, max_age });
        Ok((Arc::new(cached.clone()), Some(cached)))
    }

    fn online_source<'a>(
        &'a self,
        definitions: &'a Definitions,
        store: &'a FeatureStore,
    ) -> Source<'a> {
        Source { engine: self.engine(), definitions, store, now: self.clock().now() }
    }

    /// Brings the rows of a view in the online store to the newest state of its table.
    ///
    /// # Errors
    ///
    /// `NotFound` for an unknown view or one without a table yet, `Unavailable` if the store does
    /// not answer, `Conflict` while another job fills the view and is not to be taken over from.
    pub async fn materialize_view(
        &self,
        view: &str,
        options: MaterializeOptions,
    ) -> Result<ViewReport> {
        let (definitions, store) = (self.definitions()?, self.online_features().await?);
        let source = self.online_source(&definitions, &store);
        materialize_view(&source, view, options).await
    }

    /// Makes the vectors of those of the names that are feature services kept as vectors, from the
    /// rows that the online store has of their views: once, and again with `full`.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the store does not answer.
    pub async fn materialize_vectors(
        &self,
        names: Option<&[String]>,
        full: bool,
    ) -> Result<Vec<VectorReport>> {
        let (definitions, store) = (self.definitions()?, self.online_features().await?);
        let source = self.online_source(&definitions, &store);
        let mut reports = Vec::new();
        let services = definitions.services.iter().map(|service| &service.name);
        for service in services.filter(|name| names.is_none_or(|names| names.contains(name))) {
            reports.extend(materialize_service(&source, service, full).await?);
        }
        Ok(reports)
    }

    /// Compares the rows of a view in the online store with its table, to the bit.
    ///
    /// # Errors
    ///
    /// `NotFound` for a view that was never materialized, `Conflict` while it is.
    pub async fn verify_online(&self, view: &str) -> Result<VerifyReport> {
        let (definitions, store) = (self.definitions()?, self.online_features().await?);
        let source = self.online_source(&definitions, &store);
        verify_view(&source, view).await
    }

    /// Says where each view stands in the online store.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the store does not answer.
    pub async fn online_status(&self) -> Result<Vec<ViewStatus>> {
        let (definitions, store) = (self.definitions()?, self.online_features().await?);
        let source = self.online_source(&definitions, &store);
        let mut statuses = Vec::with_capacity(definitions.views.len());
        for view in &definitions.views {
            statuses.push(view_status(&source, &view.name).await?);
        }
        Ok(statuses)
    }

    /// Reads features of one entity, as a service would answer them. `entity` has the values of the
    /// join keys and of what a request brings.
    ///
    /// # Errors
    ///
    /// `NotFound` for a name that is no view, feature service or feature, `InvalidInput` for an
    /// entity that is none of the views'.
    pub async fn get_online_features(
        &self,
        names: &[String],
        entity: &[(String, String)],
    ) -> Result<Vec<OnlineValue>> {
        let (definitions, store) = (self.definitions()?, self.online_features().await?);
        let mut entities = BTreeMap::new();
        for (name, text) in entity {
            entities.insert(name.clone(), self.entity_value(&definitions, name, text)?);
        }
        let mut options = FeatureOptions::default();
        // Nobody waits for a command as for a request.
        options.store_deadline = Duration::from_secs(5);
        options.lake_deadline = Duration::from_secs(60);
        let query = FeatureQuery::of_names(&definitions, names, entities)?;
        let features = OnlineFeatures::new(
            self.engine().clone(),
            Arc::new(definitions),
            Some(store),
            Arc::clone(self.clock()),
            options,
        );
        let answer = features.get(&query).await?;
        let mut values = Vec::with_capacity(answer.columns.len());
        for column in &answer.columns {
            values.push(OnlineValue {
                feature: column.name.clone(),
                value: column.json_values()?.into_iter().next().unwrap_or_default(),
                status: column.statuses.first().map_or("", |status| status.code()),
                event_timestamp: column.events.first().copied().flatten(),
                source: answer.source.code(),
                reason: answer.source.reason(),
            });
        }
        Ok(values)
    }

    /// A value that was typed, in the type that the definitions give it.
    fn entity_value(&self, definitions: &Definitions, name: &str, text: &str) -> Result<ArrayRef> {
        let array: ArrayRef = Arc::new(StringArray::from(vec![text]));
        let inputs = definitions.views.iter().flat_map(|view| &view.request_inputs);
        match inputs.into_iter().find(|input| input.name == name) {
            None => Ok(array),
            Some(input) => {
                let options = CastOptions { safe: false, ..CastOptions::default() };
                cast_with_options(&array, &input.value_type.arrow(), &options).map_err(|error| {
                    Error::invalid(format!("`{text}` is no {} for `{name}`", input.value_type))
                        .with_source(error)
                })
            }
        }
    }

    /// The views that features of these services and views belong to, in order of first mention.
    ///
    /// # Errors
    ///
    /// `NotFound` for a name that is neither a view nor a feature service.
    pub fn online_views(&self, names: &[String]) -> Result<Vec<String>> {
        let definitions = self.definitions()?;
        let mut views: Vec<String> = Vec::new();
        for name in names {
            let found = match definitions.service(name) {
                Ok(service) => {
                    let features =
                        icecore_features::resolve_features(&definitions, &service.features)?;
                    features.into_iter().map(|(view, _)| view).collect()
                }
                Err(_) => vec![definitions.view(name)?.name.clone()],
            };
            for view in found {
                if !views.contains(&view) {
                    views.push(view);
                }
            }
        }
        Ok(views)
    }
}
