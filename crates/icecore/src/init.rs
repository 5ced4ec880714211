//! New projects: the files that a user would write.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use icecore_core::{Error, ErrorKind, Result};

/// What to put into a new project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Template {
    /// Only the settings.
    Empty,
    /// The churn story: features, training and scoring.
    #[default]
    Churn,
}

macro_rules! files {
    ($($path:literal from $source:literal),+ $(,)?) => {
        [$(($path, include_str!(concat!("../templates/", $source)))),+]
    };
}

const SETTINGS: [(&str, &str); 2] = files![
    "icecore.toml" from "icecore.toml",
    ".gitignore" from "gitignore",
];

const CHURN: [(&str, &str); 7] = files![
    "features/user_transactions.toml" from "churn/features/user_transactions.toml",
    "features/churn.toml" from "churn/features/churn.toml",
    "training/churn.toml" from "churn/training/churn.toml",
    "training/churn_logistic.toml" from "churn/training/churn_logistic.toml",
    "training/churn_forest.toml" from "churn/training/churn_forest.toml",
    "scoring/churn.toml" from "churn/scoring/churn.toml",
    "monitor/churn.toml" from "churn/monitor/churn.toml",
];

/// Writes a new project into `dir` and returns the files that it wrote. Files that are there stay
/// as they are, so that an interrupted call can be repeated.
///
/// # Errors
///
/// `AlreadyExists` if `dir` holds something that is not a project; `Unavailable` if it cannot be
/// written.
pub fn init(dir: &Path, template: Template) -> Result<Vec<PathBuf>> {
    let unwritable = |error: std::io::Error| {
        Error::unavailable(format!("cannot write `{}`", dir.display())).with_source(error)
    };
    fs::create_dir_all(dir).map_err(unwritable)?;
    let occupied = fs::read_dir(dir).map_err(unwritable)?.next().is_some();
    if occupied && !dir.join(crate::config::FILE_NAME).try_exists().map_err(unwritable)? {
        return Err(Error::new(
            ErrorKind::AlreadyExists,
            format!("`{}` is not empty and not a project", dir.display()),
        )
        .with_help("name an empty or new directory"));
    }
    let more: &[(&str, &str)] = if template == Template::Churn { &CHURN } else { &[] };
    let mut written = Vec::new();
    // The settings come first: they are what makes the directory a project.
    for (path, text) in SETTINGS.iter().chain(more) {
        let path = dir.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(unwritable)?;
        }
        match fs::OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(mut file) => {
                file.write_all(text.as_bytes())
                    .and_then(|()| file.sync_all())
                    .map_err(unwritable)?;
                written.push(path);
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(unwritable(error)),
        }
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_project_can_be_made_twice_and_not_over_something_else() {
        let dir = tempfile::tempdir().unwrap();
        let project = dir.path().join("p");
        assert_eq!(init(&project, Template::Churn).unwrap().len(), 9);
        let ignored = fs::read_to_string(project.join(".gitignore")).unwrap();
        assert!(ignored.lines().any(|line| line == ".icecore/"), "{ignored}");
        assert_eq!(init(&project, Template::Churn).unwrap().len(), 0);
        let other = dir.path().join("other");
        fs::create_dir(&other).unwrap();
        fs::write(other.join("thesis.txt"), "years").unwrap();
        let error = init(&other, Template::Empty).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    }
}
