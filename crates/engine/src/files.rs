//! Reads the user's files: Parquet, CSV and JSON lines, as record batches of one schema.
//!
//! Types come from the table that the rows go to, from the options, or from a sample of each file;
//! what a file means is the same in all three cases:
//!
//! - A moment is RFC 3339. One without a zone (`2026-11-22 10:00:00`) is in UTC. Every moment
//!   becomes `Timestamp(Microsecond, "+00:00")`; a date where a moment is expected is its midnight.
//! - An empty CSV field is null, a quoted empty field is an empty string.
//! - Digits that begin with zero (`007`), and more digits than an integer holds, are text.
//! - Objects and arrays inside a JSON object are text, as JSON; where the target is a struct, a list
//!   or a map, such text is its value, in CSV files too. Fields are found by their names, and those
//!   that are not there are null.
//! - Bytes of a fixed number are hexadecimal digits, and a UUID is one with or without its dashes.
//!
//! A row that does not fit is found by its line and column, whatever the size of the file.
//!
//! ```
//! use icecore_engine::files::{FileReadOptions, OnError, read_files};
//!
//! # async fn example() -> icecore_core::Result<()> {
//! let mut options = FileReadOptions::default();
//! options.on_error = OnError::Skip;
//! let rows = read_files(&["trips.csv".into()], options).await?;
//! println!("columns: {}", rows.stream.schema());
//! # Ok(())
//! # }
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use futures::stream;
use icecore_core::{BatchStream, Error, ErrorKind, Result};
use tokio::sync::mpsc;

mod assemble;
mod columns;
mod csv;
mod export;
mod fitted;
mod grown;
mod infer;
mod json;
mod kept;
mod needs;
mod parquet;
mod record;
mod reject;
mod source;
mod spelled;
mod value;
mod words;

pub use columns::{Misfit, rows_of_columns};
pub use export::{write_csv, write_parquet};
pub use grown::Widened;
pub use reject::{Reject, Rejects};

pub(crate) use value::moment;

use infer::Shape;
use reject::Faults;

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileFormat {
    /// Apache Parquet.
    Parquet,
    /// Delimited text with a header line; the delimiter is found from the first lines.
    Csv,
    /// One JSON object per line.
    JsonLines,
}

impl FileFormat {
    /// The format that a file's extension names.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] for another extension, naming those that are known.
    pub fn of_path(path: &Path) -> Result<Self> {
        let extension = path.extension().and_then(|extension| extension.to_str());
        match extension.unwrap_or_default().to_ascii_lowercase().as_str() {
            "parquet" => Ok(Self::Parquet),
            "csv" | "tsv" | "txt" => Ok(Self::Csv),
            "json" | "jsonl" | "ndjson" => Ok(Self::JsonLines),
            _ => Err(Error::invalid(format!("cannot tell the format of `{}`", path.display()))
                .with_note("known extensions: .parquet, .csv, .tsv, .txt, .json, .jsonl, .ndjson")
                .with_help("rename the file, or name its format")),
        }
    }
}

/// What to do with a row that does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnError {
    /// Stops with an error that names the place, with up to twenty more places as related errors.
    #[default]
    Fail,
    /// Leaves the row out and keeps it among the [`Rejects`].
    Skip,
}

/// What to do with columns that the target does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExtraColumns {
    /// Reads them, after the target's own, so that the table can be evolved. So are the fields that
    /// structs of Parquet files have more, and numbers of a wider type than the target's.
    #[default]
    Keep,
    /// Leaves them out. Numbers that are too large for the target do not fit.
    Drop,
}

/// What to do with columns of the target that the files do not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AbsentColumns {
    /// They are null.
    #[default]
    Null,
    /// The rows do not have them. All files have to have the same columns of the target; files of
    /// JSON lines are read once more, for a later line may have what the first do not.
    LeaveOut,
}

/// How to read files.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FileReadOptions {
    /// The format of every file; absent means by extension.
    pub format: Option<FileFormat>,
    /// The delimiter of CSV files; absent means one of `,` `;` tab `|`, by the first lines.
    pub delimiter: Option<u8>,
    /// Whether CSV files begin with a line of names. Without one the columns take the target's
    /// names by position, or `column_1`, `column_2`, ….
    pub header: bool,
    /// CSV fields that mean null besides the empty one.
    pub nulls: Vec<String>,
    /// The columns to read into, such as those of an existing table.
    pub target: Option<SchemaRef>,
    /// What to do with columns that the target does not have.
    pub extra_columns: ExtraColumns,
    /// What to do with columns of the target that the files do not have.
    pub absent_columns: AbsentColumns,
    /// Types by column name, before what is inferred. The target's types come first.
    pub columns: BTreeMap<String, DataType>,
    /// Columns that hold moments.
    pub timestamp_columns: Vec<String>,
    /// Whether new columns of moments that Parquet files have in nanoseconds stay so. Otherwise they
    /// are in microseconds, and what is finer does not fit.
    pub keeps_nanoseconds: bool,
    /// What to do with a row that does not fit.
    pub on_error: OnError,
    /// Rows of each text file to infer types from.
    pub sample_rows: usize,
    /// Rows per batch at most.
    pub batch_rows: usize,
}

impl Default for FileReadOptions {
    fn default() -> Self {
        Self {
            format: None,
            delimiter: None,
            header: true,
            nulls: Vec::new(),
            target: None,
            extra_columns: ExtraColumns::default(),
            absent_columns: AbsentColumns::default(),
            columns: BTreeMap::new(),
            timestamp_columns: Vec::new(),
            keeps_nanoseconds: false,
            on_error: OnError::default(),
            sample_rows: 10_000,
            batch_rows: 8192,
        }
    }
}

impl FileReadOptions {
    /// Reads into these columns.
    #[must_use]
    pub fn with_target(mut self, target: SchemaRef) -> Self {
        self.target = Some(target);
        self
    }

    /// Sets what happens to a row that does not fit.
    #[must_use]
    pub const fn with_on_error(mut self, on_error: OnError) -> Self {
        self.on_error = on_error;
        self
    }

    pub(crate) fn format_of(&self, path: &Path) -> Result<FileFormat> {
        self.format.map_or_else(|| FileFormat::of_path(path), Ok)
    }
}

/// The rows of files.
#[derive(Debug)]
pub struct FileRows {
    /// The rows, in the order of the files and of their lines.
    pub stream: BatchStream,
    /// Rows that were left out so far; complete when the stream has ended.
    pub rejects: Rejects,
    /// Columns of the files that the target does not have, and paths of such fields.
    pub unknown_columns: Vec<String>,
    /// Columns of the target that are read as a wider type than they have.
    pub widened_columns: Vec<Widened>,
    /// What a person should know about the types that were inferred.
    pub notes: Vec<String>,
}

/// Reads files, one after the other, in bounded memory. The schema is known when this returns.
///
/// # Errors
///
/// `NotFound` for a file that is not there; `InvalidInput` for one that is not of its format, with
/// its place; `DataCorrupt` for a broken Parquet file; `LimitExceeded` for a line over 16 MiB.
/// Rows that do not fit are errors of the stream.
pub async fn read_files(paths: &[PathBuf], options: FileReadOptions) -> Result<FileRows> {
    if paths.is_empty() {
        return Err(Error::invalid("no files to read"));
    }
    let (paths, options) = (paths.to_vec(), Arc::new(options));
    let shape = {
        let (paths, options) = (paths.clone(), Arc::clone(&options));
        blocking(move || infer::shape(&paths, &options)).await?
    };
    let shape = Arc::new(shape);
    let rejects = Rejects::default();
    let (schema, log) = (Arc::clone(&shape.schema), rejects.clone());
    let (unknown_columns, notes) = (shape.unknown.clone(), shape.notes.clone());
    let widened_columns = shape.widened.clone();

    // Two batches ahead: the reader parses while the caller writes.
    let (sender, receiver) = mpsc::channel(2);
    tokio::task::spawn_blocking(move || {
        let job = Job { shape, options, rejects: log };
        for path in &paths {
            let outcome = job.read(path, &mut |batch| sender.blocking_send(batch).is_ok());
            if !matches!(outcome, Ok(true)) {
                if let Err(error) = outcome {
                    // A caller that dropped the stream does not want the error either.
                    let _ = sender.blocking_send(Err(error));
                }
                return;
            }
        }
    });
    let batches = stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|batch| (batch, receiver))
    });
    let stream = BatchStream::new(schema, batches);
    Ok(FileRows { stream, rejects, unknown_columns, widened_columns, notes })
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::internal("the file reader stopped").with_source(error))?
}

/// Hands a batch on; false when nobody wants more.
type Emit<'a> = dyn FnMut(Result<RecordBatch>) -> bool + 'a;

/// What reading one file needs.
struct Job {
    shape: Arc<Shape>,
    options: Arc<FileReadOptions>,
    rejects: Rejects,
}

impl Job {
    /// Reads one file; false when nobody wants more.
    fn read(&self, path: &Path, emit: &mut Emit<'_>) -> Result<bool> {
        let mut faults = Faults::new(path, self.options.on_error, self.rejects.clone());
        let rows = self.options.batch_rows.max(1);
        // A row that fits no batch size of the caller's is not a thing: blocks are cut into slices.
        let mut slices = |batch: RecordBatch| {
            (0..batch.num_rows())
                .step_by(rows)
                .all(|at| emit(Ok(batch.slice(at, rows.min(batch.num_rows() - at)))))
        };
        match self.options.format_of(path)? {
            FileFormat::Csv => csv::read(path, self, &mut faults, &mut slices),
            FileFormat::JsonLines => json::read(path, self, &mut faults, &mut slices),
            FileFormat::Parquet => parquet::read(path, self, &mut faults, &mut slices),
        }
    }
}

/// Takes a batch of a file; false when nobody wants more.
type Take<'a> = dyn FnMut(RecordBatch) -> bool + 'a;

/// The error of a file that cannot be opened or read.
fn cannot_read(path: &Path, error: std::io::Error) -> Error {
    let kind = match error.kind() {
        std::io::ErrorKind::NotFound => ErrorKind::NotFound,
        std::io::ErrorKind::PermissionDenied => ErrorKind::Denied,
        std::io::ErrorKind::IsADirectory => ErrorKind::InvalidInput,
        _ => ErrorKind::Unavailable,
    };
    let what = if kind == ErrorKind::NotFound { "there is no file" } else { "cannot read" };
    Error::new(kind, format!("{what} `{}`", path.display())).with_source(error)
}

#[cfg(test)]
mod tests;
