//! Real processes on one table: many at once, and killed at any moment.
//!
//! The long versions, by hand:
//!
//! ```text
//! ICECORE_TEST_COMMITS=1000 cargo test --release -p icecore-testkit --test processes writers
//! ICECORE_TEST_KILLS=1000 cargo test -p icecore-testkit --test processes kills
//! ```
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "clippy's exemption does not reach the helpers of a test"
)]

mod kills;
mod lake;
mod syscalls;
mod writers;
