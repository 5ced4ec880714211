//! DataFusion sessions over pinned Iceberg tables, the window operator, and readers of the user's files.

mod diff;
mod engine;
mod error;
pub mod files;
mod provider;
mod query;
mod resolve;
mod session;
mod stream;
mod window;

pub use diff::TableDiff;
pub use engine::{Engine, EngineOptions};
pub use error::from_datafusion;
pub use window::{WindowNode, window_frame, window_planner};

#[cfg(test)]
mod tests;
