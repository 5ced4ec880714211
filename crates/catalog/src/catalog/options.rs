//! What to open a catalog with.

use std::fmt;
use std::sync::Arc;

use icecore_core::{Clock, SystemClock};
use object_store::ObjectStore;

use crate::ids::{Ids, RandomIds};
use crate::pointer::PointerStore;
use crate::rest::Credentials;
use crate::storage::{StorageLimits, StorageOptions};
use crate::timer::{SystemTimer, Timer};

/// The name that a catalog has in its `catalog_name` column unless it is given another.
const DEFAULT_NAME: &str = "icecore";

/// What to open.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CatalogOptions {
    /// Where tables are looked up: `sqlite:PATH`, `postgres://USER@HOST/DATABASE`, or the
    /// `https://` address of a REST catalog.
    pub uri: String,
    /// What opens it, kept apart from the URI so that it is never shown.
    pub access: CatalogAccess,
    /// The `catalog_name` column: several catalogs may share a file.
    pub name: String,
    /// Where new tables are put: a directory, or a URL such as `s3://bucket/warehouse`.
    pub warehouse: String,
    /// Where times of commits come from.
    pub clock: Arc<dyn Clock>,
    /// Where ids of tables, snapshots and files come from.
    pub ids: Arc<dyn Ids>,
    /// What writers that collided wait with.
    pub timer: Arc<dyn Timer>,
    /// How files are reached, and how large they may be.
    pub storage: StorageOptions,
}

impl CatalogOptions {
    /// A catalog named `icecore` on the machine's clock.
    pub fn new(uri: impl Into<String>, warehouse: impl Into<String>) -> Self {
        Self {
            uri: uri.into(),
            access: CatalogAccess::default(),
            name: DEFAULT_NAME.to_owned(),
            warehouse: warehouse.into(),
            clock: Arc::new(SystemClock),
            ids: Arc::new(RandomIds),
            timer: Arc::new(SystemTimer),
            storage: StorageOptions::default(),
        }
    }

    /// Takes the `catalog_name` column to be this.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Takes times of commits from this clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Takes ids from this source.
    #[must_use]
    pub fn with_ids(mut self, ids: Arc<dyn Ids>) -> Self {
        self.ids = ids;
        self
    }

    /// Waits with this between the tries of a commit.
    #[must_use]
    pub fn with_timer(mut self, timer: Arc<dyn Timer>) -> Self {
        self.timer = timer;
        self
    }

    /// Opens the catalog with these secrets.
    #[must_use]
    pub fn with_access(mut self, access: CatalogAccess) -> Self {
        self.access = access;
        self
    }

    /// Reaches files like this.
    #[must_use]
    pub fn with_storage(mut self, storage: StorageOptions) -> Self {
        self.storage = storage;
        self
    }
}

/// Secrets that open a catalog.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CatalogAccess {
    /// The password of a database.
    pub password: Option<String>,
    /// The bearer token that a REST catalog wants.
    pub token: Option<String>,
    /// `ID:SECRET`, with which a REST catalog gives out tokens (OAuth 2, client credentials).
    pub credential: Option<String>,
    /// What such a token is to be good for. Default `catalog`.
    pub scope: Option<String>,
    /// Where such tokens are given out, if not at the catalog itself.
    pub token_endpoint: Option<String>,
}

impl CatalogAccess {
    pub(super) fn credentials(&self) -> Credentials {
        match (&self.token, &self.credential) {
            (Some(token), _) => Credentials::Token(token.clone()),
            (None, Some(credential)) => {
                Credentials::client(credential, self.scope.clone(), self.token_endpoint.clone())
            }
            (None, None) => Credentials::None,
        }
    }
}

impl fmt::Debug for CatalogAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CatalogAccess").finish_non_exhaustive()
    }
}

/// A catalog of parts that are not the usual ones: for simulations, and for stores of one's own.
#[doc(hidden)]
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CatalogParts {
    /// Where the pointers to tables are.
    pub pointers: Arc<dyn PointerStore>,
    /// Where files are. Keys begin with the scheme: `memory:///wh/t/1` is `memory/wh/t/1`,
    /// `file:///wh/t/1` is `file/wh/t/1`, `s3://bucket/t/1` is `s3/bucket/t/1`.
    pub store: Arc<dyn ObjectStore>,
    /// Where new tables are put: a URL.
    pub warehouse: String,
    /// What the catalog is called.
    pub name: String,
    /// Where times of commits come from.
    pub clock: Arc<dyn Clock>,
    /// Where ids of tables, snapshots and files come from.
    pub ids: Arc<dyn Ids>,
    /// What writers that collided wait with.
    pub timer: Arc<dyn Timer>,
    /// Sizes up to which files are opened.
    pub limits: StorageLimits,
}

impl CatalogParts {
    /// These, and the usual clock, ids and timer.
    pub fn new(
        pointers: Arc<dyn PointerStore>,
        store: Arc<dyn ObjectStore>,
        warehouse: impl Into<String>,
    ) -> Self {
        Self {
            pointers,
            store,
            warehouse: warehouse.into(),
            name: DEFAULT_NAME.to_owned(),
            clock: Arc::new(SystemClock),
            ids: Arc::new(RandomIds),
            timer: Arc::new(SystemTimer),
            limits: StorageLimits::default(),
        }
    }
}
