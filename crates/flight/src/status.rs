//! Errors as clients see them.

use icecore_core::{Error, ErrorKind};
use tonic::{Code, Status};

/// An error as a status, with its notes and its help.
pub(crate) fn status(error: &Error) -> Status {
    let code = match error.kind() {
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::InvalidInput => Code::InvalidArgument,
        ErrorKind::AlreadyExists => Code::AlreadyExists,
        ErrorKind::Conflict => Code::Aborted,
        ErrorKind::LimitExceeded => Code::ResourceExhausted,
        ErrorKind::Denied => Code::PermissionDenied,
        ErrorKind::Unavailable => Code::Unavailable,
        ErrorKind::Unsupported => Code::Unimplemented,
        ErrorKind::DataCorrupt => Code::DataLoss,
        _ => {
            // What went wrong inside is for the log.
            tracing::error!(%error, "a request failed");
            return Status::new(Code::Internal, "the request failed; the service's log says why");
        }
    };
    let mut text = error.to_string();
    for note in error.notes() {
        text.push_str("\nnote: ");
        text.push_str(note);
    }
    if let Some(help) = error.help() {
        text.push_str("\nhelp: ");
        text.push_str(help);
    }
    Status::new(code, text)
}
