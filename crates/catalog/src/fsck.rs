//! Checking what is stored: whether a table is what the format says, and whether its files are
//! what the table says.
//!
//! A check reads and changes nothing. It goes on after a mistake, so that one report names
//! everything that is wrong: what, in which file, and what to do about it. Only what cannot be
//! reached at all is an error of the check itself.

mod deep;
mod entries;
mod finding;
mod history;
mod metadata;
mod snapshots;
mod stored;

use std::future::Future;

use iceberg::io::FileIO;
use iceberg::spec::TableMetadata;
use icecore_core::{Error, ErrorKind, Result, TableName};

pub use finding::{Finding, FindingKind, FsckReport, Severity, TableCheck};

use crate::storage::read_metadata;
use crate::tables::{Tables, location_of};
use finding::Findings;

/// How thorough a check is.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FsckOptions {
    /// Whether the rows of all files are read as well, and not only what is said about them.
    pub deep: bool,
    /// Whether past metadata files are read as well.
    pub history: bool,
}

impl Default for FsckOptions {
    /// Everything but the rows.
    fn default() -> Self {
        Self { deep: false, history: true }
    }
}

impl FsckOptions {
    /// Reads the rows of all files as well.
    #[must_use]
    pub const fn with_deep(mut self, deep: bool) -> Self {
        self.deep = deep;
        self
    }

    /// Reads past metadata files as well.
    #[must_use]
    pub const fn with_history(mut self, history: bool) -> Self {
        self.history = history;
        self
    }
}

/// Checks one table.
///
/// # Errors
///
/// `NotFound` for an unknown table, `Unavailable` or `Denied` for what cannot be reached.
pub(crate) async fn check(
    tables: &Tables,
    name: &TableName,
    options: &FsckOptions,
) -> Result<TableCheck> {
    let mut findings = Findings::default();
    let mut check = TableCheck::new(name.clone());
    let subject = match Subject::load(tables, name).await {
        Ok(subject) => subject,
        Err(error) if is_damage(&error) => {
            let location = tables.pointer(name).await?;
            metadata::unreadable(tables.io(), location.as_deref(), &error, &mut findings).await?;
            check.findings = findings.into_sorted();
            return Ok(check);
        }
        Err(error) => return Err(error),
    };
    metadata::check(&subject, &mut findings);
    if options.history {
        history::check(&subject, &mut findings).await?;
    }
    let contents = snapshots::check(&subject, &mut findings).await?;
    stored::check(&subject, &contents, &mut findings).await?;
    contents.count(&mut check);
    if options.deep {
        let table = tables.load(name).await?;
        check.rows_read = deep::check(&table, &contents, &mut findings).await?;
    }
    check.findings = findings.into_sorted();
    tracing::info!(table = %name, findings = check.findings.len(), "checked");
    Ok(check)
}

/// The table that is checked.
struct Subject {
    io: FileIO,
    /// Where its metadata is.
    location: String,
    /// As its file says, not as a cache remembers it.
    metadata: TableMetadata,
}

impl Subject {
    async fn load(tables: &Tables, name: &TableName) -> Result<Self> {
        let table = tables.load(name).await?;
        let location = location_of(&table)?.to_owned();
        let io = table.file_io().clone();
        let metadata = read_metadata(&io, &location).await?;
        Ok(Self { io, location, metadata })
    }
}
/// Whether an error says that something stored is wrong, and not that it could not be reached.
pub(crate) fn is_damage(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::DataCorrupt
            | ErrorKind::Internal
            | ErrorKind::InvalidInput
            | ErrorKind::LimitExceeded
            | ErrorKind::Unsupported
    )
}

/// An error with its causes, in one line.
fn in_words(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// Runs a parser of stored bytes. One that panics on them has found damage.
async fn guarded<T: Send + 'static>(
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    match tokio::spawn(work).await {
        Ok(result) => result,
        Err(stopped) => {
            Err(Error::corrupt("the bytes stopped what reads them").with_source(stopped))
        }
    }
}

#[cfg(test)]
mod tests;
