//! What can be typed after `icecore score`.

use clap::{Args, Subcommand};
use icecore_core::{Date, Timestamp};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct ScoreArgs {
    /// The scoring definition: scoring/NAME.toml
    #[arg(required = true)]
    pub(crate) name: Option<String>,
    /// The date to score [default: the newest that the features have]
    #[arg(long)]
    pub(crate) date: Option<Date>,
    /// Score again even where equal models have scored equal features already
    #[arg(long)]
    pub(crate) force: bool,
    /// Say which rows and which models would be used, score nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(subcommand)]
    pub(crate) command: Option<ScoreCommand>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ScoreCommand {
    /// Show the predictions of an entity with the features that produced them
    Explain(ExplainArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// The entity: its key, or COLUMN=VALUE for each column of a key of several
    #[arg(required = true, value_name = "KEY")]
    pub(crate) key: Vec<String>,
    /// The scoring definition [default: the only one that there is]
    #[arg(long, value_name = "NAME")]
    pub(crate) scoring: Option<String>,
    /// The prediction of this date [default: the newest]
    #[arg(long, conflicts_with_all = ["from", "to"])]
    pub(crate) date: Option<Date>,
    /// Every prediction from this date on
    #[arg(long)]
    pub(crate) from: Option<Date>,
    /// Every prediction up to this date
    #[arg(long)]
    pub(crate) to: Option<Date>,
}

#[derive(Debug, Args)]
pub(crate) struct LabelArgs {
    /// The scoring definition whose `[feedback]` says where outcomes come from
    pub(crate) name: String,
    /// Only predictions of this date and later ones
    #[arg(long)]
    pub(crate) from: Option<Date>,
    /// Only predictions of this date and earlier ones
    #[arg(long)]
    pub(crate) to: Option<Date>,
    /// Up to when outcomes are known [default: when their tables last got rows]
    #[arg(long, value_name = "TIME", value_parser = Timestamp::parse)]
    pub(crate) as_of: Option<Timestamp>,
    /// Say which dates are settled, label nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct EvaluateArgs {
    /// The scoring definition whose predictions were labelled
    pub(crate) name: String,
    /// Print the queries of the views instead
    #[arg(long)]
    pub(crate) sql: bool,
}
