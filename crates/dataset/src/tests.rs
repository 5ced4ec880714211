//! Definitions, locks, statistics and the leak check by themselves, and builds on a catalog.

mod aliases;
mod builds;
mod lake;
mod leaks;
mod locks;
mod moments;
mod rebuilds;
mod retrieves;
mod shapes;
mod specs;
mod statistic;
mod targets;
mod views;
