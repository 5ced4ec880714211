//! Statistics of features, and what became of them: drift, skew, thresholds, reports.
//!
//! A [`Profile`] holds a [`ColumnProfile`] for each column: counts, exact moments, a sketch of its
//! quantiles, of its different values and of its most frequent ones. Profiles merge, whatever was
//! cut into partitions, batches, days or hours, and are made as rows pass by on their way to
//! somewhere else ([`observed`]), so that nothing is read twice. [`compare`] measures what differs
//! between two of them, and says how far a measure may be off for having seen sketches only;
//! [`compare_exactly`] takes the values themselves.
//!
//! # Example
//!
//! ```
//! use std::sync::Arc;
//! use arrow::array::{ArrayRef, Float64Array, RecordBatch};
//! use icecore_monitor::{Profile, ProfileOptions, compare};
//!
//! # fn main() -> icecore_core::Result<()> {
//! let profile = |shift: f64| {
//!     let amounts = (0..10_000).map(|row| f64::from(row % 100) + shift);
//!     let amounts: ArrayRef = Arc::new(Float64Array::from_iter_values(amounts));
//!     Profile::of(&RecordBatch::try_from_iter([("amount", amounts)])?, &ProfileOptions::default())
//! };
//! let (january, june) = (profile(0.0)?, profile(25.0)?);
//! assert!(compare(&january, &january).features[0].psi.unwrap().value < 1e-9);
//! let moved = &compare(&january, &june).features[0];
//! assert!(moved.psi.unwrap().value > 0.2);
//! let distance = moved.wasserstein.unwrap();
//! assert!((distance.value - 25.0).abs() <= distance.error);
//! # Ok(())
//! # }
//! ```

mod codec;
mod drift;
mod metrics;
mod observe;
mod profile;
mod report;
mod sketch;
mod skew;
mod spec;
mod table;
mod webhook;

pub use drift::{Bin, Drift, FeatureDrift, Measured, NewCategory, Side, compare, compare_exactly};
pub use metrics::prometheus;
pub use observe::{Observed, observed};
pub use profile::{Profile, ProfileOptions};
pub use report::{Comparison, html};
pub use sketch::{Categories, ColumnKind, ColumnProfile};
pub use skew::{SkewCause, SkewFinding, WindowFact, skew};
pub use spec::{Alert, AlertSpec, Measure, MonitorSpec, Thresholds, Undecided, Verdict};
pub use table::{
    PartitionFilter, TableProfile, TableWriteMode, TableWriter, profile_of_table, scan_profile,
    store_profile,
};
pub use webhook::post;
