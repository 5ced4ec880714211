//! Conformance suites for the traits, generators of realistic data, oracles.
