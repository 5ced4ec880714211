//! The files of tables as queries read them: only, and only where tables are.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::roots::Roots;

/// A store whose files below the roots can be read.
#[derive(Debug)]
pub(super) struct Rooted {
    inner: Arc<dyn ObjectStore>,
    roots: Arc<Roots>,
}

impl Rooted {
    pub(super) fn new(inner: Arc<dyn ObjectStore>, roots: Arc<Roots>) -> Self {
        Self { inner, roots }
    }

    async fn check(&self, key: &Path) -> Result<()> {
        let checked = match self.roots.check(key) {
            Ok(()) => self.roots.check_links(key).await,
            Err(error) => Err(error),
        };
        checked.map_err(|error| denied(key, error))
    }
}

impl fmt::Display for Rooted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (read only)", self.inner)
    }
}

fn denied(key: &Path, error: icecore_core::Error) -> Error {
    Error::PermissionDenied { path: key.to_string(), source: error.into() }
}

fn read_only(key: &Path) -> Error {
    denied(key, icecore_core::Error::unsupported(format!("`{key}` can only be read here")))
}

#[async_trait]
impl ObjectStore for Rooted {
    async fn put_opts(&self, at: &Path, _: PutPayload, _: PutOptions) -> Result<PutResult> {
        Err(read_only(at))
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Err(read_only(at))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.check(location).await?;
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.check(location).await?;
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        locations.map(|location| location.and_then(|key| Err(read_only(&key)))).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let root = Path::default();
        let prefix = prefix.unwrap_or(&root);
        match self.roots.check(prefix) {
            Ok(()) => self.inner.list(Some(prefix)),
            Err(error) => stream::iter([Err(denied(prefix, error))]).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let root = Path::default();
        let prefix = prefix.unwrap_or(&root);
        self.roots.check(prefix).map_err(|error| denied(prefix, error))?;
        self.inner.list_with_delimiter(Some(prefix)).await
    }

    async fn copy_opts(&self, _: &Path, to: &Path, _: CopyOptions) -> Result<()> {
        Err(read_only(to))
    }
}
