//! Pushed events that the tiles do not have yet.
//!
//! Several processes may add events of one entity at once, and a job takes out what the tiles have
//! got. Each reads the row, and writes it under the next number if nobody else did meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use icecore_core::{Error, ErrorKind, OnlineChange, OnlineStore, Result, Timestamp};

use super::event;
use super::key::{EntityKey, Kind};
use super::spec::TileView;
use super::stored::{Covered, Overlay, PushedEvent, queue_id};
use crate::marker::Claim;
use crate::pushed::PushedEvents;
use crate::view::Source;

/// How often a row is written again that others wrote meanwhile.
const TRIES_MAX: usize = 100;
/// Pushed events of one entity that may wait for their tiles.
const EVENTS_MAX: usize = 100_000;

/// Adds pushed events; those that are there already are there once.
pub(crate) async fn append(
    view: &TileView,
    store: &dyn OnlineStore,
    pushed: &PushedEvents<'_>,
    events: &arrow::array::RecordBatch,
) -> Result<u64> {
    let queue = queue_id(pushed.queue);
    let mut by_entity: BTreeMap<EntityKey, Vec<PushedEvent>> = BTreeMap::new();
    for (row, (entity, event)) in (0_u32..).zip(event::read(view, events)?) {
        let event = PushedEvent { queue, position: pushed.position, row, event };
        by_entity.entry(entity).or_default().push(event);
    }
    let count = by_entity.len() as u64;
    let entities: Vec<EntityKey> = by_entity.keys().cloned().collect();
    change((view.name(), pushed.now), store, entities, |entity, overlay| {
        let there: BTreeSet<_> = overlay.events.iter().map(PushedEvent::id).collect();
        let new = by_entity.get(entity).into_iter().flatten();
        let new: Vec<PushedEvent> =
            new.filter(|event| !there.contains(&event.id())).cloned().collect();
        if new.is_empty() {
            return Ok(false);
        }
        if overlay.events.len() + new.len() > EVENTS_MAX {
            let message = format!("{EVENTS_MAX} pushed events of one entity wait for their tiles");
            return Err(Error::new(ErrorKind::LimitExceeded, message)
                .with_help(format!("run `icecore online materialize {}`", view.name())));
        }
        overlay.events.extend(new);
        Ok(true)
    })
    .await?;
    Ok(count)
}

/// Takes out what a state of the table has, of all entities.
pub(super) async fn trim(source: &Source<'_>, claim: &Claim<'_>, covered: &Covered) -> Result<()> {
    let (store, view) = (source.store.store(), claim.view());
    let mut cursor = None;
    loop {
        let page = store.scan(&Kind::Pushed.prefix(view), cursor).await?;
        let entities = page.rows.iter().filter(|(_, row)| {
            let overlay = Overlay::read(row);
            overlay.is_ok_and(|overlay| overlay.events.iter().any(|event| event.is_in(covered)))
        });
        let entities = entities.filter_map(|(key, _)| EntityKey::of_key(Kind::Pushed, view, key));
        let entities: Vec<EntityKey> = entities.collect();
        if !entities.is_empty() {
            claim.hold().await?;
        }
        change((view, source.now), &**store, entities, |_, overlay| {
            let before = overlay.events.len();
            overlay.events.retain(|event| !event.is_in(covered));
            Ok(overlay.events.len() < before)
        })
        .await?;
        cursor = page.cursor;
        if cursor.is_none() {
            return Ok(());
        }
    }
}

/// Changes the rows of entities, each from what it is when it is written.
async fn change(
    (view, now): (&str, Timestamp),
    store: &dyn OnlineStore,
    mut entities: Vec<EntityKey>,
    mut edit: impl FnMut(&EntityKey, &mut Overlay) -> Result<bool>,
) -> Result<()> {
    for _ in 0..TRIES_MAX {
        if entities.is_empty() {
            return Ok(());
        }
        let keys: Vec<_> = entities.iter().map(|e| e.key(Kind::Pushed, view)).collect();
        let rows = store.rows_now(&keys).await?;
        let (mut changes, mut changed) = (Vec::new(), Vec::new());
        for ((entity, key), row) in entities.into_iter().zip(keys).zip(rows) {
            let mut overlay = row.as_ref().map(Overlay::read).transpose()?.unwrap_or_default();
            let until = overlay.version();
            if edit(&entity, &mut overlay)? {
                // Without events there is no row. A new one has a greater number all the same, so
                // that who has read the old one does not write over it.
                overlay.number = now.micros().max(overlay.number + 1);
                let row = (!overlay.events.is_empty()).then(|| overlay.write());
                changes.push(OnlineChange { key, row, until });
                changed.push(entity);
            }
        }
        if changes.is_empty() || store.apply(changes).await?.stale == 0 {
            return Ok(());
        }
        // Who was too late is not told which rows: what is done already changes nothing.
        entities = changed;
    }
    Err(Error::new(ErrorKind::Conflict, format!("pushed events of `{view}` change too often"))
        .with_help("try again"))
}
