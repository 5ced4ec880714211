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
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::footer;
use super::roots::Roots;

/// A store whose files below the roots can be read.
#[derive(Debug)]
pub(super) struct Rooted {
    inner: Arc<dyn ObjectStore>,
    roots: Arc<Roots>,
    footer_bytes: u64,
}

impl Rooted {
    pub(super) fn new(inner: Arc<dyn ObjectStore>, roots: Arc<Roots>, footer_bytes: u64) -> Self {
        Self { inner, roots, footer_bytes }
    }

    /// Bytes that were read, unless they announce a footer that is too large.
    fn checked(&self, key: &Path, bytes: Bytes) -> Result<Bytes> {
        match footer::check(key.as_ref(), &bytes, self.footer_bytes) {
            Ok(()) => Ok(bytes),
            Err(error) => Err(Error::Generic { store: "table", source: error.into() }),
        }
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
        let is_part = options.range.is_some() && !options.head;
        let found = self.inner.get_opts(location, options).await?;
        if !is_part || found.range.end - found.range.start > footer::READ_BYTES_MAX {
            return Ok(found);
        }
        let (meta, range) = (found.meta.clone(), found.range.clone());
        let attributes = found.attributes.clone();
        let bytes = self.checked(location, found.bytes().await?)?;
        let payload = GetResultPayload::Stream(stream::iter([Ok(bytes)]).boxed());
        Ok(GetResult { payload, meta, range, attributes })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.check(location).await?;
        let found = self.inner.get_ranges(location, ranges).await?;
        found.into_iter().map(|bytes| self.checked(location, bytes)).collect()
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
