//! Batches that are on the disk before anyone is told, until the table and the online store have
//! them.

mod batch;
mod carried;
mod segment;
mod state;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};

use bytes::Bytes;
use icecore_core::{Error, ErrorKind, Result, Timestamp};
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

pub(crate) use batch::{Batch, to_bytes};
use carried::Carried;
use segment::{Segment, failed};
use state::State;
use writer::{Request, Writer};

use crate::Target;

/// How much a queue holds.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// Bytes of batches that the table or the online store does not have.
    pub(crate) bytes_max: u64,
    /// When a file is closed and the next one begun.
    pub(crate) segment_bytes: u64,
    /// Files that stay when all of them is done with, for the names in them.
    pub(crate) segments_kept: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes_max: 64 << 20, segment_bytes: 16 << 20, segments_kept: 4 }
    }
}

/// A batch that is not in a queue yet.
#[derive(Debug)]
pub(crate) struct NewBatch {
    /// The name that the client gave it.
    pub(crate) key: Option<String>,
    pub(crate) to: Target,
    pub(crate) at: Timestamp,
    pub(crate) rows: u32,
    pub(crate) events: Bytes,
    /// What a repetition is told by: the events without a note of their table, as releases had
    /// them that wrote none.
    pub(crate) content: Bytes,
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Accepted {
    pub(crate) position: u64,
    /// Whether a batch of this name was there before.
    pub(crate) is_repeated: bool,
}

/// A durable queue of one push source. One process has it at a time.
#[derive(Debug)]
pub(crate) struct Queue {
    dir: PathBuf,
    shared: Arc<Shared>,
    /// There until the queue is dropped.
    requests: Option<mpsc::SyncSender<Request>>,
    writer: Option<std::thread::JoinHandle<()>>,
    limits: Limits,
    /// One change of the state at a time: each begins with what the one before has written.
    changing: Mutex<Carried>,
    /// Held as long as the queue is open.
    _lock: File,
}

/// What is known without looking at files.
#[derive(Debug)]
struct Shared {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: State,
    /// What the table does not have, in order.
    pending: VecDeque<Arc<Batch>>,
    /// What the online store is not known to have, whether the table has it or not.
    behind: BTreeMap<u64, Arc<Batch>>,
    /// Bytes of all those, and of those that are on their way to the disk.
    bytes: u64,
    /// Names that are remembered: their batch's position and hash.
    keys: HashMap<String, (u64, [u8; 32])>,
    /// The files, each with its first position and its names.
    segments: VecDeque<(u64, PathBuf, Vec<String>)>,
    next: u64,
    /// Why nothing more is accepted.
    broken: Option<String>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// Opens the queue in a directory, which is made where it is not there. What it has from
    /// before is not known to be online.
    ///
    /// # Errors
    ///
    /// `Unavailable` while another process has it, `DataCorrupt` where an accepted batch is damaged.
    pub(crate) fn open(dir: &Path, limits: Limits) -> Result<Self> {
        std::fs::create_dir_all(dir).map_err(|error| failed(dir, error))?;
        let lock = lock(dir)?;
        let state = State::open(dir)?;
        let mut inner = Inner {
            pending: VecDeque::new(),
            behind: BTreeMap::new(),
            bytes: 0,
            keys: HashMap::new(),
            segments: VecDeque::new(),
            next: state.committed,
            broken: None,
            state,
        };
        let files = files(dir)?;
        let mut last = None;
        for (at, path) in files.iter().enumerate() {
            let (segment, groups) = Segment::open(path, at + 1 == files.len())?;
            let mut names = Vec::new();
            let mut first = None;
            for group in groups {
                inner.read_group(&group, &mut names)?;
                first.get_or_insert(group.first);
            }
            let first = first.unwrap_or(inner.next);
            inner.segments.push_back((first, path.clone(), names));
            last = Some(segment);
        }
        let segment = match last {
            Some(segment) => segment,
            None => {
                let segment = Segment::create(dir, inner.next)?;
                let path = segment.path().to_owned();
                inner.segments.push_back((inner.next, path, Vec::new()));
                segment
            }
        };
        let (carried, stuck) = Carried::open(dir)?;
        stuck.into_iter().for_each(|batch| inner.keep_carried(batch));
        let shared = Arc::new(Shared { inner: Mutex::new(inner) });
        let (requests, received) = mpsc::sync_channel(1024);
        let writer = Writer {
            dir: dir.to_owned(),
            segment,
            shared: Arc::clone(&shared),
            limits: limits.clone(),
        };
        let writer = std::thread::Builder::new()
            .name("icecore-push".to_owned())
            .spawn(move || writer.run(&received))
            .map_err(|error| Error::unavailable("no thread can be begun").with_source(error))?;
        let (dir, requests, changing) = (dir.to_owned(), Some(requests), Mutex::new(carried));
        Ok(Self { dir, shared, requests, writer: Some(writer), limits, changing, _lock: lock })
    }

    /// The name that no other queue has.
    pub(crate) fn name(&self) -> String {
        self.shared.lock().state.queue.clone()
    }

    /// Adds a batch, and waits until it is on the disk.
    ///
    /// # Errors
    ///
    /// `Conflict` for other rows under a name that is known, `Unavailable` while the queue is full
    /// and if the disk fails.
    pub(crate) async fn append(&self, new: NewBatch) -> Result<Accepted> {
        let NewBatch { key, to, at, rows, events, content } = new;
        let key = key.unwrap_or_else(|| uuid::Uuid::new_v4().simple().to_string());
        let bytes = events.len() as u64;
        let mut hash = Sha256::new_with_prefix([to.code()]);
        hash.update(&content);
        let hash: [u8; 32] = hash.finalize().into();
        {
            let mut inner = self.shared.lock();
            if let Some(found) = inner.repeated(&key, hash)? {
                return Ok(found);
            }
            if let Some(why) = &inner.broken {
                return Err(Error::unavailable(format!("the queue accepts nothing: {why}")));
            }
            if inner.bytes + bytes > self.limits.bytes_max && inner.bytes > 0 {
                let waiting =
                    format!("{} bytes of events wait for the table or the store", inner.bytes);
                return Err(Error::unavailable(waiting).with_help("try again in a moment"));
            }
            inner.bytes += bytes;
        }
        let (answer, answered) = oneshot::channel();
        let batch = Batch { position: 0, key, hash, to, at, rows, events };
        let gone = || Error::unavailable("the queue is closed");
        let requests = self.requests.as_ref().ok_or_else(gone)?;
        if requests.try_send(Request { batch, answer }).is_err() {
            self.shared.lock().bytes -= bytes;
            return Err(Error::unavailable("too many pushes wait for the disk")
                .with_help("try again in a moment"));
        }
        answered.await.map_err(|_| gone())?
    }

    /// The batches that the table does not have, in order.
    pub(crate) fn pending(&self) -> Vec<Arc<Batch>> {
        self.shared.lock().pending.iter().cloned().collect()
    }

    /// Bytes of the batches that the table does not have.
    pub(crate) fn bytes_waiting(&self) -> u64 {
        self.shared.lock().pending.iter().map(|batch| batch.events.len() as u64).sum()
    }

    /// Bytes that count against the limit.
    pub(crate) fn bytes_kept(&self) -> u64 {
        self.shared.lock().bytes
    }

    /// The batches that the online store is not known to have, in order.
    pub(crate) fn behind(&self) -> Vec<Arc<Batch>> {
        self.shared.lock().behind.values().cloned().collect()
    }

    /// A batch, if the online store is not known to have it.
    pub(crate) fn behind_at(&self, position: u64) -> Option<Arc<Batch>> {
        self.shared.lock().behind.get(&position).cloned()
    }

    /// The online store has a batch.
    pub(crate) fn written(&self, position: u64) {
        self.shared.lock().let_go(position);
    }

    /// What the table has before this position, the online store gets from there.
    pub(crate) fn leave_to_table(&self, end: u64) {
        let mut inner = self.shared.lock();
        let end = end.min(inner.state.committed);
        let left = inner.behind.range(..end).filter(|(_, batch)| batch.to.is_offline());
        let left: Vec<u64> = left.map(|(position, _)| *position).collect();
        left.into_iter().for_each(|position| inner.let_go(position));
    }

    /// The first position that the table does not have.
    pub(crate) fn committed_end(&self) -> u64 {
        self.shared.lock().state.committed
    }

    /// Where the commit that was begun and not ended would end.
    pub(crate) fn attempt(&self) -> Option<u64> {
        self.shared.lock().state.attempt
    }

    /// Remembers where a commit that is about to begin ends.
    pub(crate) fn begin(&self, end: u64) -> Result<()> {
        self.change(|state| state.attempt = Some(end))
    }

    /// Everything before this position is in the table.
    pub(crate) fn committed(&self, end: u64) -> Result<()> {
        self.change(|state| {
            state.committed = state.committed.max(end);
            state.attempt = state.attempt.filter(|attempt| *attempt > state.committed);
        })
    }

    /// Remembers how far the online store is, where that has changed.
    pub(crate) fn settle(&self) -> Result<()> {
        let is_settled = {
            let carried = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
            let inner = self.shared.lock();
            let (_, from) = inner.finished(inner.state.committed, self.limits.segments_kept);
            inner.first_behind(from, inner.state.committed) == inner.state.behind
                && !carried.is_done(inner.behind.range(..from).map(|(position, _)| *position))
        };
        if is_settled { Ok(()) } else { self.change(|_| {}) }
    }

    /// Changes the state, on the disk first, and lets go of what is done with.
    fn change(&self, edit: impl FnOnce(&mut State)) -> Result<()> {
        let mut carried = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.shared.lock().state.clone();
        edit(&mut state);
        let (files, stuck) = {
            let inner = self.shared.lock();
            let (files, from) = inner.finished(state.committed, self.limits.segments_kept);
            state.behind = inner.first_behind(from, state.committed);
            let stuck = inner.behind.range(..from).map(|(_, batch)| Arc::clone(batch));
            (files, stuck.collect::<Vec<_>>())
        };
        carried.keep(&self.dir, &stuck)?;
        state.write(&self.dir)?;
        let old = self.shared.lock().advance(state, files);
        for path in old {
            if let Err(error) = std::fs::remove_file(&path) {
                tracing::warn!(%error, file = %path.display(), "cannot remove a finished file");
            }
        }
        Ok(())
    }
}

impl Drop for Queue {
    /// What is on its way to the disk arrives before another process may have the queue.
    fn drop(&mut self) {
        drop(self.requests.take());
        if let Some(writer) = self.writer.take() {
            // One that panicked has written nothing more.
            let _ = writer.join();
        }
    }
}

impl Inner {
    /// The batch that a name stands for, if it is known.
    fn repeated(&self, key: &str, hash: [u8; 32]) -> Result<Option<Accepted>> {
        match self.keys.get(key) {
            None => Ok(None),
            Some((position, known)) if *known == hash => {
                Ok(Some(Accepted { position: *position, is_repeated: true }))
            }
            Some(_) => Err(Error::new(
                ErrorKind::Conflict,
                format!("other events were pushed under the key `{}`", key.escape_debug()),
            )
            .with_help("take another key for each batch of events")),
        }
    }

    fn read_group(&mut self, group: &segment::Group, names: &mut Vec<String>) -> Result<()> {
        let mut rest = Bytes::copy_from_slice(&group.body);
        for position in (group.first..).take(group.batches as usize) {
            let (batch, after) = Batch::read(position, &rest)?;
            rest = after;
            names.push(batch.key.clone());
            self.keys.insert(batch.key.clone(), (position, batch.hash));
            self.next = self.next.max(position + 1);
            let is_pending = position >= self.state.committed;
            let is_behind = self.state.behind.is_some_and(|first| position >= first);
            if is_pending || (is_behind && batch.to.is_online()) {
                self.bytes += batch.events.len() as u64;
                self.keep(Arc::new(batch));
            }
        }
        Ok(())
    }

    /// Keeps a batch until the table and the online store have it, those of both that shall.
    fn keep(&mut self, batch: Arc<Batch>) {
        if batch.to.is_online() {
            self.behind.insert(batch.position, Arc::clone(&batch));
        }
        if batch.position >= self.state.committed {
            self.pending.push_back(batch);
        }
    }

    /// Keeps a batch for the online store no more.
    fn let_go(&mut self, position: u64) {
        if let Some(batch) = self.behind.remove(&position)
            && position < self.state.committed
        {
            self.bytes = self.bytes.saturating_sub(batch.events.len() as u64);
        }
    }

    /// Keeps a batch that is in none of the files any more.
    fn keep_carried(&mut self, batch: Batch) {
        if batch.position < self.state.committed && !self.behind.contains_key(&batch.position) {
            self.bytes += batch.events.len() as u64;
            self.behind.insert(batch.position, Arc::new(batch));
        }
    }

    /// The first position of those that the online store is not known to have.
    fn first_behind(&self, from: u64, end: u64) -> Option<u64> {
        self.behind.range(from..).next().map(|(first, _)| *first).filter(|first| *first < end)
    }

    /// How many files are done with once the table has everything before a position, and where the
    /// first of the others begins. What only the online store lacks does not keep them.
    fn finished(&self, committed: u64, kept: usize) -> (usize, u64) {
        let most = self.segments.len().saturating_sub(kept.max(1));
        // A file is done with when the next one begins with what is done with, too.
        let next = self.segments.iter().skip(1).take(most).map(|(first, ..)| *first);
        let files = next.take_while(|first| *first <= committed).count();
        (files, self.segments.get(files).map_or(self.next, |(first, ..)| *first))
    }

    /// Forgets what is done with; the answer are files that are of no more use.
    fn advance(&mut self, state: State, files: usize) -> Vec<PathBuf> {
        self.state = state;
        while self.pending.front().is_some_and(|batch| batch.position < self.state.committed) {
            if let Some(batch) = self.pending.pop_front()
                && !self.behind.contains_key(&batch.position)
            {
                self.bytes = self.bytes.saturating_sub(batch.events.len() as u64);
            }
        }
        let mut old = Vec::with_capacity(files);
        for (_, path, names) in self.segments.drain(..files.min(self.segments.len())) {
            for name in names {
                self.keys.remove(&name);
            }
            old.push(path);
        }
        old
    }
}

/// Keeps other processes out.
fn lock(dir: &Path) -> Result<File> {
    let path = dir.join("lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|error| failed(&path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => {
            Err(Error::unavailable(format!("another process has the queue `{}`", dir.display()))
                .with_help("push to the service that runs: `POST /push`"))
        }
        Err(std::fs::TryLockError::Error(error)) => Err(failed(&path, error)),
    }
}

fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(|error| failed(dir, error))? {
        let path = entry.map_err(|error| failed(dir, error))?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
