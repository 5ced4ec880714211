//! Conformance suites for the traits of `icecore-core`, generators of realistic data, and servers
//! for the length of a test.
//!
//! A suite is the contract of a trait, made executable: whoever implements the trait runs it.
//!
//! # Example
//!
//! A world of payments is a function of its seed, and knows the truth about its users:
//!
//! ```
//! use icecore_testkit::{PaymentOptions, Payments};
//!
//! let world = Payments::new(PaymentOptions { rows: 1_000, ..PaymentOptions::default() });
//! let events: usize = world.events().map(|day| day.num_rows()).sum();
//! assert!((800..1_200).contains(&events));
//! assert!(world.outcomes().num_rows() > 0);
//! ```

mod cdnow;
mod clock;
pub mod faults;
mod faulty_online_store;
mod online_store;
mod payments;
mod postgres_server;
mod python_server;
mod random;
mod redis_server;
pub mod sim;
pub mod specimen;
mod tracking;
mod trainer;

pub use cdnow::Cdnow;
pub use clock::ManualClock;
pub use faulty_online_store::FaultyOnlineStore;
pub use online_store::check_online_store;
pub use payments::{PaymentOptions, Payments};
pub use postgres_server::PostgresServer;
pub use python_server::{RestServer, S3Server};
pub use random::Random;
pub use redis_server::RedisServer;
pub use tracking::{check_artifact_store, check_model_registry, check_run_tracker};
pub use trainer::check_trainer;
