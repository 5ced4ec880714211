//! A time that passes only when nothing else is left to do.
#![expect(clippy::expect_used, reason = "a simulation that stands still has failed")]

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use icecore_catalog::{Ids, Timer};
use icecore_core::{Clock, Timestamp};

use crate::Random;

/// Simulated time. Whoever sleeps is woken in the order of the moments slept for, and of the calls
/// where these are the same; a run takes as long as its work.
#[derive(Debug, Clone, Default)]
pub struct SimTime(Arc<Mutex<Wheel>>);

#[derive(Debug, Default)]
struct Wheel {
    now_micros: u64,
    calls: u64,
    sleepers: BTreeMap<(u64, u64), Waker>,
    ticker: Option<Waker>,
}

impl SimTime {
    /// A runtime with one thread, on which this time passes whenever every task waits.
    ///
    /// # Errors
    ///
    /// If the operating system refuses one.
    pub fn runtime(&self) -> std::io::Result<tokio::runtime::Runtime> {
        let time = self.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .on_thread_park(move || time.pass())
            .build()?;
        runtime.spawn(self.clone().tick());
        Ok(runtime)
    }

    /// Microseconds since the beginning.
    #[must_use]
    pub fn now_micros(&self) -> u64 {
        self.wheel().now_micros
    }

    /// Goes on to the next moment that somebody sleeps for.
    fn pass(&self) {
        let next = {
            let mut wheel = self.wheel();
            let next = wheel.sleepers.pop_first();
            if let Some(((moment, _), _)) = &next {
                wheel.now_micros = wheel.now_micros.max(*moment);
            }
            next
        };
        let (_, waker) = next.expect("every task waits for what never comes");
        waker.wake();
        // Whom that reaches may have nobody left who waits for it. Something has to run all the
        // same, or the thread would park, and time would end.
        if let Some(ticker) = self.wheel().ticker.take() {
            ticker.wake();
        }
    }

    /// Runs whenever time has passed, and does nothing.
    async fn tick(self) {
        poll_fn(|context| {
            self.wheel().ticker = Some(context.waker().clone());
            Poll::<()>::Pending
        })
        .await;
    }

    fn wheel(&self) -> MutexGuard<'_, Wheel> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Timer for SimTime {
    async fn sleep(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let place = {
            let mut wheel = self.wheel();
            wheel.calls += 1;
            (wheel.now_micros.saturating_add(micros), wheel.calls)
        };
        Sleep { time: self, place }.await;
    }
}

struct Sleep<'a> {
    time: &'a SimTime,
    place: (u64, u64),
}

impl Future for Sleep<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut wheel = self.time.wheel();
        if wheel.now_micros >= self.place.0 {
            return Poll::Ready(());
        }
        wheel.sleepers.insert(self.place, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep<'_> {
    fn drop(&mut self) {
        self.time.wheel().sleepers.remove(&self.place);
    }
}

/// A clock that goes with simulated time, ahead of it or behind it by a fixed time.
#[derive(Debug, Clone)]
pub struct SimClock {
    time: SimTime,
    begin_micros: i64,
}

impl SimClock {
    /// A clock that shows this moment at the beginning.
    #[must_use]
    pub const fn new(time: SimTime, begin: Timestamp) -> Self {
        Self { time, begin_micros: begin.micros() }
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        let passed = i64::try_from(self.time.now_micros()).unwrap_or(i64::MAX);
        Timestamp::from_micros(self.begin_micros.saturating_add(passed))
    }
}

/// Ids that follow from a seed.
#[derive(Debug)]
pub struct SimIds {
    random: Random,
    given: AtomicU64,
}

impl SimIds {
    /// The ids of this source.
    #[must_use]
    pub const fn new(random: Random) -> Self {
        Self { random, given: AtomicU64::new(0) }
    }
}

impl Ids for SimIds {
    fn bits(&self) -> u128 {
        let mut random = self.random.of(self.given.fetch_add(1, Ordering::SeqCst));
        (u128::from(random.bits()) << 64) | u128::from(random.bits())
    }
}
