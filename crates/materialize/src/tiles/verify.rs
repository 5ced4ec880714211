//! Whether tiles give what the table gives.

use std::collections::HashSet;

use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::row::{RowConverter, SortField};
use futures::StreamExt;
use icecore_core::{DigestSet, Error, KeyDigest, PinnedTable, Result};
use icecore_features::{AskedMoments, MomentColumns, MomentRules, features_at};
use icecore_online::RowStatus;

use super::key::{EntityKey, Kind};
use super::origin::open;
use super::spec::TileView;
use super::stored::{Overlay, Tiles};
use crate::verify::{DifferenceKind, RANGES, VerifyReport};
use crate::view::Source;

/// The column with the moment of the comparison.
const MOMENT: &str = "__verified_at";

/// Compares what tiles give for the moment of the job with what the state of the table that they
/// come from gives, for every entity.
pub(crate) async fn verify(
    source: &Source<'_>,
    view: &str,
    pin: &PinnedTable,
) -> Result<VerifyReport> {
    let (tiles, _) = open(source, view).await?;
    let mut report = VerifyReport::new(view, pin);
    let mut seen = DigestSet::default();
    let mut wrong = HashSet::new();
    let mut rows = offline(source, &tiles, pin).await?;
    while let Some(batch) = rows.next().await {
        let batch = known(&batch?)?;
        if batch.num_rows() == 0 {
            continue;
        }
        compare(source, &tiles, &batch, (&mut seen, &mut wrong, &mut report)).await?;
    }
    others(source, view, (&seen, &mut wrong, &mut report)).await?;
    report.ranges_differing = wrong.len();
    Ok(report)
}

/// What the table gives at the moment, for every entity that it has.
async fn offline(
    source: &Source<'_>,
    tiles: &TileView,
    pin: &PinnedTable,
) -> Result<icecore_core::BatchStream> {
    let view = &tiles.events.view;
    let engine = source.engine;
    let keys: Vec<(String, String)> =
        tiles.events.keys.iter().map(|key| (key.name().clone(), key.name().clone())).collect();
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let columns: Vec<String> = keys.iter().map(|(name, _)| quoted(name)).collect();
    let query = format!(
        "SELECT DISTINCT {}, arrow_cast({}, 'Timestamp(Microsecond, Some(\"+00:00\"))') AS {MOMENT} \
         FROM {}.{}",
        columns.join(", "),
        source.now.micros(),
        quoted(pin.table.namespace()),
        quoted(pin.table.table()),
    );
    let pins = std::slice::from_ref(pin);
    let spine = engine.query(&query, pins).await?;
    let asked = AskedMoments::of(engine, spine, &keys, MOMENT).await?;
    let of = (source.definitions, view);
    let rules = MomentRules::default();
    engine.stream(features_at(engine, of, pins, &asked, rules).await?).await
}

/// Rows of entities that had an event up to the moment: others have nothing to compare.
fn known(batch: &RecordBatch) -> Result<RecordBatch> {
    let newest = batch.column_by_name(MomentColumns::NEWEST);
    let newest = newest.ok_or_else(|| Error::internal("answers have no newest event"))?;
    let there = (0..batch.num_rows() as u32).filter(|row| newest.is_valid(*row as usize));
    Ok(take_record_batch(batch, &UInt32Array::from_iter_values(there))?)
}

async fn compare(
    source: &Source<'_>,
    tiles: &TileView,
    batch: &RecordBatch,
    (seen, wrong, report): (&mut DigestSet, &mut HashSet<usize>, &mut VerifyReport),
) -> Result<()> {
    let keys = batch.columns().get(..tiles.events.keys.len()).unwrap_or_default();
    let store = &**source.store.store();
    let online = tiles.read_tiles(store, keys, (source.now, false)).await?.rows;
    let fields = tiles.fields();
    let column = |name: &str| -> Result<ArrayRef> {
        let found = batch.column_by_name(name).cloned();
        found.ok_or_else(|| Error::internal(format!("answers have lost `{name}`")))
    };
    let offline = fields.iter().map(|f| column(f.name())).collect::<Result<Vec<_>>>()?;
    let online_columns: Vec<ArrayRef> = offline
        .iter()
        .zip(&online.columns)
        .map(|(offline, online)| Ok(arrow::compute::cast(online, offline.data_type())?))
        .collect::<Result<_>>()?;
    let sort = offline.iter().map(|column| SortField::new(column.data_type().clone()));
    let converter = RowConverter::new(sort.collect())?;
    let (left, right) =
        (converter.convert_columns(&offline)?, converter.convert_columns(&online_columns)?);
    let entities = EntityKey::of(tiles.name(), keys)?;
    for (row, entity) in entities.into_iter().enumerate() {
        let Some(entity) = entity else { continue };
        let key = entity.key(Kind::Tiles, tiles.name());
        seen.insert(KeyDigest::of(&key));
        report.offline_rows += 1;
        let is_found = online.rows.get(row) == Some(&RowStatus::Found);
        let kind = match is_found {
            false => Some(DifferenceKind::Missing),
            true if left.row(row) != right.row(row) => Some(DifferenceKind::Values),
            true => None,
        };
        report.online_rows += u64::from(is_found);
        if let Some(kind) = kind {
            differs(report, wrong, (&key, kind));
        }
    }
    Ok(())
}

/// Counts pushed events, and finds tiles of entities that the table does not have.
async fn others(
    source: &Source<'_>,
    view: &str,
    (seen, wrong, report): (&DigestSet, &mut HashSet<usize>, &mut VerifyReport),
) -> Result<()> {
    let store = source.store.store();
    let (tiles, _) = open(source, view).await?;
    let (from, to) = tiles.recent(source.now);
    let (mut cursor, mut once) = (None, DigestSet::default());
    loop {
        let page = store.scan(&Kind::Tiles.prefix(view), cursor).await?;
        for (key, row) in page.rows {
            let found = Tiles::read(&row)?;
            // An entity whose events are all older than the time to live, or still to come, has no
            // features, whatever wider windows there are.
            let is_recent = |last: i64| last >= from && i128::from(last) < to;
            let has_any = found.tiles.values().any(|tile| is_recent(tile.last));
            if has_any && !seen.contains(&KeyDigest::of(&key)) && once.insert(KeyDigest::of(&key)) {
                report.online_rows += 1;
                differs(report, wrong, (&key, DifferenceKind::Extra));
            }
        }
        cursor = page.cursor;
        if cursor.is_none() {
            break;
        }
    }
    let mut cursor = None;
    loop {
        let page = store.scan(&Kind::Pushed.prefix(view), cursor).await?;
        for (_, row) in &page.rows {
            report.pushed_rows += Overlay::read(row)?.events.len() as u64;
        }
        cursor = page.cursor;
        if cursor.is_none() {
            return Ok(());
        }
    }
}

fn differs(
    report: &mut VerifyReport,
    wrong: &mut HashSet<usize>,
    (key, kind): (&bytes::Bytes, DifferenceKind),
) {
    report.differs(key, kind);
    wrong.insert(KeyDigest::of(key).part(RANGES));
}
