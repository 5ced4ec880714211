//! The whole table.

use icecore_core::{
    DigestSet, KeyDigest, OnlineChange, OnlineStore, Result, ScanOptions, SnapshotCatalog,
};
use icecore_online::{Origin, Row, row_prefix};

use crate::changed::{self, Gone, Loss};
use crate::gather::{Gathering, Known, Seen};
use crate::marker::Claim;
use crate::reader::Reader;
use crate::report::{MaterializeOptions, ViewReport};
use crate::send::{send, send_all};
use crate::view::{Planned, Source};

/// Writes the newest row of every entity, and corrects what the table does not have: entities that
/// it has lost, and rows that are newer than its own. Rows that were pushed stay: the table will
/// have them later.
///
/// A store that has no row of the view when this begins has nothing to correct, so nothing is kept
/// of what was read.
pub(crate) async fn run(
    source: &Source<'_>,
    planned: &Planned,
    (options, claim): (&MaterializeOptions, Option<&Claim<'_>>),
    report: &mut ViewReport,
) -> Result<()> {
    let Planned { shape, pin } = planned;
    let has_none = has_none(&**source.store.store(), &shape.view).await?;
    let scan = ScanOptions::default().with_columns(shape.columns());
    let rows = source.engine.catalog().scan(pin, scan).await?;
    let known =
        if has_none { Known::None(DigestSet::default()) } else { Known::Any(Seen::default()) };
    let mut gathering = Gathering::new(rows, Reader::new(shape, Origin::Table), options, known);
    let batches = gathering.batches();
    let summary = send_all(source, &shape.view, batches, claim).await?;
    // An entity that was sent again and again, as its table has it, is one row of the store.
    let entities = gathering.entities();
    let written = summary.applied.min(entities);
    report.written += written;
    report.unchanged += entities.saturating_sub(written).min(summary.stale);
    report.read += gathering.read();
    match gathering.into_seen() {
        Some(seen) => correct_others(source, planned, claim, &seen, report).await,
        None => Ok(()),
    }
}

/// Whether the store has no row of a view.
async fn has_none(store: &dyn OnlineStore, view: &str) -> Result<bool> {
    let mut cursor = None;
    loop {
        let page = store.scan(&row_prefix(view), cursor).await?;
        if !page.rows.is_empty() {
            return Ok(false);
        }
        cursor = page.cursor;
        if cursor.is_none() {
            return Ok(true);
        }
    }
}

async fn correct_others(
    source: &Source<'_>,
    planned: &Planned,
    claim: Option<&Claim<'_>>,
    seen: &Seen,
    report: &mut ViewReport,
) -> Result<()> {
    let store = source.store.store();
    let prefix = row_prefix(&planned.shape.view);
    let (mut cursor, mut too_new) = (None, Gone::new());
    loop {
        let page = store.scan(&prefix, cursor).await?;
        let mut removals = Vec::new();
        for (key, row) in page.rows {
            let row = Row::parse(row)?;
            if row.origin() == Origin::Push {
                continue;
            }
            let gone = row.version();
            match seen.get(&KeyDigest::of(&key)) {
                None => removals.push(OnlineChange { key, row: None, until: gone }),
                Some(newest) if *newest < gone => {
                    too_new.insert(key, Loss { gone, came: None, first_key: None });
                }
                Some(_) => {}
            }
        }
        if !removals.is_empty() {
            report.removed += send(source, &planned.shape.view, removals, claim).await?.applied;
        }
        cursor = page.cursor;
        if cursor.is_none() {
            break;
        }
    }
    changed::restore(source, &planned.shape, &planned.pin, (claim, too_new), report).await
}
