//! `icecore runs`.

use clap::Subcommand;

use super::upkeep::AgeOrTime;

#[derive(Debug, Subcommand)]
pub(crate) enum RunsCommand {
    /// List runs, newest first
    List {
        /// Only the runs of this experiment
        #[arg(long, value_name = "NAME")]
        experiment: Option<String>,
        /// At most N of them
        #[arg(long, short = 'n', value_name = "N")]
        limit: Option<usize>,
        /// Those that were deleted and can be brought back
        #[arg(long)]
        deleted: bool,
    },
    /// Show a run
    Show {
        /// The run's id, or its first digits
        run: String,
    },
    /// Show runs side by side
    Compare {
        /// The ids of the runs, or their first digits; at least two
        #[arg(required = true, num_args = 2..)]
        runs: Vec<String>,
    },
    /// Delete runs: `runs restore` brings them back, `runs gc` removes them with their files
    Delete {
        /// The ids of the runs, or their first digits
        #[arg(required = true, value_name = "RUN")]
        runs: Vec<String>,
        /// Delete the versions of models that they made as well, and runs that have not ended
        #[arg(long)]
        force: bool,
        /// Say what would go, change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Bring deleted runs back
    Restore {
        /// The ids of the runs, or their first digits
        #[arg(required = true, value_name = "RUN")]
        runs: Vec<String>,
        /// Say what would come back, change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Remove deleted runs and their files for good
    Gc {
        /// Those that were deleted before this: an age such as `30d`, a date or an RFC 3339 time
        /// [default: all]
        #[arg(long, value_name = "AGE|TIME")]
        older_than: Option<AgeOrTime>,
        /// Say what would go, change nothing
        #[arg(long)]
        dry_run: bool,
    },
}
