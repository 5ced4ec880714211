//! Credentials that a server lends for a table's files.

use std::collections::BTreeMap;
use std::fmt;

use iceberg::spec::TableMetadata;
use icecore_core::Timestamp;
use object_store::path::Path;
use serde::Deserialize;

use crate::storage::key_of;

/// Properties that say when credentials end, in milliseconds since 1970.
const ENDS: [&str; 2] = ["s3.session-token-expires-at-ms", "expiration-time"];
/// How long those are used that do not say it.
const USED_MS: i64 = 5 * 60 * 1000;
/// How long before their end others are asked for, so that whoever begins to read comes to an end.
const LEFT_MS: i64 = 5 * 60 * 1000;
/// Properties that say where a table has files beside its location.
const PATHS: [&str; 3] = ["write.data.path", "write.metadata.path", "write.folder-storage.path"];

/// Credentials for what lies below a place.
#[derive(Clone, Deserialize)]
pub(crate) struct Lent {
    pub(crate) prefix: String,
    pub(crate) config: BTreeMap<String, String>,
}

impl fmt::Debug for Lent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lent").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl Lent {
    /// Those for everything that a table has.
    pub(super) fn everywhere(config: BTreeMap<String, String>) -> Self {
        Self { prefix: String::new(), config }
    }

    /// When others have to be asked for, of those that came just now.
    pub(super) fn renewed_at(&self, now: Timestamp) -> Timestamp {
        let ends = ENDS.iter().filter_map(|name| self.config.get(*name)?.parse::<i64>().ok());
        let wait = match ends.min() {
            Some(end) => {
                let left = end.saturating_sub(now.millis());
                left - LEFT_MS.min(left / 2)
            }
            None => USED_MS,
        };
        Timestamp::from_millis(now.millis().saturating_add(wait))
    }
}

/// The credentials for a table's files, each with a place that it is for.
///
/// A prefix need not be a place: `s3` stands for whatever of the table is there. So it is taken for
/// the table's own places, as far as no other prefix holds them: another table may have got other
/// credentials for `s3`.
pub(super) fn placed(lent: Vec<Lent>, metadata: &TableMetadata, location: &str) -> Vec<Lent> {
    let (mut placed, mut wide): (Vec<Lent>, Vec<Lent>) =
        lent.into_iter().partition(|lent| key_of(&lent.prefix).is_ok());
    let mut keys: Vec<Path> = placed.iter().filter_map(|lent| key_of(&lent.prefix).ok()).collect();
    wide.sort_by_key(|lent| lent.prefix.len());
    for place in places(metadata, location) {
        let Ok(key) = key_of(place) else { continue };
        let narrowest = wide.iter().rfind(|lent| place.starts_with(&lent.prefix));
        if let Some(lent) = narrowest
            && !keys.iter().any(|known| key.prefix_matches(known))
        {
            placed.push(Lent { prefix: place.to_owned(), config: lent.config.clone() });
            keys.push(key);
        }
    }
    placed
}

/// The places that a table has files in.
fn places<'m>(metadata: &'m TableMetadata, location: &'m str) -> impl Iterator<Item = &'m str> {
    let paths = PATHS.into_iter().filter_map(move |name| metadata.properties().get(name));
    let directory = location.rsplit_once('/').map(|(directory, _)| directory);
    std::iter::once(metadata.location()).chain(paths.map(String::as_str)).chain(directory)
}

#[cfg(test)]
mod tests;
