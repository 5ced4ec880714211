//! Leaves a part alone that keeps failing.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// When a part is left alone that keeps failing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerOptions {
    /// Failures in a row after which it is.
    pub failures: u32,
    /// For how long, before one request tries again.
    pub pause: Duration,
}

impl Default for BreakerOptions {
    fn default() -> Self {
        Self { failures: 5, pause: Duration::from_millis(500) }
    }
}

/// A circuit breaker: after so many failures in a row nobody asks the part for a while; then one
/// request tries, and the others go on without it until that one has succeeded.
#[derive(Debug)]
pub(crate) struct Breaker {
    options: BreakerOptions,
    started: Instant,
    failures: AtomicU32,
    /// Milliseconds since the start at which the next one may try.
    retry_at: AtomicU64,
}

impl Breaker {
    pub(crate) fn new(options: BreakerOptions) -> Self {
        let (failures, retry_at) = (AtomicU32::new(0), AtomicU64::new(0));
        Self { options, started: Instant::now(), failures, retry_at }
    }

    /// Whether to ask the part.
    pub(crate) fn may_ask(&self) -> bool {
        self.may_ask_at(self.now())
    }

    fn may_ask_at(&self, now: u64) -> bool {
        if self.failures.load(Ordering::Acquire) < self.options.failures {
            return true;
        }
        let next = self.next(now);
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
        if failures == self.options.failures {
            let next = self.next(now);
            self.retry_at.store(next, Ordering::Release);
        }
        // Far from overflow, however long it is down.
        if failures > self.options.failures {
            self.failures.store(self.options.failures, Ordering::Release);
        }
    }

    /// When one may try again that fails now.
    fn next(&self, now: u64) -> u64 {
        let pause = u64::try_from(self.options.pause.as_millis()).unwrap_or(u64::MAX);
        now.saturating_add(pause)
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
        let (failures, pause) = (3, 70);
        let breaker =
            Breaker::new(BreakerOptions { failures, pause: Duration::from_millis(pause) });
        for _ in 0..failures {
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
