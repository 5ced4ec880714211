//! Rows that do not fit: where they are, and what becomes of them.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use icecore_core::{Error, Location, Result};

use super::OnError;
use super::value::shorten;

/// How many places one error names.
const PLACES_MAX: usize = 21;
/// How many rejects are kept; all are counted.
const KEPT_MAX: usize = 10_000;
/// How much of a row a reject keeps, in characters.
const RAW_MAX: usize = 1_000;

/// A row that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reject {
    /// The file as the user named it.
    pub file: String,
    /// The line, from one; the number of the row in a Parquet file.
    pub line: usize,
    /// The column in characters, from one; zero where the whole row is meant.
    pub column: usize,
    /// What was expected and what was found.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// The row as the file spells it, shortened to 1,000 characters.
    pub raw: String,
}

impl Reject {
    fn into_error(self) -> Error {
        let location = Location { file: self.file, line: self.line, column: self.column };
        let error = Error::invalid(self.message).at(location);
        match self.help {
            Some(help) => error.with_help(help),
            None => error,
        }
    }
}

/// Rows that were left out. Clones share what they hold.
#[derive(Debug, Clone, Default)]
pub struct Rejects {
    log: Arc<Mutex<Log>>,
}

#[derive(Debug, Default)]
struct Log {
    count: u64,
    kept: Vec<Reject>,
}

impl Rejects {
    /// How many rows were left out so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).count
    }

    /// The rows that were left out so far, the first 10,000 of them.
    #[must_use]
    pub fn list(&self) -> Vec<Reject> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).kept.clone()
    }

    fn add(&self, reject: Reject) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.count += 1;
        if log.kept.len() < KEPT_MAX {
            log.kept.push(reject);
        }
    }
}

/// Where in a file a row does not fit, and why.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

/// Takes the rows of one file that do not fit.
#[derive(Debug)]
pub(crate) struct Faults {
    file: String,
    on_error: OnError,
    rejects: Rejects,
    found: Vec<Reject>,
}

impl Faults {
    pub(crate) fn new(path: &Path, on_error: OnError, rejects: Rejects) -> Self {
        Self { file: path.display().to_string(), on_error, rejects, found: Vec::new() }
    }

    /// Adds a row of which `raw` is the text.
    pub(crate) fn add(&mut self, fault: Fault, raw: &str) {
        let Fault { line, column, message, help } = fault;
        let raw = shorten(raw, RAW_MAX);
        let reject = Reject { file: self.file.clone(), line, column, message, help, raw };
        match self.on_error {
            OnError::Skip => self.rejects.add(reject),
            OnError::Fail if self.found.len() < PLACES_MAX => self.found.push(reject),
            OnError::Fail => {}
        }
    }

    /// Fails where a row was found and rows are not to be skipped.
    pub(crate) fn check(&mut self) -> Result<()> {
        self.found.sort_by_key(|reject| (reject.line, reject.column));
        let mut found = std::mem::take(&mut self.found).into_iter();
        match found.next() {
            Some(first) => {
                Err(first.into_error().with_related(found.map(Reject::into_error).collect()))
            }
            None => Ok(()),
        }
    }
}
