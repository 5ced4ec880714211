//! Where the rows of tiles are.

use arrow::array::ArrayRef;
use bytes::{BufMut, Bytes, BytesMut};
use icecore_core::Result;
use icecore_online::{row_keys, row_prefix};

/// What a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The tiles of an entity.
    Tiles,
    /// The events of a tile.
    Events,
    /// Pushed events of an entity.
    Pushed,
}

impl Kind {
    /// Names of views have no `~`, so no view has these.
    fn view(self, view: &str) -> String {
        let letter = match self {
            Self::Tiles => 't',
            Self::Events => 'c',
            Self::Pushed => 'p',
        };
        format!("{view}~{letter}")
    }

    /// What all rows of the kind begin with.
    pub(super) fn prefix(self, view: &str) -> Bytes {
        row_prefix(&self.view(view))
    }
}

/// An entity: what its keys end with, its hash tag included.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct EntityKey(Bytes);

impl EntityKey {
    /// The entities of rows; `None` where a join key is null.
    pub(super) fn of(view: &str, keys: &[ArrayRef]) -> Result<Vec<Option<Self>>> {
        let (name, prefix) = (Kind::Tiles.view(view), Kind::Tiles.prefix(view));
        let keys = row_keys(&name, keys)?;
        Ok(keys.into_iter().map(|key| key.map(|key| Self(key.slice(prefix.len()..)))).collect())
    }

    /// The entity that a row of a kind belongs to.
    pub(super) fn of_key(kind: Kind, view: &str, key: &Bytes) -> Option<Self> {
        let prefix = kind.prefix(view);
        key.starts_with(&prefix).then(|| Self(key.slice(prefix.len()..)))
    }

    /// The key of its tiles, or of its pushed events.
    pub(super) fn key(&self, kind: Kind, view: &str) -> Bytes {
        let prefix = kind.prefix(view);
        let mut key = BytesMut::with_capacity(prefix.len() + self.0.len());
        key.put_slice(&prefix);
        key.put_slice(&self.0);
        key.freeze()
    }

    /// The key of the events of a tile.
    pub(super) fn events(&self, view: &str, tile: i64) -> Bytes {
        let prefix = Kind::Events.prefix(view);
        let mut key = BytesMut::with_capacity(prefix.len() + self.0.len() + 17);
        key.put_slice(&prefix);
        key.put_slice(&self.0);
        // Every such key ends with as many bytes, so no entity is another one's beginning.
        key.put_u8(0x1f);
        key.put_slice(format!("{tile:016x}").as_bytes());
        key.freeze()
    }
}
