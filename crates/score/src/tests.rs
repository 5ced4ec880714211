//! Scoring on a lake in a temporary directory.

mod explains;
mod lake;
mod scores;
