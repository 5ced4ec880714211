//! The fast path: rows and tiles of the online store.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arrow::array::ArrayRef;
use bytes::Bytes;
use icecore_core::{Error, Result, Timestamp};
use icecore_materialize::{Filling, TileRows, TileView, fillings};
use icecore_online::{FeatureStore, Origin, Row, RowStatus, ViewRead, ViewRows, row_keys};
use tokio::time::Instant;

use super::plan::{Plan, PlannedView};

/// Which filling of each view the store was last seen to have.
#[derive(Debug)]
pub(super) struct Seen {
    sights: Mutex<HashMap<String, Sight>>,
    /// For how long a view that was seen to be filled is taken to be so.
    filled_for: Duration,
}

#[derive(Debug)]
struct Sight {
    filling: Filling,
    /// Since when it was seen so, and when it was seen last.
    since: Instant,
    last: Instant,
}

impl Seen {
    pub(super) fn new(filled_for: Duration) -> Self {
        Self { sights: Mutex::default(), filled_for }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Sight>> {
        self.sights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what was just seen. Says whether the same was seen before `since`: then the store had
    /// it all the time from then on, since no two fillings are the same.
    fn is_known(&self, views: &[&str], found: &[Filling], since: Instant) -> bool {
        let mut sights = self.lock();
        let mut is_known = true;
        for (view, filling) in views.iter().zip(found) {
            is_known &= see(&mut sights, view, filling) <= since;
        }
        is_known
    }

    /// Keeps what was just seen of a view; `None` where it is not filled.
    fn sees(&self, view: &str, filling: Option<&Filling>) {
        let mut sights = self.lock();
        match filling {
            Some(filling) => {
                see(&mut sights, view, filling);
            }
            None => {
                sights.remove(view);
            }
        }
    }

    /// Whether a view was seen to be filled a moment ago.
    fn is_filled(&self, view: &str) -> bool {
        self.lock().get(view).is_some_and(|sight| sight.last.elapsed() < self.filled_for)
    }
}

/// Since when a view is seen to have this filling.
fn see(sights: &mut HashMap<String, Sight>, view: &str, filling: &Filling) -> Instant {
    let now = Instant::now();
    match sights.get_mut(view) {
        Some(known) if known.filling == *filling => {
            known.last = now;
            known.since
        }
        _ => {
            let sight = Sight { filling: filling.clone(), since: now, last: now };
            sights.insert(view.to_owned(), sight);
            now
        }
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
/// once more between two looks, which have to find the same. Where nothing is missing, a row that was
/// pushed may still stand where a newer one was lost.
pub(super) async fn read_whole(
    (store, seen): (&FeatureStore, &Seen),
    plan: &Plan,
    reads: &[ViewRead],
    now: Timestamp,
) -> Result<Option<Vec<ViewRows>>> {
    let started = Instant::now();
    let found = read(store, plan, reads, now).await?;
    let lacking = lacking(plan, &found);
    if !are_newest((store, seen), &unsure(plan, reads, (&lacking, seen))).await? {
        return Ok(None);
    }
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

/// Of which views all rows are there, and it was not seen a moment ago that the store is filled with
/// them. Windows are told by their tiles.
fn unsure<'r>(
    plan: &Plan,
    reads: &'r [ViewRead],
    (lacking, seen): (&[&str], &Seen),
) -> Vec<&'r ViewRead> {
    let views = plan.views.iter().zip(reads);
    let of_rows = views.filter(|(view, _)| view.tiles.is_none()).map(|(_, read)| read);
    let is_unsure =
        |read: &&ViewRead| !lacking.contains(&read.view.as_str()) && !seen.is_filled(&read.view);
    of_rows.filter(is_unsure).collect()
}

/// Whether rows that are there are the newest of their entities. Where a view is not filled that
/// holds for what is from its table, as while it is filled anew; a row that was pushed to a store
/// that had been emptied may be older than the one that was there before.
async fn are_newest((store, seen): (&FeatureStore, &Seen), reads: &[&ViewRead]) -> Result<bool> {
    if reads.is_empty() {
        return Ok(true);
    }
    let views: Vec<&str> = reads.iter().map(|read| read.view.as_str()).collect();
    let found = fillings(&**store.store(), &views).await?;
    for (read, filling) in reads.iter().zip(found) {
        seen.sees(&read.view, filling.as_ref());
        if filling.is_none() && has_pushed(store, read).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether the row of any of these entities was pushed.
async fn has_pushed(store: &FeatureStore, read: &ViewRead) -> Result<bool> {
    let keys: Vec<Bytes> = row_keys(&read.view, &read.keys)?.into_iter().flatten().collect();
    for row in store.store().rows_now(&keys).await?.into_iter().flatten() {
        if Row::parse(row)?.origin() == Origin::Push {
            return Ok(true);
        }
    }
    Ok(false)
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
