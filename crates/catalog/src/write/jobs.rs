//! Encoding several partitions at a time.
//!
//! What is encoded into which file is decided here, one decision after the other; only the work
//! itself runs at the same time. So which core finishes first changes no byte.

use std::collections::BTreeMap;
use std::sync::Arc;

use iceberg::spec::DataFile;
use icecore_core::Result;
use tokio::task::JoinSet;

use super::Limits;
use super::buffer::Load;
use super::encode::{Encoding, OpenFile};
use crate::blocking::cores;
use crate::error::Context as _;

/// The files of a commit, finished and not.
pub(super) struct Jobs {
    encoding: Arc<Encoding>,
    limits: Limits,
    running: JoinSet<Result<Done>>,
    running_max: usize,
    encoding_bytes: usize,
    waiting_bytes: usize,
    peak_bytes: usize,
    /// By partition: its file that is open or being written.
    slots: BTreeMap<usize, Slot>,
    /// Counts files and decisions.
    next_number: usize,
    decisions: u64,
    finished: Vec<(usize, DataFile)>,
}

enum Slot {
    Running { decision: u64 },
    Open { file: Box<OpenFile>, decision: u64 },
}

struct Done {
    index: usize,
    bytes: usize,
    file: Option<OpenFile>,
    finished: Option<(usize, DataFile)>,
}

impl Jobs {
    pub(super) fn new(encoding: Arc<Encoding>, limits: Limits) -> Self {
        Self {
            encoding,
            limits,
            running: JoinSet::new(),
            // Half of the time goes into waiting for a disk to say that it has a file.
            running_max: 2 * cores(),
            encoding_bytes: 0,
            waiting_bytes: 0,
            peak_bytes: 0,
            slots: BTreeMap::new(),
            next_number: 0,
            decisions: 0,
            finished: Vec::new(),
        }
    }

    pub(super) fn encoding(&self) -> &Encoding {
        &self.encoding
    }

    /// Takes note of how much waits outside.
    pub(super) fn note_waiting(&mut self, bytes: usize) {
        self.waiting_bytes = bytes;
        self.peak_bytes = self.peak_bytes.max(bytes + self.encoding_bytes);
    }

    pub(super) const fn peak_bytes(&self) -> usize {
        self.peak_bytes
    }

    /// Encodes rows into their partition's file, which stays open for more.
    pub(super) async fn encode(&mut self, load: Option<Load>) -> Result<()> {
        match load {
            Some(load) if !load.pieces.is_empty() => {
                self.start(load, self.encoding.is_sorted()).await
            }
            _ => Ok(()),
        }
    }

    /// Encodes the last rows of a partition and closes its file.
    pub(super) async fn complete(&mut self, load: Option<Load>) -> Result<()> {
        let Some(load) = load else { return Ok(()) };
        self.wait_for(load.index).await?;
        if load.pieces.is_empty() && !self.slots.contains_key(&load.index) {
            return Ok(());
        }
        self.start(load, true).await
    }

    /// Waits for all files and returns them in the order of their numbers.
    pub(super) async fn finish(&mut self) -> Result<Vec<DataFile>> {
        self.drain().await?;
        let mut files = std::mem::take(&mut self.finished);
        files.sort_by_key(|(number, _)| *number);
        Ok(files.into_iter().map(|(_, file)| file).collect())
    }

    /// Removes everything that was written.
    pub(super) async fn abandon(&mut self) {
        while !self.running.is_empty() {
            // What failed has removed itself; what finished meanwhile is removed below.
            let _ = self.join_one().await;
        }
        self.slots.clear();
        for (_, file) in self.finished.drain(..) {
            if let Err(error) = self.encoding.io().delete(file.file_path()).await {
                tracing::warn!(path = file.file_path(), %error, "cannot delete an unused data file");
            }
        }
    }

    /// `last`: whether the file is closed afterwards.
    async fn start(&mut self, load: Load, last: bool) -> Result<()> {
        self.wait_for(load.index).await?;
        while self.running.len() >= self.running_max
            || (self.encoding_bytes > 0
                && self.encoding_bytes + load.bytes > self.limits.encoding_bytes)
        {
            self.join_one().await?;
        }
        if !last {
            self.make_room(load.index).await?;
        }
        let file = match self.slots.remove(&load.index) {
            Some(Slot::Open { file, .. }) => Some(*file),
            _ => None,
        };
        let number = self.next_number;
        if file.is_none() {
            self.next_number += 1;
        }
        self.decisions += 1;
        self.slots.insert(load.index, Slot::Running { decision: self.decisions });
        self.encoding_bytes += load.bytes;
        self.peak_bytes = self.peak_bytes.max(self.waiting_bytes + self.encoding_bytes);
        self.running.spawn(run(self.encoding.clone(), Work { load, file, number, last }));
        Ok(())
    }

    /// Closes the file that was used the longest ago, where too many are open.
    async fn make_room(&mut self, index: usize) -> Result<()> {
        if self.slots.contains_key(&index) || self.slots.len() < self.limits.open_files {
            return Ok(());
        }
        // Which files are still open is the same on every run only once all work is done.
        self.drain().await?;
        while self.slots.len() >= self.limits.open_files {
            let oldest = self.slots.iter().min_by_key(|(_, slot)| match slot {
                Slot::Running { decision } | Slot::Open { decision, .. } => *decision,
            });
            let Some(index) = oldest.map(|(index, _)| *index) else { break };
            if let Some(Slot::Open { file, .. }) = self.slots.remove(&index) {
                self.finished.push(self.encoding.close(*file).await?);
            }
        }
        Ok(())
    }

    async fn wait_for(&mut self, index: usize) -> Result<()> {
        while matches!(self.slots.get(&index), Some(Slot::Running { .. })) {
            self.join_one().await?;
        }
        Ok(())
    }

    async fn drain(&mut self) -> Result<()> {
        while !self.running.is_empty() {
            self.join_one().await?;
        }
        Ok(())
    }

    async fn join_one(&mut self) -> Result<()> {
        let Some(joined) = self.running.join_next().await else { return Ok(()) };
        let done = joined.context(|| "cannot encode rows")??;
        self.encoding_bytes -= done.bytes;
        self.finished.extend(done.finished);
        let slot = self.slots.remove(&done.index);
        if let (Some(Slot::Running { decision }), Some(file)) = (slot, done.file) {
            self.slots.insert(done.index, Slot::Open { file: Box::new(file), decision });
        }
        Ok(())
    }
}

struct Work {
    load: Load,
    file: Option<OpenFile>,
    number: usize,
    last: bool,
}

async fn run(encoding: Arc<Encoding>, work: Work) -> Result<Done> {
    let Work { load, file, number, last } = work;
    let mut file = match file {
        Some(file) => file,
        None => {
            let place = (load.partition, load.directories.as_str());
            encoding.open(number, place, load.pieces.first()).await?
        }
    };
    if !load.pieces.is_empty() {
        file = encoding.append(file, load.pieces).await?;
    }
    let mut done = Done { index: load.index, bytes: load.bytes, file: None, finished: None };
    if last || encoding.is_large(&file) {
        done.finished = Some(encoding.close(file).await?);
    } else {
        done.file = Some(file);
    }
    Ok(done)
}
