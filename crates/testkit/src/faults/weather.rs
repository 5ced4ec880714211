//! What becomes of a call.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use icecore_catalog::Timer;

use super::Life;
use crate::Random;

/// How often a call meets which fault: shares of one.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rates {
    /// It is refused, and nothing happens.
    pub refused: f64,
    /// It takes long and then fails, and nothing has happened.
    pub timeout: f64,
    /// It happens, and its answer is lost.
    pub lost: f64,
    /// It happens after its caller was told that nobody knows (pointers only).
    pub late: f64,
    /// Another writer is said to have been first (pointers only).
    pub conflict: f64,
    /// It works, and takes seconds.
    pub slow: f64,
    /// A read gives less than was asked for.
    pub short: f64,
    /// The process dies, before or after it happens.
    pub death: f64,
}

impl Rates {
    /// No faults.
    pub const CALM: Self = Self {
        refused: 0.0,
        timeout: 0.0,
        lost: 0.0,
        late: 0.0,
        conflict: 0.0,
        slow: 0.0,
        short: 0.0,
        death: 0.0,
    };

    /// The same faults, this many times as often.
    #[must_use]
    pub fn times(self, factor: f64) -> Self {
        Self {
            refused: self.refused * factor,
            timeout: self.timeout * factor,
            lost: self.lost * factor,
            late: self.late * factor,
            conflict: self.conflict * factor,
            slow: self.slow * factor,
            short: self.short * factor,
            death: self.death * factor,
        }
    }
}

/// What becomes of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It works.
    Works,
    /// It is refused, and nothing happens.
    Refused,
    /// It happens, and its answer is lost.
    Lost,
    /// It has not happened, and neither comes an answer.
    LostBefore,
    /// It happens after its caller was told that nobody knows.
    Late,
    /// Another writer is said to have been first.
    Conflict,
    /// A read gives less than was asked for.
    Short,
    /// The process dies before it happens.
    DiesBefore,
    /// It happens, and then the process dies.
    DiesAfter,
}

/// Decides the fate of the calls of one process.
#[derive(Debug)]
pub struct Weather {
    random: Random,
    rates: Mutex<Rates>,
    timer: Arc<dyn Timer>,
    life: Life,
    /// How often each call was made.
    calls: Mutex<HashMap<u64, u64>>,
    met: Mutex<BTreeMap<&'static str, u64>>,
    trace: Mutex<u64>,
}

impl Weather {
    /// The weather of one process.
    #[must_use]
    pub fn new(random: Random, rates: Rates, timer: Arc<dyn Timer>, life: Life) -> Self {
        Self {
            random,
            rates: Mutex::new(rates),
            timer,
            life,
            calls: Mutex::default(),
            met: Mutex::default(),
            trace: Mutex::default(),
        }
    }

    /// The process that is exposed to it.
    #[must_use]
    pub const fn life(&self) -> &Life {
        &self.life
    }

    /// What waits are measured with.
    #[must_use]
    pub const fn timer(&self) -> &Arc<dyn Timer> {
        &self.timer
    }

    /// Changes how often faults occur from now on.
    pub fn set_rates(&self, rates: Rates) {
        *locked(&self.rates) = rates;
    }

    /// How often each fault was met.
    #[must_use]
    pub fn met(&self) -> BTreeMap<&'static str, u64> {
        locked(&self.met).clone()
    }

    /// A number that stands for everything that was decided, in any order.
    #[must_use]
    pub fn trace(&self) -> u64 {
        *locked(&self.trace)
    }

    /// Takes the time that a call takes, and says what becomes of it.
    pub async fn fate(&self, what: &'static str, subject: &str) -> Fate {
        self.life.go_on().await;
        let call = hash(&format!("{what} {subject}"));
        let number = {
            let mut calls = locked(&self.calls);
            let number = calls.entry(call).or_default();
            *number += 1;
            *number
        };
        let mut random = self.random.of(call).of(number);
        let (fate, delay) = self.draw(&mut random, what);
        {
            let mut trace = locked(&self.trace);
            *trace = trace.wrapping_add(Random::new(call ^ number).of(fate as u64).bits());
        }
        self.timer.sleep(delay).await;
        if fate == Fate::DiesBefore {
            self.die().await;
        }
        self.life.go_on().await;
        fate
    }

    /// Ends the process in the midst of a call.
    pub async fn die(&self) {
        self.life.end();
        self.life.go_on().await;
    }

    fn draw(&self, random: &mut Random, what: &'static str) -> (Fate, Duration) {
        let rates = *locked(&self.rates);
        let quick = Duration::from_micros(100 + random.below(5_000));
        let long = Duration::from_millis(1_000 + random.below(20_000));
        let is_swap = what == "swap";
        let is_read = what.starts_with("get");
        let death = rates.death / 2.0;
        let kinds = [
            ("refused", rates.refused, Fate::Refused, quick),
            ("timeout", rates.timeout, Fate::LostBefore, long),
            ("lost", if is_read { 0.0 } else { rates.lost }, Fate::Lost, quick),
            ("late", if is_swap { rates.late } else { 0.0 }, Fate::Late, quick),
            ("conflict", if is_swap { rates.conflict } else { 0.0 }, Fate::Conflict, quick),
            ("slow", rates.slow, Fate::Works, long),
            ("short", if is_read { rates.short } else { 0.0 }, Fate::Short, quick),
            ("death before", death, Fate::DiesBefore, quick),
            ("death after", death, Fate::DiesAfter, quick),
        ];
        let mut left = random.unit();
        for (name, rate, fate, delay) in kinds {
            if left < rate {
                *locked(&self.met).entry(name).or_default() += 1;
                return (fate, delay);
            }
            left -= rate;
        }
        (Fate::Works, quick)
    }
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// FNV-1a, which is the same on every machine.
pub(crate) fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
