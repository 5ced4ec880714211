//! Batch scoring, prediction tables and materialization to the serving cache.
