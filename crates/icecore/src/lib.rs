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
//! The parts' own crates are re-exported as modules under the names of their jobs; depend on one of
//! them alone to use it alone.

mod config;
mod delete;
mod features;
mod feedback;
mod flight_source;
mod ingest;
mod init;
mod model_files;
mod models;
mod monitors;
mod online;
mod project;
mod push;
mod registry;
mod request_log;
pub mod rows;
mod runs;
mod score;
mod service;
mod train;
mod upkeep;

pub use config::{
    CatalogConfig, Config, EngineConfig, FlightConfig, LogConfig, ModelsConfig, OnlineConfig,
    PushConfig, Secret, ServeConfig, StorageConfig, TlsConfig, TokenConfig, TrackingConfig,
};
pub use feedback::EvaluatedScores;
pub use icecore_engine::files;
pub use icecore_features::ComputeOptions;
pub use icecore_score::{LabelOptions, LabelPlan, LabelReport, MaterializeOptions, ScoreProgress};
pub use ingest::{IngestJob, IngestReport, RowWrite};
pub use init::{Template, init};
pub use model_files::{Explanation, InputImportance, ModelFormat, read_model};
pub use models::{ModelJob, parse_vars};
pub use monitors::{CompareOptions, Profiled};
pub use online::OnlineValue;
pub use project::{OpenOptions, Project};
pub use push::{PushJob, PushReport};
pub use registry::ViewUse;
pub use score::{ExplainedFeature, ExplainedScore, MaterializedScores, ScoreOptions, ScoredRun};
pub use train::{ReproduceReport, TrainOptions, TrainReport};

pub use icecore_catalog as catalog;
pub use icecore_dataset as dataset;
pub use icecore_engine as engine;
pub use icecore_features as views;
pub use icecore_flight as flight;
pub use icecore_materialize as materialize;
pub use icecore_models as sql_models;
pub use icecore_monitor as monitor;
pub use icecore_online as online_store;
pub use icecore_push as pushed;
pub use icecore_serve as serve;
pub use icecore_tls as tls;
pub use icecore_traces as traces;
pub use icecore_tracking as tracking;
