//! The fast path: rows and tiles of the online store.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use arrow::array::ArrayRef;
use icecore_core::{Error, Result, Timestamp};
use icecore_materialize::{Filling, TileRows, TileView, fillings};
use icecore_online::{FeatureStore, RowStatus, ViewRead, ViewRows};
use tokio::time::Instant;

use super::plan::{Plan, PlannedView};

/// Which filling of each view the store was last seen to have, and since when it was seen so.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<HashMap<String, (Filling, Instant)>>);

impl Seen {
    /// Keeps what was just seen. Says whether the same was seen before `since`: then the store had
    /// it all the time from then on, since no two fillings are the same.
    fn is_known(&self, views: &[&str], found: &[Filling], since: Instant) -> bool {
        let now = Instant::now();
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut is_known = true;
        for (view, filling) in views.iter().zip(found) {
            match seen.get(*view) {
                Some((known, at)) if known == filling => is_known &= *at <= since,
                _ => {
                    seen.insert((*view).to_owned(), (filling.clone(), now));
                    is_known = false;
                }
            }
        }
        is_known
    }
}

/// What the store has of a view.
struct Found {
    rows: ViewRows,
    /// Whether something is not there. It may have been lost.
    is_lacking: bool,
}

impl Found {
    fn of_rows(rows: ViewRows) -> Self {
        Self { is_lacking: rows.rows.contains(&RowStatus::NotFound), rows }
    }

    /// An entity without tiles may be found all the same, by what was pushed.
    fn of_tiles(tiles: &TileView, read: &ViewRead, found: TileRows) -> Result<Self> {
        let is_lacking = found.lacks_tiles;
        Ok(Self { rows: selected(tiles, read, found.rows)?, is_lacking })
    }
}

/// What the store has of every view, if what it does not have is not there: rows may also have been
/// lost.
///
/// A store may be emptied and filled again at any moment. So where something is missing, what the
/// store is filled with has to be what was seen before the read; where that was not seen, it is read
/// once more between two looks, which have to find the same.
pub(super) async fn read_whole(
    (store, seen): (&FeatureStore, &Seen),
    plan: &Plan,
    reads: &[ViewRead],
    now: Timestamp,
) -> Result<Option<Vec<ViewRows>>> {
    let started = Instant::now();
    let found = read(store, plan, reads, now).await?;
    let lacking = lacking(plan, &found);
    if lacking.is_empty() {
        return Ok(Some(rows_of(found)));
    }
    let Some(before) = all_fillings(store, &lacking).await? else { return Ok(None) };
    if seen.is_known(&lacking, &before, started) {
        return Ok(Some(rows_of(found)));
    }
    let found = read(store, plan, reads, now).await?;
    // Of another view nobody has looked what it was filled with.
    if self::lacking(plan, &found).iter().any(|view| !lacking.contains(view)) {
        return Ok(None);
    }
    let after = all_fillings(store, &lacking).await?;
    Ok((after.as_ref() == Some(&before)).then(|| rows_of(found)))
}

fn rows_of(found: Vec<Found>) -> Vec<ViewRows> {
    found.into_iter().map(|found| found.rows).collect()
}

/// The views of which something was not found.
fn lacking<'p>(plan: &'p Plan, found: &[Found]) -> Vec<&'p str> {
    let views = plan.views.iter().zip(found).filter(|(_, found)| found.is_lacking);
    views.map(|(view, _)| view.shape.view.as_str()).collect()
}

/// What the store was filled with of each view; nothing where one was not.
async fn all_fillings(store: &FeatureStore, views: &[&str]) -> Result<Option<Vec<Filling>>> {
    Ok(fillings(&**store.store(), views).await?.into_iter().collect())
}

/// What the store has of every view: rows of all of them in one round trip, and the tiles of each
/// view of windows at the same time.
async fn read(
    store: &FeatureStore,
    plan: &Plan,
    reads: &[ViewRead],
    now: Timestamp,
) -> Result<Vec<Found>> {
    let is_rows = |(view, _): &(&PlannedView, &ViewRead)| view.tiles.is_none();
    let of_rows: Vec<ViewRead> =
        plan.views.iter().zip(reads).filter(is_rows).map(|(_, read)| read.clone()).collect();
    if of_rows.len() == reads.len() {
        if let Some(vectors) = &plan.vectors
            && let Some(found) = vectors.read(store, reads, now).await?
        {
            return Ok(found.into_iter().map(Found::of_rows).collect());
        }
        let found = store.read(reads, now).await?;
        return Ok(found.into_iter().map(Found::of_rows).collect());
    }
    let of_tiles = plan.views.iter().zip(reads).filter_map(|(view, read)| {
        let tiles = view.tiles.as_ref()?;
        Some(async move {
            let found = tiles.read(&**store.store(), &read.keys, now).await?;
            Found::of_tiles(tiles, read, found)
        })
    });
    let rows = async {
        match of_rows.is_empty() {
            true => Ok(Vec::new()),
            false => store.read(&of_rows, now).await,
        }
    };
    let (rows, tiles) =
        futures::future::try_join(rows, futures::future::try_join_all(of_tiles)).await?;
    let (mut rows, mut tiles) = (rows.into_iter().map(Found::of_rows), tiles.into_iter());
    let next = |view: &PlannedView| match view.tiles {
        None => rows.next(),
        Some(_) => tiles.next(),
    };
    let all: Option<Vec<Found>> = plan.views.iter().map(next).collect();
    all.ok_or_else(|| Error::internal("a view was not read"))
}

/// The features that were asked for.
fn selected(tiles: &TileView, read: &ViewRead, found: ViewRows) -> Result<ViewRows> {
    let fields = tiles.fields();
    let column = |name: &str| -> Result<ArrayRef> {
        let at = fields.iter().position(|field| field.name() == name);
        let column = at.and_then(|at| found.columns.get(at)).cloned();
        column.ok_or_else(|| Error::internal(format!("feature `{name}` was not computed")))
    };
    let columns = read.features.iter().map(|field| column(field.name())).collect::<Result<_>>()?;
    Ok(ViewRows { columns, ..found })
}

#[cfg(test)]
mod tests;
