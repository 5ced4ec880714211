//! The serving cache: an embedded store and Redis.
