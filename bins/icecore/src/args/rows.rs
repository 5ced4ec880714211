//! What can be typed about changing rows.

use clap::{Args, ValueEnum};
use icecore::catalog::{
    DuplicateKeys, NullKeys, RowMode, UpsertOptions, WhenMatched, WhenNotMatched,
};
use icecore_core::{RefName, TableName};

#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    /// The table
    pub(crate) table: TableName,
    /// Which rows, as SQL says it after `WHERE`: "user_token = 'u_17'"
    #[arg(long, value_name = "EXPR", allow_hyphen_values = true)]
    pub(crate) r#where: String,
    /// How rows leave their files [default: the table's setting, or copy-on-write]
    #[arg(long, value_enum)]
    pub(crate) mode: Option<RowModeArg>,
    /// Delete on this branch
    #[arg(long, value_name = "NAME")]
    pub(crate) branch: Option<RefName>,
    /// A name for this piece of work: repeating it changes nothing
    #[arg(long, value_name = "NAME")]
    pub(crate) job_id: Option<String>,
    /// Say how many rows and files it would take, delete nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Needed to delete: say that it is meant
    #[arg(long)]
    pub(crate) yes: bool,
}

/// How `ingest` looks at the rows that are there.
#[derive(Debug, Args)]
#[command(next_help_heading = "Upsert and overwrite")]
pub(crate) struct RowArgs {
    /// With `--mode upsert`: the columns that rows are found by
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    pub(crate) key: Vec<String>,
    /// With `--mode overwrite`: replace only the rows for which this is true
    #[arg(long, value_name = "EXPR", allow_hyphen_values = true)]
    pub(crate) r#where: Option<String>,
    /// How rows leave their files [default: the table's setting, or copy-on-write]
    #[arg(long, value_enum)]
    pub(crate) row_mode: Option<RowModeArg>,
    /// What an upsert does with rows whose key is there
    #[arg(long, value_enum, default_value_t = Matched::Update)]
    pub(crate) when_matched: Matched,
    /// What an upsert does with rows whose key is new
    #[arg(long, value_enum, default_value_t = NotMatched::Insert)]
    pub(crate) when_not_matched: NotMatched,
    /// The columns that an update changes [default: all that the files have]
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    pub(crate) update_columns: Option<Vec<String>>,
    /// Of rows with the same key take the one with the greatest value in this column
    #[arg(long, value_name = "COLUMN")]
    pub(crate) last_by: Option<String>,
    /// Let a null in a key equal a null, rather than be a mistake
    #[arg(long)]
    pub(crate) null_keys: bool,
}

impl RowArgs {
    /// The options of an upsert.
    pub(crate) fn upsert_options(&self) -> UpsertOptions {
        let mut options = UpsertOptions::default()
            .with_matched(match self.when_matched {
                Matched::Update => WhenMatched::Update,
                Matched::Ignore => WhenMatched::Ignore,
                Matched::Delete => WhenMatched::Delete,
            })
            .with_not_matched(match self.when_not_matched {
                NotMatched::Insert => WhenNotMatched::Insert,
                NotMatched::Ignore => WhenNotMatched::Ignore,
            });
        options.mode = self.row_mode.map(Into::into);
        options.update_columns.clone_from(&self.update_columns);
        if self.null_keys {
            options.null_keys = NullKeys::Equal;
        }
        if let Some(column) = &self.last_by {
            options.duplicate_keys = DuplicateKeys::GreatestBy(column.clone());
        }
        options
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum RowModeArg {
    /// Files are written again without them
    CopyOnWrite,
    /// Small files beside say which rows are gone
    MergeOnRead,
}

impl From<RowModeArg> for RowMode {
    fn from(mode: RowModeArg) -> Self {
        match mode {
            RowModeArg::CopyOnWrite => Self::CopyOnWrite,
            RowModeArg::MergeOnRead => Self::MergeOnRead,
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Matched {
    /// The rows that are there take the new values
    Update,
    /// They stay as they are
    Ignore,
    /// They are deleted
    Delete,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum NotMatched {
    /// The rows are inserted
    Insert,
    /// Nothing
    Ignore,
}
