//! Views of the catalog that the query of a feature view reads: what they say is a part of the
//! state of its sources.

use icecore_core::{ErrorKind, FeatureView, PinnedTable, Result};
use icecore_engine::{Engine, is_views_table};

/// What is said where the state of the views that features were computed with is not known.
pub(crate) const UNKNOWN_THEN: &str = "the build that computed these features did not write down \
    what the views of the catalog said: they are taken to have said the same as now; `--full` \
    computes everything again";

fn of_views(pins: &[PinnedTable]) -> Option<&PinnedTable> {
    pins.iter().find(|pin| is_views_table(&pin.table))
}

fn of_tables(pins: &[PinnedTable]) -> impl Iterator<Item = &PinnedTable> {
    pins.iter().filter(|pin| !is_views_table(&pin.table))
}

/// Whether views are read now, and the state that was read before says nothing of them.
pub(crate) fn are_unknown(old: &[PinnedTable], new: &[PinnedTable]) -> bool {
    of_views(old).is_none() && of_views(new).is_some()
}

/// A state of the sources that says what the views said. Where it does not say so itself, earlier
/// builds read them as they were at the time, and now is as good as any other.
pub(crate) fn with_views(old: &[PinnedTable], new: &[PinnedTable]) -> Vec<PinnedTable> {
    let mut pins = old.to_vec();
    if are_unknown(old, new) {
        pins.extend(of_views(new).cloned());
        pins.sort();
    }
    pins
}

/// Whether two states of the sources give the same rows, as far as that can be told without reading
/// any. All views are in one table: a change of one that the query does not reach is none.
///
/// # Errors
///
/// `InvalidInput` if what a view said is no query.
pub(crate) async fn is_same(
    engine: &Engine,
    view: &FeatureView,
    (old, new): (&[PinnedTable], &[PinnedTable]),
) -> Result<bool> {
    if old == new {
        return Ok(true);
    }
    let Some(query) = &view.source_sql else { return Ok(false) };
    if !of_tables(old).eq(of_tables(new)) {
        return Ok(false);
    }
    match engine.views_read(query, old).await {
        Ok(then) => Ok(then == engine.views_read(query, new).await?),
        // Whoever compares the states says which one is gone.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
