//! The icecore command line: parses what was typed, calls the project, prints the answer.
//!
//! Results go to stdout (a table, or one JSON document with `--json`), progress and errors to
//! stderr. The exit status says what a caller can do about an error: see [`report::exit_status`].

mod args;
mod commands;
mod demo;
mod logging;
mod misuse;
mod progress;
mod report;
mod rows;

use std::io::Write;
use std::process::ExitCode;

use clap::{ArgMatches, FromArgMatches};
use icecore_core::{Error, Result};
use tracing::{Instrument, info_span};

use crate::args::Cli;
use crate::report::Answer;

fn main() -> ExitCode {
    icecore::engine::share_heaps();
    let typed = args::command()
        .try_get_matches()
        .and_then(|matches| Ok((Cli::from_arg_matches(&matches)?, matches)));
    let (cli, matches) = match typed {
        Ok(typed) => typed,
        Err(error) => return misuse::answer(error),
    };
    let json = cli.json;
    match run(cli, &verb(&matches)) {
        Ok(answer) => print(&answer, json),
        Err(error) => {
            let text = if json {
                format!("{:#}", report::error_json(&error))
            } else {
                report::error_text(&error)
            };
            let _ = writeln!(std::io::stderr(), "{text}");
            ExitCode::from(report::exit_status(error.kind()))
        }
    }
}

/// The command that was typed, without its arguments: `icecore table log`.
fn verb(matches: &ArgMatches) -> String {
    let mut verb = "icecore".to_owned();
    let mut next = matches.subcommand();
    while let Some((name, matches)) = next {
        verb = format!("{verb} {name}");
        next = matches.subcommand();
    }
    verb
}

fn run(cli: Cli, verb: &str) -> Result<Answer> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        // Planning a deep query recurses deeply.
        .thread_stack_size(8 << 20)
        .build()
        .map_err(|error| Error::internal("cannot start threads").with_source(error))?;
    let traces = logging::start(cli.verbose, runtime.handle())?;
    let span = info_span!("command", otel.name = verb);
    let command = commands::run(cli).instrument(span);
    let outcome = runtime.block_on(async { tokio::spawn(command).await });
    if let Some(traces) = traces {
        traces.shutdown();
    }
    // A reader of files that was given up on must not hold up the end.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    outcome.map_err(|error| Error::internal("a command stopped").with_source(error))?
}

/// Prints an answer. A reader that has closed the pipe has read enough.
fn print(answer: &Answer, json: bool) -> ExitCode {
    let mut stdout = std::io::stdout().lock();
    let written = if json {
        writeln!(stdout, "{:#}", answer.json)
    } else if answer.text.is_empty() {
        Ok(())
    } else {
        writeln!(stdout, "{}", answer.text.trim_end())
    };
    match written.and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        _ => ExitCode::from(answer.status),
    }
}
