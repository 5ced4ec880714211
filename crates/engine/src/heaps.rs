//! The heaps of the allocator, of which a process should have no more than cores.

/// Lets the threads of this process share as many heaps as there are cores. For the first line of
/// `main`: a thread that has a heap keeps it.
///
/// glibc gives threads that allocate at the same time heaps of their own, up to eight for each core,
/// and what was freed in one serves no thread of another. Queries read with threads that come and go,
/// so memory that nobody uses adds up: up to a sixth of what a join or a window holds. Where
/// `MALLOC_ARENA_MAX` is set that stays, and with another allocator nothing happens.
pub fn share_heaps() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    if std::env::var_os("MALLOC_ARENA_MAX").is_none() {
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let most = std::ffi::c_int::try_from(cores.max(2)).unwrap_or(std::ffi::c_int::MAX);
        set_most(most);
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "the C library has no other way to say so")]
fn set_most(heaps: std::ffi::c_int) -> bool {
    // SAFETY: mallopt(3) takes two numbers by value and sets a number of the allocator's under the
    // allocator's own lock; it touches no memory that was handed out, and may be called by any thread
    // at any time. It cannot run under Miri, which has no C library: the test below runs it.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, heaps) == 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_share_heaps_allocate_as_ever() {
        share_heaps();
        #[cfg(all(target_os = "linux", target_env = "gnu"))]
        assert!(set_most(2));
        let work = |seed: usize| {
            let kept: Vec<Vec<usize>> = (0..2_000).map(|n| vec![seed; n % 700 + 1]).collect();
            kept.iter().flatten().filter(|value| **value != seed).count()
        };
        let threads: Vec<_> = (0..8).map(|seed| std::thread::spawn(move || work(seed))).collect();
        assert!(threads.into_iter().all(|thread| thread.join().unwrap() == 0));
    }
}
