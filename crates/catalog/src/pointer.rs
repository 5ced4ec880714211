//! The one thing of a table that changes in place: the pointer to its current metadata.

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use icecore_core::{Error, ErrorKind, Result, TableName};

/// Where each table's current metadata file is named.
///
/// # Contract
///
/// - [`swap`](Self::swap) is a compare-and-swap, and so are [`rename`](Self::rename) and
///   [`remove`](Self::remove): of any number of writers that read the same pointer, one succeeds.
/// - What is stored survives a power cut once `Done` or `Ok` was returned.
#[async_trait]
pub trait PointerStore: fmt::Debug + Send + Sync + 'static {
    /// The tables, in order of name.
    async fn list(&self) -> Result<Vec<TableName>>;

    /// The location of a table's metadata, or `None` where there is no such table.
    async fn find(&self, table: &TableName) -> Result<Option<String>>;

    /// Enters a new table. [`Swap::Moved`] means that the name is taken.
    async fn create(&self, table: &TableName, location: &str) -> Swap;

    /// Points a table at other metadata if it points at `from` now.
    async fn swap(&self, table: &TableName, from: &str, to: &str) -> Swap;

    /// Gives a table another name if it points at `at` now, in one step. [`Swap::Moved`] means that it
    /// points elsewhere; a name that is taken is [`Swap::Failed`] with `AlreadyExists`.
    async fn rename(&self, table: &TableName, to: &TableName, at: &str) -> Swap;

    /// Removes a table's pointer if it points at `at` now.
    async fn remove(&self, table: &TableName, at: &str) -> Swap;

    /// Waits for the turn among the writers of all processes that collided on a table, first come,
    /// first served. A store without a queue lets everybody pass.
    ///
    /// The queue is for speed and fairness only: [`swap`](Self::swap) is what keeps writers apart.
    async fn queue(&self, _table: &TableName) -> Result<Place> {
        Ok(Place::default())
    }

    /// Whether writers stand in the queue of a table, which one that comes later must not overtake.
    async fn has_queue(&self, _table: &TableName) -> bool {
        false
    }

    /// The namespaces and their properties, where the store keeps them.
    fn namespaces(&self) -> Option<&dyn NamespaceStore> {
        None
    }
}

/// Namespaces, which may exist without tables and have properties.
#[async_trait]
pub trait NamespaceStore: fmt::Debug + Send + Sync + 'static {
    /// All of them with their properties; parts of a name are separated by dots.
    async fn list(&self) -> Result<BTreeMap<String, BTreeMap<String, String>>>;

    /// Makes a namespace have exactly these properties, and exist.
    async fn put(&self, namespace: &str, properties: &BTreeMap<String, String>) -> Result<()>;

    /// Forgets a namespace and says whether there was one. Its tables stay.
    async fn remove(&self, namespace: &str) -> Result<bool>;
}

/// The error for a name that a table or a view has already.
pub(crate) fn taken(name: &TableName) -> Error {
    Error::new(ErrorKind::AlreadyExists, format!("there is a table or a view `{name}` already"))
}

/// What became of a compare-and-swap.
#[derive(Debug)]
pub enum Swap {
    /// It is stored.
    Done,
    /// The pointer was another one: nothing happened.
    Moved,
    /// It failed before anything could have happened.
    Failed(Error),
    /// Nobody knows whether it happened: the answer was lost.
    Unknown(Error),
}

/// The turn in a queue. Given back when dropped, and when its process dies.
#[derive(Default)]
#[must_use = "the turn is over when this is dropped"]
pub struct Place(Option<Box<dyn Send + Sync>>);

impl Place {
    /// A turn that lasts as long as `held`.
    pub fn held(held: impl Send + Sync + 'static) -> Self {
        Self(Some(Box::new(held)))
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Place").field(&self.0.is_some()).finish()
    }
}
