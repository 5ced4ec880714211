//! The two tables of the file, and what is done with them.
//!
//! Every value carries the moment at which it expires; an index orders keys by that moment, so
//! that a sweep touches only what has expired. Both change in the same transaction.

use bytes::Bytes;
use icecore_core::Timestamp;
use redb::{Database, ReadableDatabase, Table, TableDefinition, WriteTransaction};

/// Key to (microsecond of expiry, value).
const VALUES: TableDefinition<'_, &str, (i64, &[u8])> = TableDefinition::new("values_v1");
/// (Microsecond of expiry, key); keys that never expire are not in it.
const EXPIRIES: TableDefinition<'_, (i64, &str), ()> = TableDefinition::new("expiries_v1");
const NEVER: i64 = i64::MAX;
/// Expired keys that one batch removes at least, beyond twice its own length: the file shrinks
/// faster than it grows, and no batch pays for a day's leftovers.
const SWEEP_ROWS_MIN: usize = 1000;

pub(super) type Result<T, E = redb::Error> = std::result::Result<T, E>;
type Values<'txn> = Table<'txn, &'static str, (i64, &'static [u8])>;
type Expiries<'txn> = Table<'txn, (i64, &'static str), ()>;

pub(super) struct Row {
    pub(super) key: String,
    pub(super) value: Bytes,
    pub(super) expires_at: i64,
}

pub(super) fn expiry(now: Timestamp, ttl_ms: Option<u64>) -> i64 {
    let micros = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1000);
    // A value that expires is told from one that never does.
    ttl_ms.map_or(NEVER, |ms| now.micros().saturating_add(micros(ms)).min(NEVER - 1))
}

pub(super) fn create(database: &Database) -> Result<()> {
    if check(database).is_ok() {
        return Ok(());
    }
    let transaction = database.begin_write()?;
    open(&transaction)?;
    transaction.open_table(super::rows::ROWS)?;
    Ok(transaction.commit()?)
}

pub(super) fn check(database: &Database) -> Result<()> {
    let transaction = database.begin_read()?;
    transaction.open_table(VALUES)?;
    transaction.open_table(EXPIRIES)?;
    transaction.open_table(super::rows::ROWS)?;
    Ok(())
}

pub(super) fn put(database: &Database, rows: &[Row], now: Timestamp) -> Result<u64> {
    if rows.is_empty() {
        return Ok(0);
    }
    let transaction = database.begin_write()?;
    {
        let (mut values, mut expiries) = open(&transaction)?;
        for row in rows {
            let key = row.key.as_str();
            let before = values.insert(key, (row.expires_at, row.value.as_ref()))?;
            let before = before.map_or(NEVER, |old| old.value().0);
            if before != row.expires_at && before != NEVER {
                expiries.remove((before, key))?;
            }
            if row.expires_at != NEVER {
                expiries.insert((row.expires_at, key), ())?;
            }
        }
        sweep(&mut values, &mut expiries, now, rows.len())?;
    }
    transaction.commit()?;
    Ok(rows.len() as u64)
}

pub(super) fn get(
    database: &Database,
    keys: &[String],
    now: Timestamp,
) -> Result<Vec<Option<Bytes>>> {
    let values = database.begin_read()?.open_table(VALUES)?;
    let mut found = Vec::with_capacity(keys.len());
    for key in keys {
        let stored = values.get(key.as_str())?;
        found.push(stored.and_then(|stored| {
            let (expires_at, value) = stored.value();
            (now.micros() < expires_at).then(|| Bytes::copy_from_slice(value))
        }));
    }
    Ok(found)
}

pub(super) fn delete(database: &Database, keys: &[String], now: Timestamp) -> Result<u64> {
    if keys.is_empty() {
        return Ok(0);
    }
    let transaction = database.begin_write()?;
    let mut deleted = 0;
    {
        let (mut values, mut expiries) = open(&transaction)?;
        for key in keys {
            let key = key.as_str();
            let Some(expires_at) = values.remove(key)?.map(|old| old.value().0) else { continue };
            if expires_at != NEVER {
                expiries.remove((expires_at, key))?;
            }
            deleted += u64::from(now.micros() < expires_at);
        }
    }
    transaction.commit()?;
    Ok(deleted)
}

/// How many values and how many entries of the index the file holds, expired ones included.
#[cfg(test)]
pub(super) fn stored_rows(database: &Database) -> Result<(u64, u64)> {
    use redb::ReadableTableMetadata;
    let transaction = database.begin_read()?;
    Ok((transaction.open_table(VALUES)?.len()?, transaction.open_table(EXPIRIES)?.len()?))
}

fn open(transaction: &WriteTransaction) -> Result<(Values<'_>, Expiries<'_>)> {
    Ok((transaction.open_table(VALUES)?, transaction.open_table(EXPIRIES)?))
}

fn sweep(
    values: &mut Values<'_>,
    expiries: &mut Expiries<'_>,
    now: Timestamp,
    batch_rows: usize,
) -> Result<()> {
    let rows_max = SWEEP_ROWS_MIN.saturating_add(batch_rows.saturating_mul(2));
    let expired = ..(now.micros().saturating_add(1), "");
    for entry in expiries.extract_from_if(expired, |_, ()| true)?.take(rows_max) {
        let (entry, _) = entry?;
        values.remove(entry.value().1)?;
    }
    Ok(())
}
