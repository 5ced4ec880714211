//! The commands: each opens the project, calls it, and says what came of it.

mod alter;
mod changes;
mod create;
pub(crate) mod dataset;
pub(crate) mod features;
mod feedback;
mod flight;
pub(crate) mod ingest;
mod models;
mod monitor;
mod names;
mod online;
mod project;
mod properties;
mod push;
mod refs;
mod rows;
mod run;
mod runs;
pub(crate) mod score;
mod serve;
mod sql;
mod table;
mod train;
mod upkeep;

use std::collections::BTreeMap;

use icecore::{OpenOptions, Project};
use icecore_core::Result;

use crate::args::{Cli, Command};
use crate::demo;
use crate::progress::Progress;
use crate::report::Answer;

/// What every command is given.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) dir: std::path::PathBuf,
    pub(crate) threads: Option<usize>,
    pub(crate) json: bool,
    pub(crate) progress: Progress,
}

impl Context {
    /// Opens the project.
    pub(crate) async fn open(&self) -> Result<Project> {
        Project::open(&self.dir, self.options()).await
    }

    /// How projects are opened: with this process's environment.
    pub(crate) fn options(&self) -> OpenOptions {
        let environment: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        OpenOptions::default().with_environment(environment).with_threads(self.threads)
    }
}

/// Runs a command.
pub(crate) async fn run(cli: Cli) -> Result<Answer> {
    let context = Context {
        dir: cli.project,
        threads: cli.threads,
        json: cli.json,
        progress: Progress::new(cli.quiet || cli.json),
    };
    let answer = dispatch(&context, cli.command).await;
    context.progress.done();
    answer
}

async fn dispatch(context: &Context, command: Command) -> Result<Answer> {
    match command {
        Command::Demo(args) => Box::pin(demo::run(context, args)).await,
        Command::Init(args) => project::init(&args),
        Command::Fsck(args) => Box::pin(upkeep::fsck(context, args)).await,
        Command::Doctor => Box::pin(project::doctor(context)).await,
        Command::Attempt(args) => project::attempt(context, &args).await,
        Command::Completions(args) => Ok(project::completions(args.shell)),
        Command::Ingest(args) => Box::pin(ingest::run(context, args)).await,
        Command::Sql(args) => Box::pin(sql::run(context, args)).await,
        Command::Table(command) => Box::pin(table::run(context, command)).await,
        Command::Run(args) => Box::pin(run::run(context, args)).await,
        Command::Test(args) => Box::pin(run::test(context, args)).await,
        Command::Docs(args) => Box::pin(run::docs(context, args)).await,
        Command::Features(command) => Box::pin(features::run(context, command)).await,
        Command::Dataset(command) => Box::pin(dataset::run(context, command)).await,
        Command::Train(args) => Box::pin(train::run(context, args)).await,
        Command::Reproduce(args) => Box::pin(train::reproduce(context, args)).await,
        Command::Runs(command) => runs::runs(context, command).await,
        Command::Models(command) => models::models(context, command).await,
        Command::Score(args) => Box::pin(score::run(context, args)).await,
        Command::Label(args) => Box::pin(feedback::label(context, args)).await,
        Command::Evaluate(args) => Box::pin(feedback::evaluate(context, args)).await,
        Command::Monitor(command) => Box::pin(monitor::run(context, command)).await,
        Command::Materialize(args) => Box::pin(score::materialize(context, args)).await,
        Command::Online(command) => online::run(context, command).await,
        Command::Push(args) => Box::pin(push::run(context, args)).await,
        Command::Serve(args) => Box::pin(serve::run(context, args)).await,
        Command::Flight(args) => Box::pin(flight::run(context, args)).await,
    }
}
