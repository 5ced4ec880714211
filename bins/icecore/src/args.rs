//! What can be typed.

pub(crate) mod alter;
pub(crate) mod changes;
pub(crate) mod create;
pub(crate) mod dataset;
mod examples;
pub(crate) mod features;
pub(crate) mod ingest;
pub(crate) mod models;
pub(crate) mod monitor;
pub(crate) mod online;
pub(crate) mod properties;
pub(crate) mod push;
pub(crate) mod refs;
pub(crate) mod retrieve;
pub(crate) mod rows;
pub(crate) mod run;
pub(crate) mod runs;
pub(crate) mod score;
pub(crate) mod table;
pub(crate) mod upkeep;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use icecore_core::{Date, Error, SnapshotId, SnapshotSelector, TableName};

/// Where the options of every command stand in a help text.
const GLOBAL: &str = "Global options";

/// The lakehouse for machine learning: one Iceberg copy of the data for BI, features, training,
/// scoring and serving.
#[derive(Debug, Parser)]
#[command(name = "icecore", version, max_term_width = 100)]
pub(crate) struct Cli {
    /// The project's directory
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        default_value = ".",
        env = "ICECORE_PROJECT",
        help_heading = GLOBAL
    )]
    pub(crate) project: PathBuf,
    /// Print one JSON document instead of a table
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub(crate) json: bool,
    /// Threads; 0 means one for each core [default: the project's setting]
    #[arg(long, global = true, value_name = "N", help_heading = GLOBAL)]
    pub(crate) threads: Option<usize>,
    /// Log more to stderr (-v info, -vv debug)
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = GLOBAL)]
    pub(crate) verbose: u8,
    /// Show no progress
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub(crate) quiet: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the whole churn story on generated events, or on real ones, from an empty folder
    Demo(DemoArgs),
    /// Make a new project with commented files
    Init(InitArgs),
    /// Read Parquet, CSV or JSON-lines files into a table, in one commit
    Ingest(ingest::IngestArgs),
    /// Query tables, their versions and their metadata
    Sql(SqlArgs),
    /// The version control of tables
    #[command(subcommand)]
    Table(table::TableCommand),
    /// Build SQL models in the order in which they need each other, test them, publish them
    Run(run::RunArgs),
    /// Run the tests of SQL models on the tables as they are
    Test(run::TestArgs),
    /// Show SQL models: their compiled SQL, and where each column comes from
    Docs(run::DocsArgs),
    /// Feature views: list, compute, backfill, verify, explain
    #[command(subcommand)]
    Features(features::FeaturesCommand),
    /// Pinned training sets
    #[command(subcommand)]
    Dataset(dataset::DatasetCommand),
    /// Train a model from a pinned training set
    Train(TrainArgs),
    /// Make a run's rows and its model again from what it pinned, and compare the bytes
    Reproduce(ReproduceArgs),
    /// Recorded runs
    #[command(subcommand)]
    Runs(runs::RunsCommand),
    /// Registered models
    #[command(subcommand)]
    Models(models::ModelsCommand),
    /// Score the entities of a date with the registered model and its challengers; explain a score
    Score(score::ScoreArgs),
    /// Label predictions from outcomes, once they are old enough to know
    Label(score::LabelArgs),
    /// Measure labelled predictions by model version, bucket and segment
    Evaluate(score::EvaluateArgs),
    /// Copy scores, or the features of a view or service, to the online store
    Materialize(MaterializeArgs),
    /// Statistics of features, drift, skew and alerts
    #[command(subcommand)]
    Monitor(monitor::MonitorCommand),
    /// The online store: fill it, look into it, compare it with the tables
    #[command(subcommand)]
    Online(online::OnlineCommand),
    /// Push events: online at once, in the table with the next commit
    Push(push::PushArgs),
    /// Answer over HTTP: the cache first, then the lakehouse, then the default
    Serve(ServeArgs),
    /// Serve training sets and features to Arrow Flight clients
    Flight(ServeArgs),
    /// Tell what became of a commit whose outcome was unknown
    Attempt(AttemptArgs),
    /// Check that tables are whole: their history, their snapshots and every file
    Fsck(upkeep::FsckArgs),
    /// Check a project and everything that it connects to
    Doctor,
    /// Print the completion script of a shell
    Completions(CompletionsArgs),
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Where to make the project
    #[arg(long, value_name = "DIR", default_value = "churn-demo")]
    pub(crate) dir: PathBuf,
    /// About how many events to generate
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1000..))]
    pub(crate) rows: u64,
    /// Which world to generate; the same seed gives the same data and the same model
    #[arg(long, value_name = "S", default_value_t = 42)]
    pub(crate) seed: u64,
    /// Put the scores into this Redis instead of the embedded store
    #[arg(long, value_name = "URL")]
    pub(crate) redis: Option<String>,
    /// Use real purchases instead: the CDNOW file `CDNOW_master.txt`
    #[arg(long, value_name = "FILE", conflicts_with = "rows")]
    pub(crate) data: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// The new project's directory
    pub(crate) dir: PathBuf,
    /// What to put into it
    #[arg(long, value_enum, default_value_t = Template::Churn)]
    pub(crate) template: Template,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Template {
    /// The churn story's definitions
    Churn,
    /// Only the settings
    Empty,
}

#[derive(Debug, Args)]
pub(crate) struct SqlArgs {
    /// The query; `-` reads it from standard input
    pub(crate) query: String,
    /// Read a table as it was: TABLE=SELECTOR, where the selector is a snapshot id, a tag or
    /// branch, an RFC 3339 time, or `latest`
    #[arg(long, value_name = "TABLE=SELECTOR", value_parser = at)]
    pub(crate) at: Vec<(TableName, SnapshotSelector)>,
    /// How to print the rows
    #[arg(long, value_enum)]
    pub(crate) format: Option<OutputFormat>,
    /// Write to a file instead
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// For people
    Table,
    /// With a header
    Csv,
    /// A list of objects
    Json,
    /// Needs --output
    Parquet,
}

#[derive(Debug, Args)]
pub(crate) struct TrainArgs {
    /// The training definition: training/NAME.toml
    pub(crate) name: String,
    /// Train on this version of the training set instead of the locked one
    #[arg(long, value_name = "SELECTOR")]
    pub(crate) at: Option<SnapshotSelector>,
    /// Leave the rows in their table and read them part by part, as is done anyway where they are
    /// many: the model is the same
    #[arg(long)]
    pub(crate) stream: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ReproduceArgs {
    /// The run's id, or its first digits
    pub(crate) run: String,
    /// Read the rows from the table that they were written to instead of joining them again from
    /// their pinned inputs: it takes less time and proves less
    #[arg(long)]
    pub(crate) from_table: bool,
}

#[derive(Debug, Args)]
pub(crate) struct MaterializeArgs {
    /// The scoring definition (scoring/NAME.toml), a feature view, or a feature service
    pub(crate) name: String,
    /// The newest scores at or before this date
    #[arg(long)]
    pub(crate) date: Option<Date>,
    /// Compare with nothing, write everything
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
pub(crate) struct ServeArgs {
    /// The address; port 0 picks one [default: the project's setting]
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct AttemptArgs {
    /// The attempt's id, from the error message
    pub(crate) id: String,
}

#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    pub(crate) shell: clap_complete::Shell,
}

/// What can be typed, with an example of every command.
pub(crate) fn command() -> clap::Command {
    examples::shown(<Cli as clap::CommandFactory>::command())
}

/// Parses `TABLE=SELECTOR`.
fn at(text: &str) -> Result<(TableName, SnapshotSelector), Error> {
    let (table, selector) = text.split_once('=').ok_or_else(|| {
        Error::invalid(format!("`{text}` names no table and version"))
            .with_help("write TABLE=SELECTOR, such as `events.payments=latest`")
    })?;
    Ok((table.parse()?, selector.parse()?))
}

/// The id of a snapshot as text, for JSON and tables alike.
pub(crate) fn id(snapshot: SnapshotId) -> String {
    snapshot.to_string()
}
