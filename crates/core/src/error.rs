//! What can go wrong, at the level at which a caller can act on it.

use std::fmt;

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The cause of an error, of any crate.
pub type Source = Box<dyn std::error::Error + Send + Sync + 'static>;

/// What went wrong, at the level at which a caller can act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The named table, snapshot, run, model or file does not exist. Correct the name.
    NotFound,
    /// The name is taken. Choose another or change what is there.
    AlreadyExists,
    /// Another writer committed first. Reload and try again.
    Conflict,
    /// The request cannot be meant as it was written. Correct it.
    InvalidInput,
    /// Stored bytes do not say what they must. Restore the data or use a matching version.
    DataCorrupt,
    /// Something outside does not answer. Try again later.
    Unavailable,
    /// Nobody knows whether the change happened. Ask again with the attempt id before repeating it.
    OutcomeUnknown,
    /// A limit was reached. Ask for less, or raise the limit.
    LimitExceeded,
    /// The caller may not do this.
    Denied,
    /// icecore does not do this (yet); the message says what it does instead.
    Unsupported,
    /// A defect of icecore. Report it.
    Internal,
}

impl ErrorKind {
    /// Whether the same request may succeed when it is repeated without a change.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        matches!(self, Self::Conflict | Self::Unavailable)
    }

    /// The code that error reports begin with, such as `IC0404`.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::NotFound => "IC0404",
            Self::AlreadyExists => "IC0410",
            Self::Conflict => "IC0409",
            Self::InvalidInput => "IC0400",
            Self::DataCorrupt => "IC0510",
            Self::Unavailable => "IC0503",
            Self::OutcomeUnknown => "IC0504",
            Self::LimitExceeded => "IC0413",
            Self::Denied => "IC0403",
            Self::Unsupported => "IC0501",
            Self::Internal => "IC0500",
        }
    }
}

/// A place in a user's file. Lines and columns count from one; zero means unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The file as the user named it.
    pub file: String,
    /// The line, from one.
    pub line: usize,
    /// The column in characters, from one.
    pub column: usize,
}

impl Location {
    /// A file as a whole.
    #[must_use]
    pub fn of_file(file: impl Into<String>) -> Self {
        Self { file: file.into(), line: 0, column: 0 }
    }

    /// The place of a byte offset in the text of a file; an offset past the end is its end.
    #[must_use]
    pub fn of_offset(file: &str, text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            file: file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.line, self.column) {
            (0, _) => f.write_str(&self.file),
            (line, 0) => write!(f, "{}:{line}", self.file),
            (line, column) => write!(f, "{}:{line}:{column}", self.file),
        }
    }
}

/// An error: what went wrong, where, what exists instead, and what to do next.
///
/// `Display` prints the message alone: lowercase, no full stop, the thing in backticks. A program
/// prints the rest from the accessors, as `icecore` does:
///
/// ```text
/// error[IC0404]: feature view `user_txn` has no column `txn_cnt_30d`
///   --> features/user_txn.toml:14:9
///   = note: columns: user_token, event_timestamp, txn_count_7d, txn_count_30d
///   = help: did you mean `txn_count_30d`?
/// ```
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    message: String,
    detail: Box<Detail>,
    #[source]
    source: Option<Source>,
}

#[derive(Debug, Default)]
struct Detail {
    location: Option<Location>,
    notes: Vec<String>,
    help: Option<String>,
    related: Vec<Error>,
    attempt: Option<String>,
}

impl Error {
    /// An error of this kind with this message.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), detail: Box::default(), source: None }
    }

    /// [`ErrorKind::InvalidInput`].
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidInput, message)
    }

    /// [`ErrorKind::NotFound`].
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    /// [`ErrorKind::Internal`].
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// [`ErrorKind::DataCorrupt`].
    pub fn corrupt(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::DataCorrupt, message)
    }

    /// [`ErrorKind::Unavailable`].
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, message)
    }

    /// [`ErrorKind::Unsupported`].
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, message)
    }

    /// Names the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Source>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Says where in the user's files the mistake is.
    #[must_use]
    pub fn at(mut self, location: Location) -> Self {
        self.detail.location = Some(location);
        self
    }

    /// Adds what exists, or why.
    #[must_use]
    pub fn with_note(mut self, note: impl Into<String>) -> Self {
        self.detail.notes.push(note.into());
        self
    }

    /// Says what to do next.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.detail.help = Some(help.into());
        self
    }

    /// Adds "did you mean" where one of the candidates is near to `name`.
    #[must_use]
    pub fn with_candidates<'a>(
        self,
        name: &str,
        candidates: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        match crate::suggest::nearest(name, candidates) {
            Some(near) => self.with_help(format!("did you mean `{near}`?")),
            None => self,
        }
    }

    /// Adds errors that were found in the same pass.
    #[must_use]
    pub fn with_related(mut self, related: Vec<Self>) -> Self {
        self.detail.related = related;
        self
    }

    /// Names the commit attempt whose outcome is unknown.
    #[must_use]
    pub fn with_attempt(mut self, attempt: impl Into<String>) -> Self {
        self.detail.attempt = Some(attempt.into());
        self
    }

    /// What a caller can do about it.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Where in the user's files the mistake is.
    #[must_use]
    pub const fn location(&self) -> Option<&Location> {
        self.detail.location.as_ref()
    }

    /// What exists, or why.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.detail.notes
    }

    /// What to do next.
    #[must_use]
    pub fn help(&self) -> Option<&str> {
        self.detail.help.as_deref()
    }

    /// Errors that were found in the same pass.
    #[must_use]
    pub fn related(&self) -> &[Self] {
        &self.detail.related
    }

    /// The commit attempt whose outcome is unknown.
    #[must_use]
    pub fn attempt(&self) -> Option<&str> {
        self.detail.attempt.as_deref()
    }
}

impl From<arrow::error::ArrowError> for Error {
    fn from(error: arrow::error::ArrowError) -> Self {
        use arrow::error::ArrowError;
        // An error of ours that passed through a stream of batches comes back as itself.
        match error {
            ArrowError::ExternalError(source) => match source.downcast::<Self>() {
                Ok(ours) => *ours,
                Err(source) => {
                    Self::internal("a stream of record batches failed").with_source(source)
                }
            },
            ArrowError::DivideByZero | ArrowError::ArithmeticOverflow(_) => {
                Self::invalid("cannot compute a value").with_source(error)
            }
            error => Self::internal("an arrow kernel failed").with_source(error),
        }
    }
}

impl From<Error> for arrow::error::ArrowError {
    fn from(error: Error) -> Self {
        Self::ExternalError(Box::new(error))
    }
}
