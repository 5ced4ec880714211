//! What a store was last filled with. It is kept in the store itself, so that a store that was
//! emptied, or another one, is known for what it is.

use std::collections::BTreeMap;

use bytes::Bytes;
use icecore_core::{Error, OnlineEntry, OnlineStore, PinnedTable, Result, Timestamp};
use serde::{Deserialize, Serialize};

/// How far a view is in a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Marker {
    /// The state of the table that the store has; absent before the first time.
    pub(crate) source: Option<PinnedTable>,
    /// The state that a job was on its way to. Until it arrives, rows of both may be there.
    pub(crate) towards: Option<PinnedTable>,
    /// The schema of the rows.
    pub(crate) schema: u32,
    /// What else decides about rows: where their keys and times come from.
    pub(crate) shape: String,
    /// When it was written.
    pub(crate) at: Timestamp,
    /// Of tiles: how many runs there were.
    #[serde(default)]
    pub(crate) generation: u64,
    /// Of tiles: how far in each queue of pushed events they are.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) covered: BTreeMap<String, u64>,
}

impl Marker {
    pub(crate) async fn read(store: &dyn OnlineStore, view: &str) -> Result<Option<Self>> {
        Ok(Self::read_all(store, &[view]).await?.into_iter().next().flatten())
    }

    /// Those of several views, in one round trip.
    pub(crate) async fn read_all(
        store: &dyn OnlineStore,
        views: &[&str],
    ) -> Result<Vec<Option<Self>>> {
        let keys: Vec<String> = views.iter().map(|view| key(view)).collect();
        let stored = store.get(&keys).await?;
        // What cannot be read is as good as nothing: the whole table is read then.
        let parse = |bytes: Option<Bytes>| serde_json::from_slice(&bytes?).ok();
        Ok(stored.into_iter().map(parse).collect())
    }

    pub(crate) async fn write(&self, store: &dyn OnlineStore, view: &str) -> Result<()> {
        let value = serde_json::to_vec(self)
            .map_err(|error| Error::internal("cannot write the marker").with_source(error))?;
        let entry = OnlineEntry { key: key(view), value: Bytes::from(value), ttl: None };
        store.put(vec![entry]).await?;
        Ok(())
    }
}

fn key(view: &str) -> String {
    format!("icecore:view:{view}")
}
