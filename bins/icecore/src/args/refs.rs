//! Branches: beginning, moving and publishing them.

use clap::Args;
use icecore::catalog::Retention;
use icecore_core::{RefName, SnapshotId, SnapshotSelector, Span, TableName};

#[derive(Debug, Args)]
pub(crate) struct BranchArgs {
    /// The table
    pub(crate) table: TableName,
    /// The branch
    pub(crate) name: RefName,
    /// Where it begins: a snapshot id, a tag or branch, a time, or `latest`
    #[arg(long, value_name = "SELECTOR", default_value = "latest")]
    pub(crate) at: SnapshotSelector,
    /// Say what would happen, change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) keep: Keep,
}

/// How long a ref and its snapshots are kept.
#[derive(Debug, Args)]
pub(crate) struct Keep {
    /// Remove it when its snapshot is older than AGE, such as `30d`
    #[arg(long, value_name = "AGE")]
    pub(crate) max_ref_age: Option<Span>,
    /// Keep at least N of its snapshots, however old
    #[arg(long, value_name = "N")]
    pub(crate) min_snapshots_to_keep: Option<i32>,
    /// Let its other snapshots expire at this age
    #[arg(long, value_name = "AGE")]
    pub(crate) max_snapshot_age: Option<Span>,
}

impl Keep {
    pub(crate) fn retention(&self) -> Retention {
        let millis = |span: Option<Span>| span.map(|span| (span.micros() / 1000).max(1));
        let mut retention = Retention::default();
        retention.max_ref_age_ms = millis(self.max_ref_age);
        retention.min_snapshots_to_keep = self.min_snapshots_to_keep;
        retention.max_snapshot_age_ms = millis(self.max_snapshot_age);
        retention
    }
}

#[derive(Debug, Args)]
pub(crate) struct RetainArgs {
    /// The table
    pub(crate) table: TableName,
    /// The tag or branch
    pub(crate) name: RefName,
    #[command(flatten)]
    pub(crate) keep: Keep,
    /// Say what would happen, change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct FastForwardArgs {
    /// The table
    pub(crate) table: TableName,
    /// The branch to move along
    pub(crate) branch: RefName,
    /// Where to: a ref that descends from it
    #[arg(long, default_value = "main")]
    pub(crate) to: RefName,
    /// Say what would happen, change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PublishArgs {
    /// The table
    pub(crate) table: TableName,
    /// The branch that was written and audited
    pub(crate) branch: RefName,
    /// Say what would happen, change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CherryPickArgs {
    /// The table
    pub(crate) table: TableName,
    /// The snapshot whose rows to take over
    #[arg(value_parser = super::upkeep::snapshot)]
    pub(crate) snapshot: SnapshotId,
    /// The branch that gets them
    #[arg(long, default_value = "main")]
    pub(crate) branch: RefName,
    /// Say what would happen, change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RollbackArgs {
    /// The table
    pub(crate) table: TableName,
    /// The branch
    #[arg(long, default_value = "main")]
    pub(crate) branch: RefName,
    /// The snapshot to return to: its id, a tag or branch, or a time
    #[arg(long, value_name = "SELECTOR")]
    pub(crate) to: SnapshotSelector,
    /// Even to a snapshot that the branch does not descend from
    #[arg(long)]
    pub(crate) force: bool,
    /// Say what would happen, change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct UpgradeArgs {
    /// The table
    pub(crate) table: TableName,
    /// The version of Iceberg's format: 2 or 3
    #[arg(long, value_name = "VERSION")]
    pub(crate) to: u8,
    /// Say what would happen, change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Needed to upgrade: it cannot be undone
    #[arg(long)]
    pub(crate) yes: bool,
}
