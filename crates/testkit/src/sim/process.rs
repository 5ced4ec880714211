//! A process: a catalog of its own, in a weather of its own, on a clock of its own.

use std::sync::Arc;

use icecore_catalog::{CatalogParts, IcebergCatalog};
use icecore_core::{Result, Timestamp};

use super::time::{SimClock, SimIds, SimTime};
use crate::Random;
use crate::faults::{
    FaultyPointers, FaultyStore, Life, MemoryPointers, MemoryStore, Rates, Weather,
};

/// Where tables are.
const WAREHOUSE: &str = "memory:///lake";
/// How far apart clocks are, in microseconds.
const SKEW_MAX: i64 = 600_000_000;

/// What all processes share, and what outlives them.
#[derive(Debug, Clone)]
pub(super) struct Ground {
    pub(super) time: SimTime,
    pub(super) begin: Timestamp,
    pub(super) store: Arc<MemoryStore>,
    pub(super) pointers: Arc<MemoryPointers>,
}

impl Ground {
    pub(super) fn new(time: SimTime) -> Self {
        // 2026-01-01 in UTC.
        let begin = Timestamp::from_micros(1_767_225_600_000_000);
        let clock = Arc::new(SimClock::new(time.clone(), begin));
        Self { time, begin, store: Arc::new(MemoryStore::new(clock)), pointers: Arc::default() }
    }

    /// A catalog in fair weather, on the true clock.
    pub(super) fn observer(&self, random: Random) -> Result<IcebergCatalog> {
        let mut parts = CatalogParts::new(self.pointers.clone(), self.store.clone(), WAREHOUSE);
        parts.clock = Arc::new(SimClock::new(self.time.clone(), self.begin));
        parts.ids = Arc::new(SimIds::new(random));
        parts.timer = Arc::new(self.time.clone());
        IcebergCatalog::from_parts(parts)
    }
}

/// A process.
#[derive(Debug, Clone)]
pub(super) struct Process {
    pub(super) catalog: IcebergCatalog,
    pub(super) weather: Arc<Weather>,
}

impl Process {
    pub(super) fn start(ground: &Ground, random: Random, rates: Rates) -> Result<Self> {
        let timer = Arc::new(ground.time.clone());
        let weather = Arc::new(Weather::new(random.of(1), rates, timer.clone(), Life::default()));
        let skew = i64::try_from(random.of(2).below(2 * SKEW_MAX.unsigned_abs())).unwrap_or(0);
        let begin = Timestamp::from_micros(ground.begin.micros() + skew - SKEW_MAX);
        let pointers = FaultyPointers::new(ground.pointers.clone(), weather.clone());
        let store = FaultyStore::new(ground.store.clone(), weather.clone());
        let mut parts = CatalogParts::new(Arc::new(pointers), Arc::new(store), WAREHOUSE);
        parts.clock = Arc::new(SimClock::new(ground.time.clone(), begin));
        parts.ids = Arc::new(SimIds::new(random.of(3)));
        parts.timer = timer;
        Ok(Self { catalog: IcebergCatalog::from_parts(parts)?, weather })
    }

    pub(super) fn is_dead(&self) -> bool {
        self.weather.life().is_dead()
    }
}
