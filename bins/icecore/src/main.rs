//! The icecore command line.
fn main() {}
