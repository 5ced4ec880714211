//! SQL models: running, testing, looking at them.

use clap::Args;
use icecore_core::Timestamp;

/// Which models.
#[derive(Debug, Args)]
pub(crate) struct SelectArgs {
    /// Models, as `--select` names them
    #[arg(value_name = "MODEL")]
    pub(crate) models: Vec<String>,
    /// Only these: `name`, `+name` with what it needs, `name+` with what needs it, `@name`, `tag:x`,
    /// `path:models/staging`, `a,b` for what both fit
    #[arg(long, short, value_name = "SELECTOR", num_args = 1..)]
    pub(crate) select: Vec<String>,
    /// Not these
    #[arg(long, value_name = "SELECTOR", num_args = 1..)]
    pub(crate) exclude: Vec<String>,
    /// Values of `var`: `'name: value'`, JSON, or `name=value`
    #[arg(long, value_name = "VARS")]
    pub(crate) vars: Vec<String>,
    /// What `run_started_at` is [default: now]
    #[arg(long, value_name = "TIME")]
    pub(crate) run_started_at: Option<Timestamp>,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) which: SelectArgs,
    /// Build incremental models anew
    #[arg(long)]
    pub(crate) full_refresh: bool,
    /// Show what would be run: the SQL, and where each column comes from; change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    #[command(flatten)]
    pub(crate) which: SelectArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DocsArgs {
    #[command(flatten)]
    pub(crate) which: SelectArgs,
    /// Show the SQL too
    #[arg(long)]
    pub(crate) sql: bool,
}
