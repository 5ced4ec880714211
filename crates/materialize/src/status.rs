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
    /// `current`, `behind`, `running` (a job said so two minutes ago at most), `interrupted` (a job
    /// did not come to its end) or `never`.
    pub state: &'static str,
}

/// Which filling of a view a store has. As long as it is the same the store was not emptied,
/// whatever jobs have changed since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filling(u64);

/// Which filling of each view a store has; `None` where it was not filled, was emptied since, or is
/// being filled anew.
///
/// # Errors
///
/// `Unavailable` if the store does not answer.
pub async fn fillings(store: &dyn OnlineStore, views: &[&str]) -> Result<Vec<Option<Filling>>> {
    let filling = |marker: Option<Marker>| {
        let marker = marker.filter(|marker| marker.source.is_some())?;
        // Earlier releases gave none; then it is another one after each job.
        Some(Filling(marker.birth.unwrap_or(marker.at.micros().cast_unsigned())))
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
        Some(marker) if marker.is_running(source.now) => "running",
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
