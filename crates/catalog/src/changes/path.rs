//! Which steps lead from one snapshot to another.

use std::collections::BTreeSet;

use iceberg::spec::{Operation, SnapshotRef, TableMetadata};
use iceberg::table::Table;

use super::ChangeMode;
use crate::history::ancestors;

/// A step of the way.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// Pairs of states whose differences make up the step when they are put together.
    pub(super) hops: Vec<Hop>,
    /// The snapshot that stands for it.
    pub(super) commit: i64,
}

/// Two states that are compared; `None` is the table before its first commit.
pub(super) type Hop = (Option<i64>, Option<i64>);

/// The way from one snapshot to another.
///
/// Where the later one does not descend from the earlier one (a rollback, another branch, expired
/// snapshots between them), the log begins with one step: from the earlier state straight to where
/// the later one's past begins to be known, which is their last common ancestor if there is one.
pub(super) fn spans(
    table: &Table,
    from: Option<&SnapshotRef>,
    to: Option<&SnapshotRef>,
    mode: ChangeMode,
) -> Vec<Span> {
    let metadata = table.metadata();
    let (from, to) = (from.map(|s| s.snapshot_id()), to.map(|s| s.snapshot_id()));
    if from == to {
        return Vec::new();
    }
    let chain = Chain::between(metadata, from, to);
    match mode {
        ChangeMode::Log => chain.log(),
        ChangeMode::Net => vec![chain.net(from, to)],
    }
}

/// The snapshots of the way, oldest first.
struct Chain<'m> {
    /// The step that comes before them, if they do not begin where they should.
    jump: Option<Hop>,
    snapshots: Vec<&'m SnapshotRef>,
}

impl<'m> Chain<'m> {
    fn between(metadata: &'m TableMetadata, from: Option<i64>, to: Option<i64>) -> Self {
        let before: BTreeSet<i64> =
            ancestors(metadata, from).map(|snapshot| snapshot.snapshot_id()).collect();
        let mut snapshots = Vec::new();
        let mut common = None;
        for snapshot in ancestors(metadata, to) {
            if before.contains(&snapshot.snapshot_id()) {
                common = Some(snapshot.snapshot_id());
                break;
            }
            snapshots.push(snapshot);
        }
        snapshots.reverse();
        let begins_whole = match snapshots.first() {
            Some(first) => first.parent_snapshot_id() == from,
            None => common == from,
        };
        if begins_whole {
            return Self { jump: None, snapshots };
        }
        // Without a common ancestor the oldest snapshot that is known is where the past begins.
        let start =
            common.or_else(|| (!snapshots.is_empty()).then(|| snapshots.remove(0).snapshot_id()));
        Self { jump: Some((from, start)), snapshots }
    }

    fn log(self) -> Vec<Span> {
        let jump = self.jump.map(|hop| Span { hops: vec![hop], commit: hop.1.unwrap_or(-1) });
        let steps = self.snapshots.iter().map(|snapshot| {
            let (parent, id) = (snapshot.parent_snapshot_id(), snapshot.snapshot_id());
            // A snapshot that only rewrote files changed no row.
            let hops = if is_replace(snapshot) { vec![] } else { vec![(parent, Some(id))] };
            Span { hops, commit: id }
        });
        jump.into_iter().chain(steps).collect()
    }

    /// The two states are compared, or what each commit did is put together where a rewrite of
    /// files lies between them, which would otherwise be read only to find that nothing changed.
    fn net(self, from: Option<i64>, to: Option<i64>) -> Span {
        let commit = to.unwrap_or(-1);
        let rewrites =
            self.snapshots.iter().any(|snapshot| is_replace(snapshot) && removes(snapshot));
        if self.jump.is_some() || !rewrites {
            return Span { hops: vec![(from, to)], commit };
        }
        let steps = self.snapshots.iter().filter(|snapshot| !is_replace(snapshot));
        let hops = steps.map(|step| (step.parent_snapshot_id(), Some(step.snapshot_id())));
        Span { hops: hops.collect(), commit }
    }
}

fn is_replace(snapshot: &SnapshotRef) -> bool {
    snapshot.summary().operation == Operation::Replace
}

fn removes(snapshot: &SnapshotRef) -> bool {
    let summary = &snapshot.summary().additional_properties;
    // A snapshot that does not say what it did may have done it.
    let count = |field: &str| summary.get(field).and_then(|count| count.parse::<u64>().ok());
    count("deleted-data-files").is_none_or(|count| count > 0)
        && !summary.contains_key("icecore.altered")
}
