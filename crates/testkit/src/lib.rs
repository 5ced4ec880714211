//! Conformance suites for the traits, generators of realistic data, oracles.

mod cdnow;
mod clock;
mod online_store;
mod payments;
mod random;
mod redis_server;
mod tracking;
mod trainer;

pub use cdnow::Cdnow;
pub use clock::ManualClock;
pub use online_store::check_online_store;
pub use payments::{PaymentOptions, Payments};
pub use random::Random;
pub use redis_server::RedisServer;
pub use tracking::{check_artifact_store, check_model_registry, check_run_tracker};
pub use trainer::check_trainer;
