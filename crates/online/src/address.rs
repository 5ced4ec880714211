//! From the address in a project file to a store.

use std::path::Path;
use std::sync::Arc;

use icecore_core::{Clock, Error, OnlineStore, Result};

use crate::{EmbeddedAccess, EmbeddedOptions, EmbeddedStore, RedisOptions, RedisStore};

/// Opens the store at an address: `embedded:PATH`, `redis://…`, `redis+cluster://…` or
/// `redis+sentinel://…`, with `rediss` for TLS (see [`RedisStore::connect`]).
///
/// A relative path starts at `base_dir`. `embedded:PATH?access=shared` lets several processes have
/// the store open at once (see [`EmbeddedAccess`]). A Redis server is not contacted until the
/// first request, so that a service starts while its cache is down;
/// [`ping`](OnlineStore::ping) asks it.
///
/// # Errors
///
/// `InvalidInput` for an address that is none of these, and `Unavailable` if another process holds
/// the embedded store.
pub async fn open(
    address: &str,
    base_dir: &Path,
    clock: Arc<dyn Clock>,
) -> Result<Arc<dyn OnlineStore>> {
    let scheme = address.split_once(':').map_or("", |(scheme, _)| scheme);
    match scheme {
        "embedded" => {
            let (path, options) = embedded_address(address)?;
            let store = EmbeddedStore::open_with(&base_dir.join(path), clock, options).await?;
            Ok(Arc::new(store))
        }
        "redis" | "rediss" | "redis+cluster" | "rediss+cluster" | "redis+sentinel"
        | "rediss+sentinel" => {
            Ok(Arc::new(RedisStore::connect(address, RedisOptions::default()).await?))
        }
        // The rest of the address may hold a password.
        scheme => Err(Error::invalid(format!(
            "`{}` is no kind of online store",
            scheme.chars().take(20).collect::<String>().escape_debug()
        ))
        .with_candidates(scheme, ["embedded", "redis"])
        .with_note("an online store is `embedded:PATH` or `redis://HOST:PORT/DB`")),
    }
}

fn embedded_address(address: &str) -> Result<(&str, EmbeddedOptions)> {
    let rest = address.strip_prefix("embedded:").unwrap_or_default();
    let (path, access) = match rest.split_once('?') {
        None => (rest, EmbeddedAccess::Exclusive),
        Some((path, "access=exclusive")) => (path, EmbeddedAccess::Exclusive),
        Some((path, "access=shared")) => (path, EmbeddedAccess::Shared),
        Some((_, option)) => {
            return Err(Error::invalid(format!(
                "the embedded store has no option `{}`",
                option.escape_debug()
            ))
            .with_note("options: `access=exclusive` (the default), `access=shared`"));
        }
    };
    if path.is_empty() {
        return Err(Error::invalid("the embedded store has no path")
            .with_help("write `embedded:.icecore/online`"));
    }
    Ok((path, EmbeddedOptions { access, ..EmbeddedOptions::default() }))
}

#[cfg(test)]
mod tests;
