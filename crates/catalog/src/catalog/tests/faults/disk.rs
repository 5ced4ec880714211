//! A disk that fails, and a process that dies.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use iceberg::io::{
    FileMetadata, FileRead, FileWrite, InputFile, OutputFile, Storage, StorageConfig,
    StorageFactory,
};
use serde::{Deserialize, Serialize};

use crate::storage::LocalStorageFactory;

/// When the faults begin, and what they are.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// Changes of files and pointers until the fault; negative means never.
    pub(super) left: AtomicI64,
    /// The process dies: nothing that it does comes to pass any more. Otherwise that one change
    /// fails, as on a full disk.
    pub(super) die: AtomicBool,
    pub(super) struck: AtomicBool,
}

impl Faults {
    pub(super) async fn step(&self) -> iceberg::Result<()> {
        let struck = self.struck.load(Ordering::SeqCst);
        if !struck && self.left.fetch_sub(1, Ordering::SeqCst) != 0 {
            return Ok(());
        }
        self.struck.store(true, Ordering::SeqCst);
        if self.die.load(Ordering::SeqCst) {
            pending::<()>().await;
        }
        if struck {
            return Ok(());
        }
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        Err(iceberg::Error::new(iceberg::ErrorKind::Unexpected, "disk full").with_source(full))
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct FaultyFactory {
    #[serde(skip)]
    pub(super) faults: Arc<Faults>,
}

#[typetag::serde(name = "IcecoreFaultyFactory")]
impl StorageFactory for FaultyFactory {
    fn build(&self, config: &StorageConfig) -> iceberg::Result<Arc<dyn Storage>> {
        let inner = LocalStorageFactory.build(config)?;
        Ok(Arc::new(FaultyStorage { inner: Some(inner), faults: self.faults.clone() }))
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct FaultyStorage {
    #[serde(skip)]
    inner: Option<Arc<dyn Storage>>,
    #[serde(skip)]
    faults: Arc<Faults>,
}

impl FaultyStorage {
    fn inner(&self) -> &dyn Storage {
        &**self.inner.as_ref().unwrap()
    }
}

#[async_trait]
#[typetag::serde(name = "IcecoreFaultyStorage")]
impl Storage for FaultyStorage {
    async fn exists(&self, path: &str) -> iceberg::Result<bool> {
        self.inner().exists(path).await
    }
    async fn metadata(&self, path: &str) -> iceberg::Result<FileMetadata> {
        self.inner().metadata(path).await
    }
    async fn read(&self, path: &str) -> iceberg::Result<Bytes> {
        self.inner().read(path).await
    }
    async fn reader(&self, path: &str) -> iceberg::Result<Box<dyn FileRead>> {
        self.inner().reader(path).await
    }
    async fn write(&self, path: &str, bytes: Bytes) -> iceberg::Result<()> {
        self.faults.step().await?;
        self.inner().write(path, bytes).await
    }
    async fn writer(&self, path: &str) -> iceberg::Result<Box<dyn FileWrite>> {
        self.faults.step().await?;
        let inner = self.inner().writer(path).await?;
        Ok(Box::new(FaultyWriter { inner, faults: self.faults.clone() }))
    }
    async fn delete(&self, path: &str) -> iceberg::Result<()> {
        self.faults.step().await?;
        self.inner().delete(path).await
    }
    async fn delete_prefix(&self, path: &str) -> iceberg::Result<()> {
        self.inner().delete_prefix(path).await
    }
    async fn delete_stream(&self, paths: BoxStream<'static, String>) -> iceberg::Result<()> {
        self.inner().delete_stream(paths).await
    }
    fn new_input(&self, path: &str) -> iceberg::Result<InputFile> {
        Ok(InputFile::new(Arc::new(self.clone()), path.to_owned()))
    }
    fn new_output(&self, path: &str) -> iceberg::Result<OutputFile> {
        Ok(OutputFile::new(Arc::new(self.clone()), path.to_owned()))
    }
}

struct FaultyWriter {
    inner: Box<dyn FileWrite>,
    faults: Arc<Faults>,
}

#[async_trait]
impl FileWrite for FaultyWriter {
    async fn write(&mut self, bytes: Bytes) -> iceberg::Result<()> {
        self.inner.write(bytes).await
    }
    async fn close(&mut self) -> iceberg::Result<()> {
        self.faults.step().await?;
        self.inner.close().await
    }
}
