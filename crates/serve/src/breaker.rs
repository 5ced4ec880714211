//! Leaves a part alone that keeps failing.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Failures in a row after which a part is left alone.
const FAILURES_MAX: u32 = 5;
/// For how long, before one request tries again.
const PAUSE: Duration = Duration::from_millis(500);

/// A circuit breaker: after so many failures in a row nobody asks the part for a while; then one
/// request tries, and the others go on without it until that one has succeeded.
#[derive(Debug)]
pub(crate) struct Breaker {
    started: Instant,
    failures: AtomicU32,
    /// Milliseconds since the start at which the next one may try.
    retry_at: AtomicU64,
}

impl Breaker {
    pub(crate) fn new() -> Self {
        Self { started: Instant::now(), failures: AtomicU32::new(0), retry_at: AtomicU64::new(0) }
    }

    /// Whether to ask the part.
    pub(crate) fn may_ask(&self) -> bool {
        self.may_ask_at(self.now())
    }

    fn may_ask_at(&self, now: u64) -> bool {
        if self.failures.load(Ordering::Acquire) < FAILURES_MAX {
            return true;
        }
        let next = now.saturating_add(PAUSE.as_millis() as u64);
        let due = |at: u64| (at <= now).then_some(next);
        self.retry_at.fetch_update(Ordering::AcqRel, Ordering::Acquire, due).is_ok()
    }

    pub(crate) fn succeeded(&self) {
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Release);
        }
    }

    pub(crate) fn failed(&self) {
        self.failed_at(self.now());
    }

    fn failed_at(&self, now: u64) {
        let failures = self.failures.fetch_add(1, Ordering::AcqRel).saturating_add(1);
        if failures == FAILURES_MAX {
            let next = now.saturating_add(PAUSE.as_millis() as u64);
            self.retry_at.store(next, Ordering::Release);
        }
        // Far from overflow, however long it is down.
        if failures > FAILURES_MAX {
            self.failures.store(FAILURES_MAX, Ordering::Release);
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_part_that_keeps_failing_is_left_alone_and_tried_now_and_then() {
        let (breaker, pause) = (Breaker::new(), PAUSE.as_millis() as u64);
        for _ in 0..FAILURES_MAX {
            assert!(breaker.may_ask_at(0));
            breaker.failed_at(0);
        }
        assert!(!breaker.may_ask_at(pause - 1));
        assert!(breaker.may_ask_at(pause), "one tries");
        assert!(!breaker.may_ask_at(pause), "and the others do not");
        breaker.failed_at(pause);
        assert!(breaker.may_ask_at(2 * pause));
        breaker.succeeded();
        assert!((0..10).all(|_| breaker.may_ask_at(2 * pause)));
    }
}
