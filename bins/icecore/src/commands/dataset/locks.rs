//! Where `icecore dataset` looks for a lock.

use std::path::Path;

use icecore::Project;
use icecore::dataset::Lock;
use icecore_core::{ErrorKind, Result};

use super::super::runs::run_named;

/// What a lock is asked for by.
#[derive(Debug, PartialEq, Eq)]
enum Named<'a> {
    /// A training set of the project.
    Set(&'a str),
    /// A lockfile, in the project or beside it.
    File(&'a Path),
    /// A run, which keeps the lock of what it learned from.
    Run(&'a str),
}

impl<'a> Named<'a> {
    fn of(text: &'a str) -> Self {
        match text.strip_prefix("run:") {
            Some(run) => Self::Run(run),
            // No name of a set has a slash, and none that is meant ends so.
            None if text.contains(['/', '\\']) || text.ends_with(".toml") => {
                Self::File(Path::new(text))
            }
            None => Self::Set(text),
        }
    }
}

/// The lock of a training set, of a file, or of a run.
pub(super) async fn lock_named(project: &Project, text: &str) -> Result<Lock> {
    match Named::of(text) {
        Named::Run(run) => {
            let run = run_named(project, run).await?;
            project.run_lock(&run).await.map_err(|error| match error.kind() {
                ErrorKind::NotFound => error.with_note(format!(
                    "run `{run}` keeps no lock: it learned from no training set"
                )),
                _ => error,
            })
        }
        Named::File(path) => Lock::read(path).map_err(|error| match error.kind() {
            ErrorKind::InvalidInput if !text.ends_with(".lock.toml") => error
                .with_note(format!("`{text}` was read as a lockfile"))
                .with_help("name a training set without `.toml`, or its `training/NAME.lock.toml`"),
            ErrorKind::NotFound => error.with_note(
                "what has a `/` or ends in `.toml` is the path of a lockfile, seen from here",
            ),
            _ => error,
        }),
        Named::Set(name) => project.dataset_lock(name).map_err(|error| match error.kind() {
            ErrorKind::NotFound => error.with_note(
                "the path of a lockfile, or `run:ID` for what a run learned from, also is one",
            ),
            _ => error,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_a_path_and_a_run_are_told_apart() {
        assert_eq!(Named::of("churn"), Named::Set("churn"));
        assert_eq!(Named::of("churn.v2"), Named::Set("churn.v2"));
        assert_eq!(Named::of("run:0f3a"), Named::Run("0f3a"));
        for path in ["old/churn.lock.toml", "churn.lock.toml", "./churn", "../churn.toml"] {
            assert_eq!(Named::of(path), Named::File(Path::new(path)));
        }
    }
}
