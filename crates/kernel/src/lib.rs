//! The arithmetic that must be equal everywhere: windows, exact sums, sketches, as-of matching, row
//! hashes.
//!
//! Batch, stream and request time call the same functions here, so that a feature has one value
//! whichever of them computed it. Nothing in this crate waits, reads or writes: Arrow arrays come
//! in and Arrow arrays go out. Results never depend on how rows were cut into batches.
//!
//! - [`WindowKernel`] computes every window and aggregate of a feature view over sorted events.
//! - [`AsOfMatcher`] finds what each spine row could see, over two sorted streams.
//! - [`Aggregation`] keeps the state of one aggregate over events in any order: it merges, goes to
//!   bytes and back, and ends in the same bits; [`SlidingTiles`] slides a window over such states.
//! - [`ExactSum`], [`PowerSums`], [`HyperLogLog`] and [`QuantileSketch`] are what they are made of.
//! - [`hash_rows`], [`hash_values`] and [`ContentHash`] identify values, rows and tables.
//!
//! # Example
//!
//! How often a user paid within the last seven microseconds, at each payment:
//!
//! ```
//! use arrow::array::Int64Array;
//! use icecore_core::{AggregateFunction, Closed, Emit, Span, TimeRange, Window};
//! use icecore_kernel::{EntityEvents, WindowColumn, WindowKernel, WindowSpec};
//!
//! # fn main() -> icecore_core::Result<()> {
//! let payments = WindowColumn {
//!     name: "payments_7us".into(),
//!     function: AggregateFunction::Count,
//!     input: None,
//!     mask: None,
//!     window: Window::last(Span::from_micros(7)),
//!     closed: Closed::Both,
//! };
//! let spec = WindowSpec { columns: vec![payments], emit: Emit::EachEvent, idle: None };
//! let kernel = WindowKernel::try_new(spec, &[])?;
//!
//! // Two users: one paid three times, the other once.
//! let users = [0..3, 3..4];
//! let events = EntityEvents { times: &[0, 7, 8, 5], entities: &users, inputs: &[], masks: &[] };
//! let rows = kernel.evaluate(&events, TimeRange::default())?;
//! assert_eq!(rows.columns[0].as_ref(), &Int64Array::from(vec![1, 2, 2, 1]));
//! # Ok(())
//! # }
//! ```

mod accumulate;
mod accumulator;
mod asof;
mod hash;
mod intern;
mod window;

pub use accumulate::{ExactSum, HyperLogLog, PowerSums, QuantileBucket, QuantileSketch};
pub use accumulator::{Accumulator, AccumulatorValues, Aggregation, SlidingTiles};
pub use asof::{AsOfMatcher, AsOfOptions, Candidates, Moments, Progress};
pub use hash::{ContentHash, hash_rows, hash_values};
pub use intern::Interner;
pub use window::{
    EntityEvents, Questions, WindowColumn, WindowKernel, WindowPiece, WindowRows, WindowSpec,
};
