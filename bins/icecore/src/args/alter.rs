//! `icecore table alter`.

use clap::{Args, Subcommand};
use icecore::catalog::ColumnType;
use icecore_core::TableName;

#[derive(Debug, Args)]
pub(crate) struct AlterArgs {
    /// The table
    pub(crate) table: TableName,
    #[command(subcommand)]
    pub(crate) change: AlterCommand,
    /// Check it and say what the table would be, change nothing
    #[arg(long, global = true)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AlterCommand {
    /// Add a column, or a field to a struct: `add address.zip string`
    Add {
        /// Its name, or the path of a struct, a dot and a name
        column: String,
        /// What it holds: `long`, `decimal(10, 2)`, `list<string>`, `struct<a: int, b: date>`, …
        #[arg(value_name = "TYPE")]
        column_type: ColumnType,
        /// Every row has a value; needs --default
        #[arg(long, requires = "default")]
        required: bool,
        /// What rows that lack it have (format version 3)
        #[arg(long, value_name = "VALUE")]
        default: Option<String>,
        /// What it means
        #[arg(long)]
        doc: Option<String>,
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// Drop columns; their values stay in the files and are not read any more
    Drop {
        /// The columns
        #[arg(required = true)]
        columns: Vec<String>,
    },
    /// Give a column another name
    Rename {
        /// The column, or the path of a field
        column: String,
        /// Its new name, without the path
        to: String,
    },
    /// Let a column hold more: int to long, float to double, a decimal of more digits
    Widen {
        /// The column, or the path of a field
        column: String,
        /// What it is to hold, such as `long`
        #[arg(value_name = "TYPE")]
        to: ColumnType,
    },
    /// Let columns be null
    Optional {
        /// The columns
        #[arg(required = true)]
        columns: Vec<String>,
    },
    /// Give a column another place among its siblings
    Move {
        /// The column, or the path of a field
        column: String,
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// Say what a column means; without a text it says nothing any more
    Doc {
        /// The column, or the path of a field
        column: String,
        /// What it means
        text: Option<String>,
    },
    /// Say which columns tell a row from every other one; none for no columns
    Identifier {
        /// The columns; each must have a value in every row
        columns: Vec<String>,
    },
    /// Partition what is written from now on by these fields, such as `day(event_timestamp)`; none
    /// for no partitions
    PartitionBy {
        /// Columns, or transforms of them
        fields: Vec<String>,
    },
    /// Also partition by these fields
    PartitionAdd {
        /// Columns, or transforms of them
        #[arg(required = true)]
        fields: Vec<String>,
    },
    /// No longer partition by these fields
    PartitionDrop {
        /// The fields as `table show` names them
        #[arg(required = true)]
        fields: Vec<String>,
    },
    /// Sort the rows of new files by these, such as `'event_timestamp desc'`; none for no order
    SortBy {
        /// Columns, each with `asc` or `desc` after it where it matters
        columns: Vec<String>,
    },
}

#[derive(Debug, Args)]
#[group(multiple = false)]
pub(crate) struct PlaceArgs {
    /// Before all others
    #[arg(long)]
    pub(crate) first: bool,
    /// After all others
    #[arg(long)]
    pub(crate) last: bool,
    /// Right before this column
    #[arg(long, value_name = "COLUMN")]
    pub(crate) before: Option<String>,
    /// Right after this column
    #[arg(long, value_name = "COLUMN")]
    pub(crate) after: Option<String>,
}
