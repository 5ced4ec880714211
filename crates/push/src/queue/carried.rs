//! Batches that the online store does not take, outside of the files that they came in: those may
//! leave then, and a queue does not grow with what comes after a batch that is stuck.
//!
//! Earlier releases kept such files instead; they do not see this one, and leave it alone.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use icecore_core::Result;

use super::Batch;
use super::segment::{Group, Segment, failed, replace};

/// Not `.log`: it is none of the files that are written one after the other.
const FILE: &str = "behind.batches";

/// The file with batches that were carried on.
#[derive(Debug, Default)]
pub(super) struct Carried {
    /// What is in it. Some may be done with since.
    positions: BTreeSet<u64>,
}

impl Carried {
    /// Reads what was carried on before.
    pub(super) fn open(dir: &Path) -> Result<(Self, Vec<Batch>)> {
        let path = path(dir);
        if !path.try_exists().map_err(|error| failed(&path, error))? {
            return Ok((Self::default(), Vec::new()));
        }
        let (_, groups) = Segment::open(&path, false)?;
        let read = |group: Group| -> Result<Batch> {
            Ok(Batch::read(group.first, &Bytes::from(group.body))?.0)
        };
        let batches = groups.into_iter().map(read).collect::<Result<Vec<_>>>()?;
        Ok((Self { positions: batches.iter().map(|batch| batch.position).collect() }, batches))
    }

    /// Whether the file is there and has none of the batches that are still to be kept.
    pub(super) fn is_done(&self, mut behind: impl Iterator<Item = u64>) -> bool {
        !self.positions.is_empty() && !behind.any(|position| self.positions.contains(&position))
    }

    /// Keeps batches whose files are about to leave. It is on the disk when this returns.
    pub(super) fn keep(&mut self, dir: &Path, batches: &[Arc<Batch>]) -> Result<()> {
        let path = path(dir);
        if batches.is_empty() {
            return self.leave(&path);
        }
        if batches.iter().all(|batch| self.positions.contains(&batch.position)) {
            return Ok(());
        }
        // Their positions have gaps, so each is a group.
        replace(
            &path,
            batches.iter().map(|batch| {
                let mut body = Vec::new();
                batch.write(&mut body);
                Group { first: batch.position, batches: 1, body }
            }),
        )?;
        self.positions = batches.iter().map(|batch| batch.position).collect();
        Ok(())
    }

    fn leave(&mut self, path: &Path) -> Result<()> {
        if self.positions.is_empty() {
            return Ok(());
        }
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(path, error)),
            _ => self.positions.clear(),
        }
        Ok(())
    }
}

fn path(dir: &Path) -> PathBuf {
    dir.join(FILE)
}
