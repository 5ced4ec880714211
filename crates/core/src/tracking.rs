//! Runs and models: what was done, with which data, and what came out.

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{PinnedTable, Result, RunId, Timestamp};

/// A run that begins.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct NewRun {
    /// The experiment, such as `/ml/churn-prediction`; made if it is not there.
    pub experiment: String,
    /// The run's name.
    pub name: String,
    /// The pins that the run reads.
    pub inputs: Vec<PinnedTable>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
}

impl NewRun {
    /// A run of this name in this experiment.
    pub fn new(experiment: impl Into<String>, name: impl Into<String>) -> Self {
        Self { experiment: experiment.into(), name: name.into(), ..Self::default() }
    }

    /// Names the pins that the run reads.
    #[must_use]
    pub fn with_inputs(mut self, inputs: Vec<PinnedTable>) -> Self {
        self.inputs = inputs;
        self
    }

    /// Adds a tag.
    #[must_use]
    pub fn with_tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.insert(key.into(), value.into());
        self
    }
}

/// Entries to add to a run, in one step.
#[derive(Debug, Clone, Default)]
pub struct RunEntries {
    /// Parameters. A parameter is written once: another value for it is an error.
    pub params: BTreeMap<String, String>,
    /// Metrics at step 0. A metric that is logged again keeps its history; its last value counts.
    pub metrics: BTreeMap<String, f64>,
    /// Tags. The last value counts.
    pub tags: BTreeMap<String, String>,
}

/// How a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum RunStatus {
    /// It has begun and not ended.
    Running,
    /// It ended well.
    Finished,
    /// It ended with an error.
    Failed,
}

/// A run as recorded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// Its experiment.
    pub experiment: String,
    /// Its name.
    pub name: String,
    /// How it stands.
    pub status: RunStatus,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// The pins that it read.
    pub inputs: Vec<PinnedTable>,
    /// Its parameters.
    pub params: BTreeMap<String, String>,
    /// The last value of each metric.
    pub metrics: BTreeMap<String, f64>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Paths of its artifacts.
    pub artifacts: Vec<String>,
}

/// Records runs.
///
/// # Contract
///
/// - What `log` returned for is stored; one call is one step, all of it or nothing.
/// - Logging the same parameter again with the same value is fine, with another is `InvalidInput`.
/// - `get` of an unknown run is `NotFound`.
#[async_trait]
pub trait RunTracker: fmt::Debug + Send + Sync + 'static {
    /// Begins a run.
    async fn start(&self, run: NewRun) -> Result<RunId>;

    /// Adds entries to a run.
    async fn log(&self, run: &RunId, entries: RunEntries) -> Result<()>;

    /// Ends a run.
    async fn finish(&self, run: &RunId, status: RunStatus) -> Result<()>;

    /// Reads a run.
    async fn get(&self, run: &RunId) -> Result<Run>;

    /// The runs, newest first, of one experiment or of all.
    async fn list(&self, experiment: Option<&str>) -> Result<Vec<Run>>;
}

/// Files that belong to runs.
///
/// # Contract
///
/// - A file is there whole or not at all.
/// - Paths are relative, with `/`, without `..`; anything else is `InvalidInput`.
#[async_trait]
pub trait ArtifactStore: fmt::Debug + Send + Sync + 'static {
    /// Stores a file, replacing one of the same path.
    async fn put(&self, run: &RunId, path: &str, bytes: Bytes) -> Result<()>;

    /// Reads a file.
    async fn get(&self, run: &RunId, path: &str) -> Result<Bytes>;

    /// The paths of a run's files, in order.
    async fn list(&self, run: &RunId) -> Result<Vec<String>>;
}

/// Which version of a registered model is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelSelector {
    /// The greatest version.
    Latest,
    /// This version.
    Version(u32),
    /// What this alias (or stage) points at, such as `Production`.
    Alias(String),
}

/// A version of a registered model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelVersion {
    /// The model's name.
    pub model: String,
    /// Its version, from one.
    pub version: u32,
    /// The run that made it.
    pub run: RunId,
    /// The path of the model's file among the run's artifacts.
    pub artifact: String,
    /// SHA-256 of the model's file, hexadecimal.
    pub hash: String,
    /// When it was registered.
    pub created_at: Timestamp,
    /// Aliases that point at it.
    pub aliases: Vec<String>,
}

impl fmt::Display for ModelVersion {
    /// As people name it, with its aliases: `models:/churn/3 (Production)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "models:/{}/{}", self.model, self.version)?;
        match self.aliases.as_slice() {
            [] => Ok(()),
            aliases => write!(f, " ({})", aliases.join(", ")),
        }
    }
}

/// Names models and their versions.
///
/// # Contract
///
/// - Versions of a model count from one and never change. A number is given once: that of a version
///   that was deleted is not given again.
/// - Registering the same run and artifact again returns the version that it has.
/// - An alias points at one version; moving it is atomic and returns where it pointed before.
#[async_trait]
pub trait ModelRegistry: fmt::Debug + Send + Sync + 'static {
    /// Adds a version: the file at `artifact` of `run`, with this SHA-256.
    async fn register(
        &self,
        model: &str,
        run: &RunId,
        artifact: &str,
        hash: &str,
    ) -> Result<ModelVersion>;

    /// Answers which version a selector means now.
    async fn resolve(&self, model: &str, selector: &ModelSelector) -> Result<ModelVersion>;

    /// Points an alias at a version; returns the version that it pointed at.
    async fn set_alias(&self, model: &str, alias: &str, version: u32) -> Result<Option<u32>>;

    /// The versions of one model, or of all, in order of name and version.
    async fn versions(&self, model: Option<&str>) -> Result<Vec<ModelVersion>>;
}
