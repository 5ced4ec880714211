//! Scoring on a lake in a temporary directory.

mod explains;
mod feedbacks;
mod lake;
mod scores;
