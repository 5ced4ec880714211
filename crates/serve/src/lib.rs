//! The HTTP service: scores, features, predictions, health and metrics.
//!
//! A [`ScoreRoute`] declares a path such as `/churn-score/{user_token}`. Its answer comes from the
//! serving cache; where that has none, is down or takes too long, from the newest predictions in
//! the lakehouse; where those have none, are down or take too long, it is the route's default. It
//! always says which of the three it is, so a caller can tell a score from a guess.
//!
//! | source | `latency_path` | more fields |
//! |---|---|---|
//! | `cache` | `redis`, `embedded` | |
//! | `lakehouse` | `iceberg` | `model_version`, `score_date` |
//! | `default` | `no_score_found` | `reason`, where a score may exist that could not be read |
//!
//! [`OnlineFeatures`] answers for features of any views in one round trip to the online store, with
//! those that are computed from the request; [`ModelSource`] is where models come from. A service
//! has them [with](ScoreService::with_features) [both](ScoreService::with_models) or without.
//!
//! # Example
//!
//! ```
//! # fn main() -> icecore_core::Result<()> {
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! use std::sync::Arc;
//!
//! use icecore_core::{Result, SystemClock, TableName};
//! use icecore_serve::{LakeScore, ScoreLookup, ScoreRoute, ScoreService, ServeOptions, serve};
//!
//! /// Where scores come from that are not in the cache; a real service takes a `LakeLookup`.
//! #[derive(Debug)]
//! struct Nowhere;
//!
//! #[async_trait::async_trait]
//! impl ScoreLookup for Nowhere {
//!     fn latency_path(&self) -> &str {
//!         "nowhere"
//!     }
//!     async fn lookup(&self, _: &ScoreRoute, _: &str) -> Result<Option<LakeScore>> {
//!         Ok(None)
//!     }
//! }
//!
//! let table = TableName::parse("ml_predictions.churn_scores")?;
//! let mut route = ScoreRoute::new("churn", "/churn-score/{user_token}", table);
//! route.prediction_column = "churn_probability".into();
//! route.default = 0.05;
//! let options = ServeOptions { routes: vec![route], ..ServeOptions::default() };
//! let service = ScoreService::new(None, Arc::new(Nowhere), Arc::new(SystemClock), options)?;
//!
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
//! let shutdown = async { /* until a signal comes */ };
//! serve(service, listener, shutdown).await?;
//! # Ok(())
//! # })
//! # }
//! ```
//!
//! # Stability
//!
//! Fields of answers keep their names and meanings; more may follow.

mod answer;
mod auth;
mod breaker;
mod features;
mod http;
mod lake;
mod log;
mod models;
mod openapi;
mod options;
mod places;
mod route;
mod service;
mod telemetry;

pub use auth::{Role, TokenGrant};
pub use breaker::BreakerOptions;
pub use features::{
    FeatureAnswer, FeatureColumn, FeatureOptions, FeatureQuery, FeatureSource, OnlineFeatures,
};
pub use http::serve;
pub use lake::{LakeLookup, LakeOptions, LakeScore, ScoreLookup};
pub use log::{Folded, LogOptions, LogUnit, OTHERS, RequestSink, fold_others};
pub use models::{LoadedModel, ModelSource};
pub use options::ServeOptions;
pub use route::ScoreRoute;
pub use service::ScoreService;
