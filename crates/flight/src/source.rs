//! What is served.

use std::fmt;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use icecore_core::{BatchStream, Result};

use crate::request::{DatasetRequest, FeatureRequest};

/// A training set, in short.
#[derive(Debug, Clone)]
pub struct DatasetSummary {
    /// Its name.
    pub name: String,
    /// The columns that come.
    pub schema: SchemaRef,
    /// How many rows come; absent where a condition decides.
    pub rows: Option<u64>,
    /// The hash of all its rows.
    pub content_hash: String,
}

/// Where rows come from.
#[async_trait]
pub trait FlightSource: fmt::Debug + Send + Sync + 'static {
    /// The training sets that have a lock.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a lock that cannot be read.
    async fn datasets(&self) -> Result<Vec<DatasetSummary>>;

    /// The rows of a training set from the state that its lock pins, which need not be read.
    ///
    /// # Errors
    ///
    /// `NotFound` for a dataset or a column that there is not, `InvalidInput` for what does not fit it.
    async fn dataset(&self, request: &DatasetRequest) -> Result<(DatasetSummary, BatchStream)>;

    /// Rows with features, each as it was known at the row's moment.
    ///
    /// # Errors
    ///
    /// `NotFound` and `InvalidInput` for what is asked for and nobody has.
    async fn features(&self, request: &FeatureRequest, rows: BatchStream) -> Result<BatchStream>;
}
