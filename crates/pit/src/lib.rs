//! Point-in-time joins of a spine with any number of feature views: each row gets what was known
//! at its moment, and nothing later.
//!
//! [`MergeJoin`] implements [`PointInTimeJoin`](icecore_core::PointInTimeJoin), whose contract says
//! which feature row a spine row sees. It stands on the engine, which reads pinned tables and sorts
//! with spilling, and on the kernel, which matches two sorted streams.
//!
//! # Example
//!
//! ```
//! use icecore_core::{BatchStream, FeatureTable, PitOptions, PointInTimeJoin, Result, Spine};
//! use icecore_engine::Engine;
//! use icecore_pit::MergeJoin;
//!
//! /// The observations, each with the account as it was known then.
//! async fn enrich(engine: Engine, seen: Spine, account: FeatureTable) -> Result<BatchStream> {
//!     MergeJoin::new(engine).join(seen, vec![account], PitOptions::default()).await
//! }
//! ```
//!
//! # What to know
//!
//! - Moments count in microseconds: a finer one is rounded down, a date is its midnight in UTC, and
//!   a time without a zone is UTC.
//! - Keys compare by value: integers of any width with each other, text in any encoding; keys of
//!   other types need the same type on both sides. Floating-point numbers are no keys.
//! - Where the created timestamp decides, a feature row that has none was never known.
//! - Where states decide ([`Knowledge::Snapshot`](icecore_core::Knowledge)), every state from the
//!   pin back to the first moment of the spine is read, as long as retention has kept them.
//! - Text comes out as `Utf8`, however it came in.

mod answers;
mod by_key;
mod by_time;
mod check;
mod exec;
mod held;
mod join;
mod merge;
mod merge_join;
mod mixed;
mod moment;
mod offers;
mod output;
mod parts;
mod probe;
mod slots;
mod sorted;
mod sorting;
mod source;
mod spine;
mod states;
mod table;
#[cfg(test)]
mod tests;
mod waiting;

pub use check::check_key;
pub use exec::PointInTimeExec;
pub use merge_join::{MergeJoin, MomentRows};
pub use moment::micros as moment_micros;
