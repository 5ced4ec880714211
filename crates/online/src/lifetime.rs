//! How long a value may live.

use std::time::Duration;

use icecore_core::{Error, OnlineEntry, Result};

/// A hundred years: longer means the same, and keeps every sum of times far from overflow.
const TTL_MS_MAX: u64 = 100 * 366 * 86_400_000;

/// The time to live of an entry in whole milliseconds, rounded down.
///
/// # Errors
///
/// `InvalidInput` below one millisecond: such a value would never be read.
pub(crate) fn ttl_ms(entry: &OnlineEntry) -> Result<Option<u64>> {
    match entry.ttl {
        None => Ok(None),
        Some(ttl) if ttl < Duration::from_millis(1) => Err(Error::invalid(format!(
            "the time to live of `{}` is below one millisecond",
            entry.key.escape_debug()
        ))
        .with_help("leave the time to live out for a value that stays, or delete the key")),
        Some(ttl) => Ok(Some(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).min(TTL_MS_MAX))),
    }
}
