//! Scoring on a lake in a temporary directory.

mod explains;
mod feedbacks;
mod lake;
mod materialized;
mod scores;
