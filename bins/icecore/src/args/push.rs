//! `icecore push`.

use std::path::PathBuf;

use clap::Args;
use icecore::push::Target;

#[derive(Debug, Args)]
pub(crate) struct PushArgs {
    /// The push source
    pub(crate) source: String,
    /// Files of events: Parquet, CSV or JSON lines
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Where they go: online, offline, or online_and_offline
    #[arg(long, value_name = "TARGET", default_value = "online_and_offline")]
    pub(crate) to: Target,
    /// A name for this piece of work: repeating it changes nothing
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,
    /// Read and check the events, push nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}
