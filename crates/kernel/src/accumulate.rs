//! Accumulators that can be merged, kept and taken apart again.

mod exact_sum;
mod hyperloglog;
mod limbs;
mod power_sums;
mod quantile;

pub use exact_sum::ExactSum;
pub use hyperloglog::HyperLogLog;
pub(crate) use hyperloglog::{Histogram, REGISTERS, register_and_rank};
pub(crate) use limbs::{Limbs, power_of_two};
pub use power_sums::PowerSums;
pub(crate) use power_sums::{ANY_FLOAT, LEAST_POWER, Order, WholePowers, in_least_units};
pub use quantile::{QuantileBucket, QuantileSketch};
pub(crate) use quantile::{bucket_of, rank_of, value_of};
