//! The table of rows that know how new they are.

use std::ops::Bound;

use bytes::Bytes;
use icecore_core::{ApplySummary, OnlineChange, RowVersion, ScanPage};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use super::table::Result;

/// Key to row.
pub(super) const ROWS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("rows_v1");
/// Rows of one page of a scan.
const PAGE_ROWS: usize = 4096;

/// One transaction: readers see all of a batch or nothing.
pub(super) fn apply(database: &Database, changes: &[OnlineChange]) -> Result<ApplySummary> {
    let mut summary = ApplySummary::default();
    if changes.is_empty() {
        return Ok(summary);
    }
    let transaction = database.begin_write()?;
    {
        let mut rows = transaction.open_table(ROWS)?;
        for change in changes {
            let key: &[u8] = &change.key;
            let there = rows.get(key)?.and_then(|row| RowVersion::of_row(row.value()));
            if there.is_some_and(|version| version > change.until) {
                summary.stale += 1;
                continue;
            }
            match &change.row {
                Some(row) => drop(rows.insert(key, row.as_ref())?),
                None => drop(rows.remove(key)?),
            }
            summary.applied += 1;
        }
    }
    transaction.commit()?;
    Ok(summary)
}

pub(super) fn get(database: &Database, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>> {
    let rows = database.begin_read()?.open_table(ROWS)?;
    let row =
        |key: &Bytes| Ok(rows.get(key.as_ref())?.map(|row| Bytes::copy_from_slice(row.value())));
    keys.iter().map(row).collect()
}

/// The cursor is the last key of the page before.
pub(super) fn scan(database: &Database, prefix: &[u8], cursor: Option<&Bytes>) -> Result<ScanPage> {
    let rows = database.begin_read()?.open_table(ROWS)?;
    let start = match cursor {
        Some(last) => Bound::Excluded(last.as_ref()),
        None => Bound::Included(prefix),
    };
    let mut page = ScanPage::default();
    for entry in rows.range::<&[u8]>((start, Bound::Unbounded))? {
        let (key, row) = entry?;
        if !key.value().starts_with(prefix) {
            return Ok(page);
        }
        page.rows.push((Bytes::copy_from_slice(key.value()), Bytes::copy_from_slice(row.value())));
        if page.rows.len() == PAGE_ROWS {
            page.cursor = page.rows.last().map(|(key, _)| key.clone());
            return Ok(page);
        }
    }
    Ok(page)
}
