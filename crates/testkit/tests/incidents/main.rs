//! What went wrong in other lakehouses, played again: none of it happens here.
//!
//! The numbers R1 to R19 are those of the list of incidents that these tests were written from.
#![expect(clippy::unwrap_used, reason = "clippy's exemption does not reach the helpers of a test")]

mod lake;
mod lost;
mod swept;
