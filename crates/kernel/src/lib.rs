//! The arithmetic that must be equal everywhere: windows, exact sums, sketches, as-of matching, row hashes.

mod accumulate;
mod asof;
mod hash;

pub use accumulate::{ExactSum, HyperLogLog};
pub use asof::{AsOfMatcher, AsOfOptions, Candidates, Moments, Progress};
pub use hash::{ContentHash, hash_rows, hash_values};
