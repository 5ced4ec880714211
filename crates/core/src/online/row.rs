//! Rows of a serving cache, which know how new they are.

use bytes::Bytes;

use crate::Timestamp;

/// How new a row is: when it happened, and of those that happened at once, when it became known.
///
/// The order of versions is the order of a point-in-time join, so the row that the cache keeps is
/// the one that a training set would see now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowVersion {
    /// When it happened.
    pub event: Timestamp,
    /// When it became known; the event's own time where nobody says.
    pub created: Timestamp,
}

impl RowVersion {
    /// How many bytes a version takes.
    pub const LEN: usize = 16;

    /// The version as bytes whose order is the order of versions.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let (event, created) = bytes.split_at_mut(8);
        event.copy_from_slice(&ordered(self.event));
        created.copy_from_slice(&ordered(self.created));
        bytes
    }

    /// The version that a row begins with; `None` for what is too short to be a row.
    #[must_use]
    pub fn of_row(row: &[u8]) -> Option<Self> {
        let (event, rest) = row.split_first_chunk::<8>()?;
        let (created, _) = rest.split_first_chunk::<8>()?;
        Some(Self { event: unordered(*event), created: unordered(*created) })
    }
}

fn ordered(time: Timestamp) -> [u8; 8] {
    (time.micros().cast_unsigned() ^ (1 << 63)).to_be_bytes()
}

fn unordered(bytes: [u8; 8]) -> Timestamp {
    Timestamp::from_micros((u64::from_be_bytes(bytes) ^ (1 << 63)).cast_signed())
}

/// What shall become of one row.
///
/// It happens if there is no row under the key, or one whose version is at most `until`. Without a
/// correction, `until` is the version of the row itself: what is newer stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnlineChange {
    /// The key.
    pub key: Bytes,
    /// The row, which begins with its version; `None` removes the one that is there.
    pub row: Option<Bytes>,
    /// The newest version that it may take the place of.
    pub until: RowVersion,
}

/// What became of a batch of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ApplySummary {
    /// Changes that happened.
    pub applied: u64,
    /// Changes that a newer row was in the way of.
    pub stale: u64,
}

impl std::ops::AddAssign for ApplySummary {
    fn add_assign(&mut self, other: Self) {
        self.applied += other.applied;
        self.stale += other.stale;
    }
}

/// Some rows of a store.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScanPage {
    /// Keys and rows.
    pub rows: Vec<(Bytes, Bytes)>,
    /// Where the next page begins; `None` after the last one.
    pub cursor: Option<Bytes>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_versions_are_in_the_order_of_versions() {
        let times = [i64::MIN, -1, 0, 1, 1_700_000_000_000_000, i64::MAX];
        let mut versions = Vec::new();
        for event in times {
            for created in times {
                versions.push(RowVersion {
                    event: Timestamp::from_micros(event),
                    created: Timestamp::from_micros(created),
                });
            }
        }
        for pair in versions.windows(2) {
            assert!(pair[0] < pair[1] && pair[0].to_bytes() < pair[1].to_bytes(), "{pair:?}");
        }
        for version in versions {
            assert_eq!(RowVersion::of_row(&version.to_bytes()), Some(version));
        }
        assert_eq!(RowVersion::of_row(b"short"), None);
    }
}
