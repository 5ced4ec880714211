//! Tests that cross crates: the house rules, the binary as a black box, other engines as readers.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy's exemption does not reach the helpers of a test"
)]

mod binary;
mod cdnow;
mod changes;
mod commands;
mod consistency;
mod crash;
mod deleting;
mod errors;
mod evolution;
mod examples;
mod feast;
mod flight;
mod guarantees;
mod interchange;
mod interoperability;
mod lookups;
mod manifests;
mod matrix;
mod model;
mod monitoring;
mod online;
mod online_service;
mod pushing;
mod readers;
mod readmes;
mod redis;
mod registry;
mod request_log;
mod retrieval;
mod rows;
mod service;
mod serving;
mod soak;
mod sql_models;
mod story;
mod tidy;
mod traces;
mod training;
mod upkeep;
mod versions;
