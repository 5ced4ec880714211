//! The lakehouse for machine learning: a project, and every job on it as one call.
//!
//! A [`Project`] reads `icecore.toml`, builds the parts that it names (tables, queries, serving
//! cache, runs and models) and offers what they do together: ingest files, compute features, build
//! and lock training sets, train and reproduce models, score, materialize, serve. Services embed
//! this crate; the `icecore` binary is a thin layer over it.
//!
//! # Example
//!
//! ```no_run
//! use icecore::{ComputeOptions, IngestJob, OpenOptions, Project, ScoreOptions};
//!
//! # async fn nightly() -> icecore_core::Result<()> {
//! let project = Project::open("churn", OpenOptions::default()).await?;
//! let payments = IngestJob::new("events.raw_transactions".parse()?, vec!["today.parquet".into()]);
//! project.ingest(payments).await?;
//! project.compute_features("churn_features", ComputeOptions::default()).await?;
//! let scored = project.score("churn", ScoreOptions::default()).await?;
//! println!("{} users scored with version {}", scored.report.rows, scored.model_version);
//! # Ok(())
//! # }
//! ```
//!
//! # Stability
//!
//! The parts' own crates are re-exported as modules under their own names: `icecore::features` is
//! `icecore_features`. Depend on one of them alone to use it alone.

mod config;
mod init;
mod project;
pub mod rows;

pub use config::{
    CatalogConfig, Config, EngineConfig, FlightConfig, LogConfig, ModelsConfig, OnlineConfig,
    PushConfig, Secret, ServeConfig, StorageConfig, TlsConfig, TokenConfig, TrackingConfig,
};
pub use icecore_engine::files;
pub use icecore_features::ComputeOptions;
pub use icecore_score::{LabelOptions, LabelPlan, LabelReport, MaterializeOptions, ScoreProgress};
pub use init::{Template, init};
pub use project::feedback::EvaluatedScores;
pub use project::ingest::{IngestJob, IngestReport, RowWrite};
pub use project::model_files::{Explanation, InputImportance, ModelFormat, read_model};
pub use project::models::{ModelJob, parse_vars};
pub use project::monitors::{CompareOptions, Profiled};
pub use project::online::OnlineValue;
pub use project::push::{PushJob, PushReport};
pub use project::registry::ViewUse;
pub use project::score::{
    ExplainedFeature, ExplainedScore, MaterializedScores, ScoreOptions, ScoredRun,
};
pub use project::train::{ReproduceReport, TrainOptions, TrainReport};
pub use project::{OpenOptions, Project};

pub use icecore_catalog as catalog;
pub use icecore_core as core;
pub use icecore_dataset as dataset;
pub use icecore_engine as engine;
pub use icecore_features as features;
pub use icecore_flight as flight;
pub use icecore_materialize as materialize;
pub use icecore_models as models;
pub use icecore_monitor as monitor;
pub use icecore_online as online;
pub use icecore_push as push;
pub use icecore_score as score;
pub use icecore_serve as serve;
pub use icecore_tls as tls;
pub use icecore_traces as traces;
pub use icecore_tracking as tracking;
pub use icecore_train as train;
