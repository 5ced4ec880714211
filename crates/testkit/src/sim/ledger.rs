//! What was asked for, and what was answered.

use std::collections::BTreeMap;

use icecore_core::{ErrorKind, SnapshotId};

use super::effect::{Effect, Row};

/// What a process is asked to do.
#[derive(Debug, Clone)]
pub(super) enum Action {
    /// Changes rows, as this job.
    Change(Effect),
    /// Names a snapshot.
    Tag(String, i64),
    /// Points `main` at a snapshot.
    Rollback(i64),
    /// Reads a snapshot, or what is latest.
    Read(Option<i64>),
    /// Expires old snapshots.
    Expire,
    /// Deletes what nothing names.
    Clean,
}

impl Action {
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Change(Effect::Append(_)) => "append",
            Self::Change(Effect::Replace(..)) => "replace",
            Self::Change(Effect::ReplaceAll(_)) => "replace all",
            Self::Change(Effect::Amend(..)) => "amend",
            Self::Change(Effect::Delete(..)) => "delete",
            Self::Change(Effect::Upsert(_)) => "upsert",
            Self::Tag(..) => "tag",
            Self::Rollback(_) => "rollback",
            Self::Read(_) => "read",
            Self::Expire => "expire",
            Self::Clean => "clean",
        }
    }
}

/// What became of an action, as far as its process said.
#[derive(Debug, Clone)]
pub(super) enum Said {
    /// It is done, and this is the snapshot; whether it made it.
    Done(Option<SnapshotId>, bool),
    /// It read these rows of this snapshot.
    Rows(i64, Vec<Row>),
    /// It failed, and did not happen.
    Failed(ErrorKind, String),
    /// Nobody knows.
    Unknown(Option<String>),
    /// The process died.
    Died,
}

impl Said {
    /// One word, and what else tells two runs apart.
    pub(super) fn in_words(&self) -> String {
        match self {
            Self::Done(snapshot, changed) => format!("done {snapshot:?} {changed}"),
            Self::Rows(snapshot, rows) => format!("{} rows of {snapshot}", rows.len()),
            Self::Failed(kind, _) => format!("failed {kind:?}"),
            Self::Unknown(attempt) => format!("unknown {attempt:?}"),
            Self::Died => "died".to_owned(),
        }
    }

    /// Whether it may have happened though nobody said so.
    pub(super) const fn is_open(&self) -> bool {
        matches!(self, Self::Unknown(_) | Self::Died)
    }
}

/// A piece of work: it may be tried several times, and is done once.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) action: Action,
    /// What was said after each try.
    pub(super) said: Vec<Said>,
}

impl Job {
    /// Whether every try was said to have failed.
    pub(super) fn is_refused(&self) -> bool {
        self.said.iter().all(|said| matches!(said, Said::Failed(..)))
    }
}

/// All jobs, by number.
pub(super) type Ledger = BTreeMap<u64, Job>;
