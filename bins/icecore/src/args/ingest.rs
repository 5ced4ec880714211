//! `icecore ingest`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use icecore_core::{RefName, TableName};

#[derive(Debug, Args)]
pub(crate) struct IngestArgs {
    /// The table, made if it is not there
    pub(crate) table: TableName,
    /// The files; their format goes by the extension
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// What happens to the rows that are there
    #[arg(long, value_enum, default_value_t = Mode::Append)]
    pub(crate) mode: Mode,
    /// Partition fields of a new table, such as `day(event_timestamp)`
    #[arg(long, value_name = "FIELDS", value_delimiter = ';')]
    pub(crate) partition_by: Vec<String>,
    /// Columns that a new table's files are sorted by
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    pub(crate) sort_by: Vec<String>,
    /// What a bad row does
    #[arg(long, value_enum, default_value_t = OnError::Fail)]
    pub(crate) on_error: OnError,
    /// The files' format, where the extension does not tell
    #[arg(long, value_enum)]
    pub(crate) format: Option<InputFormat>,
    /// A name for this piece of work: repeating it changes nothing
    #[arg(long, value_name = "NAME")]
    pub(crate) job_id: Option<String>,
    /// The branch that the rows go to [default: main]
    #[arg(long, value_name = "BRANCH")]
    pub(crate) branch: Option<RefName>,
    /// Begin the branch at the head of `main` if it is not there
    #[arg(long, requires = "branch")]
    pub(crate) create_branch: bool,
    /// The version of Iceberg's format of a new table, 2 or 3 [default: 2]
    #[arg(long, value_name = "VERSION")]
    pub(crate) format_version: Option<u8>,
    /// Read and check everything, write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) rows: super::rows::RowArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// Keep them
    Append,
    /// Replace all of them
    Overwrite,
    /// Replace those of the partitions that the new rows lie in
    OverwritePartitions,
    /// Update those that have the key of a new row, and insert the others
    Upsert,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum OnError {
    /// Nothing is written, and every place is named
    Fail,
    /// It is left out, counted and listed
    Skip,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum InputFormat {
    /// Apache Parquet
    Parquet,
    /// Comma-, semicolon-, tab- or bar-separated text with a header
    Csv,
    /// One JSON object a line
    Json,
}
