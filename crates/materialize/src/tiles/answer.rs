//! What windows are at a moment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::nullif;
use arrow::datatypes::Schema;
use bytes::Bytes;
use icecore_core::{Closed, Error, OnlineStore, Result, RowVersion, Timestamp, Window};
use icecore_kernel::Accumulator;
use icecore_online::{RowStatus, ViewRows};

use super::event::{self, EventRow, Events};
use super::key::{EntityKey, Kind};
use super::spec::TileView;
use super::stored::{Overlay, Tiles, read_events};

/// What tiles say about entities.
#[derive(Debug, Clone)]
pub struct TileRows {
    /// A row for each entity.
    pub rows: ViewRows,
    /// Whether an entity has no tiles. Then its row is what was pushed alone, and right only if the
    /// store was filled: else there were tiles, and they were lost.
    pub lacks_tiles: bool,
}

/// What there is of one entity: its tiles, and where its single events are among all.
#[derive(Debug, Default)]
struct Entity {
    tiles: Option<Tiles>,
    /// Events of tiles at the ends of windows.
    edges: BTreeMap<i64, std::ops::Range<usize>>,
    /// Pushed events that the tiles do not have.
    pushed: std::ops::Range<usize>,
}

/// The moments in a window: from the first one to the one before the second.
pub(super) type Span = (i64, i128);

impl TileView {
    /// The features of entities at a moment, from the tiles of a store and what was pushed since:
    /// the columns of [`fields`](Self::fields).
    ///
    /// # Errors
    ///
    /// Those of the store, and `DataCorrupt` for tiles of another definition.
    pub async fn read(
        &self,
        store: &dyn OnlineStore,
        keys: &[ArrayRef],
        at: Timestamp,
    ) -> Result<TileRows> {
        self.read_tiles(store, keys, (at, true)).await
    }

    /// As [`read`](Self::read); without `with_pushed`, from the tiles alone.
    pub(super) async fn read_tiles(
        &self,
        store: &dyn OnlineStore,
        keys: &[ArrayRef],
        (at, with_pushed): (Timestamp, bool),
    ) -> Result<TileRows> {
        let spans: Vec<Span> = self.columns.iter().map(|c| span(c.window, c.closed, at)).collect();
        let recent = self.recent(at);
        let until = (i64::MIN, i128::from(at.micros()) + 1);
        let edges = self.edges(spans.iter().chain([&recent, &until]));
        let asked = EntityKey::of(self.name(), keys)?;
        let (entities, rows) = self.entities(store, &asked, &edges, with_pushed).await?;
        // A null identifies nobody.
        let lacks_tiles =
            asked.iter().zip(&entities).any(|(key, one)| key.is_some() && one.tiles.is_none());
        let events = Events::new(self, &rows)?;
        let columns = self.windows_of(&entities, &events, (&spans, at))?;
        let mut found = ViewRows {
            rows: Vec::with_capacity(entities.len()),
            versions: Vec::with_capacity(entities.len()),
            columns: Vec::new(),
        };
        for entity in &entities {
            let newest = self.newest(entity, &events, at);
            let is_recent =
                newest.is_some_and(|last| last >= recent.0 && i128::from(last) < recent.1);
            // The newest event may lie at an open end, with others inside.
            let is_recent = is_recent || self.has_event(entity, &events, recent)?;
            found.rows.push(match newest {
                None => RowStatus::NotFound,
                Some(_) if is_recent => RowStatus::Found,
                Some(_) => RowStatus::OutsideMaxAge,
            });
            found.versions.push(newest.map(|last| {
                let event = Timestamp::from_micros(last);
                RowVersion { event, created: event }
            }));
        }
        found.columns = self.features(columns, &found.rows)?;
        Ok(TileRows { rows: found, lacks_tiles })
    }

    /// Where an event has to be for its entity to have features at a moment.
    pub(super) fn recent(&self, at: Timestamp) -> Span {
        let (window, closed) = self.events.recent;
        span(window, closed, at)
    }

    /// The tiles of which only a part is in a window.
    fn edges<'s>(&self, spans: impl Iterator<Item = &'s Span>) -> BTreeSet<i64> {
        let mut edges = BTreeSet::new();
        for (from, to) in spans {
            if *from != i64::MIN && from.rem_euclid(self.width) != 0 {
                edges.insert(self.tile(*from));
            }
            if let Ok(to) = i64::try_from(*to)
                && to.rem_euclid(self.width) != 0
            {
                edges.insert(self.tile(to));
            }
        }
        edges
    }

    /// Reads everything in one round trip.
    async fn entities(
        &self,
        store: &dyn OnlineStore,
        entities: &[Option<EntityKey>],
        edges: &BTreeSet<i64>,
        with_pushed: bool,
    ) -> Result<(Vec<Entity>, Vec<EventRow>)> {
        let name = self.name();
        let mut keys = Vec::with_capacity(entities.len() * (edges.len() + 2));
        for entity in entities.iter().flatten() {
            keys.push(entity.key(Kind::Tiles, name));
            keys.push(entity.key(Kind::Pushed, name));
            keys.extend(edges.iter().map(|tile| entity.events(name, *tile)));
        }
        let mut found = store.rows(&keys).await?.into_iter();
        let mut next = || found.next().flatten();
        let (mut read, mut rows) = (Vec::with_capacity(entities.len()), Vec::new());
        for entity in entities {
            if entity.is_none() {
                read.push(Entity::default());
                continue;
            }
            let mut one = Entity { tiles: self.tiles_of(next().as_ref())?, ..Entity::default() };
            let pushed = next().filter(|_| with_pushed);
            let first = rows.len();
            if let Some(pushed) = pushed {
                let covered = one.tiles.as_ref().map(|tiles| &tiles.covered);
                let new = Overlay::read(&pushed)?.events.into_iter();
                let new = new.filter(|event| !covered.is_some_and(|to| event.is_in(to)));
                rows.extend(new.map(|event| event.event));
            }
            one.pushed = first..rows.len();
            for tile in edges {
                let first = rows.len();
                if let Some(bytes) = next() {
                    let (at, mut events) = read_events(&bytes)?;
                    // A job writes the events of a tile before what they come to. Until then what
                    // it has of pushed events is counted as pushed.
                    if one.tiles.as_ref().is_some_and(|tiles| tiles.tag.event < at.event) {
                        let pushed = rows.get(one.pushed.clone()).unwrap_or_default();
                        event::take_out(&mut events, pushed);
                    }
                    rows.extend(events);
                }
                one.edges.insert(*tile, first..rows.len());
            }
            read.push(one);
        }
        Ok((read, rows))
    }

    fn tiles_of(&self, row: Option<&Bytes>) -> Result<Option<Tiles>> {
        let tiles = row.map(Tiles::read).transpose()?;
        if tiles.as_ref().is_some_and(|tiles| tiles.spec != self.spec) {
            let message = format!("the tiles of `{}` are of another definition", self.name());
            return Err(Error::corrupt(message)
                .with_help(format!("run `icecore online materialize {}`", self.name())));
        }
        Ok(tiles)
    }

    /// The windows of all entities, column by column.
    fn windows_of(
        &self,
        entities: &[Entity],
        events: &Events<'_>,
        (spans, at): (&[Span], Timestamp),
    ) -> Result<Vec<ArrayRef>> {
        let mut columns = Vec::with_capacity(self.columns.len());
        for (column, span) in self.columns.iter().zip(spans) {
            let states = entities.iter().map(|one| self.state(one, events, column.measure, *span));
            let states = states.collect::<Result<Vec<Accumulator>>>()?;
            let states: Vec<(&Accumulator, i64)> =
                states.iter().map(|state| (state, at.micros())).collect();
            columns.push(self.measure(column.measure)?.aggregation.finish(&states)?);
        }
        Ok(columns)
    }

    fn state(
        &self,
        entity: &Entity,
        events: &Events<'_>,
        measure: usize,
        span: Span,
    ) -> Result<Accumulator> {
        let of = &self.measure(measure)?.aggregation;
        let mut state = of.empty();
        for part in self.parts(entity, span) {
            match part {
                Part::Whole(tile) => {
                    let bytes = tile.states.get(measure);
                    let bytes = bytes.ok_or_else(|| Error::corrupt("a tile has lost a state"))?;
                    of.merge(&mut state, &of.from_bytes(bytes)?)?;
                }
                Part::Events(range) => {
                    for at in range.filter(|at| is_in(events, *at, span)) {
                        events.add(measure, at, &mut state);
                    }
                }
            }
        }
        Ok(state)
    }

    /// The parts of an entity's events that a window looks at.
    fn parts<'e>(&self, entity: &'e Entity, (from, to): Span) -> Vec<Part<'e>> {
        let mut parts = vec![Part::Events(entity.pushed.clone())];
        let tiles = entity.tiles.iter().flat_map(|tiles| &tiles.tiles);
        for (index, tile) in tiles {
            let (start, end) = self.span(*index);
            if end <= i128::from(from) || start >= to {
                continue;
            }
            match start >= i128::from(from) && end <= to {
                true => parts.push(Part::Whole(tile)),
                // Every tile at an end was read.
                false => parts.extend(entity.edges.get(index).cloned().map(Part::Events)),
            }
        }
        parts
    }

    fn has_event(&self, entity: &Entity, events: &Events<'_>, span: Span) -> Result<bool> {
        Ok(self.parts(entity, span).into_iter().any(|part| match part {
            Part::Whole(tile) => tile.count > 0,
            Part::Events(range) => range.into_iter().any(|at| is_in(events, at, span)),
        }))
    }

    /// The newest event up to the moment.
    fn newest(&self, entity: &Entity, events: &Events<'_>, at: Timestamp) -> Option<i64> {
        let span = (i64::MIN, i128::from(at.micros()) + 1);
        let newest = |part: Part<'_>| match part {
            Part::Whole(tile) => Some(tile.last),
            Part::Events(range) => {
                let inside = range.filter(|at| is_in(events, *at, span));
                inside.filter_map(|at| events.times.get(at).copied()).max()
            }
        };
        self.parts(entity, span).into_iter().filter_map(newest).max()
    }

    /// What the view has as features, null where an entity had no event lately.
    fn features(&self, windows: Vec<ArrayRef>, rows: &[RowStatus]) -> Result<Vec<ArrayRef>> {
        let schema = Arc::new(Schema::new(self.windows.clone()));
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        let batch = RecordBatch::try_new_with_options(schema, windows, &options)?;
        let derived = self.derived.compute(&batch)?;
        let absent: BooleanArray =
            rows.iter().map(|status| Some(*status != RowStatus::Found)).collect();
        let names = self.windows.iter().chain(self.derived.fields()).map(|field| field.name());
        let all: Vec<(&String, &ArrayRef)> =
            names.zip(batch.columns().iter().chain(&derived)).collect();
        let column = |field: &arrow::datatypes::FieldRef| {
            let found = all.iter().find(|(name, _)| *name == field.name());
            let (_, values) = found.ok_or_else(|| Error::internal("a feature was not computed"))?;
            Ok(nullif(&**values, &absent)?)
        };
        self.fields().iter().map(column).collect()
    }
}

/// A part of an entity's events.
enum Part<'e> {
    Whole(&'e super::stored::Tile),
    Events(std::ops::Range<usize>),
}

fn is_in(events: &Events<'_>, at: usize, (from, to): Span) -> bool {
    events.times.get(at).is_some_and(|time| *time >= from && i128::from(*time) < to)
}

/// The moments in a window.
fn span(window: Window, closed: Closed, at: Timestamp) -> Span {
    let range = window.range(closed, at);
    let from = range.from.map_or(i64::MIN, Timestamp::micros);
    (from, range.to.map_or(i128::MAX, |to| i128::from(to.micros())))
}
