//! One piece of work on a feature table: what it is, and whether the table already holds it.

use icecore_core::{
    FeatureView, PinnedTable, Result, SnapshotInfo, TimeRange, Timestamp, WriteMode,
};

use crate::hash::sha256_hex;

/// Summary field: the feature view that rows were computed by.
pub(crate) const VIEW: &str = "icecore.view";
/// Summary field: the hash of its definition.
pub(crate) const DEFINITION_HASH: &str = "icecore.definition-hash";
/// Summary field: the pins that were read, as JSON.
pub(crate) const SOURCES: &str = "icecore.sources";
/// Summary field: the range of event timestamps, `from/to`, `..` standing for no bound.
pub(crate) const RANGE: &str = "icecore.range";
/// Summary field: the range whose rows were replaced, where that is not the range of the new ones.
const REPLACED: &str = "icecore.replaced";
/// Summary field: whether the table now holds what the sources give, all of it and nothing else.
pub(crate) const COMPLETE: &str = "icecore.complete";
/// Summary field: the snapshot from which only what changed was computed.
pub(crate) const INCREMENTAL_FROM: &str = "icecore.incremental-from";
/// Summary field: which step of which backfill it is.
pub(crate) const BACKFILL: &str = "icecore.backfill";
/// Summary field: the run that asked for it.
pub(crate) const RUN_ID: &str = "icecore.run-id";

/// The moments that a computation is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stretch {
    /// Those of its rows.
    pub(crate) range: TimeRange,
    /// Those whose rows it replaces.
    pub(crate) replaced: TimeRange,
}

impl Stretch {
    /// Rows that replace those of the same moments.
    pub(crate) const fn of(range: TimeRange) -> Self {
        Self { range, replaced: range }
    }

    /// Rows after which there are none: later ones that the table holds are of other events or of
    /// another definition.
    pub(crate) const fn last(range: TimeRange) -> Self {
        Self { range, replaced: TimeRange { from: range.from, to: None } }
    }
}

/// What decides every row of a computation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Job {
    view: String,
    definition_hash: String,
    sources: String,
    stretch: Stretch,
    mode: WriteMode,
}

impl Job {
    pub(crate) fn new(
        view: &FeatureView,
        definition_hash: &str,
        sources: &[PinnedTable],
        stretch: Stretch,
    ) -> Self {
        Self {
            view: view.name.clone(),
            definition_hash: definition_hash.to_owned(),
            // Pins are text and numbers, which always serialize.
            sources: serde_json::to_string(sources).unwrap_or_default(),
            stretch,
            mode: view.write,
        }
    }

    /// The fields that say in a snapshot's summary what it holds.
    pub(crate) fn summary(&self) -> Vec<(&'static str, String)> {
        let Stretch { range, replaced } = self.stretch;
        let mut fields = vec![
            (VIEW, self.view.clone()),
            (DEFINITION_HASH, self.definition_hash.clone()),
            (SOURCES, self.sources.clone()),
            (RANGE, range_text(range)),
        ];
        if replaced != range {
            fields.push((REPLACED, range_text(replaced)));
        }
        fields
    }

    /// The snapshot that already did this work, if nothing since then touched what it wrote.
    pub(crate) fn find<'h>(&self, history: &'h [SnapshotInfo]) -> Found<'h> {
        let fields = self.summary();
        let is_same = |snapshot: &SnapshotInfo| {
            fields.iter().all(|(field, value)| snapshot.summary.get(*field) == Some(value))
        };
        let mut newest_foreign = None;
        for snapshot in history.iter().rev().filter(|snapshot| snapshot.on_main) {
            if is_same(snapshot) {
                return match newest_foreign {
                    None => Found::Done(snapshot),
                    Some(foreign) => Found::Undone(foreign),
                };
            }
            if newest_foreign.is_none() && !self.leaves_alone(snapshot) {
                newest_foreign = Some(snapshot);
            }
        }
        Found::New
    }

    /// Names the work. Work that was done and then undone by others is a new piece of work.
    pub(crate) fn id(&self, found: Found<'_>) -> String {
        let mut text = format!("icecore features 1\n{:?}\n", self.mode);
        for (field, value) in self.summary() {
            text.push_str(&format!("{field}={value}\n"));
        }
        if let Found::Undone(snapshot) = found {
            text.push_str(&format!("after={}\n", snapshot.id));
        }
        format!("features-{}", sha256_hex(text.as_bytes()))
    }

    /// Whether what this work wrote is still there after a snapshot.
    fn leaves_alone(&self, snapshot: &SnapshotInfo) -> bool {
        // Files are rewritten, rows are not.
        if snapshot.operation == "replace" {
            return true;
        }
        let appended = snapshot.operation == "append";
        match self.mode {
            WriteMode::Append => appended,
            WriteMode::OverwritePartitions => {
                let other = snapshot.summary.get(REPLACED).or(snapshot.summary.get(RANGE));
                let other = other.and_then(|text| parse_range(text).ok());
                let same_view = snapshot.summary.get(VIEW) == Some(&self.view);
                same_view && other.is_some_and(|other| !overlaps(self.stretch.replaced, other))
            }
            _ => false,
        }
    }
}

/// Whether a piece of work was done before.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Found<'h> {
    /// Never, or so long ago that nobody remembers.
    New,
    /// By this snapshot, and the table still holds it.
    Done(&'h SnapshotInfo),
    /// It was, but this later snapshot touched what it wrote.
    Undone(&'h SnapshotInfo),
}

fn overlaps(left: TimeRange, right: TimeRange) -> bool {
    let before = |to: Option<Timestamp>, from: Option<Timestamp>| {
        to.zip(from).is_some_and(|(to, from)| to <= from)
    };
    !before(left.to, right.from) && !before(right.to, left.from)
}

/// A range as a summary field.
pub(crate) fn range_text(range: TimeRange) -> String {
    let end = |end: Option<Timestamp>| end.map_or_else(|| "..".to_owned(), |end| end.to_string());
    format!("{}/{}", end(range.from), end(range.to))
}

pub(crate) fn parse_range(text: &str) -> Result<TimeRange> {
    let end = |text: &str| {
        if text == ".." { Ok(None) } else { Timestamp::parse(text).map(Some) }
    };
    let (from, to) = text.split_once('/').unwrap_or(("..", ".."));
    Ok(TimeRange { from: end(from)?, to: end(to)? })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use icecore_core::SnapshotId;

    use super::*;

    fn range(from: &str, to: &str) -> TimeRange {
        parse_range(&format!("{from}/{to}")).unwrap()
    }

    fn job(mode: WriteMode, range: TimeRange) -> Job {
        Job {
            view: "v".to_owned(),
            definition_hash: "h".to_owned(),
            sources: "[]".to_owned(),
            stretch: Stretch::of(range),
            mode,
        }
    }

    fn snapshot(id: i64, operation: &str, job: Option<&Job>) -> SnapshotInfo {
        let fields = job.map(Job::summary).into_iter().flatten();
        let summary: BTreeMap<_, _> =
            fields.map(|(field, value)| (field.to_owned(), value)).collect();
        SnapshotInfo {
            id: SnapshotId::new(id),
            parent: None,
            sequence_number: id,
            committed_at: Timestamp::from_micros(id),
            operation: operation.to_owned(),
            summary,
            refs: Vec::new(),
            on_main: true,
        }
    }

    #[test]
    fn ranges_survive_being_written_down() {
        for range in [
            TimeRange::default(),
            range("2024-01-01", ".."),
            range("2024-01-01", "2024-01-02T00:00:00.000001Z"),
        ] {
            assert_eq!(parse_range(&range_text(range)).unwrap(), range);
        }
    }

    // C142: the same work is done once, as long as the table still holds it.
    #[test]
    fn work_is_done_until_somebody_touches_what_it_wrote() {
        let day = |n: u32| range(&format!("2024-01-0{n}"), &format!("2024-01-0{}", n + 1));
        let partitions = |n| job(WriteMode::OverwritePartitions, day(n));
        let (ours, other_day) = (partitions(1), partitions(2));
        let mut other_pins = ours.clone();
        other_pins.sources = "[1]".to_owned();
        let history = |then: SnapshotInfo| vec![snapshot(1, "overwrite", Some(&ours)), then];
        let is_done = |job: &Job, then| matches!(job.find(&history(then)), Found::Done(_));
        assert!(is_done(&ours, snapshot(2, "overwrite", Some(&other_day))));
        assert!(is_done(&ours, snapshot(2, "replace", None)));
        assert!(!is_done(&ours, snapshot(2, "overwrite", Some(&other_pins))));
        assert!(!is_done(&ours, snapshot(2, "delete", None)));
        assert!(matches!(other_pins.find(&history(snapshot(2, "replace", None))), Found::New));
        let undone = history(snapshot(2, "delete", None));
        assert_ne!(ours.id(ours.find(&undone)), ours.id(Found::New));
    }

    #[test]
    fn work_that_replaced_what_comes_after_it_undoes_what_was_there() {
        let later = job(WriteMode::OverwritePartitions, range("2024-02-01", "2024-02-02"));
        let mut others = job(WriteMode::OverwritePartitions, range("..", "2024-01-01"));
        others.sources = "[1]".to_owned();
        let is_done = |others: &Job| {
            let then = snapshot(2, "overwrite", Some(others));
            let history = [snapshot(1, "overwrite", Some(&later)), then];
            matches!(later.find(&history), Found::Done(_))
        };
        assert!(is_done(&others));
        others.stretch = Stretch::last(others.stretch.range);
        assert!(!is_done(&others));
        // The same rows, and others are gone.
        assert!(others.summary().contains(&(REPLACED, "../..".to_owned())));
    }
}
