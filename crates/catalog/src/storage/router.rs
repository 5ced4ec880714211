//! One object store for all places: the first part of a key says which.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::buckets::Buckets;
use super::local::DurableFiles;
use super::location::{LOCAL, split};

/// What is deleted from one store: the part of a key that it does not know, the store, and the keys
/// in it.
type Batch = (String, Arc<dyn ObjectStore>, Vec<Result<Path>>);

/// Objects that are deleted at once.
const DELETES_AT_ONCE: usize = 16;

/// Local files and every bucket that a key names. Buckets are connected to when first used.
#[derive(Clone)]
pub(crate) struct Router {
    local: Arc<dyn ObjectStore>,
    buckets: Buckets,
    /// Connections by what they are for: a bucket, or what credentials were lent for in it.
    open: Arc<Mutex<HashMap<String, Arc<dyn ObjectStore>>>>,
}

impl Router {
    pub(crate) fn new(buckets: Buckets) -> Self {
        Self { local: Arc::new(DurableFiles::default()), buckets, open: Arc::default() }
    }

    /// The store of a key, the part of the key that it does not know, and the key in it.
    fn route(&self, key: &Path) -> Result<(Arc<dyn ObjectStore>, String, Path)> {
        let Some((head, rest)) = split(key) else {
            let source = format!("`{key}` names no place").into();
            return Err(Error::NotSupported { source });
        };
        let inner = Path::parse(rest)?;
        if head == LOCAL {
            return Ok((Arc::clone(&self.local), head.to_owned(), inner));
        }
        let place = self.buckets.lent_for(key).unwrap_or_else(|| head.to_owned());
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let store = match open.get(&place) {
            Some(store) => Arc::clone(store),
            None => {
                let store = self.buckets.connect(head, &place)?;
                open.insert(place, Arc::clone(&store));
                store
            }
        };
        Ok((store, head.to_owned(), inner))
    }

    /// Takes credentials that a catalog lent for what lies below a key.
    pub(crate) fn lend(&self, key: &Path, properties: BTreeMap<String, String>) {
        let is_in_bucket = split(key).is_some_and(|(head, _)| head != LOCAL);
        if is_in_bucket && self.buckets.lend(key, properties) {
            self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(key.as_ref());
        }
    }

    /// Forgets what was lent for keys at or below a table's, but for those that are lent now.
    pub(crate) fn take_back(&self, table: &Path, lent: &[Path]) {
        let gone = self.buckets.take_back(table, lent);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        gone.iter().for_each(|key| drop(open.remove(key)));
    }

    /// Where everything below a key, or everything, is.
    fn route_list(&self, prefix: Option<&Path>) -> Result<(Arc<dyn ObjectStore>, String, Path)> {
        self.route(prefix.unwrap_or(&Path::default()))
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router").finish_non_exhaustive()
    }
}

impl fmt::Display for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("files of tables")
    }
}

/// The key of an object of a store, with the store's part before it.
fn full(head: &str, inner: &Path) -> Path {
    if inner.as_ref().is_empty() {
        return Path::parse(head).unwrap_or_default();
    }
    Path::parse(format!("{head}/{inner}")).unwrap_or_else(|_| inner.clone())
}

fn renamed(head: &str, mut meta: ObjectMeta) -> ObjectMeta {
    meta.location = full(head, &meta.location);
    meta
}

#[async_trait]
impl ObjectStore for Router {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        let (store, _, inner) = self.route(location)?;
        store.put_opts(&inner, payload, opts).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let (store, _, inner) = self.route(location)?;
        store.put_multipart_opts(&inner, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let (store, head, inner) = self.route(location)?;
        let mut found = store.get_opts(&inner, options).await?;
        found.meta = renamed(&head, found.meta);
        Ok(found)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let (store, _, inner) = self.route(location)?;
        store.get_ranges(&inner, ranges).await
    }

    /// Deletes in the order of the answers; a bucket deletes many objects with one request.
    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        // The stream must not borrow the router.
        let routes = self.clone();
        locations
            .ready_chunks(1000)
            .map(move |chunk| {
                let mut by_store: Vec<Batch> = Vec::new();
                let mut failed = Vec::new();
                for location in chunk {
                    match location.and_then(|key| routes.route(&key)) {
                        Ok((store, head, inner)) => {
                            // A bucket has as many as there are credentials for it.
                            let is_same = |batch: &&mut Batch| Arc::ptr_eq(&batch.1, &store);
                            match by_store.iter_mut().find(is_same) {
                                Some((.., keys)) => keys.push(Ok(inner)),
                                None => by_store.push((head, store, vec![Ok(inner)])),
                            }
                        }
                        Err(error) => failed.push(Err(error)),
                    }
                }
                let deleted = by_store.into_iter().map(|(head, store, keys)| {
                    let keys = stream::iter(keys).boxed();
                    store.delete_stream(keys).map(move |done| done.map(|key| full(&head, &key)))
                });
                stream::iter(failed).chain(stream::iter(deleted).flatten()).boxed()
            })
            .flatten_unordered(DELETES_AT_ONCE)
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.route_list(prefix) {
            Ok((store, head, inner)) => {
                let listed = store.list(Some(&inner));
                listed.map(move |meta| meta.map(|meta| renamed(&head, meta))).boxed()
            }
            Err(error) => stream::iter([Err(error)]).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let (store, head, inner) = self.route_list(prefix)?;
        let found = store.list_with_delimiter(Some(&inner)).await?;
        Ok(ListResult {
            common_prefixes: found.common_prefixes.iter().map(|key| full(&head, key)).collect(),
            objects: found.objects.into_iter().map(|meta| renamed(&head, meta)).collect(),
        })
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let (store, head, from) = self.route(from)?;
        let (_, other, to) = self.route(to)?;
        if head == other {
            return store.copy_opts(&from, &to, options).await;
        }
        let source = format!("cannot copy from `{head}` to `{other}`").into();
        Err(Error::NotSupported { source })
    }
}

#[cfg(test)]
mod tests;
