//! Training sets: built from a spine and feature views, every input pinned, locked, verified.
//!
//! A definition ([`DatasetSpec`]) names a query for the rows and the features that they get. A
//! [`build`] pins every table that either reads, joins point in time, proves that no row saw its
//! future, writes the rows to a table, tags what they came from, and writes a [`Lock`] beside the
//! definition. [`load`] reads those rows and nothing else; [`verify`] makes them again from the
//! lock's pins and compares; [`diff`] says what differs between two locks.
//!
//! # Example
//!
//! ```
//! use icecore_core::{Result, TrainingSet};
//! use icecore_dataset::{BuildOptions, DatasetSpec, LoadOptions, build, load, verify};
//! use icecore_engine::Engine;
//! use icecore_features::Definitions;
//!
//! async fn churn(engine: &Engine, definitions: &Definitions) -> Result<TrainingSet> {
//!     let spec = DatasetSpec::load("training/churn.toml".as_ref())?;
//!     let built = build(engine, definitions, &spec, BuildOptions::default()).await?;
//!     assert!(verify(engine, &built.lock, Some(definitions)).await?.equal());
//!     Ok(load(engine, &built.lock, LoadOptions::default()).await?.set)
//! }
//! ```

mod build;
mod chosen;
mod dense;
mod diff;
mod digest;
mod document;
mod first_difference;
mod found;
mod handoff;
mod leak;
mod load;
mod lock;
mod moment;
mod on_demand;
mod parts;
mod plan;
mod retrieve;
mod rows;
mod rules;
mod settings;
mod shape;
mod spec;
mod split;
mod statistics;
mod streamed;
mod target;
#[cfg(test)]
mod tests;
mod verify;

pub use build::{BuildOptions, BuiltDataset, build};
pub use dense::{DenseMatrix, Element};
pub use diff::{
    Change, ColumnChange, DefinitionChange, InputChange, LockDiff, SettingChange, diff,
};
pub use digest::{RowsDigest, digest, rebuilt_digest};
pub use handoff::{HandOff, matrix, stream};
pub use leak::{LeakCheck, ViewLeakCheck};
pub use load::{LoadOptions, LoadedSet, RowsFrom, load};
pub use lock::{DatasetPlan, InputRole, Lock, LockedInput, LockedSpine, LockedView, lockfile_path};
pub use moment::LockedWindows;
pub use on_demand::LockedOnDemand;
pub use parts::{LockedSplit, SplitBy};
pub use plan::plan;
pub use retrieve::{Asked, Retrieval, Retrieved, retrieve};
pub use rows::explain;
pub use rules::{ViewRules, Windows};
pub use shape::{LockedMaturity, Unmatured};
pub use spec::{
    CrossValidationSpec, DatasetSpec, FoldBy, MaturitySpec, ModelSpec, SearchSpec, definition_files,
};
pub use split::SplitSpec;
pub use statistics::{ColumnStatistics, Value};
pub use streamed::{StreamedSet, StreamedSide, open, size};
pub use verify::{Verification, verify};
