//! Runs, parameters, metrics, artifacts and the model registry.
