//! `icecore table changes`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use icecore_core::{SnapshotSelector, TableName};

#[derive(Debug, Args)]
pub(crate) struct ChangesArgs {
    /// The table
    pub(crate) table: TableName,
    /// The version to begin after; without it or with `-1`, from before the first commit
    #[arg(long, value_name = "SELECTOR", allow_negative_numbers = true)]
    pub(crate) from: Option<SnapshotSelector>,
    /// The version to end with
    #[arg(long, value_name = "SELECTOR", default_value = "latest")]
    pub(crate) to: SnapshotSelector,
    /// Columns that identify a row, to tell updates from deletes and inserts
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    pub(crate) key: Vec<String>,
    /// What lies between the two versions
    #[arg(long, value_enum, default_value_t = ChangesMode::Net)]
    pub(crate) mode: ChangesMode,
    /// Show at most N rows
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub(crate) rows: usize,
    /// Write all of them to a Parquet, CSV or JSON-lines file instead
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum ChangesMode {
    /// How they differ, whatever happened between them
    Net,
    /// What each commit did, one after the other
    Log,
}
