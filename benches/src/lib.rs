//! What benches share: how the use of time and memory is measured.

pub mod usage;
