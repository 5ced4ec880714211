//! The thread that writes: whatever came while the disk was busy is its next group.

use std::path::PathBuf;
use std::sync::{Arc, mpsc};

use icecore_core::{Error, ErrorKind, Result};
use tokio::sync::oneshot;

use super::segment::{Group, Segment};
use super::{Accepted, Batch, Limits, Shared};

/// Bytes of a group, about.
const GROUP_BYTES: usize = 4 << 20;

/// A batch that waits for the disk.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) batch: Batch,
    pub(super) answer: oneshot::Sender<Result<Accepted>>,
}

/// A batch on its way to the disk, and who waits for it.
#[derive(Debug)]
struct Writing {
    batch: Batch,
    answers: Vec<oneshot::Sender<Result<Accepted>>>,
}

#[derive(Debug)]
pub(super) struct Writer {
    pub(super) dir: PathBuf,
    pub(super) segment: Segment,
    pub(super) shared: Arc<Shared>,
    pub(super) limits: Limits,
}

impl Writer {
    /// Writes until the queue is dropped.
    pub(super) fn run(mut self, requests: &mpsc::Receiver<Request>) {
        while let Ok(first) = requests.recv() {
            let mut bytes = first.batch.events.len();
            let mut group = vec![first];
            while bytes < GROUP_BYTES
                && let Ok(next) = requests.try_recv()
            {
                bytes += next.batch.events.len();
                group.push(next);
            }
            self.write(group);
        }
    }

    fn write(&mut self, requests: Vec<Request>) {
        let mut accepted: Vec<Writing> = Vec::new();
        let first = self.shared.lock().next;
        for Request { mut batch, answer } in requests {
            let known = self.shared.lock().repeated(&batch.key, batch.hash);
            // Two of one name may have come at once: both are told when the first is on the disk.
            let twin = accepted.iter_mut().find(|other| other.batch.key == batch.key);
            match (known, twin) {
                (Ok(None), None) => {
                    batch.position = first + accepted.len() as u64;
                    accepted.push(Writing { batch, answers: vec![answer] });
                    continue;
                }
                (Ok(None), Some(twin)) if twin.batch.hash == batch.hash => {
                    twin.answers.push(answer);
                }
                (Ok(None), Some(_)) => {
                    let message = "other events are pushed under the same key";
                    let _ = answer.send(Err(Error::new(ErrorKind::Conflict, message)));
                }
                (Ok(Some(found)), _) => drop(answer.send(Ok(found))),
                (Err(error), _) => drop(answer.send(Err(error))),
            }
            self.give_back(&batch);
        }
        if accepted.is_empty() {
            return;
        }
        let mut group = Group { first, batches: accepted.len() as u32, body: Vec::new() };
        accepted.iter().for_each(|writing| writing.batch.write(&mut group.body));
        match self.append(&group) {
            Ok(()) => self.publish(accepted),
            Err(error) => self.give_up(accepted, &error.to_string()),
        }
    }

    /// After a failed sync nobody knows what the disk has (Rebello et al. 2020, "Can Applications
    /// Recover from fsync Failures?"): only opening the queue again tells.
    fn give_up(&self, accepted: Vec<Writing>, why: &str) {
        tracing::error!(%why, "the queue accepts nothing more");
        self.shared.lock().broken = Some(why.to_owned());
        for writing in accepted {
            self.give_back(&writing.batch);
            for answer in writing.answers {
                let _ = answer.send(Err(Error::unavailable(why)));
            }
        }
    }

    fn append(&mut self, group: &Group) -> Result<()> {
        if self.segment.len() >= self.limits.segment_bytes {
            self.segment = Segment::create(&self.dir, group.first)?;
            let path = self.segment.path().to_owned();
            self.shared.lock().segments.push_back((group.first, path, Vec::new()));
        }
        self.segment.append(group)
    }

    fn publish(&self, accepted: Vec<Writing>) {
        let mut told = Vec::with_capacity(accepted.len());
        let mut inner = self.shared.lock();
        for Writing { batch, answers } in accepted {
            inner.next = batch.position + 1;
            inner.keys.insert(batch.key.clone(), (batch.position, batch.hash));
            if let Some((_, _, names)) = inner.segments.back_mut() {
                names.push(batch.key.clone());
            }
            told.push((answers, batch.position));
            inner.keep(Arc::new(batch));
        }
        drop(inner);
        for (answers, position) in told {
            for (at, answer) in answers.into_iter().enumerate() {
                let _ = answer.send(Ok(Accepted { position, is_repeated: at > 0 }));
            }
        }
    }

    fn give_back(&self, batch: &Batch) {
        let mut inner = self.shared.lock();
        inner.bytes = inner.bytes.saturating_sub(batch.events.len() as u64);
    }
}
