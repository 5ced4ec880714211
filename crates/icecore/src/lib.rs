//! The lakehouse for machine learning: a project, and every job on it as one call.
//!
//! A [`Project`] reads `icecore.toml`, builds the parts that it names (tables, queries, serving
//! cache, runs and models) and offers what they do together: ingest files, compute features, build
//! and lock training sets, train and reproduce models, score, materialize, serve. Services embed
//! this crate; the `icecore` binary is a thin layer over it.
//!
//! # Example
//!
//! A new project, from a file of payments to the features of its users:
//!
//! ```
//! use icecore::{ComputeOptions, IngestJob, OpenOptions, Project, Template};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path();
//! let payments = folder.join("payments.csv");
//! let lines = [
//!     "txn_id,user_token,merchant_id,amount,status,event_timestamp",
//!     "t1,u1,m1,12.50,approved,2026-06-01T09:00:00Z",
//!     "t2,u1,m2,30.00,declined,2026-06-02T10:00:00Z",
//!     "t3,u2,m1,8.25,approved,2026-06-02T11:00:00Z",
//! ];
//! std::fs::write(&payments, lines.join("\n"))?;
//!
//! icecore::init(&folder.join("churn"), Template::Churn)?;
//! let project = Project::open(folder.join("churn"), OpenOptions::default()).await?;
//! project.ingest(IngestJob::new("events.raw_transactions".parse()?, vec![payments])).await?;
//! let view = "user_transaction_features";
//! let done = project.compute_features(view, ComputeOptions::default()).await?;
//! assert_eq!(done.rows, 3);
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
pub use project::monitors::{CompareOptions, Profiled, ServedFeature, ServedSkew};
pub use project::online::OnlineValue;
pub use project::push::{PushJob, PushReport};
pub use project::registry::ViewUse;
pub use project::score::{
    ExplainedFeature, ExplainedScore, MaterializedScores, ScoreOptions, ScoredRun,
};
pub use project::train::{ReproduceOptions, ReproduceReport, RowsProof, TrainOptions, TrainReport};
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
