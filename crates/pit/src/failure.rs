//! What DataFusion's errors mean to a caller of a join.

use std::error::Error as _;
use std::sync::Arc;

use datafusion::error::DataFusionError;
use icecore_core::{Error, ErrorKind};

/// The error of ours that DataFusion carried along, or one that says what happened.
pub(crate) fn failed(error: DataFusionError) -> Error {
    match error {
        DataFusionError::Context(_, error) => failed(*error),
        DataFusionError::ArrowError(error, _) => Error::from(*error),
        DataFusionError::External(source) => match source.downcast::<Error>() {
            Ok(ours) => *ours,
            Err(source) => match source.downcast::<DataFusionError>() {
                Ok(inner) => failed(*inner),
                Err(source) => Error::internal(JOIN).with_source(source),
            },
        },
        DataFusionError::Shared(shared) => match Arc::try_unwrap(shared) {
            Ok(error) => failed(error),
            Err(shared) => shared_failure(DataFusionError::Shared(shared)),
        },
        error @ DataFusionError::ResourcesExhausted(_) => {
            Error::new(ErrorKind::LimitExceeded, "a point-in-time join needs more memory")
                .with_help("raise `memory_limit` in the `[engine]` section of icecore.toml")
                .with_source(error)
        }
        error => Error::internal(JOIN).with_source(error),
    }
}

const JOIN: &str = "a point-in-time join failed";

/// An error that other partitions hold too: what it says is copied.
fn shared_failure(error: DataFusionError) -> Error {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(ours) = inner.downcast_ref::<Error>() {
            let mut copy = Error::new(ours.kind(), ours.to_string());
            for note in ours.notes() {
                copy = copy.with_note(note);
            }
            if let Some(help) = ours.help() {
                copy = copy.with_help(help);
            }
            if let Some(location) = ours.location() {
                copy = copy.at(location.clone());
            }
            return copy.with_source(error);
        }
        cause = inner.source();
    }
    match error.find_root() {
        DataFusionError::ResourcesExhausted(message) => {
            let message = message.clone();
            failed(DataFusionError::ResourcesExhausted(message))
        }
        _ => Error::internal(JOIN).with_source(error),
    }
}
