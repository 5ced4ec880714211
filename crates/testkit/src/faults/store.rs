//! Files in memory, and files that one process sees through its weather.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::DateTime;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt, TryStreamExt};
use icecore_core::Clock;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetRange, GetResult, GetResultPayload, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions,
    PutPayload, PutPayloadMut, PutResult, Result, UploadPart,
};

use super::weather::locked;
use super::{Fate, Weather};

/// Files in memory, whose times come from a clock that a test holds, and of which it is known what
/// was ever deleted.
///
/// An object is there whole or not at all, and lasts once its writer was told so: what a crash can
/// take is an upload that was not answered.
#[derive(Debug)]
pub struct MemoryStore {
    inner: Arc<InMemory>,
    clock: Arc<dyn Clock>,
    written: Arc<Mutex<HashMap<Path, i64>>>,
    deleted: Arc<Mutex<Vec<Path>>>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { inner: Arc::default(), clock, written: Arc::default(), deleted: Arc::default() }
    }

    /// What was ever deleted, in order.
    #[must_use]
    pub fn deleted(&self) -> Vec<Path> {
        locked(&self.deleted).clone()
    }

    fn dated(&self, mut meta: ObjectMeta) -> ObjectMeta {
        dated(&locked(&self.written), &mut meta);
        meta
    }

    fn note(&self, location: &Path) {
        let now = self.clock.now().micros();
        locked(&self.written).insert(location.clone(), now);
    }
}

fn dated(written: &HashMap<Path, i64>, meta: &mut ObjectMeta) {
    let micros = written.get(&meta.location).copied().unwrap_or_default();
    meta.last_modified = DateTime::from_timestamp_micros(micros).unwrap_or(meta.last_modified);
}

impl fmt::Display for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("files in memory")
    }
}

#[async_trait]
impl ObjectStore for MemoryStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        let put = self.inner.put_opts(location, payload, opts).await?;
        self.note(location);
        Ok(put)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.note(location);
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let mut found = self.inner.get_opts(location, options).await?;
        found.meta = self.dated(found.meta);
        Ok(found)
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let deleted = self.deleted.clone();
        let gone = self.inner.delete_stream(locations);
        gone.inspect_ok(move |path| locked(&deleted).push(path.clone())).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let written = self.written.clone();
        let listed = self.inner.list(prefix);
        listed
            .map_ok(move |mut meta| {
                dated(&locked(&written), &mut meta);
                meta
            })
            .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let mut listed = self.inner.list_with_delimiter(prefix).await?;
        let written = locked(&self.written);
        listed.objects.iter_mut().for_each(|meta| dated(&written, meta));
        Ok(listed)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await?;
        self.note(to);
        Ok(())
    }
}

/// A store as one process sees it through its weather.
#[derive(Debug, Clone)]
pub struct FaultyStore {
    inner: Arc<dyn ObjectStore>,
    weather: Arc<Weather>,
}

impl FaultyStore {
    /// Puts a store into this weather.
    #[must_use]
    pub fn new(inner: Arc<dyn ObjectStore>, weather: Arc<Weather>) -> Self {
        Self { inner, weather }
    }

    /// Makes a call that has an effect.
    async fn change<T>(
        &self,
        what: &'static str,
        location: &Path,
        call: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        match self.weather.fate(what, location.as_ref()).await {
            Fate::Refused => Err(failure("503 Slow Down")),
            Fate::LostBefore => Err(failure("the request timed out")),
            Fate::Lost => {
                let _ = call.await;
                Err(failure("the connection was closed before an answer came"))
            }
            Fate::DiesAfter => {
                let _ = call.await;
                self.weather.die().await;
                Err(failure("the process died"))
            }
            _ => call.await,
        }
    }
}

fn failure(message: &'static str) -> Error {
    Error::Generic { store: "simulated", source: message.into() }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in bad weather", self.inner)
    }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        self.change("put", location, self.inner.put_opts(location, payload, opts)).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        _opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.weather.life().go_on().await;
        let payload = PutPayloadMut::new();
        Ok(Box::new(Upload { store: self.clone(), location: location.clone(), payload }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let what = if options.head { "get head" } else { "get" };
        match self.weather.fate(what, location.as_ref()).await {
            Fate::Refused => Err(failure("503 Slow Down")),
            Fate::LostBefore => Err(failure("the request timed out")),
            Fate::DiesAfter => {
                self.weather.die().await;
                Err(failure("the process died"))
            }
            Fate::Short if !options.head => {
                shortened(self.inner.get_opts(location, options).await?).await
            }
            _ => self.inner.get_opts(location, options).await,
        }
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let mut parts = Vec::with_capacity(ranges.len());
        for range in ranges {
            let options = GetOptions {
                range: Some(GetRange::Bounded(range.clone())),
                ..GetOptions::default()
            };
            parts.push(self.get_opts(location, options).await?.bytes().await?);
        }
        Ok(parts)
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        locations
            .then(move |location| {
                let store = store.clone();
                async move {
                    let location = location?;
                    store.change("delete", &location, store.inner.delete(&location)).await?;
                    Ok(location)
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (store, prefix) = (self.clone(), prefix.cloned());
        let listed = async move {
            let place = prefix.clone().unwrap_or_default();
            let inner = store.inner.clone();
            let listing = async { Ok(inner.list(prefix.as_ref())) };
            store.change("list", &place, listing).await
        };
        stream::once(listed).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let place = prefix.cloned().unwrap_or_default();
        self.change("list", &place, self.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.change("copy", to, self.inner.copy_opts(from, to, options)).await
    }
}

/// An answer of which the end is missing.
async fn shortened(found: GetResult) -> Result<GetResult> {
    let (meta, range, attributes) =
        (found.meta.clone(), found.range.clone(), found.attributes.clone());
    let bytes = found.bytes().await?;
    let half = bytes.slice(..bytes.len() / 2);
    let payload = GetResultPayload::Stream(stream::iter([Ok(half)]).boxed());
    Ok(GetResult { payload, meta, range, attributes })
}

/// An upload of several parts, which appears when it is complete.
#[derive(Debug)]
struct Upload {
    store: FaultyStore,
    location: Path,
    payload: PutPayloadMut,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        for piece in &data {
            self.payload.push(piece.clone());
        }
        let (weather, location) = (self.store.weather.clone(), self.location.clone());
        async move {
            match weather.fate("part", location.as_ref()).await {
                Fate::Refused | Fate::LostBefore | Fate::Lost => Err(failure("503 Slow Down")),
                Fate::DiesAfter => {
                    weather.die().await;
                    Err(failure("the process died"))
                }
                _ => Ok(()),
            }
        }
        .boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let payload = std::mem::take(&mut self.payload).freeze();
        self.store.put_opts(&self.location, payload, PutOptions::default()).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.weather_of().life().go_on().await;
        Ok(())
    }
}

impl Upload {
    fn weather_of(&self) -> &Weather {
        &self.store.weather
    }
}
