//! The fast path: rows and tiles of the online store.

use arrow::array::ArrayRef;
use icecore_core::{Error, Result, Timestamp};
use icecore_materialize::{TileView, is_filled};
use icecore_online::{FeatureStore, RowStatus, ViewRead, ViewRows};

use super::plan::{Plan, PlannedView};

/// Whether the rows that were not found are not there, or the store has lost them.
pub(super) async fn is_whole(
    store: &FeatureStore,
    plan: &Plan,
    found: &[ViewRows],
) -> Result<bool> {
    for (view, rows) in plan.views.iter().zip(found) {
        let lacks_some = rows.rows.contains(&RowStatus::NotFound);
        if lacks_some
            && view.tiles.is_none()
            && !is_filled(&**store.store(), &view.shape.view).await?
        {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What the store has of every view: rows of all of them in one round trip, and the tiles of each
/// view of windows at the same time.
pub(super) async fn read(
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
