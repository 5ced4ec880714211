//! The vocabulary and the stable traits of icecore, a lakehouse for machine learning.
//!
//! Every other crate of the workspace depends on this one, and this one depends on none of them.
//! Implement a trait from here to plug in a catalog, a trainer or a serving cache of your own;
//! depend on the `icecore` crate instead when you only want to use them.
//!
//! # Example
//!
//! Reads always go through a [`PinnedTable`], so a training run cannot depend on data that moves:
//!
//! ```
//! use icecore_core::{Result, ScanOptions, SnapshotCatalog, SnapshotSelector, TableName, Timestamp};
//!
//! async fn january(catalog: &dyn SnapshotCatalog) -> Result<()> {
//!     let table = TableName::parse("features.churn")?;
//!     let as_of = SnapshotSelector::AsOf(Timestamp::parse("2026-01-31")?);
//!     let pinned = catalog.pin(&table, &as_of).await?;
//!     let _rows = catalog.scan(&pinned, ScanOptions::default()).await?;
//!     Ok(())
//! }
//! ```
//!
//! # Stability
//!
//! Traits gain methods only with a default body; options and kinds are `#[non_exhaustive]`; the
//! only foreign types in a signature are Arrow's.

mod aggregate;
mod batch;
mod document;
mod error;
mod feature;
mod learn;
mod name;
mod online;
mod param;
mod pit;
mod predicate;
mod snapshot;
mod source;
mod suggest;
mod time;
mod tracking;
mod value_type;
mod window;

pub use aggregate::{AggregateFunction, Finite};
pub use batch::BatchStream;
pub use document::parse_toml;
pub use error::{Error, ErrorKind, Location, Result, Source};
pub use feature::{
    Aggregate, Derived, Emit, Entity, FeatureEngine, FeatureService, FeatureView, JoinKey,
    OnlineForm, PushSource, RequestInput, ServiceForm,
};
pub use learn::{
    Importance, Model, ModelSignature, OutputKind, Prediction, SignatureColumn, Trainer,
    TrainingSet, is_feature_type, is_text_type,
};
pub use name::{RefName, RunId, SnapshotId, TableName};
pub use online::{
    ApplySummary, DigestHasher, DigestMap, DigestSet, GatheredRows, KeyDigest, NewestRows,
    OnlineChange, OnlineEntry, OnlineStore, RowVersion, ScanPage,
};
pub use param::ParamValue;
pub use pit::{FeatureTable, Knowledge, PitOptions, PointInTimeJoin, Spine};
pub use predicate::{CompareOp, Literal, Predicate};
pub use snapshot::{
    CommitOptions, Committed, Isolation, NewTable, PinnedTable, ScanOptions, SnapshotCatalog,
    SnapshotInfo, SnapshotSelector, WriteMode,
};
pub use source::TrainingSource;
pub use suggest::nearest;
pub use time::{Clock, Date, FixedClock, Span, SystemClock, TimeRange, Timestamp};
pub use tracking::{
    ArtifactStore, ModelRegistry, ModelSelector, ModelVersion, NewRun, Run, RunEntries, RunStatus,
    RunTracker,
};
pub use value_type::ValueType;
pub use window::{Closed, Shape, Window};
