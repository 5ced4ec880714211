//! Accumulators that can be merged, kept and taken apart again.

mod exact_sum;
mod hyperloglog;

pub use exact_sum::ExactSum;
pub use hyperloglog::HyperLogLog;
pub(crate) use hyperloglog::{Histogram, REGISTERS, register_and_rank};
