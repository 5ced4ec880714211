//! Tiles from a table, by what changed.

use std::collections::BTreeMap;

use futures::TryStreamExt;
use icecore_catalog::ChangeOptions;
use icecore_core::{
    Error, ErrorKind, OnlineChange, PinnedTable, Result, RowVersion, TimeRange, Timestamp,
};
use icecore_online::invalidate_caches;
use tracing::info;

use super::event::{self, EventRow, Events};
use super::key::{EntityKey, Kind};
use super::origin::{open, positions};
use super::overlay;
use super::spec::TileView;
use super::stored::{Covered, Tile, Tiles, queue_id, read_events, tag, write_events};
use crate::changed::{Side, rows_of};
use crate::marker::Marker;
use crate::report::{MaterializeOptions, ViewReport};
use crate::view::{Source, Start, start};

/// Entities that are written together.
const ENTITIES: usize = 256;
/// Changes that are kept in memory; where there are more, everything is read in order instead.
const CHANGES_MAX: usize = 4_000_000;
/// Newer than every row.
const ALWAYS: RowVersion = RowVersion {
    event: Timestamp::from_micros(i64::MAX),
    created: Timestamp::from_micros(i64::MAX),
};

/// What came and what is gone of one tile.
#[derive(Debug, Default)]
struct Change {
    came: Vec<EventRow>,
    gone: Vec<EventRow>,
}

type Changes = BTreeMap<EntityKey, BTreeMap<i64, Change>>;

/// One run of a job over one view.
struct Filling<'a> {
    source: &'a Source<'a>,
    view: &'a TileView,
    options: &'a MaterializeOptions,
    /// The run before, and this one.
    before: u64,
    tag: RowVersion,
    covered: Covered,
    /// Tiles before this one have a part in nothing any more.
    oldest: i64,
}

/// Brings the tiles of a view to the newest state of its source.
pub(crate) async fn materialize(
    source: &Source<'_>,
    view: &str,
    options: &MaterializeOptions,
) -> Result<ViewReport> {
    let (tiles, pin) = open(source, view).await?;
    let store = source.store.store();
    let marker = Marker::read(&**store, view).await?;
    let (spec, shape) =
        ((tiles.spec & u64::from(u32::MAX)) as u32, format!("tiles|{}", tiles.spec));
    let mut report = ViewReport::new(view, &pin);
    let start = start(source, (spec, &shape), &pin, marker.as_ref(), options).await?;
    let known = marker.as_ref().filter(|marker| {
        marker.source.as_ref().or(marker.towards.as_ref()).is_none_or(|at| at.uuid == pin.uuid)
    });
    let mut next = Marker {
        source: marker.as_ref().and_then(|marker| marker.source.clone()),
        towards: None,
        schema: spec,
        shape,
        at: source.now,
        generation: marker.as_ref().map_or(0, |marker| marker.generation),
        covered: known.map(|marker| marker.covered.clone()).unwrap_or_default(),
    };
    let steps = match start {
        Start::Changes(steps) => steps.into_iter().map(|(from, to)| (Some(from), to)).collect(),
        Start::Full(reason) => {
            report.full = Some(reason);
            next.source = None;
            vec![(None, pin.clone())]
        }
    };
    for (from, to) in steps {
        next = step(source, &tiles, (from, to), (next, options), &mut report).await?;
    }
    if !options.dry_run && report.written + report.removed > 0 {
        invalidate_caches(&**store, source.now).await?;
    }
    info!(view, source = %pin, written = report.written, "materialized tiles");
    Ok(report)
}

/// One step from a state to the next, or to a state from nothing.
async fn step(
    source: &Source<'_>,
    view: &TileView,
    (from, to): (Option<PinnedTable>, PinnedTable),
    (mut marker, options): (Marker, &MaterializeOptions),
    report: &mut ViewReport,
) -> Result<Marker> {
    let store = source.store.store();
    marker.towards = Some(to.clone());
    if !options.dry_run {
        marker.write(&**store, view.name()).await?;
    }
    for (queue, end) in positions(source, &to).await? {
        let known = marker.covered.entry(queue).or_default();
        *known = end.max(*known);
    }
    let filling = Filling {
        source,
        view,
        options,
        before: marker.generation,
        tag: tag(marker.generation + 1, to.snapshot),
        covered: marker.covered.iter().map(|(name, end)| (queue_id(name), *end)).collect(),
        oldest: view.oldest(source.now.micros()),
    };
    let is_done = match &from {
        Some(from) => filling.changed(from, &to, report).await?,
        None => false,
    };
    if !is_done {
        if from.is_some() {
            report.full = Some("more changed than is kept in memory");
        }
        filling.everything(&to, report).await?;
    }
    let generation = marker.generation + 1;
    let marker = Marker { source: Some(to), towards: None, generation, ..marker };
    if !options.dry_run {
        overlay::trim(source, view.name(), &filling.covered).await?;
        marker.write(&**store, view.name()).await?;
    }
    Ok(marker)
}

impl Filling<'_> {
    /// Applies what changed between two states; `false` where that is too much.
    async fn changed(
        &self,
        from: &PinnedTable,
        to: &PinnedTable,
        report: &mut ViewReport,
    ) -> Result<bool> {
        let Source { engine, definitions, .. } = *self.source;
        let mut rows = engine.catalog().changes(from, to, ChangeOptions::default()).await?.rows;
        let (mut changes, mut read) = (Changes::new(), 0);
        while let Some(batch) = rows.try_next().await? {
            for side in [Side::Came, Side::Gone] {
                let batch = rows_of(&batch, side)?;
                if batch.num_rows() == 0 {
                    continue;
                }
                read += batch.num_rows() as u64;
                let batch = self.view.events.of_rows(engine, definitions, batch).await?;
                for (entity, row) in event::read(self.view, &batch)? {
                    let tile = self.view.tile(event::moment(&row));
                    let change = changes.entry(entity).or_default().entry(tile).or_default();
                    match side {
                        Side::Came => change.came.push(row),
                        Side::Gone => change.gone.push(row),
                    }
                }
            }
            self.options.tell(report.read + read);
            if read > CHANGES_MAX as u64 {
                return Ok(false);
            }
        }
        report.read += read;
        if self.options.dry_run {
            report.written += changes.len() as u64;
            return Ok(true);
        }
        let mut part = Vec::with_capacity(ENTITIES);
        for change in changes {
            part.push(change);
            if part.len() == ENTITIES {
                self.apply(std::mem::take(&mut part), report).await?;
            }
        }
        self.apply(part, report).await?;
        Ok(true)
    }

    /// Applies the changes of some entities: first the events of tiles, then what is made of them.
    /// A run that dies in between finds out from the tags, and does the rest.
    async fn apply(
        &self,
        part: Vec<(EntityKey, BTreeMap<i64, Change>)>,
        report: &mut ViewReport,
    ) -> Result<()> {
        let (store, name) = (self.source.store.store(), self.view.name());
        let keys: Vec<_> = part.iter().map(|(entity, _)| entity.key(Kind::Tiles, name)).collect();
        let found = store.rows(&keys).await?;
        let mut work = Vec::with_capacity(part.len());
        let mut event_keys = Vec::new();
        for ((entity, changes), row) in part.into_iter().zip(found) {
            let there = row.as_ref().map(Tiles::read).transpose()?;
            if there.as_ref().is_some_and(|tiles| tiles.tag == self.tag) {
                report.unchanged += 1;
                continue;
            }
            self.check(there.as_ref().map(|tiles| tiles.tag))?;
            event_keys.extend(changes.keys().map(|tile| entity.events(name, *tile)));
            work.push((entity, changes, there));
        }
        let rows = store.rows(&event_keys).await?;
        let mut stored = event_keys.into_iter().zip(rows);
        let (mut first, mut then) = (Vec::new(), Vec::new());
        for (entity, changes, there) in work {
            let mut tiles = self.tiles(there);
            for (tile, change) in changes {
                let Some((key, row)) = stored.next() else { continue };
                let (at, mut events) = match &row {
                    Some(row) => read_events(row)?,
                    None => (tag(0, PinnedTable::EMPTY), Vec::new()),
                };
                if at != self.tag {
                    self.check(row.is_some().then_some(at))?;
                    edit(&mut events, change);
                }
                self.put(&mut tiles, &mut first, (key, tile, &events))?;
            }
            let row = Some(tiles.write());
            then.push(OnlineChange { key: entity.key(Kind::Tiles, name), row, until: ALWAYS });
            // What is too old to matter leaves with the next change of its entity.
            for tile in self.forget(&mut tiles) {
                first.push(OnlineChange {
                    key: entity.events(name, tile),
                    row: None,
                    until: ALWAYS,
                });
            }
            if let Some(last) = then.last_mut() {
                last.row = Some(tiles.write());
            }
        }
        store.apply(first).await?;
        report.written += store.apply(then).await?.applied;
        Ok(())
    }

    /// Reads the whole table.
    async fn everything(&self, pin: &PinnedTable, report: &mut ViewReport) -> Result<()> {
        let Source { engine, definitions, .. } = *self.source;
        let from = match self.oldest {
            i64::MIN => None,
            tile => i64::try_from(self.view.span(tile).0).ok().map(Timestamp::from_micros),
        };
        let range = TimeRange { from, to: None };
        let mut rows = self.view.events.by_entity(engine, definitions, pin, range).await?;
        let mut whole: Vec<(EntityKey, Vec<EventRow>)> = Vec::new();
        while let Some(batch) = rows.try_next().await? {
            report.read += batch.num_rows() as u64;
            self.options.tell(report.read);
            for (entity, row) in event::read(self.view, &batch)? {
                match whole.last_mut() {
                    Some((last, events)) if *last == entity => events.push(row),
                    _ => {
                        if whole.len() >= ENTITIES {
                            self.write(std::mem::take(&mut whole), report).await?;
                        }
                        whole.push((entity, vec![row]));
                    }
                }
            }
        }
        self.write(whole, report).await?;
        match self.options.dry_run {
            true => Ok(()),
            false => self.remove_others(report).await,
        }
    }

    /// Writes all events of some entities.
    async fn write(
        &self,
        whole: Vec<(EntityKey, Vec<EventRow>)>,
        report: &mut ViewReport,
    ) -> Result<()> {
        let name = self.view.name();
        if self.options.dry_run {
            report.written += whole.len() as u64;
            return Ok(());
        }
        let (mut first, mut then) = (Vec::new(), Vec::new());
        for (entity, events) in whole {
            let mut tiles = self.tiles(None);
            let mut by_tile: BTreeMap<i64, Vec<EventRow>> = BTreeMap::new();
            for event in events {
                by_tile.entry(self.view.tile(event::moment(&event))).or_default().push(event);
            }
            for (tile, mut events) in by_tile {
                events.sort_unstable();
                let key = entity.events(name, tile);
                self.put(&mut tiles, &mut first, (key, tile, &events))?;
            }
            let row = Some(tiles.write());
            then.push(OnlineChange { key: entity.key(Kind::Tiles, name), row, until: ALWAYS });
        }
        let store = self.source.store.store();
        store.apply(first).await?;
        report.written += store.apply(then).await?.applied;
        Ok(())
    }

    /// Removes what this run has not written: it read everything. Pushed events of entities that are
    /// gone have to leave before what says that the table had them.
    async fn remove_others(&self, report: &mut ViewReport) -> Result<()> {
        let (store, name) = (self.source.store.store(), self.view.name());
        overlay::trim(self.source, name, &self.covered).await?;
        for kind in [Kind::Tiles, Kind::Events] {
            let mut cursor = None;
            loop {
                let page = store.scan(&kind.prefix(name), cursor).await?;
                let others = page.rows.into_iter().filter(|(_, row)| {
                    RowVersion::of_row(row).is_none_or(|version| version != self.tag)
                });
                let removals: Vec<OnlineChange> =
                    others.map(|(key, _)| OnlineChange { key, row: None, until: ALWAYS }).collect();
                let removed = store.apply(removals).await?.applied;
                if kind == Kind::Tiles {
                    report.removed += removed;
                }
                cursor = page.cursor;
                if cursor.is_none() {
                    break;
                }
            }
        }
        Ok(())
    }

    fn tiles(&self, there: Option<Tiles>) -> Tiles {
        let mut covered = self.covered.clone();
        let mut tiles = BTreeMap::new();
        if let Some(there) = there.filter(|there| there.spec == self.view.spec) {
            for (queue, end) in there.covered {
                let known = covered.entry(queue).or_default();
                *known = end.max(*known);
            }
            tiles = there.tiles;
        }
        Tiles { tag: self.tag, spec: self.view.spec, covered, tiles }
    }

    /// Puts the events of a tile, and what they come to, into rows.
    fn put(
        &self,
        tiles: &mut Tiles,
        changes: &mut Vec<OnlineChange>,
        (key, tile, events): (bytes::Bytes, i64, &[EventRow]),
    ) -> Result<()> {
        let Some(last) = events.iter().map(event::moment).max() else {
            tiles.tiles.remove(&tile);
            // Its tag stays: a run that died has to find that this was done.
            let row = Some(write_events(self.tag, &[]));
            changes.push(OnlineChange { key, row, until: ALWAYS });
            return Ok(());
        };
        let values = Events::new(self.view, events)?;
        let mut states = Vec::with_capacity(self.view.measures.len());
        for (at, measure) in self.view.measures.iter().enumerate() {
            let mut state = measure.aggregation.empty();
            (0..events.len()).for_each(|event| values.add(at, event, &mut state));
            states.push(measure.aggregation.to_bytes(&state).into());
        }
        tiles.tiles.insert(tile, Tile { count: events.len() as u32, last, states });
        let row = Some(write_events(self.tag, events));
        changes.push(OnlineChange { key, row, until: ALWAYS });
        Ok(())
    }

    /// Takes out tiles that have a part in nothing any more.
    fn forget(&self, tiles: &mut Tiles) -> Vec<i64> {
        let old: Vec<i64> = tiles.tiles.range(..self.oldest).map(|(tile, _)| *tile).collect();
        old.iter().for_each(|tile| drop(tiles.tiles.remove(tile)));
        old
    }

    /// Fails where another job has written meanwhile.
    fn check(&self, found: Option<RowVersion>) -> Result<()> {
        let newest = i64::try_from(self.before).unwrap_or(i64::MAX);
        if found.is_none_or(|found| found.event.micros() <= newest) {
            return Ok(());
        }
        let message = format!("another job materializes `{}`", self.view.name());
        Err(Error::new(ErrorKind::Conflict, message).with_help("run it again when that has ended"))
    }
}

/// Applies what came and what is gone to the events of a tile, which are in order.
fn edit(events: &mut Vec<EventRow>, change: Change) {
    events.extend(change.came);
    events.sort_unstable();
    for gone in change.gone {
        if let Ok(at) = events.binary_search(&gone) {
            events.remove(at);
        }
    }
}
