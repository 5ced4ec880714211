//! SQL models in the manner of dbt: rendered in a sandbox, built on branches, tested, published.
//!
//! A [`ModelProject`] reads `models/**/*.sql` with their macros, seeds, property files and tests,
//! and puts them in order. [`run()`] pins what they read at one moment, builds each on a branch of its
//! table, asks its tests there, and moves `main` along: where a test fails, readers see what they
//! saw before. What comes out under `target/` is what dbt's tools read.
//!
//! # Example
//!
//! ```
//! use std::sync::Arc;
//!
//! use icecore_catalog::{CatalogOptions, IcebergCatalog};
//! use icecore_core::{FixedClock, Result, Timestamp};
//! use icecore_engine::{Engine, EngineOptions};
//! use icecore_models::{LoadOptions, ModelProject, RunOptions, run};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<()> {
//! # let root = tempfile::tempdir().expect("a directory");
//! # let path = |name: &str| root.path().join(name).display().to_string();
//! # std::fs::create_dir_all(path("models/features")).expect("a directory");
//! # let write = |name: &str, text: &str| std::fs::write(path(name), text).expect("a file");
//! write("models/features/numbers.sql", "{{ config(materialized='table') }} select 1 as n");
//! write("models/features/twice.sql", "select n * 2 as n from {{ ref('numbers') }}");
//!
//! let uri = format!("sqlite:{}", path("catalog.db"));
//! let catalog = IcebergCatalog::open(CatalogOptions::new(uri, path("warehouse"))).await?;
//! let engine = Engine::new(catalog, EngineOptions::default())?;
//! let now = Timestamp::parse("2026-11-26T00:00:00Z")?;
//! let project = ModelProject::load(root.path(), LoadOptions::new(now))?;
//! let report = run(&engine, &project, &RunOptions::new(Arc::new(FixedClock(now)))).await?;
//! assert!(report.is_good());
//! assert_eq!(engine.sql("SELECT n FROM features.twice", &[]).await?.concat().await?.num_rows(), 1);
//! # Ok(())
//! # }
//! ```

mod artifacts;
mod config;
mod contract;
mod docs;
mod graph;
mod project;
mod run;
mod select;
mod template;
mod yaml;

pub use artifacts::{manifest, run_results, write_compiled, write_results};
pub use config::{Materialized, NodeConfig, OnNarrowedWindow, OnSchemaChange, Strategy, Updated};
pub use docs::{ModelDocs, document};
pub use project::{
    Column, LoadOptions, ModelProject, Node, NodeKind, SourceTable, TestSpec, Threshold, UnitTest,
};
pub use run::{NodeResult, ProgressCallback, RunOptions, RunReport, Status, run};
pub use select::Selection;
pub use yaml::parse as parse_object;

#[cfg(test)]
mod tests;
