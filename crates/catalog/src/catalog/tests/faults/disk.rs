//! A disk that fails, and a process that dies.

use std::fmt;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

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
    pub(super) async fn step(&self) -> Result<()> {
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
        Err(Error::Generic { store: "faulty", source: full.into() })
    }
}

#[derive(Debug)]
pub(super) struct FaultyStore {
    pub(super) inner: Arc<dyn ObjectStore>,
    pub(super) faults: Arc<Faults>,
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a disk that fails")
    }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(
        &self,
        at: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        self.faults.step().await?;
        self.inner.put_opts(at, payload, opts).await
    }
    async fn put_multipart_opts(
        &self,
        at: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.faults.step().await?;
        self.inner.put_multipart_opts(at, opts).await
    }
    async fn get_opts(&self, at: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(at, options).await
    }
    fn delete_stream(
        &self,
        at: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let faults = self.faults.clone();
        let at = at.then(move |at| {
            let faults = faults.clone();
            async move { faults.step().await.and(at) }
        });
        self.inner.delete_stream(at.boxed())
    }
    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }
    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }
    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
