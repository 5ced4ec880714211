//! Conformance suites for the traits, generators of realistic data, oracles.

mod cdnow;
mod payments;
mod random;

pub use cdnow::Cdnow;
pub use payments::{PaymentOptions, Payments};
pub use random::Random;
