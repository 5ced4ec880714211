//! `icecore online`.

use clap::{Args, Subcommand};
use icecore_core::Error;

use super::MaterializeArgs;

#[derive(Debug, Subcommand)]
pub(crate) enum OnlineCommand {
    /// Bring feature rows to the newest state of their tables, by what changed
    Materialize(OnlineMaterializeArgs),
    /// Read values by their keys, such as `churn:u42`; or, with --entity, features
    Get(OnlineGetArgs),
    /// Compare the rows of views with their tables, to the bit; exit 5 where they differ
    Verify {
        /// Feature views or feature services
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Say which state of its table each view has
    Status,
}

#[derive(Debug, Args)]
pub(crate) struct OnlineMaterializeArgs {
    /// Feature views or feature services
    #[arg(required_unless_present = "all")]
    pub(crate) names: Vec<String>,
    /// Every view that has a table
    #[arg(long, conflicts_with = "names")]
    pub(crate) all: bool,
    /// Read whole tables, and remove rows that they do not have
    #[arg(long)]
    pub(crate) full: bool,
    /// Count what would be written and removed, change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Take views over from another job that fills them, which then ends with an error
    #[arg(long)]
    pub(crate) take_over: bool,
}

#[derive(Debug, Args)]
pub(crate) struct OnlineGetArgs {
    /// Keys; with --entity feature views, feature services, or features as `view:feature`
    #[arg(required = true)]
    pub(crate) names: Vec<String>,
    /// Whose features: KEY=VALUE for each join key, and for what a request brings
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    pub(crate) entity: Vec<(String, String)>,
}

impl From<MaterializeArgs> for OnlineMaterializeArgs {
    fn from(args: MaterializeArgs) -> Self {
        let MaterializeArgs { name, full, dry_run, take_over, .. } = args;
        Self { names: vec![name], all: false, full, dry_run, take_over }
    }
}

fn pair(text: &str) -> Result<(String, String), Error> {
    let (key, value) = text.split_once('=').ok_or_else(|| {
        Error::invalid(format!("`{text}` names no key and value"))
            .with_help("write it as KEY=VALUE")
    })?;
    Ok((key.to_owned(), value.to_owned()))
}
