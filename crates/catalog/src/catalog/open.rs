//! Opening a catalog.

use std::sync::Arc;

use icecore_core::Result;

use super::{CatalogOptions, CatalogParts, IcebergCatalog, Shared};
use crate::sql;
use crate::storage::{Files, Warehouse};
use crate::tables::Tables;

impl IcebergCatalog {
    /// Opens a catalog, creating its file, its SQL tables and the warehouse where they are not
    /// there.
    ///
    /// # Errors
    ///
    /// `Unsupported` for a kind of catalog or warehouse that icecore does not open, `Unavailable`
    /// if the database or the directory cannot be opened.
    pub async fn open(options: CatalogOptions) -> Result<Self> {
        let warehouse = Warehouse::open(&options.warehouse).await?;
        let password = options.access.password.as_deref();
        let pointers = sql::open(&options.uri, &options.name, password).await?;
        let files = Files::open(&warehouse, &options.storage)?;
        let tables = Tables::new(pointers, files, options.clock)
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
        let tables = Tables::new(parts.pointers, files, parts.clock)
            .with_ids(parts.ids)
            .with_timer(parts.timer);
        Ok(Self::of(tables, parts.name, warehouse))
    }

    pub(super) fn of(tables: Tables, name: String, warehouse: Warehouse) -> Self {
        let store = tables.files().object_store();
        Self { shared: Arc::new(Shared { tables, name, warehouse, store }) }
    }
}
