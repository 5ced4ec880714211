//! What differs between two locks.

use std::collections::{BTreeMap, BTreeSet};

use icecore_core::{PinnedTable, Result, SnapshotId, TableName};
use serde::Serialize;

use crate::lock::{Lock, LockedView};
use crate::settings::{plan_settings, view_settings};
use crate::statistics::ColumnStatistics;

/// What differs between two locks; `before` and `after` are in the order of the call.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct LockDiff {
    /// Whether both have the same rows.
    pub content_equal: bool,
    /// How many rows each has.
    pub rows: Change<u64>,
    /// The spine's queries, where they differ.
    pub spine: Option<Change<String>>,
    /// What they say otherwise of all rows: the label, `where`, when labels are settled, how rows
    /// are divided.
    pub settings: Vec<SettingChange>,
    /// Tables that were read at other states, or by one of them only.
    pub inputs: Vec<InputChange>,
    /// Views with other definitions, that are taken otherwise, or of one of them only.
    pub definitions: Vec<DefinitionChange>,
    /// Columns that hold other values, or are in one of them only.
    pub columns: Vec<ColumnChange>,
}

/// A value in each of two locks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change<T> {
    /// In the first.
    pub before: T,
    /// In the second.
    pub after: T,
}

/// A choice that was made otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SettingChange {
    /// Which, as lockfiles name it: `where`, `maturity.after`.
    pub setting: String,
    /// How, absent where the lock does not say.
    #[serde(flatten)]
    pub value: Change<Option<String>>,
}

/// The states at which a table was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InputChange {
    /// The table.
    pub table: TableName,
    /// The state, absent where the lock does not read it.
    #[serde(flatten)]
    pub snapshot: Change<Option<SnapshotId>>,
}

/// The definitions of a view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DefinitionChange {
    /// The view, as the sets name it.
    pub view: String,
    /// The definition's hash, absent where the lock does not join the view.
    #[serde(flatten)]
    pub definition_hash: Change<Option<String>>,
    /// What the locks take otherwise of it: other features, keys, ages, delays, clocks.
    pub taken_differently: Vec<SettingChange>,
}

impl DefinitionChange {
    /// Whether the view is defined otherwise, or joined by one of the locks only.
    #[must_use]
    pub fn is_of_definition(&self) -> bool {
        self.definition_hash.before != self.definition_hash.after
    }
}

/// What a column holds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ColumnChange {
    /// The column.
    pub name: String,
    /// What it holds, absent where the lock does not have it.
    #[serde(flatten)]
    pub statistics: Change<Option<ColumnStatistics>>,
}

/// Compares two locks.
///
/// # Errors
///
/// `Internal` if a lock cannot be written as TOML.
pub fn diff(before: &Lock, after: &Lock) -> Result<LockDiff> {
    let (old, new) = (&before.plan, &after.plan);
    Ok(LockDiff {
        content_equal: before.content_hash == after.content_hash,
        rows: Change { before: before.rows, after: after.rows },
        spine: (old.spine.sha256 != new.spine.sha256)
            .then(|| Change { before: old.spine.sql.clone(), after: new.spine.sql.clone() }),
        settings: settings(plan_settings(old)?, plan_settings(new)?),
        inputs: inputs(before, after),
        definitions: definitions(&old.views, &new.views)?,
        columns: columns(&before.columns, &after.columns),
    })
}

fn settings(
    mut old: BTreeMap<String, String>,
    mut new: BTreeMap<String, String>,
) -> Vec<SettingChange> {
    let names: BTreeSet<String> = old.keys().chain(new.keys()).cloned().collect();
    let changes = names.into_iter().filter_map(|setting| {
        let value = Change { before: old.remove(&setting), after: new.remove(&setting) };
        (value.before != value.after).then_some(SettingChange { setting, value })
    });
    changes.collect()
}

fn inputs(before: &Lock, after: &Lock) -> Vec<InputChange> {
    let (old, new) = (before.plan.pins(), after.plan.pins());
    let tables: BTreeSet<&TableName> = old.iter().chain(&new).map(|pin| &pin.table).collect();
    let changes = tables.into_iter().filter_map(|table| {
        let find = |pins: &[PinnedTable]| pins.iter().find(|pin| pin.table == *table).cloned();
        let (old, new) = (find(&old), find(&new));
        let snapshot = Change {
            before: old.as_ref().map(|pin| pin.snapshot),
            after: new.as_ref().map(|pin| pin.snapshot),
        };
        (old != new).then(|| InputChange { table: table.clone(), snapshot })
    });
    changes.collect()
}

fn definitions(old: &[LockedView], new: &[LockedView]) -> Result<Vec<DefinitionChange>> {
    let names: BTreeSet<&String> = old.iter().chain(new).map(|view| &view.name).collect();
    let mut changes = Vec::new();
    for name in names {
        let find = |views: &[LockedView]| views.iter().find(|view| view.name == *name).cloned();
        let (old, new) = (find(old), find(new));
        if old == new {
            continue;
        }
        let hash = |view: &Option<LockedView>| view.as_ref().map(|v| v.definition_hash.clone());
        changes.push(DefinitionChange {
            view: name.clone(),
            definition_hash: Change { before: hash(&old), after: hash(&new) },
            taken_differently: match (&old, &new) {
                (Some(old), Some(new)) => settings(view_settings(old)?, view_settings(new)?),
                // That it is not joined at all says everything.
                _ => Vec::new(),
            },
        });
    }
    Ok(changes)
}

fn columns(old: &[ColumnStatistics], new: &[ColumnStatistics]) -> Vec<ColumnChange> {
    let added = new.iter().filter(|column| old.iter().all(|known| known.name != column.name));
    let names = old.iter().chain(added).map(|column| &column.name);
    let changes = names.filter_map(|name| {
        let find = |columns: &[ColumnStatistics]| columns.iter().find(|c| c.name == *name).cloned();
        let (before, after) = (find(old), find(new));
        (before != after)
            .then(|| ColumnChange { name: name.clone(), statistics: Change { before, after } })
    });
    changes.collect()
}
