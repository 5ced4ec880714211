//! The lakehouse for machine learning: a project and every job on it, each one call.
