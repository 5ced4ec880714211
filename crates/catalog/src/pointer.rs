//! The one thing of a table that changes in place: the pointer to its current metadata.

use std::fmt;

use async_trait::async_trait;
use icecore_core::{Error, Result, TableName};

/// Where each table's current metadata file is named.
///
/// # Contract
///
/// - [`swap`](Self::swap) is a compare-and-swap: of any number of writers that read the same
///   pointer, one succeeds.
/// - What is stored survives a power cut once `Done` or `Ok` was returned.
#[async_trait]
pub(crate) trait PointerStore: fmt::Debug + Send + Sync + 'static {
    /// The tables, in order of name.
    async fn list(&self) -> Result<Vec<TableName>>;

    /// The location of a table's metadata, or `None` where there is no such table.
    async fn find(&self, table: &TableName) -> Result<Option<String>>;

    /// Enters a new table. [`Swap::Moved`] means that the name is taken.
    async fn create(&self, table: &TableName, location: &str) -> Swap;

    /// Points a table at other metadata if it points at `from` now.
    async fn swap(&self, table: &TableName, from: &str, to: &str) -> Swap;

    /// Removes a table's pointer, and says whether there was one.
    async fn remove(&self, table: &TableName) -> Result<bool>;
}

/// What became of a compare-and-swap.
#[derive(Debug)]
pub(crate) enum Swap {
    /// It is stored.
    Done,
    /// The pointer was another one: nothing happened.
    Moved,
    /// It failed before anything could have happened.
    Failed(Error),
    /// Nobody knows whether it happened: the answer was lost.
    Unknown(Error),
}
