//! Iceberg's storage on the local file system.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use iceberg::io::{
    FileMetadata, FileRead, FileWrite, InputFile, OutputFile, Storage, StorageConfig,
    StorageFactory,
};
use icecore_core::Result;
use object_store::ObjectStoreExt;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use serde::{Deserialize, Serialize};

use super::durable::{DurableFile, blocking};
use super::{local_path, object_path};
use crate::error::Context;

/// Makes [`LocalStorage`].
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct LocalStorageFactory;

#[typetag::serde(name = "IcecoreLocalStorageFactory")]
impl StorageFactory for LocalStorageFactory {
    fn build(&self, _config: &StorageConfig) -> iceberg::Result<Arc<dyn Storage>> {
        Ok(Arc::new(LocalStorage::default()))
    }
}

/// Reads through [`object_store`], writes through [`DurableFile`].
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct LocalStorage {
    #[serde(skip)]
    store: Arc<LocalFileSystem>,
}

/// Our errors travel through Iceberg as sources and come back as themselves.
fn foreign(error: icecore_core::Error) -> iceberg::Error {
    iceberg::Error::new(iceberg::ErrorKind::Unexpected, error.to_string()).with_source(error)
}

#[async_trait]
#[typetag::serde(name = "IcecoreLocalStorage")]
impl Storage for LocalStorage {
    async fn exists(&self, path: &str) -> iceberg::Result<bool> {
        let local = local_path(path).map_err(foreign)?;
        blocking(move || local.try_exists(), || format!("cannot look for `{path}`"))
            .await
            .map_err(foreign)
    }

    async fn metadata(&self, path: &str) -> iceberg::Result<FileMetadata> {
        let head =
            async { self.store.head(&object_path(path)?).await.context(|| cannot_read(path)) };
        head.await.map(|meta| FileMetadata { size: meta.size }).map_err(foreign)
    }

    async fn read(&self, path: &str) -> iceberg::Result<Bytes> {
        let read = async {
            let object = self.store.get(&object_path(path)?).await.context(|| cannot_read(path))?;
            object.bytes().await.context(|| cannot_read(path))
        };
        read.await.map_err(foreign)
    }

    async fn reader(&self, path: &str) -> iceberg::Result<Box<dyn FileRead>> {
        let path = object_path(path).map_err(foreign)?;
        Ok(Box::new(Reader { store: self.store.clone(), path }))
    }

    async fn write(&self, path: &str, bytes: Bytes) -> iceberg::Result<()> {
        let mut writer = self.writer(path).await?;
        writer.write(bytes).await?;
        writer.close().await
    }

    async fn writer(&self, path: &str) -> iceberg::Result<Box<dyn FileWrite>> {
        let target = local_path(path).map_err(foreign)?;
        Ok(Box::new(Writer(DurableFile::create(target).await.map_err(foreign)?)))
    }

    async fn delete(&self, path: &str) -> iceberg::Result<()> {
        let local = local_path(path).map_err(foreign)?;
        let remove = move || match std::fs::remove_file(local) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            done => done,
        };
        blocking(remove, || format!("cannot delete `{path}`")).await.map_err(foreign)
    }

    async fn delete_prefix(&self, path: &str) -> iceberg::Result<()> {
        let local = local_path(path).map_err(foreign)?;
        let remove = move || match std::fs::remove_dir_all(local) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            done => done,
        };
        blocking(remove, || format!("cannot delete `{path}`")).await.map_err(foreign)
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

fn cannot_read(path: impl std::fmt::Display) -> String {
    format!("cannot read `{path}`")
}

/// Reads ranges of one file.
#[derive(Debug)]
struct Reader {
    store: Arc<LocalFileSystem>,
    path: Path,
}

#[async_trait]
impl FileRead for Reader {
    async fn read(&self, range: Range<u64>) -> iceberg::Result<Bytes> {
        let read: Result<Bytes> =
            self.store.get_range(&self.path, range).await.context(|| cannot_read(&self.path));
        read.map_err(foreign)
    }
}

/// Writes one file.
#[derive(Debug)]
struct Writer(DurableFile);

#[async_trait]
impl FileWrite for Writer {
    async fn write(&mut self, bytes: Bytes) -> iceberg::Result<()> {
        self.0.write(bytes).await.map_err(foreign)
    }

    async fn close(&mut self) -> iceberg::Result<()> {
        self.0.finish().await.map_err(foreign)
    }
}
