//! `icecore features get` and `icecore dataset export`.

use std::path::PathBuf;

use clap::Args;
use icecore_core::{Error, SnapshotSelector, Span, TableName, Timestamp};

use super::OutputFormat;

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("asked").required(true).multiple(false)
    .args(["spine", "spine_table", "spine_file", "at", "every", "rows"]))]
pub(crate) struct GetArgs {
    /// Features: VIEW:FEATURE, or VIEW:* for all of a view
    #[arg(required = true, value_name = "VIEW:FEATURE")]
    pub(crate) features: Vec<String>,
    /// For the rows of this query: keys and moments
    #[arg(long, value_name = "SQL")]
    pub(crate) spine: Option<String>,
    /// For the rows of this table
    #[arg(long, value_name = "TABLE")]
    pub(crate) spine_table: Option<TableName>,
    /// For the rows of this CSV, JSON or Parquet file
    #[arg(long, value_name = "FILE")]
    pub(crate) spine_file: Option<PathBuf>,
    /// For every entity at this moment or date; can be repeated
    #[arg(long, value_name = "TIME")]
    pub(crate) at: Vec<Timestamp>,
    /// For every entity once every SPAN, from --from to --to
    #[arg(long, value_name = "SPAN", value_parser = Span::parse, requires = "from", requires = "to")]
    pub(crate) every: Option<Span>,
    /// The rows that the view itself has, from --from to --to
    #[arg(long)]
    pub(crate) rows: bool,
    /// The first moment or date
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Option<Timestamp>,
    /// The first moment or date after
    #[arg(long, value_name = "TIME")]
    pub(crate) to: Option<Timestamp>,
    #[command(flatten)]
    pub(crate) join: JoinArgs,
    /// How to print the rows
    #[arg(long, value_enum)]
    pub(crate) format: Option<OutputFormat>,
    /// Write to a file instead
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// How rows are joined.
#[derive(Debug, Args)]
pub(crate) struct JoinArgs {
    /// The column of the rows with their moments
    #[arg(long, value_name = "COLUMN", default_value = "event_timestamp")]
    pub(crate) event_timestamp: String,
    /// The column of the rows for a join key with another name: KEY=COLUMN for all views,
    /// VIEW:KEY=COLUMN for one
    #[arg(long, value_name = "[VIEW:]KEY=COLUMN", value_parser = renamed_key)]
    pub(crate) key: Vec<RenamedKey>,
    /// Join a view under another name, too: NAME=VIEW; ask for its features as NAME:FEATURE
    #[arg(long, value_name = "NAME=VIEW", value_parser = alias)]
    pub(crate) alias: Vec<(String, String)>,
    /// Which clock decides what was known: event, created or snapshot [default: created, where a
    /// view declares it]
    #[arg(long, value_name = "CLOCK", value_parser = knowledge)]
    pub(crate) knowledge: Option<icecore_core::Knowledge>,
    /// Leave out feature rows of exactly a row's moment
    #[arg(long)]
    pub(crate) strict: bool,
    /// How old feature rows of all views may be [default: as each view says]
    #[arg(long, value_name = "SPAN", value_parser = Span::parse)]
    pub(crate) ttl: Option<Span>,
    /// How long feature rows could not be seen at first
    #[arg(long, value_name = "SPAN", value_parser = Span::parse)]
    pub(crate) delay: Option<Span>,
    /// Where windows end: `stored`, at the newest feature row, or `moment`, at each row's own
    /// moment, computed from the events
    #[arg(long, value_name = "WHERE", default_value = "stored", value_parser = windows)]
    pub(crate) windows: icecore::dataset::Windows,
    /// Name features VIEW__FEATURE
    #[arg(long)]
    pub(crate) full_names: bool,
    /// Add when each feature row happened: VIEW__event_timestamp
    #[arg(long)]
    pub(crate) with_timestamps: bool,
    /// Add how old each feature row is, in microseconds: VIEW__age_us
    #[arg(long)]
    pub(crate) with_ages: bool,
    /// Read a table as it was: TABLE=SELECTOR
    #[arg(long, value_name = "TABLE=SELECTOR", value_parser = super::at)]
    pub(crate) pin: Vec<(TableName, SnapshotSelector)>,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The training set
    pub(crate) name: String,
    /// The file: .parquet, .csv or .jsonl
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// These columns in this order [default: all]
    #[arg(long, value_name = "COLUMN", value_delimiter = ',')]
    pub(crate) columns: Vec<String>,
    /// Only this part of a divided set: training, validation or test
    #[arg(long, value_name = "PART")]
    pub(crate) part: Option<String>,
    /// The file's format [default: by its extension]
    #[arg(long, value_enum)]
    pub(crate) format: Option<OutputFormat>,
}

/// The column of the rows for a join key.
#[derive(Debug, Clone)]
pub(crate) struct RenamedKey {
    /// Of this view; absent means of all.
    pub(crate) view: Option<String>,
    pub(crate) key: String,
    pub(crate) column: String,
}

fn renamed_key(text: &str) -> Result<RenamedKey, Error> {
    let (key, column) = text.split_once('=').ok_or_else(|| {
        Error::invalid(format!("`{text}` names no key and column"))
            .with_help("write KEY=COLUMN, or VIEW:KEY=COLUMN")
    })?;
    let (view, key) = match key.split_once(':') {
        Some((view, key)) => (Some(view.to_owned()), key),
        None => (None, key),
    };
    Ok(RenamedKey { view, key: key.to_owned(), column: column.to_owned() })
}

fn alias(text: &str) -> Result<(String, String), Error> {
    let (name, view) = text.split_once('=').ok_or_else(|| {
        Error::invalid(format!("`{text}` names no view")).with_help("write NAME=VIEW")
    })?;
    Ok((name.to_owned(), view.to_owned()))
}

fn windows(text: &str) -> Result<icecore::dataset::Windows, Error> {
    match text {
        "stored" => Ok(icecore::dataset::Windows::Stored),
        "moment" => Ok(icecore::dataset::Windows::Moment),
        _ => Err(Error::invalid("write stored or moment")),
    }
}

fn knowledge(text: &str) -> Result<icecore_core::Knowledge, Error> {
    match text {
        "event" => Ok(icecore_core::Knowledge::Event),
        "created" => Ok(icecore_core::Knowledge::Created),
        "snapshot" => Ok(icecore_core::Knowledge::Snapshot),
        _ => Err(Error::invalid("write event, created or snapshot")),
    }
}
