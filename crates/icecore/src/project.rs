//! A project: its settings, the parts that they build, and a file for each job on them.

pub(crate) mod delete;
pub(crate) mod features;
pub(crate) mod feedback;
pub(crate) mod flight_source;
pub(crate) mod ingest;
pub(crate) mod model_files;
pub(crate) mod models;
pub(crate) mod monitors;
pub(crate) mod online;
pub(crate) mod push;
pub(crate) mod registry;
pub(crate) mod request_log;
pub(crate) mod runs;
pub(crate) mod score;
pub(crate) mod service;
pub(crate) mod train;
pub(crate) mod upkeep;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use icecore_catalog::IcebergCatalog;
use icecore_core::{Clock, Error, OnlineStore, Result, SystemClock};
use icecore_dataset::DatasetSpec;
use icecore_engine::{Engine, EngineOptions};
use icecore_features::Definitions;
use icecore_score::ScoringSpec;
use icecore_tracking::{FileArtifacts, SqlTracker};

use crate::Config;

/// How to open a project.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct OpenOptions {
    /// Where the present comes from.
    pub clock: Arc<dyn Clock>,
    /// The environment that is laid over the settings.
    pub environment: BTreeMap<String, String>,
    /// Threads, over the project's setting.
    pub threads: Option<usize>,
    /// The code's version, recorded with every run.
    pub code_version: String,
}

impl Default for OpenOptions {
    /// The machine's clock, no environment, the project's own settings.
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            environment: BTreeMap::new(),
            threads: None,
            code_version: format!("icecore {}", env!("CARGO_PKG_VERSION")),
        }
    }
}

impl OpenOptions {
    /// Lays these variables over the settings.
    #[must_use]
    pub fn with_environment(mut self, environment: BTreeMap<String, String>) -> Self {
        self.environment = environment;
        self
    }

    /// Takes the present from this clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Runs on so many threads.
    #[must_use]
    pub const fn with_threads(mut self, threads: Option<usize>) -> Self {
        self.threads = threads;
        self
    }
}

/// A lakehouse with everything that belongs to it. Cheap to share behind an [`Arc`].
#[derive(Debug)]
pub struct Project {
    dir: PathBuf,
    config: Config,
    clock: Arc<dyn Clock>,
    engine: Engine,
    tracker: SqlTracker,
    artifacts: FileArtifacts,
    code_version: String,
    environment: BTreeMap<String, String>,
}

impl Project {
    /// Opens the project in `dir`; its embedded state is made where it is not there yet.
    ///
    /// # Errors
    ///
    /// `NotFound` if `dir` has no `icecore.toml`; `InvalidInput` for a mistake in it;
    /// `Unavailable` if something that it names does not answer.
    pub async fn open(dir: impl AsRef<Path>, options: OpenOptions) -> Result<Self> {
        let dir = std::path::absolute(dir.as_ref()).map_err(|error| {
            Error::invalid("the project's directory has no absolute path").with_source(error)
        })?;
        let config = Config::load(&dir, &options.environment)?;
        let catalog = config.catalog.options(&dir, &config.storage)?;
        let catalog = catalog.with_clock(Arc::clone(&options.clock));
        let catalog = IcebergCatalog::open(catalog).await?;

        let mut engine = EngineOptions::default();
        engine.threads = options.threads.unwrap_or(config.engine.threads);
        engine.memory_limit = config.engine.memory_bytes()?;
        engine.spill_dir = Some(dir.join(".icecore").join("spill"));
        let engine = Engine::new(catalog, engine)?;

        let tracking = config.tracking.database(&dir, &config.catalog)?;
        let artifacts = config.tracking.artifacts(&dir)?;
        let uri = format!("sqlite:{}", tracking.display());
        let tracker = SqlTracker::open(&uri, Arc::clone(&options.clock)).await?;
        let artifacts = FileArtifacts::open(artifacts)?;
        let clock = options.clock;
        Ok(Self {
            dir,
            config,
            clock,
            engine,
            tracker,
            artifacts,
            code_version: options.code_version,
            environment: options.environment,
        })
    }

    /// The project's directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The project's settings.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Where the present comes from.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Queries over the project's tables.
    #[must_use]
    pub const fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The project's tables.
    #[must_use]
    pub fn catalog(&self) -> &IcebergCatalog {
        self.engine.catalog()
    }

    /// The project's runs and models.
    #[must_use]
    pub const fn tracker(&self) -> &SqlTracker {
        &self.tracker
    }

    /// The files of the project's runs.
    #[must_use]
    pub const fn artifacts(&self) -> &FileArtifacts {
        &self.artifacts
    }

    /// The environment that the project was opened with.
    #[must_use]
    pub const fn environment(&self) -> &BTreeMap<String, String> {
        &self.environment
    }

    /// What is recorded as the version of the code.
    #[must_use]
    pub fn code_version(&self) -> &str {
        &self.code_version
    }

    /// Connects to the serving cache.
    ///
    /// # Errors
    ///
    /// `Unavailable` if it does not answer, or if another process holds the embedded one.
    pub async fn online(&self) -> Result<Arc<dyn OnlineStore>> {
        icecore_online::open(&self.config.online.url, &self.dir, Arc::clone(&self.clock)).await
    }

    /// The project's feature views.
    ///
    /// # Errors
    ///
    /// `InvalidInput` with every mistake of every file.
    pub fn definitions(&self) -> Result<Definitions> {
        Definitions::load(&self.dir.join("features"))
    }

    /// The path of a definition: `training/NAME.toml`, `scoring/NAME.toml`.
    ///
    /// # Errors
    ///
    /// `NotFound` with the names that are there.
    pub fn definition_path(&self, folder: &str, name: &str) -> Result<PathBuf> {
        let names = self.definition_names(folder)?;
        if names.iter().any(|known| known == name) {
            return Ok(self.dir.join(folder).join(format!("{name}.toml")));
        }
        Err(Error::not_found(format!("there is no `{folder}/{}.toml`", name.escape_debug()))
            .with_candidates(name, names.iter().map(String::as_str))
            .with_note(match names.len() {
                0 => format!("`{folder}/` has no definition"),
                _ => format!("there are: {}", names.join(", ")),
            }))
    }

    /// The names of the definitions in a folder, in order.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the folder cannot be read; an absent one has none.
    pub fn definition_names(&self, folder: &str) -> Result<Vec<String>> {
        let files = icecore_dataset::definition_files(&self.dir.join(folder))?;
        let stem = |file: &PathBuf| Some(file.file_stem()?.to_str()?.to_owned());
        let mut names: Vec<String> = files.iter().filter_map(stem).collect();
        names.sort();
        Ok(names)
    }

    /// Reads a training definition.
    ///
    /// # Errors
    ///
    /// `NotFound` with the names that are there, `InvalidInput` for a mistake.
    pub fn training(&self, name: &str) -> Result<(DatasetSpec, PathBuf)> {
        let path = self.definition_path("training", name)?;
        Ok((DatasetSpec::load(&path)?, path))
    }

    /// Reads a scoring definition.
    ///
    /// # Errors
    ///
    /// `NotFound` with the names that are there, `InvalidInput` for a mistake.
    pub fn scoring(&self, name: &str) -> Result<ScoringSpec> {
        ScoringSpec::load(&self.definition_path("scoring", name)?)
    }
}
