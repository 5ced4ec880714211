//! Rows of which each is the newest of its key.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, BuildHasherDefault, Hash, Hasher, RandomState};
use std::sync::LazyLock;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_128_with_seed;

use super::row::{OnlineChange, RowVersion};

/// What stands for a key where there are too many to keep them: 128 bits, so that no two that are
/// ever seen together have the same.
///
/// They are others in each process, so nobody who chooses keys can choose two with the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyDigest(u128);

impl KeyDigest {
    /// What stands for this key.
    #[must_use]
    pub fn of(key: &[u8]) -> Self {
        static SEED: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(0_u8));
        Self(xxh3_128_with_seed(key, *SEED))
    }

    /// The half of it that is enough to tell two values of one key apart.
    #[must_use]
    pub const fn half(self) -> u64 {
        self.0 as u64
    }

    /// One of so many parts that keys fall into evenly.
    #[must_use]
    pub const fn part(self, parts: usize) -> usize {
        ((self.0 >> 64) as u64 % parts as u64) as usize
    }
}

impl Hash for KeyDigest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.half());
    }
}

/// Takes a [`KeyDigest`] for the hash that it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct DigestHasher(u64);

impl Hasher for DigestHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, digest: u64) {
        self.0 = digest;
    }
}

/// Something for each key, which takes 16 bytes of its own.
pub type DigestMap<V> = HashMap<KeyDigest, V, BuildHasherDefault<DigestHasher>>;
/// A set of keys.
pub type DigestSet = HashSet<KeyDigest, BuildHasherDefault<DigestHasher>>;

/// Rows to write: no key twice, and each if nothing newer than itself is there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewestRows(Vec<OnlineChange>);

impl NewestRows {
    /// The newest row of each key; of several that are as new, the last.
    pub fn of(rows: impl IntoIterator<Item = (Bytes, RowVersion, Bytes)>) -> Self {
        let rows = rows.into_iter();
        let mut gathered = GatheredRows::with_capacity(rows.size_hint().0);
        for (key, until, row) in rows {
            gathered.add(key, until, row);
        }
        gathered.take()
    }

    /// The same in parts of at most so many rows.
    #[must_use]
    pub fn into_parts(self, rows_max: usize) -> Vec<Self> {
        let mut rest = self.0.into_iter();
        let part = || Some(rest.by_ref().take(rows_max.max(1)).collect::<Vec<_>>());
        std::iter::from_fn(part).take_while(|part| !part.is_empty()).map(Self).collect()
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Leaves out those for which this is not so.
    pub fn retain(&mut self, is_wanted: impl FnMut(&OnlineChange) -> bool) {
        self.0.retain(is_wanted);
    }

    /// The rows as changes that write them.
    #[must_use]
    pub fn changes(&self) -> &[OnlineChange] {
        &self.0
    }

    /// The rows as changes that write them.
    #[must_use]
    pub fn into_changes(self) -> Vec<OnlineChange> {
        self.0
    }
}

/// Rows that come one by one, of which the newest of each key is kept.
#[derive(Debug, Default)]
pub struct GatheredRows {
    newest: Vec<OnlineChange>,
    places: DigestMap<usize>,
    bytes: usize,
}

impl GatheredRows {
    /// With room for so many keys.
    #[must_use]
    pub fn with_capacity(keys: usize) -> Self {
        let places = DigestMap::with_capacity_and_hasher(keys, <_>::default());
        Self { newest: Vec::with_capacity(keys), places, bytes: 0 }
    }

    /// Adds a row; of several of a key that are as new, the last is kept.
    pub fn add(&mut self, key: Bytes, until: RowVersion, row: Bytes) {
        let place = match self.places.entry(KeyDigest::of(&key)) {
            Entry::Vacant(entry) => {
                entry.insert(self.newest.len());
                self.bytes = self.bytes.saturating_add(key.len() + row.len());
                self.newest.push(OnlineChange { key, row: Some(row), until });
                return;
            }
            Entry::Occupied(entry) => *entry.get(),
        };
        if let Some(known) = self.newest.get_mut(place).filter(|known| known.until <= until) {
            let before = known.row.as_ref().map_or(0, Bytes::len);
            self.bytes = self.bytes.saturating_add(row.len()).saturating_sub(before);
            *known = OnlineChange { key, row: Some(row), until };
        }
    }

    /// How many keys there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.newest.len()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.newest.is_empty()
    }

    /// What the keys and rows take, without what they are kept in.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The rows; nothing is left.
    pub fn take(&mut self) -> NewestRows {
        self.places.clear();
        self.bytes = 0;
        NewestRows(std::mem::take(&mut self.newest))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Timestamp;

    proptest! {
        #[test]
        fn of_each_key_the_newest_row_stays_and_of_equals_the_last(
            rows in proptest::collection::vec((0_u8..6, -2_i64..3, -2_i64..3), 0..40),
        ) {
            let row = |place: usize| Bytes::from(place.to_string());
            let version = |(_, event, created): &(u8, i64, i64)| RowVersion {
                event: Timestamp::from_micros(*event),
                created: Timestamp::from_micros(*created),
            };
            let key = |(key, _, _): &(u8, i64, i64)| Bytes::from(format!("k{key}"));
            let given = rows.iter().enumerate().map(|(at, r)| (key(r), version(r), row(at)));
            let newest = NewestRows::of(given);
            let mut expected = std::collections::BTreeMap::new();
            for (at, one) in rows.iter().enumerate() {
                let known = expected.entry(key(one)).or_insert((version(one), at));
                if version(one) >= known.0 {
                    *known = (version(one), at);
                }
            }
            prop_assert_eq!(newest.len(), expected.len());
            for change in newest.changes() {
                let (until, at) = expected[&change.key];
                prop_assert_eq!(change.until, until);
                prop_assert_eq!(change.row.clone(), Some(row(at)));
            }
        }
    }

    #[test]
    fn keys_fall_into_parts_evenly() {
        let mut parts = [0_u32; 16];
        for key in 0..16_000_u32 {
            parts[KeyDigest::of(&key.to_le_bytes()).part(16)] += 1;
        }
        assert!(parts.iter().all(|count| (800..1_200).contains(count)), "{parts:?}");
    }

    #[test]
    fn what_is_gathered_is_told_by_its_size_and_taken_whole_or_in_parts() {
        let version = |at: i64| RowVersion {
            event: Timestamp::from_micros(at),
            created: Timestamp::from_micros(at),
        };
        let mut gathered = GatheredRows::default();
        for key in 0..5_u8 {
            for at in [2, 3, 1] {
                let row = Bytes::from(vec![0; usize::try_from(at).unwrap()]);
                gathered.add(Bytes::from(vec![key]), version(at), row);
            }
        }
        assert_eq!((gathered.len(), gathered.bytes()), (5, 5 * (1 + 3)));
        let parts = gathered.take().into_parts(2);
        assert_eq!(parts.iter().map(NewestRows::len).collect::<Vec<_>>(), [2, 2, 1]);
        assert!(parts.iter().flat_map(|part| part.changes()).all(|row| row.until == version(3)));
        assert!(gathered.is_empty() && gathered.bytes() == 0);
        assert!(gathered.take().into_parts(2).is_empty());
    }
}
