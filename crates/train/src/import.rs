//! Models that others trained.

/// What the file of an imported model names as its algorithm.
pub(crate) const ALGORITHM: &str = "imported";
