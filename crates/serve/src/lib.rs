//! The HTTP service: scores, health and metrics.
