//! What can be typed after `icecore monitor`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use icecore_core::{Date, Span, TableName};

/// How something with statistics is named.
const SOURCE: &str = "SOURCE";

#[derive(Debug, Subcommand)]
pub(crate) enum MonitorCommand {
    /// Show the statistics of a table, a training set, a run, a model or a scoring
    Profile(ProfileArgs),
    /// Measure what differs between any two of them
    Drift(DriftArgs),
    /// Make the comparisons of monitor/*.toml and tell what is too far
    Check(CheckArgs),
    /// Look for why a model sees other features than it learned from
    Skew(SkewArgs),
    /// List the monitors
    List,
}

#[derive(Debug, Args)]
pub(crate) struct ProfileArgs {
    /// TABLE, TABLE@SELECTOR[FIELD=FROM..TO], dataset:NAME, run:ID, model:NAME/SELECTOR,
    /// scoring:NAME@DATE, predictions:NAME@DATE
    #[arg(value_name = SOURCE)]
    pub(crate) source: String,
    /// Read the rows, whatever statistics there are
    #[arg(long)]
    pub(crate) exact: bool,
    /// Read a table's rows once and keep the statistics in its metadata
    #[arg(long, conflicts_with = "exact")]
    pub(crate) store: bool,
    /// With --store: say what would be read, change nothing
    #[arg(long, requires = "store")]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DriftArgs {
    /// What is compared with; written as for `monitor profile`
    #[arg(value_name = "REFERENCE")]
    pub(crate) reference: String,
    /// What is compared
    #[arg(value_name = "CURRENT")]
    pub(crate) current: String,
    /// Compare the values themselves instead of their sketches
    #[arg(long)]
    pub(crate) exact: bool,
    /// Only these columns
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) features: Vec<String>,
    /// Write a page with pictures to this file
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The monitors [default: all]
    pub(crate) names: Vec<String>,
    /// Write a page with pictures to this file; of several monitors, one for each beside it
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Print the measures as Prometheus metrics
    #[arg(long)]
    pub(crate) metrics: bool,
    /// Tell nobody else: no webhook, no metrics file, no table
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SkewArgs {
    /// The scoring definition
    #[arg(required_unless_present = "serving")]
    pub(crate) name: Option<String>,
    /// The scored date [default: the newest]
    #[arg(long, conflicts_with = "serving")]
    pub(crate) date: Option<Date>,
    /// Compare a log of requests with the tables instead, as of each request
    #[arg(long, value_name = "TABLE", conflicts_with = "name")]
    pub(crate) serving: Option<TableName>,
    /// The feature service of the log [default: the one that the log is called by]
    #[arg(long, requires = "serving")]
    pub(crate) service: Option<String>,
    /// Only requests of this long, up to now
    #[arg(long, requires = "serving", default_value = "1d", value_name = "SPAN")]
    pub(crate) since: Span,
}
