//! What can be typed about looking after tables.

use clap::Args;
use icecore_core::{Error, RefName, SnapshotId, Span, TableName, Timestamp};

#[derive(Debug, Args)]
pub(crate) struct ExpireArgs {
    /// The table
    pub(crate) table: TableName,
    /// Those from before this: an age such as `30d`, a date or an RFC 3339 time [default: the
    /// table's setting, or 5d]
    #[arg(long, value_name = "AGE|TIME")]
    pub(crate) older_than: Option<AgeOrTime>,
    /// Keep at least N of each branch, however old [default: the table's setting, or 1]
    #[arg(long, value_name = "N")]
    pub(crate) retain_last: Option<usize>,
    /// Exactly this snapshot; may be given several times
    #[arg(long, value_name = "ID", value_parser = snapshot, conflicts_with_all = ["older_than", "retain_last"])]
    pub(crate) snapshot: Vec<SnapshotId>,
    /// Say what would go, change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CleanArgs {
    /// The table
    pub(crate) table: TableName,
    /// Files that are younger may belong to a writer and stay
    #[arg(long, value_name = "AGE", default_value = "3d")]
    pub(crate) older_than: Span,
    /// What to do where metadata names a file of the same path on another storage
    #[arg(long, value_enum, default_value_t = Mismatch::Fail)]
    pub(crate) on_mismatch: Mismatch,
    /// Say what would go, delete nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Needed below an age of a day: say that no writer is at work
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum Mismatch {
    /// Delete nothing at all
    Fail,
    /// Keep such files
    Keep,
}

#[derive(Debug, Args)]
pub(crate) struct FsckArgs {
    /// One table [default: all]
    pub(crate) table: Option<TableName>,
    /// Read the rows of all files as well
    #[arg(long)]
    pub(crate) deep: bool,
}

/// A moment, or how long ago it was.
#[derive(Debug, Clone, Copy)]
pub(crate) enum AgeOrTime {
    Age(Span),
    Time(Timestamp),
}

impl AgeOrTime {
    /// The moment.
    pub(crate) fn moment(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Age(age) => Timestamp::from_micros(now.micros().saturating_sub(age.micros())),
            Self::Time(moment) => moment,
        }
    }
}

impl std::str::FromStr for AgeOrTime {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if let Ok(age) = Span::parse(text) {
            return Ok(Self::Age(age));
        }
        Timestamp::parse(text).map(Self::Time).map_err(|error| {
            let notes = error.notes().to_vec();
            let help = error.help().unwrap_or_default();
            let both = Error::invalid(format!("`{text}` is neither an age nor a time"))
                .with_help(format!("{help}, or an age above zero such as `30d`"));
            notes.into_iter().fold(both, Error::with_note)
        })
    }
}

/// Parses the id of a snapshot.
pub(super) fn snapshot(text: &str) -> Result<SnapshotId, Error> {
    text.parse().map(SnapshotId::new).map_err(|_| {
        Error::invalid(format!("`{text}` is not the id of a snapshot"))
            .with_help("`icecore table log TABLE` lists the ids")
    })
}

#[derive(Debug, Args)]
pub(crate) struct RewriteManifestsArgs {
    /// The table
    pub(crate) table: TableName,
    /// Those of this branch
    #[arg(long, value_name = "NAME", default_value = "main")]
    pub(crate) branch: RefName,
    /// Even if there are few already
    #[arg(long)]
    pub(crate) force: bool,
    /// Say what would happen, change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CompactArgs {
    /// The table
    pub(crate) table: TableName,
    /// The files of this branch
    #[arg(long, value_name = "NAME", default_value = "main")]
    pub(crate) branch: RefName,
    /// Sort the rows of a partition across all of its files, by the table's order
    #[arg(long)]
    pub(crate) sort: bool,
    /// The size of files in bytes [default: the table's setting, or 512 MiB]
    #[arg(long, value_name = "BYTES")]
    pub(crate) target_size: Option<u64>,
    /// Rewrite a partition that has at least N small files
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(crate) min_files: usize,
    /// Rewrite a file that at least N delete files apply to
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) min_deletes: usize,
    /// Write every file anew, however it is
    #[arg(long)]
    pub(crate) all: bool,
    /// Only files that may hold a row for which this is true
    #[arg(long, value_name = "EXPR")]
    pub(crate) r#where: Option<String>,
    /// Say what would be done, change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}
