//! The arithmetic that must be equal everywhere: windows, exact sums, sketches, as-of matching, row hashes.
