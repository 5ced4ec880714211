//! Feature views: parse, check, plan and compute one definition in every execution.
