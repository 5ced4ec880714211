//! Tiles from a table, by what changed.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::TryStreamExt;
use icecore_catalog::ChangeOptions;
use icecore_core::{OnlineChange, PinnedTable, Result, RowVersion, TimeRange, Timestamp};
use icecore_online::invalidate_caches;
use tracing::info;

use super::event::{self, EventRow, Events};
use super::key::{EntityKey, Kind};
use super::origin::{open, positions};
use super::overlay;
use super::spec::TileView;
use super::stored::{Covered, Tile, Tiles, queue_id, read_events, tag, write_events};
use crate::changed::{Side, rows_of};
use crate::marker::{Claim, Marker, keep};
use crate::report::{MaterializeOptions, ViewReport};
use crate::view::{Source, Start, start};

/// Entities that are written together.
const ENTITIES: usize = 256;
/// Changes that are kept in memory; where there are more, everything is read in order instead.
const CHANGES_MAX: usize = 4_000_000;

/// What came and what is gone of one tile.
#[derive(Debug, Default)]
struct Change {
    came: Vec<EventRow>,
    gone: Vec<EventRow>,
}

type Changes = BTreeMap<EntityKey, BTreeMap<i64, Change>>;

/// One step of a job over one view.
struct Filling<'a> {
    source: &'a Source<'a>,
    view: &'a TileView,
    options: &'a MaterializeOptions,
    claim: &'a Claim<'a>,
    /// The last step that came to its end, and this one.
    before: u64,
    tag: RowVersion,
    covered: Covered,
    /// Tiles before this one have a part in nothing any more.
    oldest: i64,
}

/// Brings the tiles of a view whose marker was read to the newest state of its source.
pub(crate) async fn bring(
    source: &Source<'_>,
    (claim, marker): (&mut Claim<'_>, Option<Marker>),
    options: &MaterializeOptions,
) -> Result<ViewReport> {
    let (store, view) = (&**source.store.store(), claim.view());
    let (tiles, pin) = open(source, view).await?;
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
        alive: None,
        birth: None,
        generation: marker.as_ref().map_or(0, |marker| marker.generation),
        covered: known.map(|marker| marker.covered.clone()).unwrap_or_default(),
    };
    let steps = match start {
        Start::Changes(steps) => {
            steps.into_iter().map(|(from, to)| (Some(from), to)).collect::<Vec<_>>()
        }
        Start::Full(reason) => {
            report.full = Some(reason);
            next.source = None;
            vec![(None, pin.clone())]
        }
    };
    if steps.is_empty() && !options.dry_run {
        // A process that began again may have pushed once more what the tiles have.
        overlay::trim(source, claim, &by_id(&next.covered)).await?;
    }
    for (from, to) in steps {
        let how = (next, options, &mut *claim);
        next = step(source, &tiles, (from, to), how, &mut report).await?;
    }
    if !options.dry_run && report.written + report.removed > 0 {
        invalidate_caches(store, source.now).await?;
    }
    info!(view, source = %pin, written = report.written, "materialized tiles");
    Ok(report)
}

/// One step from a state to the next, or to a state from nothing.
async fn step(
    source: &Source<'_>,
    view: &TileView,
    (from, to): (Option<PinnedTable>, PinnedTable),
    (mut marker, options, claim): (Marker, &MaterializeOptions, &mut Claim<'_>),
    report: &mut ViewReport,
) -> Result<Marker> {
    let ends = positions(source, &to).await?;
    marker.towards = Some(to.clone());
    if !options.dry_run {
        claim.begin(&marker).await?;
    }
    for (queue, end) in ends {
        let known = marker.covered.entry(queue).or_default();
        *known = end.max(*known);
    }
    let filling = Filling {
        source,
        view,
        options,
        claim: &*claim,
        before: marker.generation,
        tag: tag(claim.number(), to.snapshot),
        covered: by_id(&marker.covered),
        oldest: view.oldest(source.now.micros()),
    };
    let held = (!options.dry_run).then_some(filling.claim);
    keep(held, Box::pin(filling.fill(from.as_ref(), &to, report))).await?;
    let generation = claim.number();
    let marker = Marker { source: Some(to), towards: None, generation, ..marker };
    if !options.dry_run {
        claim.end(&marker).await?;
    }
    Ok(marker)
}

/// How far the tiles are in each queue, by its number.
fn by_id(covered: &BTreeMap<String, u64>) -> Covered {
    covered.iter().map(|(name, end)| (queue_id(name), *end)).collect()
}

impl Filling<'_> {
    /// Writes what changed between two states, or everything where there was none before. Then
    /// pushed events that the tiles have by now leave.
    async fn fill(
        &self,
        from: Option<&PinnedTable>,
        to: &PinnedTable,
        report: &mut ViewReport,
    ) -> Result<()> {
        let is_done = match from {
            Some(from) => self.changed(from, to, report).await?,
            None => false,
        };
        if !is_done {
            if from.is_some() {
                report.full = Some("more changed than is kept in memory");
            }
            self.everything(to, report).await?;
        }
        match self.options.dry_run {
            true => Ok(()),
            false => overlay::trim(self.source, self.claim, &self.covered).await,
        }
    }

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
    /// The run after one that dies in between finds out from the tags, and does the rest. What is
    /// changed is what the store has now, and not what was read of it before.
    async fn apply(
        &self,
        part: Vec<(EntityKey, BTreeMap<i64, Change>)>,
        report: &mut ViewReport,
    ) -> Result<()> {
        let (store, name) = (self.source.store.store(), self.view.name());
        let keys: Vec<_> = part.iter().map(|(entity, _)| entity.key(Kind::Tiles, name)).collect();
        let found = store.rows_now(&keys).await?;
        let mut work = Vec::with_capacity(part.len());
        let mut event_keys = Vec::new();
        for ((entity, changes), row) in part.into_iter().zip(found) {
            let there = row.as_ref().map(Tiles::read).transpose()?;
            if let Some(tiles) = &there
                && self.is_done(tiles.tag)?
            {
                report.unchanged += 1;
                continue;
            }
            event_keys.extend(changes.keys().map(|tile| entity.events(name, *tile)));
            work.push((entity, changes, there));
        }
        let rows = store.rows_now(&event_keys).await?;
        let mut stored = event_keys.into_iter().zip(rows);
        let (mut first, mut then) = (Vec::new(), Vec::new());
        for (entity, changes, there) in work {
            let mut tiles = self.tiles(there);
            for (tile, change) in changes {
                let Some((key, row)) = stored.next() else { continue };
                let (is_done, mut events) = match &row {
                    Some(row) => {
                        let (at, events) = read_events(row)?;
                        (self.is_done(at)?, events)
                    }
                    None => (false, Vec::new()),
                };
                if !is_done {
                    edit(&mut events, change);
                }
                self.put(&mut tiles, &mut first, (key, tile, &events))?;
            }
            // What is too old to matter leaves with the next change of its entity.
            for tile in self.forget(&mut tiles) {
                first.push(self.change(entity.events(name, tile), None));
            }
            then.push(self.change(entity.key(Kind::Tiles, name), Some(tiles.write())));
        }
        self.send(first).await?;
        report.written += self.send(then).await?;
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
            then.push(self.change(entity.key(Kind::Tiles, name), Some(tiles.write())));
        }
        self.send(first).await?;
        report.written += self.send(then).await?;
        Ok(())
    }

    /// Removes what this run has not written: it read everything. Pushed events of entities that are
    /// gone have to leave before what says that the table had them.
    async fn remove_others(&self, report: &mut ViewReport) -> Result<()> {
        let (store, name) = (self.source.store.store(), self.view.name());
        overlay::trim(self.source, self.claim, &self.covered).await?;
        for kind in [Kind::Tiles, Kind::Events] {
            let mut cursor = None;
            loop {
                let page = store.scan(&kind.prefix(name), cursor).await?;
                let others = page.rows.into_iter().filter(|(_, row)| {
                    RowVersion::of_row(row).is_none_or(|version| version != self.tag)
                });
                let removed =
                    self.send(others.map(|(key, _)| self.change(key, None)).collect()).await?;
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
        (key, tile, events): (Bytes, i64, &[EventRow]),
    ) -> Result<()> {
        let Some(last) = events.iter().map(event::moment).max() else {
            tiles.tiles.remove(&tile);
            // Its tag stays: after a run that died it has to be found that this was done.
            changes.push(self.change(key, Some(write_events(self.tag, &[]))));
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
        changes.push(self.change(key, Some(write_events(self.tag, events))));
        Ok(())
    }

    /// Takes out tiles that have a part in nothing any more.
    fn forget(&self, tiles: &mut Tiles) -> Vec<i64> {
        let old: Vec<i64> = tiles.tiles.range(..self.oldest).map(|(tile, _)| *tile).collect();
        old.iter().for_each(|tile| drop(tiles.tiles.remove(tile)));
        old
    }

    /// A change that leaves alone what a later run has written.
    fn change(&self, key: Bytes, row: Option<Bytes>) -> OnlineChange {
        OnlineChange { key, row, until: self.tag }
    }

    /// Writes and removes rows, as long as the view is this run's.
    async fn send(&self, changes: Vec<OnlineChange>) -> Result<u64> {
        if changes.is_empty() {
            return Ok(0);
        }
        self.claim.hold().await?;
        let sent = self.source.store.store().apply(changes).await?;
        match sent.stale {
            0 => Ok(sent.applied),
            _ => Err(self.claim.lost()),
        }
    }

    /// Whether a row is already what this step makes of it: an earlier run was on the same way, and
    /// did not come to its end. Fails where the row is on another way.
    fn is_done(&self, found: RowVersion) -> Result<bool> {
        match u64::try_from(found.event.micros()).is_ok_and(|number| number > self.before) {
            false => Ok(false),
            true if found.created == self.tag.created => Ok(true),
            true => Err(self.claim.lost()),
        }
    }
}

/// Applies what came and what is gone to the events of a tile, which are in order.
fn edit(events: &mut Vec<EventRow>, change: Change) {
    events.extend(change.came);
    events.sort_unstable();
    event::take_out(events, &change.gone);
}
