//! Work that keeps a thread busy: encoding, compressing, calls of the file system.
//!
//! On a runtime with several threads it goes to a pool, where it holds up no async task. On a runtime
//! with one thread it runs at once: the caller waits for it anyway, and the order in which things
//! happen is then a function of the program alone, which is what a simulation rests on.

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::JoinError;

/// Runs blocking work.
///
/// # Errors
///
/// If the work panicked on another thread, or the runtime ended before it began.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    if is_single() { Ok(work()) } else { tokio::task::spawn_blocking(work).await }
}

/// How many pieces of work can run at the same time.
pub(crate) fn cores() -> usize {
    if is_single() { 1 } else { std::thread::available_parallelism().map_or(1, Into::into) }
}

fn is_single() -> bool {
    Handle::try_current()
        .is_ok_and(|handle| handle.runtime_flavor() == RuntimeFlavor::CurrentThread)
}
