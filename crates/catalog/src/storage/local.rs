//! The local file system as an object store that survives power cuts.

use std::fmt;
use std::io;
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
    UploadPart,
};

use super::durable::{DurableFile, Name};

const STORE: &str = "local";

/// Reads as [`LocalFileSystem`]; a file that is written is visible only when it is whole and lasts.
/// Keys are absolute paths.
#[derive(Debug, Default)]
pub(super) struct DurableFiles {
    inner: LocalFileSystem,
}

impl fmt::Display for DurableFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("durable local files")
    }
}

fn foreign(error: icecore_core::Error) -> Error {
    Error::Generic { store: STORE, source: error.into() }
}

fn finished(location: &Path, done: io::Result<()>) -> Result<PutResult> {
    match done {
        Ok(()) => Ok(PutResult { e_tag: None, version: None }),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(Error::AlreadyExists { path: location.to_string(), source: error.into() })
        }
        Err(error) => Err(Error::Generic { store: STORE, source: error.into() }),
    }
}

#[async_trait]
impl ObjectStore for DurableFiles {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        let name = match opts.mode {
            PutMode::Overwrite => Name::MayBeTaken,
            PutMode::Create => Name::MustBeFree,
            PutMode::Update(_) => return self.inner.put_opts(location, payload, opts).await,
        };
        let path = self.inner.path_to_filesystem(location)?;
        let mut file = DurableFile::create(path).await.map_err(foreign)?;
        file.write(payload).await.map_err(foreign)?;
        finished(location, file.finish(name).await)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        _opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let path = self.inner.path_to_filesystem(location)?;
        let file = DurableFile::create(path).await.map_err(foreign)?;
        Ok(Box::new(Upload { file, location: location.clone() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
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

/// A file whose parts are written side by side.
#[derive(Debug)]
struct Upload {
    file: DurableFile,
    location: Path,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let written = self.file.write(data);
        async move { written.await.map_err(foreign) }.boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        finished(&self.location, self.file.finish(Name::MayBeTaken).await)
    }

    async fn abort(&mut self) -> Result<()> {
        self.file.abort();
        Ok(())
    }
}
