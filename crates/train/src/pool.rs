//! Which threads a fit runs on.

use icecore_core::{Error, Result};

/// Runs on a pool of this many threads, or on the caller's if it is zero.
pub(crate) fn with_threads<T: Send>(
    threads: usize,
    run: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    if threads == 0 {
        return run();
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().map_err(|error| {
        Error::unavailable(format!("cannot start {threads} threads")).with_source(error)
    })?;
    pool.install(run)
}
