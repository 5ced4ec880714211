//! Feature views: parse, check, plan and compute one definition in every execution.

mod check;
mod definitions;
mod document;
mod expression;
mod hash;
mod parse;
mod partition;

pub use definitions::Definitions;
