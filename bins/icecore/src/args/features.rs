//! `icecore features`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use icecore_core::{Span, Timestamp};

use super::retrieve::GetArgs;

#[derive(Debug, Subcommand)]
pub(crate) enum FeaturesCommand {
    /// List the feature views
    List,
    /// Show a feature view: its columns, sources, windows and hash
    Show {
        /// The feature view
        view: String,
    },
    /// Find feature views by name, tag, owner or column
    Search(SearchArgs),
    /// List the versions of a view that were applied, or of all
    History {
        /// The feature view [default: all]
        view: Option<String>,
    },
    /// Show what differs between two versions of a view
    Diff {
        /// The feature view
        view: String,
        /// The earlier version [default: the newest that was applied]
        #[arg(long, value_name = "VERSION")]
        from: Option<i64>,
        /// The later version [default: the project's files]
        #[arg(long, value_name = "VERSION", requires = "from")]
        to: Option<i64>,
    },
    /// Make the project's definitions the newest versions in the registry
    Apply {
        /// Needed where tables, training sets, scoring jobs or models use what changes
        #[arg(long)]
        yes: bool,
        /// Say what would change and what that touches, change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Show where features come from and who uses them
    Lineage {
        /// The feature view
        view: String,
        /// Write the computations as OpenLineage events, one a line
        #[arg(long, value_name = "FILE")]
        openlineage: Option<PathBuf>,
    },
    /// Show features as they were known: for rows of your own, or for every entity
    Get(Box<GetArgs>),
    /// Check every definition against its source as it is now
    Check,
    /// Compute a feature view and write its table: what changed, a range, or everything
    Compute(ComputeArgs),
    /// Compute a long range in steps; interrupted, it goes on where it stopped
    Backfill(BackfillArgs),
    /// Compute sampled entities again and compare with the table, to the last bit
    Verify {
        /// The feature view
        view: String,
        /// Which part of the entities, above 0 and up to 1
        #[arg(long, value_name = "PART", default_value_t = 0.01)]
        sample: f64,
        /// Another number chooses other entities
        #[arg(long, value_name = "N", default_value_t = 0)]
        seed: u64,
    },
    /// Show which events of an entity are in each window at a moment, why others are not, and what
    /// comes of it
    Explain {
        /// The feature view
        view: String,
        /// The entity's key: VALUE, or COLUMN=VALUE for each of several
        #[arg(long, required = true, value_name = "KEY")]
        entity: Vec<String>,
        /// The moment: a date, or a time with its zone
        #[arg(long, value_name = "TIME")]
        at: Timestamp,
        /// List at most N events up to the moment, the latest first, and as many later ones
        #[arg(long, value_name = "N", default_value_t = 1000)]
        events: usize,
    },
}

#[derive(Debug, Args)]
pub(crate) struct SearchArgs {
    /// A part of the name of a view or a feature, or of a description
    pub(crate) text: Option<String>,
    /// A tag, or TAG=VALUE
    #[arg(long)]
    pub(crate) tag: Option<String>,
    /// The owner
    #[arg(long)]
    pub(crate) owner: Option<String>,
    /// A feature, or a column of the source that features look at
    #[arg(long)]
    pub(crate) column: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ComputeArgs {
    /// The feature view
    pub(crate) view: String,
    /// Compute the rows from this moment or date on; without a range, only what new, late and
    /// deleted events touch
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Option<Timestamp>,
    /// The first moment or date after
    #[arg(long, value_name = "TIME")]
    pub(crate) to: Option<Timestamp>,
    /// Compute the range, or everything, whatever the table holds: after the definition changed,
    /// or when nothing says what its rows were computed from
    #[arg(long, alias = "force")]
    pub(crate) full: bool,
    /// Then verify this part of the entities
    #[arg(long, value_name = "PART", conflicts_with = "dry_run")]
    pub(crate) verify_sample: Option<f64>,
    /// Say what would be read and written, write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct BackfillArgs {
    /// The feature view
    pub(crate) view: String,
    /// The first moment or date to compute [default: the first event]
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Option<Timestamp>,
    /// The first moment or date after [default: after the last event]
    #[arg(long, value_name = "TIME")]
    pub(crate) to: Option<Timestamp>,
    /// How much time a step covers; it is widened to whole partitions
    #[arg(long, value_name = "SPAN", default_value = "30d", value_parser = Span::parse)]
    pub(crate) step: Span,
    /// Begin again with the sources as they are now, even if a backfill was interrupted
    #[arg(long)]
    pub(crate) restart: bool,
    /// Say which steps there are and which are done, write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}
