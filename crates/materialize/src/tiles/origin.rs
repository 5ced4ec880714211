//! Where tiles come from: a state of the table of events, and how far in the queues it is.

use std::collections::{BTreeMap, HashMap};

use icecore_core::{Error, PinnedTable, PushSource, Result, SnapshotCatalog, SnapshotSelector};

use super::spec::TileView;
use crate::view::Source;

/// A view of tiles at the newest state of its source.
pub(super) async fn open(source: &Source<'_>, view: &str) -> Result<(TileView, PinnedTable)> {
    let definition = source.definitions.view(view)?;
    let pin = tile_source(source, view).await?;
    let tiles = TileView::open(source.engine, source.definitions, definition, &pin).await?;
    Ok((tiles, pin))
}

/// The newest state of the events of a view.
pub(crate) async fn tile_source(source: &Source<'_>, view: &str) -> Result<PinnedTable> {
    let definition = source.definitions.view(view)?;
    let table = definition.source.as_ref().ok_or_else(|| {
        Error::invalid(format!("tiles of `{view}` need a table as the view's source"))
    })?;
    source.engine.catalog().pin(table, &SnapshotSelector::Latest).await
}

/// How far in each queue of pushed events a state of a table is.
pub(super) async fn positions(
    source: &Source<'_>,
    pin: &PinnedTable,
) -> Result<BTreeMap<String, u64>> {
    let history = source.engine.catalog().history(&pin.table).await?;
    let by_id: HashMap<_, _> = history.iter().map(|snapshot| (snapshot.id, snapshot)).collect();
    let mut positions = BTreeMap::new();
    let mut at = Some(pin.snapshot);
    while let Some(snapshot) = at.and_then(|id| by_id.get(&id)) {
        let field = |name: &str| snapshot.summary.get(name);
        let end = field(PushSource::POSITION_FIELD).and_then(|text| text.parse::<u64>().ok());
        if let (Some(queue), Some(end)) = (field(PushSource::QUEUE_FIELD), end) {
            let known = positions.entry(queue.clone()).or_default();
            *known = end.max(*known);
        }
        at = snapshot.parent;
    }
    Ok(positions)
}
