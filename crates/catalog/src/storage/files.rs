//! Iceberg's storage over an object store: rooted, and limited before anything is parsed.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use iceberg::io::{
    FileIO, FileIOBuilder, FileMetadata, FileRead, FileWrite, InputFile, OutputFile, Storage,
    StorageConfig, StorageFactory,
};
use icecore_core::{Error, Result};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use serde::{Deserialize, Serialize};

use super::avro;
use super::footer;
use super::limits::{self, StorageLimits};
use super::roots::Roots;
use super::write::FileWriter;
use crate::error::Context;

/// Makes the storage of one table: a value that Iceberg wants and that knows its storage already.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Ready {
    #[serde(skip)]
    storage: Option<RootedStorage>,
}

#[typetag::serde(name = "IcecoreStorageFactory")]
impl StorageFactory for Ready {
    fn build(&self, _config: &StorageConfig) -> iceberg::Result<Arc<dyn Storage>> {
        match &self.storage {
            Some(storage) => Ok(Arc::new(storage.clone())),
            None => Err(unavailable()),
        }
    }
}

/// The files below some roots.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct RootedStorage {
    #[serde(skip)]
    at: Option<At>,
}

#[derive(Debug, Clone)]
struct At {
    store: Arc<dyn ObjectStore>,
    roots: Arc<Roots>,
    limits: StorageLimits,
}

/// Files as Iceberg reads and writes them.
pub(super) fn file_io(
    store: Arc<dyn ObjectStore>,
    roots: Arc<Roots>,
    limits: StorageLimits,
) -> FileIO {
    let storage = RootedStorage { at: Some(At { store, roots, limits }) };
    FileIOBuilder::new(Arc::new(Ready { storage: Some(storage) }))
        .with_props(limits.to_properties())
        .build()
}

/// A connection does not travel to another process.
fn unavailable() -> iceberg::Error {
    iceberg::Error::new(iceberg::ErrorKind::Unexpected, "a storage came from another process")
}

/// Our errors travel through Iceberg as sources and come back as themselves.
pub(super) fn foreign(error: Error) -> iceberg::Error {
    iceberg::Error::new(iceberg::ErrorKind::Unexpected, error.to_string()).with_source(error)
}

impl RootedStorage {
    fn at(&self) -> iceberg::Result<&At> {
        self.at.as_ref().ok_or_else(unavailable)
    }
}

impl At {
    /// The key of a file that is where it may be.
    async fn key(&self, location: &str) -> Result<Path> {
        let key = self.roots.key(location)?;
        self.roots.check_links(&key).await?;
        Ok(key)
    }

    /// A file with this name, or files below it.
    async fn exists(&self, location: &str) -> Result<bool> {
        let key = self.key(location).await?;
        let cannot = || format!("cannot look for `{location}`");
        match self.store.head(&key).await {
            Ok(_) => return Ok(true),
            Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(error).context(cannot),
        }
        Ok(self.store.list(Some(&key)).try_next().await.context(cannot)?.is_some())
    }

    async fn read(&self, location: &str) -> Result<Bytes> {
        let key = self.key(location).await?;
        let cannot = || format!("cannot read `{location}`");
        let object = self.store.get(&key).await.context(cannot)?;
        if let Some((limit, setting)) = self.limits.of(location)
            && object.meta.size > limit
        {
            return Err(limits::exceeded(location, "the file", limit, setting));
        }
        let size = object.meta.size;
        let bytes = object.bytes().await.context(cannot)?;
        check_whole(location, &bytes, size)?;
        if limits::is_avro(location) {
            avro::check(location, &bytes, self.limits.inflated_bytes)?;
        }
        Ok(bytes)
    }

    async fn delete(&self, location: &str) -> Result<()> {
        let key = self.key(location).await?;
        match self.store.delete(&key).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error).context(|| format!("cannot delete `{location}`")),
        }
    }

    async fn delete_prefix(&self, location: &str) -> Result<()> {
        let key = self.key(location).await?;
        let keys = self.store.list(Some(&key)).map_ok(|meta| meta.location).boxed();
        let deleted = self.store.delete_stream(keys).try_for_each(|_| async { Ok(()) });
        deleted.await.context(|| format!("cannot delete what is below `{location}`"))
    }
}

#[async_trait]
#[typetag::serde(name = "IcecoreStorage")]
impl Storage for RootedStorage {
    async fn exists(&self, path: &str) -> iceberg::Result<bool> {
        self.at()?.exists(path).await.map_err(foreign)
    }

    async fn metadata(&self, path: &str) -> iceberg::Result<FileMetadata> {
        let at = self.at()?;
        let head = async {
            let key = at.key(path).await?;
            at.store.head(&key).await.context(|| format!("cannot read `{path}`"))
        };
        head.await.map(|meta| FileMetadata { size: meta.size }).map_err(foreign)
    }

    async fn read(&self, path: &str) -> iceberg::Result<Bytes> {
        self.at()?.read(path).await.map_err(foreign)
    }

    async fn reader(&self, path: &str) -> iceberg::Result<Box<dyn FileRead>> {
        let at = self.at()?;
        let key = at.key(path).await.map_err(foreign)?;
        let (store, footer_bytes) = (Arc::clone(&at.store), at.limits.footer_bytes);
        Ok(Box::new(Reader { store, key, location: path.to_owned(), footer_bytes }))
    }

    async fn write(&self, path: &str, bytes: Bytes) -> iceberg::Result<()> {
        let mut writer = self.writer(path).await?;
        writer.write(bytes).await?;
        writer.close().await
    }

    async fn writer(&self, path: &str) -> iceberg::Result<Box<dyn FileWrite>> {
        let at = self.at()?;
        let key = at.key(path).await.map_err(foreign)?;
        Ok(Box::new(FileWriter::new(Arc::clone(&at.store), key, path)))
    }

    async fn delete(&self, path: &str) -> iceberg::Result<()> {
        self.at()?.delete(path).await.map_err(foreign)
    }

    async fn delete_prefix(&self, path: &str) -> iceberg::Result<()> {
        self.at()?.delete_prefix(path).await.map_err(foreign)
    }

    async fn delete_stream(&self, mut paths: BoxStream<'static, String>) -> iceberg::Result<()> {
        while let Some(path) = paths.next().await {
            self.delete(&path).await?;
        }
        Ok(())
    }

    fn new_input(&self, path: &str) -> iceberg::Result<InputFile> {
        Ok(InputFile::new(Arc::new(self.clone()), path.to_owned()))
    }

    fn new_output(&self, path: &str) -> iceberg::Result<OutputFile> {
        Ok(OutputFile::new(Arc::new(self.clone()), path.to_owned()))
    }
}

/// Fails where an answer was cut off. The beginning of a manifest may look like a whole one, with
/// fewer files.
fn check_whole(location: &str, bytes: &Bytes, wanted: u64) -> Result<()> {
    if bytes.len() as u64 == wanted {
        return Ok(());
    }
    let error = Error::unavailable(format!("cannot read `{location}`: the answer was cut off"));
    Err(error.with_note(format!("{} of {wanted} bytes came", bytes.len())))
}

/// Reads ranges of one file.
#[derive(Debug)]
struct Reader {
    store: Arc<dyn ObjectStore>,
    key: Path,
    location: String,
    footer_bytes: u64,
}

#[async_trait]
impl FileRead for Reader {
    async fn read(&self, range: Range<u64>) -> iceberg::Result<Bytes> {
        let cannot = || format!("cannot read `{}`", self.location);
        let read = self.store.get_range(&self.key, range.clone()).await;
        let read = read.context(cannot).map_err(foreign)?;
        let wanted = range.end.saturating_sub(range.start);
        if let Err(error) = check_whole(&self.location, &read, wanted) {
            let size = self.store.head(&self.key).await.context(cannot).map_err(foreign)?.size;
            let error = if size < range.end {
                Error::corrupt(format!("`{}` ends after {size} bytes", self.location))
                    .with_note(format!("it is said to have {} at least", range.end))
            } else {
                error
            };
            return Err(foreign(error));
        }
        footer::check(&self.location, &read, self.footer_bytes).map_err(foreign)?;
        Ok(read)
    }
}
