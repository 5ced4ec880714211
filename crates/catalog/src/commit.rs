//! Making a new state of a table visible in one step.
//!
//! A commit plans its change on the table as it is, writes the metadata that results, and swaps the
//! table's pointer if nobody else did so meanwhile; otherwise it plans anew. Three rules keep every
//! reader safe:
//!
//! - Files are written before anything refers to them, and none is ever changed.
//! - What a writer deletes after a failure is its own, and only once it is certain that nothing
//!   refers to it: as long as the outcome of a swap is unknown, nothing is deleted.
//! - An attempt is recognized by its id, so a lost answer is found out by reading, not by guessing.

mod branch;
mod change;
mod cherry_pick;
mod delta;
mod edit;
mod lineage;
mod manifests;
mod merge;
mod partitions;
mod place;
mod regroup;
mod same_rows;
mod several;
mod snapshot;
mod summary;
mod validate;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use iceberg::spec::{ManifestFile, SnapshotRef, SnapshotReference, TableMetadata};
use iceberg::table::Table;
use iceberg::{TableRequirement, TableUpdate};
use icecore_core::{Error, ErrorKind, Result, TableName};
use uuid::Uuid;

use crate::ids::{Ids, new_uuid};
use crate::planted::{self, PlantedBug};
use crate::refs;
use crate::tables::{Collided, Open, Planned, Stored, Tables, location_of};

pub(crate) use branch::{Tip, check_no_tag};
pub(crate) use change::{FileChange, OwnedReads, OwnedRemoval, done_before, isolation};
pub(crate) use cherry_pick::CherryPick;
pub(crate) use delta::{AddedFiles, FileSet};
pub(crate) use edit::Edit;
pub(crate) use lineage::RowIds;
#[cfg(test)]
pub(crate) use manifests::load;
pub(crate) use partitions::Touched;
pub(crate) use regroup::{Regroup, Regrouped};
pub(crate) use same_rows::same_rows;
pub(crate) use several::{Several, after};
pub(crate) use snapshot::check_writable;
pub(crate) use summary::counts;

/// The summary field that tells the snapshot of one attempt from every other.
pub(crate) const ATTEMPT_ID: &str = "icecore.attempt-id";
/// The summary field that names the piece of work a snapshot was made by.
pub(crate) const JOB_ID: &str = "icecore.job-id";

/// With the pauses below, a writer gives up after about ten seconds of contention.
const TRIES_MAX: u32 = 20;
/// Looks at what became of a lost answer before the outcome is reported as unknown.
const LOOKS_MAX: u32 = 7;
const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// A change of a table, planned anew on each state that it meets.
#[async_trait]
pub(crate) trait Change: Send + Sync {
    /// Says what to change in this state, or that it needs no change. Files that the plan writes
    /// are named by the attempt, which deletes them if the plan does not come to pass.
    async fn plan(&self, head: &Table, attempt: &mut Attempt) -> Result<Plan>;

    /// Whether doing it twice comes to the same as doing it once.
    fn is_repeatable(&self) -> bool;
}

/// What to do to a state of a table.
pub(crate) enum Plan {
    /// Nothing: it is as it should be.
    Nothing,
    /// Nothing: this snapshot, of the same job, did it before.
    DoneBefore(i64),
    /// Apply these updates if these requirements are met.
    Apply { requirements: Vec<TableRequirement>, updates: Vec<TableUpdate> },
}

/// What a commit came to.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The table was as it should be.
    Unchanged(Table),
    /// The same job had made this snapshot before.
    DoneBefore(Table, i64),
    /// The change is part of this state, made by this attempt.
    Committed(Table, String),
}

impl Outcome {
    /// The state of the table after the commit.
    pub(crate) fn into_table(self) -> Table {
        match self {
            Self::Unchanged(table) | Self::DoneBefore(table, _) | Self::Committed(table, _) => {
                table
            }
        }
    }
}

/// One try of one commit.
#[derive(Debug)]
pub(crate) struct Attempt {
    /// The same for every try of a commit.
    pub(crate) id: String,
    /// Makes the names of this try's files unique.
    uuid: Uuid,
    /// Files that this try wrote or was about to write.
    files: Vec<String>,
    /// When the snapshot is made.
    now_ms: i64,
    ids: Arc<dyn Ids>,
    /// The refs of the state that is planned on, once they were asked for.
    refs: Option<Refs>,
    /// Which of several changes is planned.
    step: usize,
    /// What the commit's tries have in common.
    reuse: Reuse,
}

/// Refs of a table, by name.
type Refs = BTreeMap<String, SnapshotReference>;

/// What one try of a commit hands on to the next, because it does not depend on the state that the
/// try met: at most one of them succeeds.
#[derive(Debug, Default)]
struct Reuse {
    /// The ids of new snapshots, by step.
    snapshots: HashMap<usize, i64>,
    /// The manifests of new files, by step and the place of the files in its change.
    manifests: HashMap<(usize, usize), ManifestFile>,
    /// Files that were written or about to be written.
    files: Vec<String>,
}

impl Attempt {
    /// The location of a new manifest.
    fn manifest(&mut self, table_location: &str) -> String {
        let number = self.files.len();
        self.name(format!("{table_location}/metadata/{}-m{number}.avro", self.uuid))
    }

    /// The location of a new manifest that the next try may use as well.
    fn reused_manifest(&mut self, table_location: &str) -> String {
        let number = self.reuse.files.len();
        let location = format!("{table_location}/metadata/{}-a{number}.avro", self.uuid);
        self.reuse.files.push(location.clone());
        location
    }

    /// The id of the new snapshot.
    fn snapshot_id(&mut self, metadata: &TableMetadata) -> i64 {
        let ids = &*self.ids;
        let new = || snapshot::new_snapshot_id(metadata, ids);
        *self.reuse.snapshots.entry(self.step).or_insert_with(new)
    }

    /// Turns to the next of several changes, which meets the state that the others lead to.
    fn begin_step(&mut self, number: usize) {
        (self.step, self.refs) = (number, None);
    }

    /// The refs of the state that is planned on.
    fn refs(&mut self, head: &Table) -> Result<&Refs> {
        match &mut self.refs {
            Some(refs) => Ok(refs),
            unread => Ok(unread.insert(refs::stored(head.metadata())?)),
        }
    }

    /// The location of a new manifest list.
    fn manifest_list(&mut self, table_location: &str, snapshot: i64) -> String {
        self.name(format!("{table_location}/metadata/snap-{snapshot}-0-{}.avro", self.uuid))
    }

    fn name(&mut self, location: String) -> String {
        self.files.push(location.clone());
        location
    }
}

/// Commits a change, trying again on newer states while others commit first.
///
/// # Errors
///
/// `Conflict` if the change cannot be made on what others committed, or others never stop;
/// `OutcomeUnknown` with the attempt id if nobody knows whether it is stored.
pub(crate) async fn commit(
    tables: &Tables,
    name: &TableName,
    change: &dyn Change,
) -> Result<Outcome> {
    let id = new_uuid(&**tables.ids()).to_string();
    let reuse = Reuse::default();
    Committer { tables, name, change, id, open: Vec::new(), reuse }.run().await
}

/// The snapshot that an attempt made (the last of several), if it is in this state of the table.
pub(crate) fn made_by<'m>(metadata: &'m TableMetadata, attempt: &str) -> Option<&'m SnapshotRef> {
    let made = metadata.snapshots().filter(|snapshot| {
        let summary = &snapshot.summary().additional_properties;
        summary.get(ATTEMPT_ID).is_some_and(|id| id == attempt)
    });
    made.max_by_key(|snapshot| snapshot.sequence_number())
}

struct Committer<'a> {
    tables: &'a Tables,
    name: &'a TableName,
    change: &'a dyn Change,
    id: String,
    /// Changes that may yet turn out to have happened, with the files that they refer to.
    open: Vec<(Open, Vec<String>)>,
    reuse: Reuse,
}

enum Try {
    Ended(Outcome),
    Again(Error),
    /// The table cannot be read, so what became of an open swap is not known.
    Blind(Error),
}

impl Committer<'_> {
    async fn run(mut self) -> Result<Outcome> {
        let result = self.try_often().await;
        let is_used = match &result {
            Ok(Outcome::Committed(..)) => true,
            // A swap that may yet happen refers to them.
            Ok(_) | Err(_) => !self.open.is_empty(),
        };
        if !is_used {
            self.tables.discard(&self.reuse.files).await;
        }
        result
    }

    async fn try_often(&mut self) -> Result<Outcome> {
        let (mut last, mut looks) = (None, 0);
        for number in 0..TRIES_MAX {
            if number > 0 {
                self.tables.timer().sleep(pause(number, &**self.tables.ids())).await;
            }
            let collided = if number == 0 { Collided::No } else { Collided::Yes };
            match self.try_once(collided).await {
                Ok(Try::Ended(outcome)) => {
                    tracing::debug!(table = %self.name, attempt = %self.id, number, "committed");
                    return Ok(outcome);
                }
                Ok(Try::Again(error)) => last = Some(error),
                Ok(Try::Blind(error)) if looks == LOOKS_MAX => return Err(self.failed(error)),
                Ok(Try::Blind(error)) => {
                    looks += 1;
                    last = Some(error);
                }
                Err(error) => return Err(self.failed(error)),
            }
        }
        let tired = Error::new(
            ErrorKind::Conflict,
            format!("table `{}` changed {TRIES_MAX} times while it was committed to", self.name),
        )
        .with_help("try again when fewer writers commit to it");
        Err(self.failed(match last {
            Some(error) => tired.with_source(error),
            None => tired,
        }))
    }

    async fn try_once(&mut self, collided: Collided) -> Result<Try> {
        // Writers of one process take turns, which costs less than to collide.
        let turn = self.tables.turn(self.name);
        let _turn = turn.lock().await;
        let _place = self.tables.queue(self.name, collided).await;
        let head = match self.tables.load(self.name).await {
            Ok(head) => head,
            // The answer may be just behind the failure that lost it.
            Err(error) if !self.open.is_empty() => return Ok(Try::Blind(error)),
            Err(error) => return Err(error),
        };
        if self.settle(&head).await? {
            return Ok(Try::Ended(Outcome::Committed(head, self.id.clone())));
        }
        let mut attempt = Attempt {
            id: self.id.clone(),
            uuid: new_uuid(&**self.tables.ids()),
            files: Vec::new(),
            // Clocks of writers differ; a table's history never runs backwards.
            now_ms: self.tables.clock().now().millis().max(head.metadata().last_updated_ms()),
            refs: None,
            step: 0,
            ids: self.tables.ids().clone(),
            reuse: std::mem::take(&mut self.reuse),
        };
        let tried = self.plan_and_swap(head, &mut attempt).await;
        self.reuse = std::mem::take(&mut attempt.reuse);
        match tried {
            Ok(Try::Ended(outcome)) => Ok(Try::Ended(outcome)),
            // Files that may be referred to do not belong to the attempt any more.
            failed => {
                self.tables.discard(&attempt.files).await;
                failed
            }
        }
    }

    async fn plan_and_swap(&mut self, head: Table, attempt: &mut Attempt) -> Result<Try> {
        let (requirements, updates) = match self.change.plan(&head, attempt).await? {
            Plan::Nothing => return Ok(Try::Ended(Outcome::Unchanged(head))),
            Plan::DoneBefore(snapshot) => {
                return Ok(Try::Ended(Outcome::DoneBefore(head, snapshot)));
            }
            Plan::Apply { requirements, updates } => (requirements, updates),
        };
        let (name, id) = (self.name, &self.id);
        let planned = Planned { name, head: &head, requirements, updates, attempt: id };
        match self.tables.commit(planned).await? {
            Stored::Done(table) => {
                // From here on the files are the table's.
                attempt.files.clear();
                Ok(Try::Ended(Outcome::Committed(table, self.id.clone())))
            }
            Stored::Moved => Ok(Try::Again(Error::new(
                ErrorKind::Conflict,
                format!("another writer committed to `{}` first", self.name),
            ))),
            Stored::Failed(error) => Err(error),
            Stored::Unknown(error, open) => {
                let files = std::mem::take(&mut attempt.files);
                tracing::warn!(table = %self.name, attempt = %self.id, "the answer to a commit was lost");
                self.open.push((open, files));
                Ok(Try::Again(error))
            }
        }
    }

    /// Finds out what became of open swaps, and whether one of them happened. A swap that did not
    /// can only happen later if the table is still in the state that it swaps from.
    async fn settle(&mut self, head: &Table) -> Result<bool> {
        if planted::has(PlantedBug::LostIsRepeated) {
            self.open.clear();
        }
        if self.open.is_empty() {
            return Ok(false);
        }
        let metadata = head.metadata();
        let current = location_of(head)?;
        if self.open.iter().any(|(open, _)| open.is_in(metadata, current))
            || made_by(metadata, &self.id).is_some()
        {
            return Ok(true);
        }
        let (open, never): (Vec<_>, Vec<_>) =
            self.open.drain(..).partition(|(open, _)| open.may_come(metadata, current));
        self.open = open;
        for (open, files) in never {
            self.tables.discard(&files).await;
            self.tables.discard(&open.files()).await;
        }
        Ok(false)
    }

    /// What a commit that did not succeed failed with.
    fn failed(&self, error: Error) -> Error {
        if self.open.is_empty() {
            return error;
        }
        let unknown = Error::new(
            ErrorKind::OutcomeUnknown,
            format!("nobody knows whether the commit to `{}` is stored", self.name),
        )
        .with_attempt(self.id.clone())
        .with_source(error);
        // Only snapshots bear the id of their attempt.
        if self.change.is_repeatable() {
            unknown.with_help("do it again: that does no harm")
        } else {
            unknown.with_help(format!("`icecore attempt {}` asks again", self.id))
        }
    }
}

/// How long to wait before a try: doubling, at random between nothing and the whole, so that
/// writers that collided do not collide again.
fn pause(number: u32, ids: &dyn Ids) -> Duration {
    let longest = PAUSE_MIN.saturating_mul(1 << number.min(16)).min(PAUSE_MAX);
    let (random, _) = new_uuid(ids).as_u64_pair();
    longest.mul_f64((random % 1024) as f64 / 1024.0)
}
