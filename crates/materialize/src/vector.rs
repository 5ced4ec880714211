//! Vectors of feature services: made where rows of their views are written.

use bytes::Bytes;
use icecore_core::{OnlineChange, OnlineEntry, OnlineStore, Result, Timestamp};
use icecore_features::{Definitions, resolve_features};
use icecore_online::{Vectors, row_prefix};
use serde::Serialize;

use crate::view::Source;

/// What became of the vectors of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VectorReport {
    /// The feature service.
    pub service: String,
    /// Vectors that were made from rows that were there before; those of rows that are written are
    /// made with them.
    pub made: u64,
}

/// The vectors of a feature service, if it is kept as such.
///
/// # Errors
///
/// `NotFound` for an unknown service.
pub fn vectors_of(definitions: &Definitions, service: &str) -> Result<Option<Vectors>> {
    let service = definitions.service(service)?;
    if service.online.is_views() {
        return Ok(None);
    }
    let views = resolve_features(definitions, &service.features)?;
    let views = views.into_iter().map(|(view, _)| view).collect();
    Ok(Some(Vectors::new(&service.name, views)))
}

/// Makes the vectors that have rows of a view in them, after these were written.
pub(crate) async fn make(
    definitions: &Definitions,
    store: &dyn OnlineStore,
    (view, changes): (&str, &[Bytes]),
    now: Timestamp,
) -> Result<()> {
    for service in &definitions.services {
        let Some(vectors) = vectors_of(definitions, &service.name)? else { continue };
        if vectors.views().iter().any(|known| known == view) {
            vectors.make(store, (view, changes), now).await?;
        }
    }
    Ok(())
}

/// Whether any service is kept as vectors.
pub(crate) fn has_any(definitions: &Definitions) -> bool {
    definitions.services.iter().any(|service| !service.online.is_views())
}

/// The keys of changes.
pub(crate) fn keys(changes: &[OnlineChange]) -> Vec<Bytes> {
    changes.iter().map(|change| change.key.clone()).collect()
}

/// Makes the vectors of a service from the rows that are there: once, and again with `full`.
///
/// # Errors
///
/// `NotFound` for an unknown service, `Unavailable` if the store does not answer.
pub async fn materialize_service(
    source: &Source<'_>,
    service: &str,
    full: bool,
) -> Result<Option<VectorReport>> {
    let Some(vectors) = vectors_of(source.definitions, service)? else { return Ok(None) };
    let store = source.store.store();
    let (marker, id) = (format!("icecore:service:{service}"), vectors.id().to_string());
    let known = store.get(std::slice::from_ref(&marker)).await?.into_iter().next().flatten();
    let mut report = VectorReport { service: service.to_owned(), made: 0 };
    if !full && known.as_deref() == Some(id.as_bytes()) {
        return Ok(Some(report));
    }
    for view in vectors.views() {
        let mut cursor = None;
        loop {
            let page = store.scan(&row_prefix(view), cursor).await?;
            let keys: Vec<Bytes> = page.rows.into_iter().map(|(key, _)| key).collect();
            report.made += vectors.make(&**store, (view, &keys), source.now).await?;
            cursor = page.cursor;
            if cursor.is_none() {
                break;
            }
        }
    }
    let entry = OnlineEntry { key: marker, value: Bytes::from(id), ttl: None };
    store.put(vec![entry]).await?;
    Ok(Some(report))
}

#[cfg(test)]
mod tests;
