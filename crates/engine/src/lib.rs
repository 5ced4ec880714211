//! DataFusion over pinned Iceberg tables, the window operator, and readers of the user's files.
//!
//! This crate is the home of DataFusion: queries, plan nodes and the mapping of its errors are
//! here, and what leaves it is a [`BatchStream`](icecore_core::BatchStream) in the types of tables.
//! An [`Engine`] has one memory pool, one place to spill and any number of sessions. It sees a
//! table only through a pin, so a query reads one state of each table and can be asked again.
//!
//! # Example
//!
//! ```
//! use icecore_catalog::{CatalogOptions, IcebergCatalog};
//! use icecore_core::{
//!     CommitOptions, NewTable, Result, SnapshotCatalog, SnapshotSelector, TableName,
//! };
//! use icecore_engine::files::{FileReadOptions, read_files};
//! use icecore_engine::{Engine, EngineOptions};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<()> {
//! # let root = tempfile::tempdir().expect("a directory");
//! # let path = |name: &str| root.path().join(name).display().to_string();
//! let uri = format!("sqlite:{}", path("catalog.db"));
//! let catalog = IcebergCatalog::open(CatalogOptions::new(uri, path("warehouse"))).await?;
//! let engine = Engine::new(catalog, EngineOptions::default())?;
//!
//! # std::fs::write(path("trips.csv"), "driver,distance\nd1,3.5\nd2,1\nd1,2\n").expect("a file");
//! let trips = TableName::parse("events.trips")?;
//! let rows = read_files(&[path("trips.csv").into()], FileReadOptions::default()).await?;
//! engine.catalog().ensure_table(&trips, &NewTable::new(rows.stream.schema().clone())).await?;
//! engine.catalog().commit(&trips, rows.stream, CommitOptions::default()).await?;
//!
//! let sql = "SELECT driver, sum(distance) FROM events.trips GROUP BY driver ORDER BY driver";
//! let pins = engine.pin_query(sql, &[(trips, SnapshotSelector::Latest)]).await?;
//! let answer = engine.sql(sql, &pins).await?.concat().await?;
//! assert_eq!(answer.num_rows(), 2);
//! # Ok(())
//! # }
//! ```

mod condition;
mod describe;
mod dialect;
mod diff;
mod engine;
mod error;
pub mod files;
mod heaps;
mod known;
pub mod lineage;
mod literals;
mod maps;
mod narrow;
mod parse;
mod provider;
mod query;
mod resolve;
mod session;
mod stream;
mod view;
mod window;

/// A planned query, as [`Engine::query`] gives it.
pub use datafusion::dataframe::DataFrame;
pub use diff::TableDiff;
pub use engine::{Engine, EngineOptions};
pub use error::from_datafusion;
pub use heaps::share_heaps;
pub use icecore_catalog::RowTest;
pub use literals::as_typed;
pub use narrow::Narrowing;
pub use parse::{parse_expression, parse_statements};
pub use resolve::Scope;
pub use view::{View, is_views_table};
pub use window::{AskedRows, WindowNode, moment_of, moment_within, window_frame, window_planner};

#[cfg(test)]
mod tests;
