//! A deterministic simulation of a lakehouse: one seed drives writers, maintenance, readers, faults,
//! crashes and clocks in one thread.
//!
//! A world has one table. In each round several processes work on it at the same time, each through
//! its own [weather](crate::faults::Weather): calls fail, answers are lost, effects come late,
//! processes die and are started again, and their clocks differ. After each round the world is
//! compared with what was acknowledged:
//!
//! - the history is one line, and its clocks never run backwards;
//! - every job that was acknowledged is in it exactly once, every one that was refused is not, and
//!   one whose outcome nobody knows is in it at most once, whole;
//! - each snapshot holds what its parent held and what its job did to that: no row is lost, and none
//!   comes from nowhere;
//! - every snapshot that is left reads the same rows for ever: no live file was deleted.
//!
//! [`play`] is a function of its seed: a failure is played again by giving its seed again.

mod actor;
mod chain;
mod checker;
mod effect;
mod ledger;
mod process;
mod time;
mod world;

use std::collections::BTreeMap;
use std::fmt;

pub use time::{SimClock, SimIds, SimTime};

use world::World;

/// What a run came to that found nothing wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Played {
    /// Pieces of work that were tried.
    pub tries: u64,
    /// Snapshots that were made.
    pub snapshots: u64,
    /// Processes that died.
    pub deaths: u64,
    /// Faults that were met, by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Stands for everything that happened, and when.
    pub trace: u64,
    /// What was done and said, one line each.
    pub story: Vec<String>,
}

impl Played {
    /// Adds another run's numbers, not its story.
    pub fn add(&mut self, other: &Self) {
        self.tries += other.tries;
        self.snapshots += other.snapshots;
        self.deaths += other.deaths;
        for (fault, count) in &other.faults {
            *self.faults.entry(fault).or_default() += count;
        }
        self.trace ^= other.trace;
    }
}

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The seed that plays it again.
    pub seed: u64,
    /// What was wrong, and what had happened before.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}: {}", self.seed, self.what)
    }
}

/// Plays the world of a seed to its end.
///
/// # Errors
///
/// The first promise that was broken.
pub fn play(seed: u64) -> Result<Played, Violation> {
    let time = SimTime::default();
    let violation = |what: String| Violation { seed, what };
    let runtime = time.runtime().map_err(|error| violation(error.to_string()))?;
    runtime.block_on(async {
        let mut world = World::new(seed, time);
        match world.live().await {
            Ok(()) => Ok(world.played()),
            Err(what) => Err(violation(format!("{what}\n{}", world.story()))),
        }
    })
}
