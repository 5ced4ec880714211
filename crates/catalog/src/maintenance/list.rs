//! The files that are there, whoever wrote them.

use futures::StreamExt;
use futures::stream::BoxStream;
use icecore_core::{Error, Result, Timestamp};
use object_store::ObjectStore;

use crate::error::Context;
use crate::storage::key_of;

/// A file that is there.
#[derive(Debug, Clone)]
pub(super) struct Listed {
    /// Below the directory that was listed, and spelled as that was.
    pub(super) location: String,
    pub(super) bytes: u64,
    pub(super) modified: Timestamp,
}

/// Everything below a directory, in no order. A directory that is not there holds nothing.
pub(super) fn list<'s>(
    store: &'s dyn ObjectStore,
    directory: &'s str,
) -> Result<BoxStream<'s, Result<Listed>>> {
    let prefix = key_of(directory)?;
    let root = directory.trim_end_matches('/');
    let found = store.list(Some(&prefix));
    Ok(found
        .map(move |meta| {
            let meta = meta.context(|| format!("cannot list the files below `{directory}`"))?;
            let parts = meta.location.prefix_match(&prefix).ok_or_else(|| {
                Error::internal(format!("`{}` was listed below `{directory}`", meta.location))
            })?;
            let parts: Vec<String> = parts.map(|part| part.as_ref().to_owned()).collect();
            Ok(Listed {
                location: format!("{root}/{}", parts.join("/")),
                bytes: meta.size,
                modified: Timestamp::from_micros(meta.last_modified.timestamp_micros()),
            })
        })
        .boxed())
}
