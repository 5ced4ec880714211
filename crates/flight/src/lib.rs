//! Training sets and features for Arrow Flight clients: Python's `pyarrow.flight` and others.
//!
//! A client names a training set and gets its rows as they were locked, in Arrow batches as they are
//! read; or it sends rows with keys and moments and gets them back with features, each as it was known
//! then. Nothing is kept in memory but the batches on their way.
//!
//! | call | with | gives |
//! |---|---|---|
//! | `list_flights` | | the training sets that have a lock |
//! | `get_flight_info`, `get_schema` | the path `dataset/NAME`, or a command | columns, rows, a ticket |
//! | `do_get` | a ticket | rows |
//! | `do_exchange` | a command with `features`, and rows | the rows with features |
//!
//! Commands and tickets are JSON: [`DatasetRequest`] and [`FeatureRequest`].
//!
//! # Example
//!
//! ```
//! use std::sync::Arc;
//!
//! use icecore_core::{BatchStream, Error, Result};
//! use icecore_flight::{DatasetRequest, DatasetSummary, FeatureRequest, FlightOptions, FlightSource, serve};
//!
//! /// A lake without training sets; a real one is `icecore::Project`.
//! #[derive(Debug)]
//! struct Empty;
//!
//! #[async_trait::async_trait]
//! impl FlightSource for Empty {
//!     async fn datasets(&self) -> Result<Vec<DatasetSummary>> {
//!         Ok(Vec::new())
//!     }
//!     async fn dataset(&self, request: &DatasetRequest) -> Result<(DatasetSummary, BatchStream)> {
//!         Err(Error::not_found(format!("there is no dataset `{}`", request.dataset)))
//!     }
//!     async fn features(&self, _: &FeatureRequest, _: BatchStream) -> Result<BatchStream> {
//!         Err(Error::not_found("there are no features"))
//!     }
//! }
//!
//! # fn main() -> Result<()> {
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
//! let shutdown = async { /* until a signal comes */ };
//! serve(Arc::new(Empty), listener, FlightOptions::default(), shutdown).await
//! # })
//! # }
//! ```
//!
//! # Stability
//!
//! Keys of commands keep their names and meanings; more may follow.

mod auth;
mod encrypted;
mod request;
mod serve;
mod service;
mod source;
mod status;

pub use request::{DatasetRequest, FeatureRequest, ViewRequest};
pub use serve::{FlightOptions, serve};
pub use source::{DatasetSummary, FlightSource};
