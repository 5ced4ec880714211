//! Training sets: build from spine and views, pin, lock, verify.
