//! Turning errors of the systems below into ours.

use std::error::Error as StdError;
use std::io;

use icecore_core::{Error, ErrorKind, Result};

/// Says what was being done when something below failed, and sorts the failure by what a caller
/// can do about it.
pub(crate) trait Context<T> {
    /// Replaces the error by one of ours with this message and the old one as its source.
    fn context<M: Into<String>>(self, message: impl FnOnce() -> M) -> Result<T>;
}

impl<T, E: Classified> Context<T> for Result<T, E> {
    fn context<M: Into<String>>(self, message: impl FnOnce() -> M) -> Result<T> {
        self.map_err(|error| {
            let kind = error.kind();
            match into_ours(Box::new(error)) {
                Ok(ours) => ours,
                Err(source) => Error::new(kind, message()).with_source(source),
            }
        })
    }
}

/// An error of another crate whose kind is known.
pub(crate) trait Classified: StdError + Send + Sync + 'static {
    fn kind(&self) -> ErrorKind;
}

impl Classified for iceberg::Error {
    fn kind(&self) -> ErrorKind {
        match self.kind() {
            iceberg::ErrorKind::DataInvalid => ErrorKind::DataCorrupt,
            iceberg::ErrorKind::FeatureUnsupported => ErrorKind::Unsupported,
            iceberg::ErrorKind::CatalogCommitConflicts | iceberg::ErrorKind::PreconditionFailed => {
                ErrorKind::Conflict
            }
            iceberg::ErrorKind::NamespaceAlreadyExists | iceberg::ErrorKind::TableAlreadyExists => {
                ErrorKind::AlreadyExists
            }
            iceberg::ErrorKind::NamespaceNotFound | iceberg::ErrorKind::TableNotFound => {
                ErrorKind::NotFound
            }
            // Storage reports what it cannot reach as `Unexpected`; so do defects.
            _ => match find::<io::Error>(self) {
                Some(error) => Classified::kind(error),
                None => ErrorKind::Internal,
            },
        }
    }
}

impl Classified for io::Error {
    fn kind(&self) -> ErrorKind {
        match self.kind() {
            // Metadata names its files, so one that is missing is a damaged table.
            io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => {
                ErrorKind::DataCorrupt
            }
            io::ErrorKind::PermissionDenied => ErrorKind::Denied,
            io::ErrorKind::InvalidInput => ErrorKind::InvalidInput,
            _ => ErrorKind::Unavailable,
        }
    }
}

impl Classified for object_store::Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound { .. } => ErrorKind::DataCorrupt,
            Self::AlreadyExists { .. } => ErrorKind::AlreadyExists,
            Self::PermissionDenied { .. } | Self::Unauthenticated { .. } => ErrorKind::Denied,
            Self::InvalidPath { .. } => ErrorKind::InvalidInput,
            Self::NotSupported { .. } | Self::NotImplemented { .. } => ErrorKind::Unsupported,
            _ => ErrorKind::Unavailable,
        }
    }
}

impl Classified for parquet::errors::ParquetError {
    fn kind(&self) -> ErrorKind {
        // What the storage says passes through; everything else is about what the file holds.
        match (find::<iceberg::Error>(self), find::<io::Error>(self)) {
            (Some(error), _) => Classified::kind(error),
            (None, Some(error)) => Classified::kind(error),
            (None, None) => ErrorKind::DataCorrupt,
        }
    }
}

impl Classified for sqlx::Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::ColumnNotFound(_) | Self::ColumnDecode { .. } | Self::Decode(_) => {
                ErrorKind::DataCorrupt
            }
            Self::Configuration(_) => ErrorKind::InvalidInput,
            _ => ErrorKind::Unavailable,
        }
    }
}

impl Classified for tokio::task::JoinError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Internal
    }
}

impl Classified for serde_json::Error {
    fn kind(&self) -> ErrorKind {
        ErrorKind::DataCorrupt
    }
}

/// The first error of this type among an error and its causes.
fn find<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// An error of ours that passed through another crate comes back with its kind and its message.
fn into_ours(
    error: Box<dyn StdError + Send + Sync>,
) -> Result<Error, Box<dyn StdError + Send + Sync>> {
    match find::<Error>(&*error) {
        Some(ours) => {
            let (kind, message) = (ours.kind(), ours.to_string());
            let mut copy = Error::new(kind, message);
            for note in ours.notes() {
                copy = copy.with_note(note.clone());
            }
            if let Some(help) = ours.help() {
                copy = copy.with_help(help);
            }
            Ok(copy.with_source(error))
        }
        None => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_ours_survives_the_way_through_iceberg() {
        let ours = Error::invalid("no such thing").with_help("look elsewhere");
        let wrapped = iceberg::Error::new(iceberg::ErrorKind::Unexpected, "boom").with_source(ours);
        let error = Err::<(), _>(wrapped).context(|| "cannot read").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(
            (error.to_string().as_str(), error.help()),
            ("no such thing", Some("look elsewhere"))
        );
    }

    #[test]
    fn a_full_disk_is_not_a_defect() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let wrapped = iceberg::Error::new(iceberg::ErrorKind::Unexpected, "boom").with_source(full);
        let error = Err::<(), _>(wrapped).context(|| "cannot write `t`").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert_eq!(error.to_string(), "cannot write `t`");
    }
}
