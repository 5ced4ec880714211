//! Rows on their way to the store.

use bytes::Bytes;
use futures::{Stream, TryStreamExt};
use icecore_core::{ApplySummary, NewestRows, OnlineChange, Result};

use crate::marker::Claim;
use crate::vector;
use crate::view::Source;

/// Batches that are on their way at once.
const IN_FLIGHT: usize = 4;

/// Rows that are sent together.
#[derive(Debug)]
pub(crate) enum Batch {
    /// To a store that may have any of them.
    Changes(Vec<OnlineChange>),
    /// To a store that has few or none of them.
    New(NewestRows),
}

impl Batch {
    fn changes(&self) -> &[OnlineChange] {
        match self {
            Self::Changes(changes) => changes,
            Self::New(rows) => rows.changes(),
        }
    }
}

impl From<Vec<OnlineChange>> for Batch {
    fn from(changes: Vec<OnlineChange>) -> Self {
        Self::Changes(changes)
    }
}

/// Sends rows, and makes the vectors that they are part of. A dry run holds nothing, and sends
/// nothing.
pub(crate) async fn send(
    source: &Source<'_>,
    view: &str,
    batch: impl Into<Batch>,
    claim: Option<&Claim<'_>>,
) -> Result<ApplySummary> {
    let batch = batch.into();
    let Some(claim) = claim else {
        return Ok(ApplySummary { applied: batch.changes().len() as u64, stale: 0 });
    };
    claim.hold().await?;
    let store = &**source.store.store();
    let keys: Vec<Bytes> = match vector::has_any(source.definitions) {
        true => vector::keys(batch.changes()),
        false => Vec::new(),
    };
    let applied = match batch {
        Batch::Changes(changes) => store.apply(changes).await?,
        Batch::New(rows) => store.fill(rows).await?,
    };
    vector::make(source.definitions, store, (view, &keys), source.now).await?;
    Ok(applied)
}

/// Sends batches as they come, several at once.
pub(crate) async fn send_all(
    source: &Source<'_>,
    view: &str,
    batches: impl Stream<Item = Result<Batch>>,
    claim: Option<&Claim<'_>>,
) -> Result<ApplySummary> {
    let sent =
        batches.map_ok(|batch| send(source, view, batch, claim)).try_buffer_unordered(IN_FLIGHT);
    let add = async |mut all: ApplySummary, one| {
        all += one;
        Ok(all)
    };
    sent.try_fold(ApplySummary::default(), add).await
}
