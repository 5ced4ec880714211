//! Which snapshots a table keeps, by the format's rules.

use std::collections::{BTreeMap, BTreeSet};

use iceberg::spec::{MAIN_BRANCH, SnapshotReference, SnapshotRetention, TableMetadata};
use icecore_core::{Error, Result};

use crate::history::ancestors;
use crate::refs;

/// The age that a snapshot reaches before it may be expired, unless a table or a ref says so.
const MAX_SNAPSHOT_AGE_MS: (&str, i64) =
    ("history.expire.max-snapshot-age-ms", 5 * 24 * 60 * 60 * 1000);
/// Snapshots of a branch that stay, however old they are.
const MIN_SNAPSHOTS_TO_KEEP: (&str, i64) = ("history.expire.min-snapshots-to-keep", 1);
/// The age at which a ref goes: none.
const MAX_REF_AGE_MS: (&str, i64) = ("history.expire.max-ref-age-ms", i64::MAX);

/// What a call asks for, over what the table says.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Asked {
    /// Snapshots from before this moment go.
    pub(super) older_than_ms: Option<i64>,
    /// So many of each branch stay.
    pub(super) retain_last: Option<usize>,
}

/// What stays and what goes.
#[derive(Debug, Default)]
pub(super) struct Retention {
    /// Snapshots that nothing keeps.
    pub(super) expired: BTreeSet<i64>,
    /// Snapshots that would go, were it not for refs; with who keeps them, in words.
    pub(super) held: BTreeMap<i64, Vec<String>>,
    /// Refs whose time is over.
    pub(super) expired_refs: Vec<String>,
}

/// Decides about every snapshot and ref.
///
/// # Errors
///
/// `InvalidInput` for a property that is no number.
pub(super) fn decide(metadata: &TableMetadata, asked: Asked, now_ms: i64) -> Result<Retention> {
    let rules = Rules::of(metadata, asked, now_ms)?;
    let mut found = Retention::default();
    // By main and age alone, and by everything.
    let (mut plain, mut kept) = (BTreeSet::<i64>::new(), BTreeSet::<i64>::new());
    let mut by: BTreeMap<i64, Vec<String>> = BTreeMap::new();
    let refs = refs::stored(metadata)?;
    let referenced = referenced(metadata, &refs);
    for snapshot in metadata.snapshots() {
        let is_young = snapshot.timestamp_ms() >= rules.older_than_ms;
        if is_young && !referenced.contains(&snapshot.snapshot_id()) {
            kept.insert(snapshot.snapshot_id());
        }
    }
    for (name, reference) in refs {
        if rules.is_over(metadata, &name, &reference) {
            found.expired_refs.push(name);
            continue;
        }
        let ids = rules.kept_by(metadata, &reference);
        if name == MAIN_BRANCH {
            plain.extend(ids.iter().copied());
        } else {
            let kind = if reference.is_branch() { "branch" } else { "tag" };
            for id in &ids {
                by.entry(*id).or_default().push(format!("{kind} `{name}`"));
            }
        }
        kept.extend(ids);
    }
    for snapshot in metadata.snapshots() {
        let id = snapshot.snapshot_id();
        let would_go = snapshot.timestamp_ms() < rules.older_than_ms && !plain.contains(&id);
        if !kept.contains(&id) {
            found.expired.insert(id);
        } else if would_go && let Some(by) = by.remove(&id) {
            found.held.insert(id, by);
        }
    }
    Ok(found)
}

/// The snapshots that refs lead to: about those the refs' rules decide.
fn referenced(
    metadata: &TableMetadata,
    refs: &BTreeMap<String, SnapshotReference>,
) -> BTreeSet<i64> {
    let mut found = BTreeSet::new();
    for reference in refs.values() {
        found.insert(reference.snapshot_id);
        if reference.is_branch() {
            let line = ancestors(metadata, Some(reference.snapshot_id));
            found.extend(line.map(|snapshot| snapshot.snapshot_id()));
        }
    }
    found
}

struct Rules {
    now_ms: i64,
    older_than_ms: i64,
    min_to_keep: usize,
    max_ref_age_ms: i64,
}

impl Rules {
    fn of(metadata: &TableMetadata, asked: Asked, now_ms: i64) -> Result<Self> {
        let age = setting(metadata, MAX_SNAPSHOT_AGE_MS)?;
        let keep = setting(metadata, MIN_SNAPSHOTS_TO_KEEP)?;
        let keep = asked.retain_last.unwrap_or_else(|| usize::try_from(keep).unwrap_or(1));
        Ok(Self {
            now_ms,
            older_than_ms: asked.older_than_ms.unwrap_or_else(|| now_ms.saturating_sub(age)),
            min_to_keep: keep.max(1),
            max_ref_age_ms: setting(metadata, MAX_REF_AGE_MS)?,
        })
    }

    /// Whether a ref has reached its age. `main` never does.
    fn is_over(&self, metadata: &TableMetadata, name: &str, reference: &SnapshotReference) -> bool {
        let max = match reference.retention {
            SnapshotRetention::Branch { max_ref_age_ms, .. }
            | SnapshotRetention::Tag { max_ref_age_ms } => max_ref_age_ms,
        };
        let max = max.unwrap_or(self.max_ref_age_ms);
        let Some(snapshot) = metadata.snapshot_by_id(reference.snapshot_id) else { return true };
        name != MAIN_BRANCH && self.now_ms.saturating_sub(snapshot.timestamp_ms()) > max
    }

    /// The snapshots that a ref keeps.
    fn kept_by(&self, metadata: &TableMetadata, reference: &SnapshotReference) -> Vec<i64> {
        let SnapshotRetention::Branch { min_snapshots_to_keep, max_snapshot_age_ms, .. } =
            reference.retention
        else {
            return vec![reference.snapshot_id];
        };
        let least = min_snapshots_to_keep.and_then(|count| usize::try_from(count).ok());
        let least = least.unwrap_or(self.min_to_keep).max(1);
        let since = max_snapshot_age_ms.map(|age| self.now_ms.saturating_sub(age));
        let since = since.unwrap_or(self.older_than_ms);
        ancestors(metadata, Some(reference.snapshot_id))
            .enumerate()
            .take_while(|(number, snapshot)| *number < least || snapshot.timestamp_ms() >= since)
            .map(|(_, snapshot)| snapshot.snapshot_id())
            .collect()
    }
}

fn setting(metadata: &TableMetadata, (name, default): (&str, i64)) -> Result<i64> {
    let Some(text) = metadata.properties().get(name) else { return Ok(default) };
    text.parse().map_err(|_| {
        Error::invalid(format!("table property `{name}` is `{text}`, which is no whole number"))
    })
}
