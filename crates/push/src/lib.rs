//! Events that clients push: durable at once, online at once, in the lake with the next commit.
//!
//! [`Pushes`] takes events for the [push sources](icecore_core::PushSource) of a project. A push
//! is answered when its events are in a local queue, on the disk; then the online store has them,
//! too. [`Pushes::run`] commits what has come to the table, each event once: the snapshot's summary
//! says how far in the queue it is, so a process that dies between a commit and anything else
//! neither loses events nor repeats them.
//!
//! # Example
//!
//! ```no_run
//! use std::collections::BTreeMap;
//!
//! use icecore_push::{Push, Pushes};
//! use serde_json::json;
//!
//! # async fn pay(pushes: &Pushes) -> icecore_core::Result<()> {
//! let columns = BTreeMap::from([
//!     ("user_token".to_owned(), vec![json!("u42")]),
//!     ("event_timestamp".to_owned(), vec![json!("2026-11-22T10:00:00Z")]),
//!     ("amount".to_owned(), vec![json!(12.5)]),
//! ]);
//! let receipt = pushes.push(Push::new("transactions", columns)).await?;
//! println!("{} rows, batch {}", receipt.rows, receipt.position);
//! # Ok(())
//! # }
//! ```
//!
//! # Stability
//!
//! Files of a queue are read by later versions, or refused; a queue that was drained has none.

mod catch_up;
mod columns;
mod commit;
mod options;
mod pushes;
mod queue;
mod source;
mod status;
mod target;
#[cfg(test)]
mod tests;

pub use commit::CommitReport;
pub use options::PushOptions;
pub use pushes::{OnlineOutcome, Push, PushReceipt, Pushes};
pub use status::PushStatus;
pub use target::Target;
