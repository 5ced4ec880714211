//! Events that were pushed a moment ago, before their table has them.

use arrow::array::RecordBatch;
use icecore_core::{ApplySummary, PinnedTable, Result, SnapshotCatalog, Timestamp};
use icecore_engine::Engine;
use icecore_features::Definitions;
use icecore_online::{FeatureStore, Origin};

use crate::reader::Reader;
use crate::tiles::{self, TileView};
use crate::vector;
use crate::view::{ViewShape, view_shape};

/// Events that were pushed together.
#[derive(Debug, Clone, Copy)]
pub struct PushedEvents<'a> {
    /// The queue that they are in.
    pub queue: &'a str,
    /// Their batch's place in it.
    pub position: u64,
    /// The events, in the columns of their table.
    pub rows: &'a RecordBatch,
    /// The time of the push.
    pub now: Timestamp,
}

/// The views that see events of a table at once.
#[derive(Debug)]
pub struct PushedViews {
    stored: Vec<ViewShape>,
    tiles: Vec<TileView>,
}

impl PushedViews {
    /// Finds the views that are made of a table's rows.
    ///
    /// # Errors
    ///
    /// Those of a view that does not fit its table.
    pub async fn open(
        engine: &Engine,
        definitions: &Definitions,
        table: &PinnedTable,
    ) -> Result<Self> {
        let schema = engine.catalog().schema(table).await?;
        let (mut stored, mut tiles) = (Vec::new(), Vec::new());
        for view in definitions.views_of(&table.table) {
            if view.is_stored() {
                stored.push(view_shape(definitions, view, table, &schema)?);
            } else if !view.online.is_rows() {
                tiles.push(TileView::open(engine, definitions, view, table).await?);
            }
        }
        Ok(Self { stored, tiles })
    }

    /// The names of the views.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let stored = self.stored.iter().map(|shape| shape.view.as_str());
        stored.chain(self.tiles.iter().map(TileView::name))
    }

    /// Writes events to a store. Repeating it changes nothing.
    ///
    /// # Errors
    ///
    /// As [`apply_to`](Self::apply_to).
    pub async fn apply(
        &self,
        of: (&Engine, &Definitions),
        store: &FeatureStore,
        pushed: &PushedEvents<'_>,
    ) -> Result<ApplySummary> {
        let all: Vec<&str> = self.names().collect();
        self.apply_to(of, store, pushed, &all).await
    }

    /// Writes events to a store, for some of the views. Repeating it changes nothing.
    ///
    /// # Errors
    ///
    /// Those of the store. A view that cannot take the events is not in the way of the others.
    pub async fn apply_to(
        &self,
        (engine, definitions): (&Engine, &Definitions),
        store: &FeatureStore,
        pushed: &PushedEvents<'_>,
        views: &[&str],
    ) -> Result<ApplySummary> {
        let mut changes = Vec::new();
        let mut keys = Vec::new();
        for shape in &self.stored {
            if !views.contains(&shape.view.as_str()) {
                continue;
            }
            let reader = Reader::new(shape, Origin::Push);
            let of_view = reader.read(pushed.rows)?.into_changes();
            keys.push((&shape.view, vector::keys(&of_view)));
            changes.extend(of_view);
            store.ensure_schema(&shape.schema).await?;
        }
        let mut summary = match changes.is_empty() {
            true => ApplySummary::default(),
            false => store.store().apply(changes).await?,
        };
        for (view, keys) in keys {
            vector::make(definitions, &**store.store(), (view, &keys), pushed.now).await?;
        }
        let mut refused = None;
        for view in &self.tiles {
            if !views.contains(&view.name()) {
                continue;
            }
            let events = view.events_of(engine, definitions, pushed.rows).await?;
            match tiles::append(view, &**store.store(), pushed, &events).await {
                Ok(applied) => summary.applied += applied,
                Err(error) if error.kind().is_retryable() => return Err(error),
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        refused.map_or(Ok(summary), Err)
    }
}
