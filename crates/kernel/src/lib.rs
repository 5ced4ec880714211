//! The arithmetic that must be equal everywhere: windows, exact sums, sketches, as-of matching, row hashes.

mod asof;

pub use asof::{AsOfMatcher, AsOfOptions, Candidates, Moments, Progress};
