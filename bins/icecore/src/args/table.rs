//! `icecore table`: versions, branches, changes and upkeep of tables.

use std::path::PathBuf;

use clap::Subcommand;
use icecore_core::{RefName, SnapshotSelector, Span, TableName};

#[derive(Debug, Subcommand)]
pub(crate) enum TableCommand {
    /// List the tables
    List,
    /// Make a table without rows: its columns, partitions, order and properties
    Create(super::create::CreateArgs),
    /// Show a table's columns, partitioning, properties and refs
    Show {
        /// The table
        table: TableName,
    },
    /// List a table's snapshots, newest first
    Log {
        /// The table
        table: TableName,
        /// At most N of them
        #[arg(long, short = 'n', value_name = "N")]
        limit: Option<usize>,
        /// Only the history of this branch or tag
        #[arg(long, value_name = "NAME")]
        branch: Option<RefName>,
    },
    /// Compare two versions of a table, both ways
    Diff {
        /// The table
        table: TableName,
        /// The older version: a snapshot id, a tag or branch, a time, or `latest`
        a: SnapshotSelector,
        /// The newer version
        b: SnapshotSelector,
        /// Columns that identify a row, to tell changed rows from added and removed ones
        #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
        key: Vec<String>,
        /// Show at most N rows
        #[arg(long, value_name = "N", default_value_t = 20)]
        rows: usize,
    },
    /// Change a table's columns, partitioning or order; no file is rewritten
    Alter(super::alter::AlterArgs),
    /// Read the rows that were inserted, updated and deleted between two versions
    Changes(super::changes::ChangesArgs),
    /// Give a snapshot a name that keeps it
    Tag {
        /// The table
        table: TableName,
        /// The tag
        name: RefName,
        /// The snapshot: its id, a tag or branch, a time, or `latest`
        #[arg(long, value_name = "SELECTOR", default_value = "latest")]
        at: SnapshotSelector,
        /// Move the tag if it is there
        #[arg(long)]
        force: bool,
        /// Remove the tag when its snapshot is older than AGE, such as `90d`
        #[arg(long, value_name = "AGE")]
        max_ref_age: Option<Span>,
        /// Say what would happen, change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Remove a tag or branch
    #[command(visible_alias = "drop-ref")]
    Untag {
        /// The table
        table: TableName,
        /// The tag or branch
        name: RefName,
        /// Say what would happen, change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Name a line of work that begins at a snapshot
    Branch(super::refs::BranchArgs),
    /// Say how long a tag or branch and its snapshots are kept
    Retain(super::refs::RetainArgs),
    /// Move a branch along to where another one is
    FastForward(super::refs::FastForwardArgs),
    /// Make what was written to a branch the current state: write, audit, publish
    Publish(super::refs::PublishArgs),
    /// Take over the rows that a snapshot of another branch appended
    CherryPick(super::refs::CherryPickArgs),
    /// Set and remove properties: `set T write.parquet.compression-codec=lz4`
    Set(super::properties::PropertyArgs),
    /// Upgrade a table to a later version of Iceberg's format
    Upgrade(super::refs::UpgradeArgs),
    /// Make an older snapshot the current one; nothing is lost
    Rollback(super::refs::RollbackArgs),
    /// Forget old snapshots that nobody needs, and delete their files
    Expire(super::upkeep::ExpireArgs),
    /// Delete files that nothing names: what writers left that died
    Clean(super::upkeep::CleanArgs),
    /// Put small files together, fold deletes in, sort
    Compact(super::upkeep::CompactArgs),
    /// Name a table's files in fewer manifests, so that reads have fewer to open
    RewriteManifests(super::upkeep::RewriteManifestsArgs),
    /// Write a version of a table to one Parquet, CSV or JSON file
    Export {
        /// The table
        table: TableName,
        /// The version: a snapshot id, a tag or branch, a time, or `latest`
        #[arg(long, value_name = "SELECTOR", default_value = "latest")]
        at: SnapshotSelector,
        /// The file: .parquet, .csv or .jsonl
        #[arg(long, short, value_name = "FILE")]
        output: PathBuf,
    },
    /// Delete the rows for which a condition is true
    Delete(super::rows::DeleteArgs),
    /// Give a table another name, in one step; its files stay where they are
    Rename {
        /// The table
        table: TableName,
        /// Its new name
        to: TableName,
        /// Say what would happen, change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Enter a table whose files exist: one that was dropped, or another catalog's
    ///
    /// Two catalogs must not both write to it: neither knows what the other commits.
    Register {
        /// The name to enter it under
        table: TableName,
        /// Its newest metadata file, such as `file:///lake/shop/orders/metadata/00007-….metadata.json`
        #[arg(value_name = "LOCATION")]
        metadata: String,
        /// Say what would happen, change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Forget a table; its files stay
    Drop {
        /// The table, or a view
        table: TableName,
        /// Needed to drop a table: its versions are forgotten
        #[arg(long)]
        yes: bool,
        /// Say what would happen, change nothing
        #[arg(long)]
        dry_run: bool,
    },
}
