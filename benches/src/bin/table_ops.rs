//! One operation on one table per process: what the side-by-side runs with peers measure.

fn main() {}
