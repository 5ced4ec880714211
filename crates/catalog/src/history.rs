//! Snapshots, and which of them a selector means.
