//! `icecore dataset`.

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum DatasetCommand {
    /// Join, pin and lock a training set
    Build {
        /// The training definition: training/NAME.toml
        name: String,
        /// Say what would be pinned and written, write nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Show how a training set's rows are joined
    Explain {
        /// The training definition: training/NAME.toml
        name: String,
    },
    /// List the training sets
    List,
    /// Show a training set's lock
    Show {
        /// The training set
        name: String,
    },
    /// Build a training set again from its lock and compare the hash
    Verify {
        /// The training set, the path of a lockfile, or `run:ID`
        name: String,
    },
    /// Compare two locks: what was chosen, read, joined, and what came of it
    Diff {
        /// A training set, the path of a lockfile such as `churn.lock.toml`, or `run:ID`
        a: String,
        /// Another one
        b: String,
    },
    /// Write the rows of a training set, as they were locked, to a file
    Export(super::retrieve::ExportArgs),
}
