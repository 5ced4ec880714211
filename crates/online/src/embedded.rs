//! The store in one file: `redb`, with times to live.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use icecore_core::{
    ApplySummary, Clock, Error, OnlineChange, OnlineEntry, OnlineStore, Result, ScanPage,
};
use redb::{ConcurrencyMode, Database, DatabaseError};
use tracing::debug;

mod holder;
mod rows;
mod table;

use holder::Holder;

/// The name of the file in the store's directory.
const FILE_NAME: &str = "online.redb";

/// Which processes may have an embedded store open at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EmbeddedAccess {
    /// One process. Another one that opens the store fails with `Unavailable`.
    #[default]
    Exclusive,
    /// Any number of processes, all of which opened it this way. Writes take turns, and a write is
    /// visible to every process once it returned. Reads are slower: they ask the file for news.
    Shared,
}

/// How to open an [`EmbeddedStore`].
#[derive(Debug, Clone)]
pub struct EmbeddedOptions {
    /// Memory for pages of the file, in bytes.
    pub cache_bytes: usize,
    /// Which processes may have it open at once.
    pub access: EmbeddedAccess,
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        Self { cache_bytes: 256 << 20, access: EmbeddedAccess::Exclusive }
    }
}

/// An [`OnlineStore`] in one file of a directory: no server, safe against a kill at any moment.
///
/// A batch is one write transaction: it is stored whole, on disk, when `put` returns. A value past
/// its time to live is absent at once; its space is taken back by later batches. Clones share the
/// open file.
#[derive(Clone)]
pub struct EmbeddedStore {
    inner: Arc<Inner>,
}

struct Inner {
    // Before the holder's note, so that the file is free when the note goes.
    database: Database,
    location: String,
    clock: Arc<dyn Clock>,
    _holder: Holder,
}

impl EmbeddedStore {
    /// Opens the store in this directory, or makes one.
    ///
    /// # Errors
    ///
    /// `Unavailable` if another process (or another store of this one) has it open, naming who may
    /// hold it; `DataCorrupt` if the file is not a store.
    pub async fn open(dir: &Path, clock: Arc<dyn Clock>) -> Result<Self> {
        Self::open_with(dir, clock, EmbeddedOptions::default()).await
    }

    /// As [`open`](Self::open), with options.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Self::open).
    pub async fn open_with(
        dir: &Path,
        clock: Arc<dyn Clock>,
        options: EmbeddedOptions,
    ) -> Result<Self> {
        let dir = dir.to_owned();
        let location = format!("embedded:{}", dir.display());
        let place = location.clone();
        let inner = off_thread(&place, move || {
            let (database, holder) = open_file(&dir, &location, &options)?;
            Ok(Inner { database, location, clock, _holder: holder })
        })
        .await?;
        debug!(location = %inner.location, "opened the embedded online store");
        Ok(Self { inner: Arc::new(inner) })
    }

    async fn run<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&Database) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<T> {
        let inner = Arc::clone(&self.inner);
        off_thread(&self.inner.location, move || {
            work(&inner.database).map_err(|source| {
                storage_error(format!("cannot {doing} `{}`", inner.location), source)
            })
        })
        .await
    }
}

impl fmt::Debug for EmbeddedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedStore").field("location", &self.inner.location).finish()
    }
}

#[async_trait]
impl OnlineStore for EmbeddedStore {
    fn location(&self) -> &str {
        &self.inner.location
    }

    async fn put(&self, entries: Vec<OnlineEntry>) -> Result<u64> {
        let now = self.inner.clock.now();
        let rows = entries
            .into_iter()
            .map(|entry| {
                let ttl_ms = crate::lifetime::ttl_ms(&entry)?;
                let expires_at = table::expiry(now, ttl_ms);
                Ok(table::Row { key: entry.key, value: entry.value, expires_at })
            })
            .collect::<Result<Vec<_>>>()?;
        self.run("write to", move |database| table::put(database, &rows, now)).await
    }

    async fn get(&self, keys: &[String]) -> Result<Vec<Option<Bytes>>> {
        let now = self.inner.clock.now();
        let keys = keys.to_vec();
        self.run("read from", move |database| table::get(database, &keys, now)).await
    }

    async fn delete(&self, keys: &[String]) -> Result<u64> {
        let now = self.inner.clock.now();
        let keys = keys.to_vec();
        self.run("delete from", move |database| table::delete(database, &keys, now)).await
    }

    async fn apply(&self, changes: Vec<OnlineChange>) -> Result<ApplySummary> {
        self.run("write to", move |database| rows::apply(database, &changes)).await
    }

    async fn rows(&self, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>> {
        let keys = keys.to_vec();
        self.run("read from", move |database| rows::get(database, &keys)).await
    }

    async fn scan(&self, prefix: &[u8], cursor: Option<Bytes>) -> Result<ScanPage> {
        let prefix = Bytes::copy_from_slice(prefix);
        self.run("read from", move |database| rows::scan(database, &prefix, cursor.as_ref())).await
    }

    async fn ping(&self) -> Result<()> {
        self.run("read", table::check).await
    }
}

fn open_file(dir: &Path, location: &str, options: &EmbeddedOptions) -> Result<(Database, Holder)> {
    std::fs::create_dir_all(dir).map_err(|source| {
        Error::unavailable(format!("cannot make the directory `{}`", dir.display()))
            .with_source(source)
    })?;
    let path: PathBuf = dir.join(FILE_NAME);
    let mode = match options.access {
        EmbeddedAccess::Exclusive => ConcurrencyMode::ExclusiveWriter,
        EmbeddedAccess::Shared => ConcurrencyMode::MultiWriter,
    };
    let database = Database::builder()
        .set_cache_size(options.cache_bytes)
        .set_concurrency_mode(mode)
        .create(&path)
        .map_err(|error| open_error(dir, location, error))?;
    table::create(&database)
        .map_err(|source| storage_error(format!("cannot set up `{location}`"), source))?;
    Ok((database, Holder::note(dir)))
}

fn open_error(dir: &Path, location: &str, error: DatabaseError) -> Error {
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
            let held = Error::unavailable(format!("`{location}` is open in another process"));
            let held = match Holder::read(dir) {
                Some(holder) => held.with_note(format!("the last to open it was {holder}")),
                None => held,
            };
            held.with_source(error).with_help(
                "stop that process, open the store with `?access=shared` in all of them, \
                 or keep the values in Redis (`redis://HOST:PORT/DB`)",
            )
        }
        error => storage_error(format!("cannot open `{location}`"), error.into()),
    }
}

fn storage_error(message: String, source: redb::Error) -> Error {
    let error = match &source {
        redb::Error::Corrupted(_) | redb::Error::UpgradeRequired(_) => corrupt(message),
        // How redb reports a file that is not its own.
        redb::Error::Io(io) if io.kind() == std::io::ErrorKind::InvalidData => corrupt(message),
        redb::Error::Io(_) | redb::Error::PreviousIo => Error::unavailable(message),
        _ => Error::internal(message),
    };
    error.with_source(source)
}

fn corrupt(message: String) -> Error {
    Error::corrupt(message)
        .with_help(format!("delete the file `{FILE_NAME}` in it and materialize again"))
}

/// Runs work that waits for a disk where no request waits for it.
async fn off_thread<T: Send + 'static>(
    location: &str,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        // redb panics on a file that was changed behind its back.
        Err(join) if join.is_panic() => {
            Err(corrupt(format!("the file of `{location}` is damaged")).with_source(join))
        }
        Err(join) => {
            Err(Error::unavailable(format!("`{location}` was closed meanwhile")).with_source(join))
        }
    }
}

#[cfg(test)]
mod tests;
