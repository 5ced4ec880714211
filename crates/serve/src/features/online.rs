//! The fast path: rows and tiles of the online store.

use arrow::array::ArrayRef;
use icecore_core::{Error, Result, Timestamp};
use icecore_materialize::{Filling, TileView, filling};
use icecore_online::{FeatureStore, RowStatus, ViewRead, ViewRows};

use super::plan::{Plan, PlannedView};

/// What the store has of every view, if what it does not have is not there: rows may also have been
/// lost.
///
/// A store may be emptied and filled again at any moment. So where something is missing, it is read
/// once more between two looks at what the store was filled with, which have to find the same.
pub(super) async fn read_whole(
    store: &FeatureStore,
    plan: &Plan,
    reads: &[ViewRead],
    now: Timestamp,
) -> Result<Option<Vec<ViewRows>>> {
    let found = read(store, plan, reads, now).await?;
    let lacks_some = |(view, rows): &(&PlannedView, &ViewRows)| {
        view.tiles.is_none() && rows.rows.contains(&RowStatus::NotFound)
    };
    let lacking: Vec<&str> = plan
        .views
        .iter()
        .zip(&found)
        .filter(lacks_some)
        .map(|(view, _)| view.shape.view.as_str())
        .collect();
    if lacking.is_empty() {
        return Ok(Some(found));
    }
    let before = fillings(store, &lacking).await?;
    if before.is_none() {
        return Ok(None);
    }
    let found = read(store, plan, reads, now).await?;
    Ok((fillings(store, &lacking).await? == before).then_some(found))
}

/// What the store was filled with of each view; nothing where one was not.
async fn fillings(store: &FeatureStore, views: &[&str]) -> Result<Option<Vec<Filling>>> {
    let mut all = Vec::with_capacity(views.len());
    for view in views {
        match filling(&**store.store(), view).await? {
            Some(filling) => all.push(filling),
            None => return Ok(None),
        }
    }
    Ok(Some(all))
}

/// What the store has of every view: rows of all of them in one round trip, and the tiles of each
/// view of windows at the same time.
async fn read(
    store: &FeatureStore,
    plan: &Plan,
    reads: &[ViewRead],
    now: Timestamp,
) -> Result<Vec<ViewRows>> {
    let is_rows = |(view, _): &(&PlannedView, &ViewRead)| view.tiles.is_none();
    let of_rows: Vec<ViewRead> =
        plan.views.iter().zip(reads).filter(is_rows).map(|(_, read)| read.clone()).collect();
    if of_rows.len() == reads.len() {
        if let Some(vectors) = &plan.vectors
            && let Some(found) = vectors.read(store, reads, now).await?
        {
            return Ok(found);
        }
        return store.read(reads, now).await;
    }
    let of_tiles = plan.views.iter().zip(reads).filter_map(|(view, read)| {
        let tiles = view.tiles.as_ref()?;
        Some(async move {
            let found = tiles.read(&**store.store(), &read.keys, now).await?;
            selected(tiles, read, found)
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
    let (mut rows, mut tiles) = (rows.into_iter(), tiles.into_iter());
    let next = |view: &PlannedView| match view.tiles {
        None => rows.next(),
        Some(_) => tiles.next(),
    };
    let all: Option<Vec<ViewRows>> = plan.views.iter().map(next).collect();
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
