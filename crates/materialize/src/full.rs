//! The whole table.

use std::collections::HashMap;

use futures::{StreamExt, TryStreamExt};
use icecore_core::{ApplySummary, OnlineChange, Result, RowVersion, ScanOptions, SnapshotCatalog};
use icecore_online::{Origin, Row, row_prefix};

use crate::changed::{self, Gone, Loss};
use crate::reader::{IN_FLIGHT, Reader, digest, send};
use crate::report::{MaterializeOptions, ViewReport};
use crate::view::{Planned, Source};

/// The newest version of each entity that was read.
type Seen = HashMap<(u64, u64), RowVersion>;

/// Writes the newest row of every entity, and corrects what the table does not have: entities that
/// it has lost, and rows that are newer than its own. Rows that were pushed stay: the table will
/// have them later.
pub(crate) async fn run(
    source: &Source<'_>,
    planned: &Planned,
    options: &MaterializeOptions,
    report: &mut ViewReport,
) -> Result<()> {
    let Planned { shape, pin } = planned;
    let scan = ScanOptions::default().with_columns(shape.columns());
    let rows = source.engine.catalog().scan(pin, scan).await?;
    let reader = Reader::new(shape, Origin::Table);
    let (mut seen, mut read) = (Seen::new(), 0);
    let sent = rows
        .map(|batch| {
            let batch = batch?;
            read += batch.num_rows() as u64;
            options.tell(read);
            let mut changes = reader.read(&batch)?.into_changes();
            keep_newest(&mut changes, &mut seen);
            Ok(changes)
        })
        .map_ok(|changes| send(source, &shape.view, changes, options.dry_run))
        .try_buffer_unordered(IN_FLIGHT);
    let summary = sent
        .try_fold(ApplySummary::default(), async |mut all, one| {
            all += one;
            Ok(all)
        })
        .await?;
    report.written += summary.applied;
    report.unchanged += summary.stale;
    report.read += read;
    correct_others(source, planned, options, &seen, report).await
}

/// Leaves out rows of which a newer one was seen.
fn keep_newest(changes: &mut Vec<OnlineChange>, seen: &mut Seen) {
    for change in changes.iter() {
        let newest = seen.entry(digest(&change.key)).or_insert(change.until);
        *newest = change.until.max(*newest);
    }
    changes.retain(|change| {
        seen.get(&digest(&change.key)).is_none_or(|newest| change.until >= *newest)
    });
}

async fn correct_others(
    source: &Source<'_>,
    planned: &Planned,
    options: &MaterializeOptions,
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
            match seen.get(&digest(&key)) {
                None => removals.push(OnlineChange { key, row: None, until: gone }),
                Some(newest) if *newest < gone => {
                    too_new.insert(key, Loss { gone, came: None, first_key: None });
                }
                Some(_) => {}
            }
        }
        if !removals.is_empty() {
            report.removed +=
                send(source, &planned.shape.view, removals, options.dry_run).await?.applied;
        }
        cursor = page.cursor;
        if cursor.is_none() {
            break;
        }
    }
    changed::restore(source, &planned.shape, &planned.pin, (options, too_new), report).await
}
