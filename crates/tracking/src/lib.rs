//! Runs, parameters, metrics, artifacts and the model registry.
//!
//! [`SqlTracker`] is a [`RunTracker`](icecore_core::RunTracker) and a
//! [`ModelRegistry`](icecore_core::ModelRegistry) in an SQLite file, by default the one of the
//! catalog: its tables are prefixed `icecore_`. [`FileArtifacts`] is an
//! [`ArtifactStore`](icecore_core::ArtifactStore) in a directory.
//!
//! The tracker does not know the artifact store, so [`Run::artifacts`](icecore_core::Run) comes
//! from here empty; who holds both fills it from
//! [`ArtifactStore::list`](icecore_core::ArtifactStore::list).
//!
//! # Example
//!
//! ```
//! # fn main() -> icecore_core::Result<()> {
//! # let folder = tempfile::tempdir().unwrap();
//! # let dir = folder.path();
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! use std::sync::Arc;
//!
//! use icecore_core::{ModelRegistry, ModelSelector, NewRun, RunEntries, RunTracker, SystemClock};
//! use icecore_tracking::SqlTracker;
//!
//! let uri = format!("sqlite:{}/catalog.db", dir.display());
//! let tracker = SqlTracker::open(&uri, Arc::new(SystemClock)).await?;
//! let run = tracker.start(NewRun::new("/ml/churn-prediction", "churn-gbm-snapshot-7")).await?;
//! let metrics = [("cv_auc_mean".to_owned(), 0.87)].into();
//! tracker.log(&run, RunEntries { metrics, ..RunEntries::default() }).await?;
//!
//! let hash = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
//! let version = tracker.register("churn-prediction-gbm", &run, "model.json", hash).await?;
//! tracker.set_alias("churn-prediction-gbm", "Production", version.version).await?;
//! let production = ModelSelector::Alias("Production".into());
//! assert_eq!(tracker.resolve("churn-prediction-gbm", &production).await?.run, run);
//! # Ok(())
//! # })
//! # }
//! ```
//!
//! # Deleting
//!
//! A deleted run is out of sight and can be brought back, until [`remove_deleted_runs`] takes it and
//! its files away. A deleted version of a model is gone; its number is never given again. What is
//! needed elsewhere is deleted only by force.
//!
//! # Stability
//!
//! The tables carry a version. A newer icecore brings older tables up to date when it opens them;
//! an older one refuses newer tables.

mod artifacts;
mod database;
mod removal;
mod tracker;

pub use artifacts::FileArtifacts;
pub use removal::{RemovedRuns, removable_runs, remove_deleted_runs};
pub use tracker::{DeleteOptions, DeletedRun, DeletedRuns, MetricPoint, SqlTracker};
