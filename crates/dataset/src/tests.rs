//! Definitions, locks, statistics and the leak check, without a catalog.

mod leaks;
mod locks;
mod specs;
mod statistic;
