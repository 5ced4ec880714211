//! What a queue knows beside its batches.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use icecore_core::{Error, Result};
use serde::{Deserialize, Serialize};

use super::segment::failed;

const FILE: &str = "state.json";

/// Who a queue is, and how far the table is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    /// A name that no other queue has.
    pub(super) queue: String,
    /// The first position that the table does not have.
    pub(super) committed: u64,
    /// Where a commit that was begun ends. It is repeated as it was, under the same name.
    pub(super) attempt: Option<u64>,
    /// The first position before `committed` that the online store may not have, of those in the
    /// files. Only batches from there on are kept for it; a file without this field keeps none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) behind: Option<u64>,
}

impl State {
    /// Reads it, or begins a new queue.
    pub(super) fn open(dir: &Path) -> Result<Self> {
        let path = dir.join(FILE);
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
                Error::corrupt(format!("`{}` is damaged", path.display()))
                    .with_source(error)
                    .with_help("restore it from a copy: without it nobody knows what was committed")
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let queue = uuid::Uuid::new_v4().simple().to_string();
                let state = Self { queue, committed: 0, attempt: None, behind: None };
                state.write(dir)?;
                Ok(state)
            }
            Err(error) => Err(failed(&path, error)),
        }
    }

    /// Replaces it, whole or not at all.
    pub(super) fn write(&self, dir: &Path) -> Result<()> {
        let (path, temporary) = (dir.join(FILE), dir.join("state.new"));
        let bytes = serde_json::to_vec(self)
            .map_err(|error| Error::internal("the state cannot be written").with_source(error))?;
        let write = || -> std::io::Result<()> {
            let mut file = File::create(&temporary)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            std::fs::rename(&temporary, &path)?;
            File::open(dir)?.sync_all()
        };
        write().map_err(|error| failed(&path, error))
    }
}
