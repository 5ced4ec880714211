//! Expiring snapshots.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures::TryStreamExt;
use iceberg::io::FileIO;
use iceberg::spec::{SnapshotRef, TableMetadata};
use iceberg::table::Table;
use iceberg::{TableRequirement, TableUpdate};
use icecore_core::{Error, RefName, Result, SnapshotId, TableName, Timestamp};
use tokio::sync::OnceCell;

use super::delete::delete;
use super::hold::SnapshotHolder;
use super::neighbours::{check_own, tables_inside};
use super::place::Place;
use super::reach::{Damage, Named, live_files, skeleton, statistics};
use super::retention::{Asked, Retention, decide};
use crate::commit::{self, Attempt, Change, Outcome, Plan};
use crate::error::Context;
use crate::history::committed_at;
use crate::refs;
use crate::tables::{Hidden, Tables};

/// Which snapshots to expire.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ExpireOptions {
    /// Those from before this moment; the table's `history.expire.max-snapshot-age-ms`, or five
    /// days, where it is absent.
    pub older_than: Option<Timestamp>,
    /// How many of each branch stay, however old; the table's
    /// `history.expire.min-snapshots-to-keep`, or one, where it is absent.
    pub retain_last: Option<usize>,
    /// These, and no others. One that is needed is an error.
    pub snapshots: Vec<SnapshotId>,
    /// Says what would go, and changes nothing.
    pub dry_run: bool,
    /// Who may need snapshots beside the table's own refs.
    pub holders: Vec<Arc<dyn SnapshotHolder>>,
}

impl ExpireOptions {
    /// Takes those from before this moment.
    #[must_use]
    pub const fn with_older_than(mut self, older_than: Option<Timestamp>) -> Self {
        self.older_than = older_than;
        self
    }

    /// Keeps so many of each branch, however old.
    #[must_use]
    pub const fn with_retain_last(mut self, retain_last: Option<usize>) -> Self {
        self.retain_last = retain_last;
        self
    }

    /// Takes these, and no others.
    #[must_use]
    pub fn with_snapshots(mut self, snapshots: Vec<SnapshotId>) -> Self {
        self.snapshots = snapshots;
        self
    }

    /// Says what would go, and changes nothing.
    #[must_use]
    pub const fn with_dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }

    /// Keeps what this one needs.
    #[must_use]
    pub fn with_holder(mut self, holder: Arc<dyn SnapshotHolder>) -> Self {
        self.holders.push(holder);
        self
    }
}

/// A snapshot that would have gone, were it not needed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeldSnapshot {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// When it was committed.
    pub committed_at: Timestamp,
    /// Who needs it, in words.
    pub by: Vec<String>,
}

/// What an expiry came to.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ExpireReport {
    /// The snapshots that are gone, oldest first.
    pub expired: Vec<SnapshotId>,
    /// The snapshots that stay because somebody needs them, oldest first.
    pub held: Vec<HeldSnapshot>,
    /// Tags and branches that had reached the age that was set for them.
    pub expired_refs: Vec<String>,
    /// Files that were deleted, or would be.
    pub deleted_files: u64,
    /// Their bytes, where a length is recorded.
    pub deleted_bytes: u64,
    /// Files that could not be deleted, with why. A clean finds them again.
    pub failed: Vec<(String, String)>,
    /// Whether nothing was changed.
    pub dry_run: bool,
}

/// Expires snapshots in one commit, and then deletes what no snapshot needs any more.
pub(crate) async fn expire(
    tables: &Tables,
    name: &TableName,
    options: ExpireOptions,
) -> Result<ExpireReport> {
    let (seen, alone) = (Mutex::default(), OnceCell::new());
    let expiry = Expiry { tables, name, options: &options, seen, alone };
    let head = tables.load(name).await?;
    let decided = expiry.decide(&head).await?;
    let io = tables.io();
    if options.dry_run {
        let (mut gone, kept): (Vec<_>, Vec<_>) = head
            .metadata()
            .snapshots()
            .cloned()
            .partition(|snapshot| decided.expired.contains(&snapshot.snapshot_id()));
        gone.sort_by_key(|snapshot| snapshot.sequence_number());
        let mut report = report(&decided, head.metadata(), &gone);
        let mut garbage = garbage(io, head.metadata(), (&gone, &kept)).await?;
        let is_gone = |id| decided.expired.contains(&id);
        let needed: Vec<Named> = statistics(head.metadata(), |id| !is_gone(id)).collect();
        garbage.extend(unneeded(statistics(head.metadata(), is_gone).collect(), &needed));
        report.deleted_files = garbage.len() as u64;
        report.deleted_bytes = garbage.iter().map(|file| file.bytes).sum();
        report.dry_run = true;
        return Ok(report);
    }
    // An error leaves every file where it is: the commit did not happen, or nobody knows.
    let after = match commit::commit(tables, name, &expiry).await? {
        Outcome::Committed(after, _) => after,
        Outcome::Unchanged(after) | Outcome::DoneBefore(after, _) => {
            return Ok(report(&decided, after.metadata(), &[]));
        }
    };
    let seen = expiry.seen.into_inner().unwrap_or_else(PoisonError::into_inner);
    let metadata = after.metadata();
    let is_gone =
        |snapshot: &SnapshotRef| metadata.snapshot_by_id(snapshot.snapshot_id()).is_none();
    let mut gone: Vec<SnapshotRef> = seen.snapshots.into_values().filter(is_gone).collect();
    gone.sort_by_key(|snapshot| snapshot.sequence_number());
    let mut report = report(&seen.decided, metadata, &gone);
    let kept: Vec<SnapshotRef> = metadata.snapshots().cloned().collect();
    let mut all = garbage(io, metadata, (&gone, &kept)).await.map_err(|error| {
        error
            .with_note(format!(
                "{} snapshots of `{name}` are expired; their files stay",
                gone.len()
            ))
            .with_help(format!("`icecore table clean {name}` deletes them later"))
    })?;
    let needed: Vec<Named> = statistics(metadata, |_| true).collect();
    all.extend(unneeded(seen.statistics, &needed));
    let deleted = delete(io, all).await;
    report.deleted_files = deleted.files;
    report.deleted_bytes = deleted.bytes;
    report.failed = deleted.failed;
    tracing::info!(
        table = %name,
        expired = report.expired.len(),
        held = report.held.len(),
        files = report.deleted_files,
        "expired snapshots"
    );
    Ok(report)
}

fn report(decided: &Retention, metadata: &TableMetadata, gone: &[SnapshotRef]) -> ExpireReport {
    let mut held: Vec<HeldSnapshot> = decided
        .held
        .iter()
        .filter_map(|(id, by)| {
            let snapshot = metadata.snapshot_by_id(*id)?;
            let mut by = by.clone();
            by.sort();
            by.dedup();
            Some(HeldSnapshot {
                snapshot: SnapshotId::new(*id),
                committed_at: committed_at(snapshot),
                by,
            })
        })
        .collect();
    held.sort_by_key(|held| (held.committed_at, held.snapshot));
    ExpireReport {
        expired: gone.iter().map(|snapshot| SnapshotId::new(snapshot.snapshot_id())).collect(),
        held,
        expired_refs: decided.expired_refs.clone(),
        ..ExpireReport::default()
    }
}

struct Expiry<'a> {
    tables: &'a Tables,
    name: &'a TableName,
    options: &'a ExpireOptions,
    seen: Mutex<Seen>,
    /// Known once no other name was found that leads to the table's files.
    alone: OnceCell<()>,
}

/// What the states looked like that a plan was made for: one of them was committed on.
#[derive(Debug, Default)]
struct Seen {
    snapshots: BTreeMap<i64, SnapshotRef>,
    statistics: Vec<Named>,
    decided: Retention,
}

impl Expiry<'_> {
    /// What of a state goes, with everybody asked who may need it.
    async fn decide(&self, head: &Table) -> Result<Retention> {
        check_own(self.name, head)?;
        let metadata = head.metadata();
        let asked = Asked {
            older_than_ms: self.options.older_than.map(Timestamp::millis),
            retain_last: self.options.retain_last,
        };
        let mut decided = decide(metadata, asked, self.tables.clock().now().millis())?;
        if !self.options.snapshots.is_empty() {
            decided = self.decide_named(metadata)?;
        }
        let uuid = metadata.uuid().to_string();
        for holder in &self.options.holders {
            for hold in holder.holds(self.name).await?.into_iter().filter(|hold| hold.is_of(&uuid))
            {
                let id = hold.snapshot.get();
                if decided.expired.contains(&id) || decided.held.contains_key(&id) {
                    decided.expired.remove(&id);
                    decided.held.entry(id).or_default().push(hold.by);
                }
            }
        }
        if let Some((id, by)) = decided.held.iter().next()
            && !self.options.snapshots.is_empty()
        {
            return Err(self.needed(*id, by));
        }
        if !decided.expired.is_empty() {
            // Before the commit: what cannot be deleted need not be expired.
            self.alone.get_or_try_init(|| self.check_alone(head)).await?;
        }
        Ok(decided)
    }

    /// Fails where another name leads to the table's files, which may need those that go.
    async fn check_alone(&self, head: &Table) -> Result<()> {
        tables_inside(self.tables, self.name, head, Hidden::IsSkipped).await.map(|_| ())
    }

    /// For snapshots that were named: whatever a ref leads to by its rules is needed.
    fn decide_named(&self, metadata: &TableMetadata) -> Result<Retention> {
        let mut decided = Retention::default();
        for id in self.options.snapshots.iter().map(|id| id.get()) {
            if metadata.snapshot_by_id(id).is_none() {
                return Err(Error::not_found(format!(
                    "table `{}` has no snapshot `{id}`",
                    self.name
                ))
                .with_help(format!("`icecore table log {}` shows them", self.name)));
            }
            decided.expired.insert(id);
        }
        for (name, reference) in refs::stored(metadata)? {
            let id = reference.snapshot_id;
            if decided.expired.remove(&id) || decided.held.contains_key(&id) {
                let kind = if reference.is_branch() { "branch" } else { "tag" };
                decided.held.entry(id).or_default().push(format!("{kind} `{name}`"));
            }
        }
        Ok(decided)
    }

    fn needed(&self, id: i64, by: &[String]) -> Error {
        Error::invalid(format!("snapshot `{id}` of table `{}` is needed", self.name))
            .with_note(format!("it is held by {}", by.join(", ")))
            .with_help("remove what holds it first")
    }
}

#[async_trait]
impl Change for Expiry<'_> {
    async fn plan(&self, head: &Table, _attempt: &mut Attempt) -> Result<Plan> {
        let metadata = head.metadata();
        let decided = self.decide(head).await?;
        let plan = if decided.expired.is_empty() && decided.expired_refs.is_empty() {
            Plan::Nothing
        } else {
            Plan::Apply {
                requirements: requirements(metadata)?,
                updates: updates(metadata, &decided),
            }
        };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        for snapshot in metadata.snapshots() {
            seen.snapshots.insert(snapshot.snapshot_id(), snapshot.clone());
        }
        seen.statistics.extend(statistics(metadata, |id| decided.expired.contains(&id)));
        seen.decided = decided;
        Ok(plan)
    }

    fn is_repeatable(&self) -> bool {
        true
    }
}

/// No ref may have moved since: it could lead to what goes.
fn requirements(metadata: &TableMetadata) -> Result<Vec<TableRequirement>> {
    let mut all = vec![TableRequirement::UuidMatch { uuid: metadata.uuid() }];
    for (name, reference) in refs::stored(metadata)? {
        let snapshot_id = Some(reference.snapshot_id);
        all.push(TableRequirement::RefSnapshotIdMatch { r#ref: name, snapshot_id });
    }
    Ok(all)
}

fn updates(metadata: &TableMetadata, decided: &Retention) -> Vec<TableUpdate> {
    let mut updates = Vec::new();
    for name in &decided.expired_refs {
        updates.push(TableUpdate::RemoveSnapshotRef { ref_name: name.clone() });
        if let Ok(name) = RefName::parse(name) {
            let mut removals = refs::mirrors(&name);
            removals.retain(|property| metadata.properties().contains_key(property));
            if !removals.is_empty() {
                updates.push(TableUpdate::RemoveProperties { removals });
            }
        }
    }
    for id in &decided.expired {
        if metadata.statistics_for_snapshot(*id).is_some() {
            updates.push(TableUpdate::RemoveStatistics { snapshot_id: *id });
        }
        if metadata.partition_statistics_for_snapshot(*id).is_some() {
            updates.push(TableUpdate::RemovePartitionStatistics { snapshot_id: *id });
        }
    }
    if !decided.expired.is_empty() {
        let snapshot_ids = decided.expired.iter().copied().collect();
        updates.push(TableUpdate::RemoveSnapshots { snapshot_ids });
    }
    updates
}

/// The files that only snapshots that are gone need: all that can be reached from those, without
/// all that can be reached from those that stay. Data before what leads to it.
async fn garbage(
    io: &FileIO,
    metadata: &TableMetadata,
    (gone, kept): (&[SnapshotRef], &[SnapshotRef]),
) -> Result<Vec<Named>> {
    if gone.is_empty() {
        return Ok(Vec::new());
    }
    let version = metadata.format_version();
    let stays = skeleton(io, version, kept.iter().map(AsRef::as_ref), Damage::Fails).await?;
    // What a damaged snapshot was made of is for a clean to find.
    let goes = skeleton(io, version, gone.iter().map(AsRef::as_ref), Damage::IsSkipped).await?;
    let only_gone =
        goes.manifests.values().filter(|file| !stays.manifests.contains_key(&file.manifest_path));
    let only_gone: Vec<_> = only_gone.collect();
    let mut files: HashMap<Place, Named> = HashMap::new();
    {
        let mut candidates = std::pin::pin!(live_files(io, only_gone.clone(), Damage::IsSkipped));
        while let Some(live) = candidates.try_next().await? {
            files.extend(live.into_iter().map(|file| (Place::of(&file.location), file)));
        }
    }
    if !files.is_empty() {
        let mut needed = std::pin::pin!(live_files(io, stays.manifests.values(), Damage::Fails));
        while let Some(live) = needed.try_next().await? {
            for file in live {
                files.remove(&Place::of(&file.location));
            }
        }
    }
    let mut garbage: Vec<Named> = files.into_values().collect();
    garbage.sort();
    let mut manifests: Vec<Named> = only_gone
        .iter()
        .map(|file| Named {
            location: file.manifest_path.clone(),
            bytes: u64::try_from(file.manifest_length).unwrap_or(0),
        })
        .collect();
    manifests.sort();
    garbage.extend(manifests);
    for location in goes.lists.difference(&stays.lists) {
        let input = io.new_input(location).context(|| format!("cannot look for `{location}`"))?;
        let bytes = input.metadata().await.map_or(0, |found| found.size);
        garbage.push(Named { location: location.clone(), bytes });
    }
    Ok(garbage)
}

/// Statistics of snapshots that are gone, which no other snapshot's are.
fn unneeded(of_gone: Vec<Named>, needed: &[Named]) -> Vec<Named> {
    let mut unneeded: Vec<Named> = of_gone
        .into_iter()
        .filter(|file| needed.iter().all(|needed| needed.location != file.location))
        .collect();
    unneeded.sort();
    unneeded.dedup();
    unneeded
}
