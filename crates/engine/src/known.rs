//! Up to when it is known what happened, as far as tables can tell.
//!
//! Whether an outcome did not come, or only has not been loaded yet, cannot be seen in rows that
//! are not there. What can be seen is when a table last got rows.

use icecore_core::{
    Error, PinnedTable, Result, SnapshotCatalog as _, SnapshotId, SnapshotInfo, Timestamp,
};

use crate::engine::Engine;
use crate::view::is_views_table;

impl Engine {
    /// The moment up to which it is known what these states of tables tell of: the earliest of the
    /// moments at which each of them last got rows. A table that lags behind holds back, since what
    /// it has not got yet looks like what never happened. Files that are written anew and rows that
    /// are taken away are no news.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if there is no table, or if one cannot tell; `NotFound` if a table is gone.
    pub async fn known_until(&self, pins: &[PinnedTable]) -> Result<Timestamp> {
        let mut until: Option<Timestamp> = None;
        // The table of views tells how tables are read, and nothing of what happened.
        for pin in pins.iter().filter(|pin| !is_views_table(&pin.table)) {
            let history = self.catalog().history(&pin.table).await?;
            let Some(moment) = last_news(&history, pin.snapshot) else {
                let table = &pin.table;
                return Err(Error::invalid(format!(
                    "`{table}` does not say up to when outcomes are known"
                ))
                .with_note(match pin.snapshot {
                    PinnedTable::EMPTY => "nothing was committed to it yet",
                    _ => "no commit that brought rows is left in its history",
                }));
            };
            until = Some(until.map_or(moment, |known| known.min(moment)));
        }
        until.ok_or_else(|| {
            Error::invalid("there is no table that says up to when outcomes are known")
        })
    }
}

/// When the newest commit brought rows, from a state backward.
fn last_news(history: &[SnapshotInfo], state: SnapshotId) -> Option<Timestamp> {
    let mut next = Some(state);
    // No longer than the history is: damaged metadata could name a state as its own parent.
    for _ in history {
        let info = history.iter().find(|info| Some(info.id) == next)?;
        if brought_rows(info) {
            return Some(info.committed_at);
        }
        next = info.parent;
    }
    None
}

fn brought_rows(info: &SnapshotInfo) -> bool {
    // What deletes rows by writing their files again is an `overwrite`; icecore's says that no row
    // is new.
    let none = |field: &str| info.summary.get(field).is_some_and(|rows| rows == "0");
    let is_deletion = none("icecore.inserted-rows") && none("icecore.updated-rows");
    !matches!(info.operation.as_str(), "replace" | "delete") && !is_deletion
}
