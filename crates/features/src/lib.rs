//! Feature views: parse, check, plan and compute one definition in every execution.

mod check;
mod definitions;
mod document;
mod expression;
mod hash;
mod parse;
mod partition;
mod select;

pub use definitions::Definitions;
pub use select::{feature_source, feature_table, resolve_features};
