//! Files: nothing half written is ever visible under its final name, and nothing outside of a
//! table's roots is touched.
//!
//! Everything goes through one [`ObjectStore`] whose keys begin with where a file is. Writes to the
//! local file system go to a temporary name in the same directory, are synced, renamed, and the
//! directory is synced, so a file that is there is whole and survives a power cut; writes to buckets
//! are conditional, so that none takes the place of another.

mod avro;
mod buckets;
mod durable;
mod engine;
mod files;
mod footer;
mod limits;
mod listed;
mod local;
mod location;
mod parse;
mod puffin;
mod roots;
mod router;
mod unread;
mod write;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use iceberg::io::FileIO;
use iceberg::spec::TableMetadata;
use icecore_core::{Error, Result};
use object_store::ObjectStore;

pub(crate) use avro::{
    Codec, Headers, ListKind, ManifestKind, ManifestWriter, NewEntry, avro_name, write_list,
};
pub use buckets::BucketOptions;
pub use limits::StorageLimits;
pub(crate) use listed::{KnownFile, ListedEntry, ListedFile};
pub(crate) use location::local_path;
pub(crate) use location::{FileKey, key_of};
pub(crate) use parse::{
    guarded, load_entries, load_list, load_manifest, read_list, read_manifest, read_metadata,
};
pub(crate) use puffin::{Piece, read_puffin};
pub(crate) use roots::Roots;
pub(crate) use unread::unread_column;

use buckets::Buckets;
use router::Router;

/// How files are reached, and how large they may be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StorageOptions {
    /// Buckets and their credentials.
    pub buckets: BucketOptions,
    /// Sizes up to which files are opened.
    pub limits: StorageLimits,
}

/// Everything that reads and writes the files of a catalog's tables.
#[derive(Debug)]
pub(crate) struct Files {
    store: Arc<dyn ObjectStore>,
    router: Option<Arc<Router>>,
    /// The warehouse, and the roots of every table that was opened.
    known: Arc<Roots>,
    warehouse: Roots,
    limits: StorageLimits,
}

impl Files {
    /// Local files and buckets.
    ///
    /// # Errors
    ///
    /// `Denied` for a warehouse that is no place of files.
    pub(crate) fn open(warehouse: &Warehouse, options: &StorageOptions) -> Result<Self> {
        let router = Arc::new(Router::new(Buckets::new(options.buckets.clone())));
        let mut files = Self::over(Arc::clone(&router) as _, warehouse, options.limits)?;
        files.router = Some(router);
        Ok(files)
    }

    /// The files in another store, which knows them by keys as [`key_of`] makes them.
    pub(crate) fn over(
        store: Arc<dyn ObjectStore>,
        warehouse: &Warehouse,
        limits: StorageLimits,
    ) -> Result<Self> {
        let (known, warehouse) = (warehouse.roots()?, warehouse.roots()?);
        Ok(Self { store, router: None, known: Arc::new(known), warehouse, limits })
    }

    /// The files of the warehouse and of every table that was opened.
    pub(crate) fn io(&self) -> FileIO {
        files::file_io(Arc::clone(&self.store), Arc::clone(&self.known), self.limits)
    }

    /// Any file at all: for a location that the catalog itself names.
    fn io_at(&self, roots: Roots) -> FileIO {
        files::file_io(Arc::clone(&self.store), Arc::new(roots), self.limits)
    }

    /// The files of one table.
    ///
    /// # Errors
    ///
    /// `Denied` if its metadata says that they are where none may be.
    pub(crate) fn io_of(&self, metadata: &TableMetadata, location: &str) -> Result<FileIO> {
        let roots = self.warehouse.of(metadata, location)?;
        self.known.extend(&roots);
        Ok(self.io_at(roots))
    }

    /// Reads a metadata file that the catalog points at.
    ///
    /// # Errors
    ///
    /// `Denied` for a place that is none of files, `LimitExceeded`, `DataCorrupt`.
    pub(crate) async fn read_metadata(&self, location: &str) -> Result<TableMetadata> {
        let roots = Roots::default();
        let directory = location.rsplit_once('/').map_or(location, |(directory, _)| directory);
        roots.add(directory)?;
        parse::read_metadata_within(&self.io_at(roots), location, self.limits.inflated_bytes).await
    }

    /// The files of every table, as Arrow and DataFusion read them.
    pub(crate) fn object_store(&self) -> Arc<dyn ObjectStore> {
        let (store, roots) = (Arc::clone(&self.store), Arc::clone(&self.known));
        Arc::new(engine::Rooted::new(store, roots, self.limits.footer_bytes))
    }

    /// The store that everything goes through.
    #[cfg(test)]
    pub(crate) fn into_store(self) -> Arc<dyn ObjectStore> {
        self.store
    }

    /// Takes credentials for the files below a place that a catalog lent.
    pub(crate) fn lend(&self, location: &str, properties: BTreeMap<String, String>) -> Result<()> {
        if let Some(router) = &self.router {
            router.lend(&key_of(location)?, properties);
        }
        Ok(())
    }

    /// Forgets what was lent for places of a table that are not among those that are lent now: a
    /// narrower place would be believed, and its credentials end. What lends nothing says nothing.
    pub(crate) fn take_back(&self, table_location: &str, lent: &[String]) {
        let keys: Vec<_> = lent.iter().filter_map(|place| key_of(place).ok()).collect();
        if let (Some(router), Ok(table)) = (&self.router, key_of(table_location))
            && !keys.is_empty()
        {
            router.take_back(&table, &keys);
        }
    }
}

/// Where new tables are put.
#[derive(Debug, Clone)]
pub(crate) struct Warehouse {
    /// A URL without a slash at the end, or a name that only a catalog's server understands.
    url: String,
    is_place: bool,
}

impl Warehouse {
    /// Takes a directory, absolute or relative to the working directory, or a URL. A directory is
    /// created.
    pub(crate) async fn open(location: &str) -> Result<Self> {
        let path = match location.split_once("://") {
            Some(("file", path)) => PathBuf::from(path),
            Some((scheme @ ("s3" | "s3a" | "gs" | "az" | "abfs" | "abfss"), rest)) => {
                let rest = rest.trim_end_matches('/');
                let warehouse = Self::at(&format!("{scheme}://{rest}"));
                key_of(warehouse.url())?;
                return Ok(warehouse);
            }
            Some((scheme, _)) => {
                return Err(Error::unsupported(format!(
                    "warehouse `{location}` is on `{scheme}`, which icecore does not write to"
                ))
                .with_help(
                    "give a directory, or a URL that begins with file, s3, gs, az or abfss",
                ));
            }
            None => PathBuf::from(location),
        };
        let path = std::path::absolute(&path).map_err(|error| {
            Error::invalid(format!("warehouse `{location}` is not a directory")).with_source(error)
        })?;
        let path = location::without_dots(&path);
        let text = path.to_str().ok_or_else(|| {
            Error::invalid(format!("warehouse `{}` is not UTF-8", path.display()))
        })?;
        let url = format!("file://{}", text.trim_end_matches('/'));
        durable::create_directory(path).await?;
        Ok(Self { url, is_place: true })
    }

    /// Takes a URL as it is.
    pub(crate) fn at(url: &str) -> Self {
        Self { url: url.trim_end_matches('/').to_owned(), is_place: true }
    }

    /// One that a catalog's server knows by name: it says where new tables are put.
    pub(crate) fn named(name: &str) -> Self {
        Self { url: name.to_owned(), is_place: false }
    }

    /// Whether it is known where it is.
    pub(crate) const fn is_place(&self) -> bool {
        self.is_place
    }

    fn roots(&self) -> Result<Roots> {
        if self.is_place { Roots::at(&self.url) } else { Ok(Roots::default()) }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

#[cfg(test)]
mod tests;
