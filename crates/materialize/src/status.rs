//! Where a view stands.

use icecore_core::{OnlineStore, PinnedTable, Result, Timestamp};
use serde::Serialize;

use crate::marker::Marker;
use crate::tiles;
use crate::view::{Source, plan};

/// Where a view stands in a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ViewStatus {
    /// The view.
    pub view: String,
    /// The state of its table that the store has; absent before the first materialization.
    pub source: Option<PinnedTable>,
    /// When the store was brought there.
    pub materialized_at: Option<Timestamp>,
    /// The newest state of its table; absent where there is no table yet.
    pub table: Option<PinnedTable>,
    /// `current`, `behind`, `interrupted` (a job did not come to its end) or `never`.
    pub state: &'static str,
}

/// What a store was filled with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filling {
    /// The state of the table.
    pub source: PinnedTable,
    /// When.
    pub at: Timestamp,
}

/// With which rows of each view a store was filled, if it was and has not been emptied since.
///
/// # Errors
///
/// `Unavailable` if the store does not answer.
pub async fn fillings(store: &dyn OnlineStore, views: &[&str]) -> Result<Vec<Option<Filling>>> {
    let filling = |marker: Option<Marker>| {
        let marker = marker?;
        Some(Filling { source: marker.source?, at: marker.at })
    };
    Ok(Marker::read_all(store, views).await?.into_iter().map(filling).collect())
}

/// Says where a view stands.
///
/// # Errors
///
/// `NotFound` for an unknown view, `Unavailable` if the store does not answer.
pub async fn view_status(source: &Source<'_>, view: &str) -> Result<ViewStatus> {
    let is_rows = source.definitions.view(view)?.online.is_rows();
    let pinned = async {
        match is_rows {
            true => Ok(plan(source, view).await?.pin),
            false => tiles::tile_source(source, view).await,
        }
    };
    let table = match pinned.await {
        Ok(pin) => Some(pin),
        Err(error) if error.kind() == icecore_core::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let marker = Marker::read(&**source.store.store(), view).await?;
    let state = match &marker {
        None => "never",
        Some(marker) if marker.towards.is_some() => "interrupted",
        Some(marker) if marker.source == table => "current",
        Some(_) => "behind",
    };
    Ok(ViewStatus {
        view: view.to_owned(),
        materialized_at: marker.as_ref().map(|marker| marker.at),
        source: marker.and_then(|marker| marker.source),
        table,
        state,
    })
}
