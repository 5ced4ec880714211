//! Predictions of registered models.

mod frame;
mod lookup;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch};
use async_trait::async_trait;
use icecore_core::{Error, ErrorKind, Model, Result};
use tokio::time::Instant;
use tracing::{Instrument, info, info_span, warn};

pub(crate) use frame::Frame;
pub(crate) use lookup::{Lookup, Missing};

/// For how long an alias is taken to mean the version that it meant.
const RESOLVE_EVERY: Duration = Duration::from_secs(1);
/// Models that are kept at most.
const MODELS_MAX: usize = 64;

/// A model, loaded.
#[derive(Debug, Clone)]
pub struct LoadedModel {
    /// Its name.
    pub name: String,
    /// Its version, as text.
    pub version: String,
    /// The model.
    pub model: Arc<dyn Model>,
}

/// Where models come from.
///
/// # Contract
///
/// - `resolve` answers which version is meant now: the one that is named, or without one the
///   version that serves.
/// - A version of a model never changes.
#[async_trait]
pub trait ModelSource: fmt::Debug + Send + Sync + 'static {
    /// Which version of a model is meant; `NotFound` for an unknown one.
    async fn resolve(&self, name: &str, version: Option<&str>) -> Result<String>;

    /// Loads a version.
    async fn load(&self, name: &str, version: &str) -> Result<Arc<dyn Model>>;

    /// The names of the models that there are, as far as this source can say.
    async fn names(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// The model that `/invocations` asks, if there is one.
    fn default_model(&self) -> Option<&str> {
        None
    }
}

/// Models that were loaded, and which versions serve.
///
/// A promotion is seen within a second. The new version is loaded before the first request gets it;
/// requests that are under way end with the model that they began with. Where the registry does not
/// answer, the version that served goes on.
#[derive(Debug)]
pub(crate) struct Models {
    source: Arc<dyn ModelSource>,
    state: Mutex<State>,
    /// Held by the request that asks the registry.
    renewing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    serving: HashMap<String, (Instant, LoadedModel)>,
    loaded: HashMap<(String, String), LoadedModel>,
}

impl Models {
    pub(crate) fn new(source: Arc<dyn ModelSource>) -> Self {
        Self { source, state: Mutex::default(), renewing: tokio::sync::Mutex::default() }
    }

    pub(crate) fn default_model(&self) -> Option<&str> {
        self.source.default_model()
    }

    /// The models that there are.
    pub(crate) async fn names(&self) -> Result<Vec<String>> {
        self.source.names().await
    }

    /// Fails if models cannot be asked: the default one, or where there is none, the registry.
    pub(crate) async fn check(&self) -> Result<()> {
        match self.default_model() {
            Some(name) => self.get(name, None).await.map(drop),
            None => self.names().await.map(drop),
        }
    }

    /// A version of a model, or the one that serves.
    pub(crate) async fn get(&self, name: &str, version: Option<&str>) -> Result<LoadedModel> {
        if let Some(version) = version {
            let version = self.source.resolve(name, Some(version)).await?;
            return self.load(name, &version).await;
        }
        let known = self.lock().serving.get(name).cloned();
        if let Some((at, model)) = &known
            && at.elapsed() < RESOLVE_EVERY
        {
            return Ok(model.clone());
        }
        let _renewing = match (self.renewing.try_lock(), &known) {
            (Ok(guard), _) => guard,
            // Another request asks. What served until now still does.
            (Err(_), Some((_, model))) => return Ok(model.clone()),
            (Err(_), None) => self.renewing.lock().await,
        };
        let found = async {
            let version = self.source.resolve(name, None).await?;
            self.load(name, &version).await
        };
        let model = match (found.await, known) {
            (Ok(model), known) => {
                if known.is_none_or(|(_, before)| before.version != model.version) {
                    info!(model = name, version = model.version, "serving");
                }
                model
            }
            (Err(error), Some((_, model))) if error.kind() != ErrorKind::NotFound => {
                warn!(model = name, %error, "the registry does not answer; serving what it was");
                model
            }
            (Err(error), _) => return Err(error),
        };
        self.lock().serving.insert(name.to_owned(), (Instant::now(), model.clone()));
        Ok(model)
    }

    async fn load(&self, name: &str, version: &str) -> Result<LoadedModel> {
        let key = (name.to_owned(), version.to_owned());
        if let Some(model) = self.lock().loaded.get(&key) {
            return Ok(model.clone());
        }
        let span = info_span!("load a model", model = name, version);
        let model = self.source.load(name, version).instrument(span).await?;
        let model = LoadedModel { name: key.0.clone(), version: key.1.clone(), model };
        let mut state = self.lock();
        if state.loaded.len() >= MODELS_MAX {
            state.loaded.clear();
        }
        state.loaded.insert(key, model.clone());
        Ok(model)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LoadedModel {
    /// The predictions for rows, on a thread where no other request waits for them.
    pub(crate) async fn predict(&self, rows: RecordBatch) -> Result<ArrayRef> {
        let model = Arc::clone(&self.model);
        let span = info_span!(
            "predict",
            model = self.name,
            version = self.version,
            rows = rows.num_rows()
        );
        if rows.num_rows() <= 64 {
            return span.in_scope(|| model.predict(&rows));
        }
        let predict = move || span.in_scope(|| model.predict(&rows));
        let task = tokio::task::spawn_blocking(predict);
        task.await.map_err(|error| Error::internal("a prediction failed").with_source(error))?
    }
}
