//! Opening a catalog.

use std::sync::Arc;

use icecore_core::Result;

use super::{CatalogOptions, CatalogParts, IcebergCatalog, Shared};
use crate::memory;
use crate::rest::{RestCatalog, RestOptions};
use crate::sql;
use crate::storage::{Files, Warehouse};
use crate::tables::{Backend, Tables};

impl IcebergCatalog {
    /// Opens a catalog, creating its file, its SQL tables and the warehouse where they are not
    /// there.
    ///
    /// # Errors
    ///
    /// `Unsupported` for a kind of catalog or warehouse that icecore does not open, `Unavailable`
    /// if the database or the directory cannot be opened.
    pub async fn open(options: CatalogOptions) -> Result<Self> {
        if options.uri.starts_with("http:") || options.uri.starts_with("https:") {
            return Self::open_rest(options).await;
        }
        let warehouse = Warehouse::open(&options.warehouse).await?;
        let password = options.access.password.as_deref();
        let pointers = sql::open(&options.uri, &options.name, password).await?;
        let files = Files::open(&warehouse, &options.storage)?;
        let tables = Tables::new(Backend::Pointers(pointers), files, options.clock)
            .with_ids(options.ids)
            .with_timer(options.timer);
        Ok(Self::of(tables, options.name, warehouse))
    }

    /// Opens a catalog behind Iceberg's REST protocol. A warehouse that is no place of files is one
    /// that the server knows by this name.
    async fn open_rest(options: CatalogOptions) -> Result<Self> {
        let is_place = options.warehouse.contains("://") || options.warehouse.starts_with('/');
        let warehouse = if is_place {
            Warehouse::open(&options.warehouse).await?
        } else {
            Warehouse::named(&options.warehouse)
        };
        let base = is_place.then(|| warehouse.url().to_owned());
        let rest = RestOptions {
            uri: options.uri,
            credentials: options.access.credentials(),
            allow_http: options.storage.buckets.allow_http,
            answer_bytes: options.storage.limits.metadata_bytes,
            ids: Arc::clone(&options.ids),
            timer: Arc::clone(&options.timer),
        };
        let rest = RestCatalog::open(rest, warehouse.url(), base).await?;
        let files = Files::open(&warehouse, &options.storage)?;
        let tables = Tables::new(Backend::Rest(Box::new(rest)), files, options.clock)
            .with_ids(options.ids)
            .with_timer(options.timer);
        Ok(Self::of(tables, options.name, warehouse))
    }

    /// Puts a catalog together from parts of one's own.
    ///
    /// # Errors
    ///
    /// `Denied` for a warehouse that is no place of files.
    #[doc(hidden)]
    pub fn from_parts(parts: CatalogParts) -> Result<Self> {
        let warehouse = Warehouse::at(&parts.warehouse);
        let files = Files::over(parts.store, &warehouse, parts.limits)?;
        let tables = Tables::new(Backend::Pointers(parts.pointers), files, parts.clock)
            .with_ids(parts.ids)
            .with_timer(parts.timer);
        Ok(Self::of(tables, parts.name, warehouse))
    }

    pub(super) fn of(tables: Tables, name: String, warehouse: Warehouse) -> Self {
        memory::keep_freed();
        let store = tables.files().object_store();
        Self { shared: Arc::new(Shared { tables, name, warehouse, store }) }
    }
}
