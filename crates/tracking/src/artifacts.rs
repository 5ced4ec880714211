//! Files of runs, in a directory: `DIR/RUN/PATH`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use icecore_core::{ArtifactStore, Error, ErrorKind, Result, RunId};
use uuid::Uuid;

/// Where files are written before they get their place; no run can be named like it.
const UNFINISHED: &str = ".unfinished";

/// An [`ArtifactStore`] in a directory, with a file of each artifact at `DIR/RUN/PATH`.
///
/// A file is written aside, forced to disk and renamed, so a reader sees it whole or not at all,
/// and what `put` returned for survives a power cut.
#[derive(Debug, Clone)]
pub struct FileArtifacts {
    dir: PathBuf,
}

impl FileArtifacts {
    /// Opens the store in this directory, or makes one.
    ///
    /// # Errors
    ///
    /// `Unavailable` or `Denied` if the directory cannot be made.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self> {
        let dir = dir.into();
        fs::create_dir_all(dir.join(UNFINISHED))
            .map_err(|error| file_error(format!("cannot make `{}`", dir.display()), error))?;
        Ok(Self { dir })
    }

    /// Removes the files of a run, and returns how many there were. A run without any is fine, and
    /// so is one of which a removal took some already.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for what is no id of a run, `Unavailable` or `Denied` if a file cannot be
    /// removed.
    pub async fn remove(&self, run: &RunId) -> Result<usize> {
        let (run_dir, root) = (self.run_dir(run)?, self.dir.clone());
        off_thread(move || {
            let files = paths(&run_dir)?.len();
            let removed = match fs::remove_dir_all(&run_dir) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                removed => removed.and_then(|()| sync_dir(&root)),
            };
            let cannot =
                |error| file_error(format!("cannot remove `{}`", run_dir.display()), error);
            removed.map_err(cannot).map(|()| files)
        })
        .await
    }

    fn run_dir(&self, run: &RunId) -> Result<PathBuf> {
        if is_plain(run.as_str()) && !run.as_str().starts_with('.') {
            Ok(self.dir.join(run.as_str()))
        } else {
            Err(Error::invalid(format!("`{}` is no id of a run", run.as_str().escape_debug())))
        }
    }

    fn file(&self, run: &RunId, path: &str) -> Result<PathBuf> {
        let mut file = self.run_dir(run)?;
        for part in path.split('/') {
            if !is_plain(part) {
                return Err(Error::invalid(format!(
                    "`{}` is no path of an artifact",
                    path.escape_debug()
                ))
                .with_note(
                    "a path is relative, its parts are separated by `/`, are at most 255 bytes \
                     long, and are not `.` or `..`",
                ));
            }
            file.push(part);
        }
        Ok(file)
    }
}

/// Whether a part of a path names a file or a directory and nothing else, on any system.
fn is_plain(part: &str) -> bool {
    !matches!(part, "" | "." | "..")
        && part.len() <= 255
        && !part.chars().any(|c| c.is_control() || matches!(c, '/' | '\\' | ':'))
}

#[async_trait]
impl ArtifactStore for FileArtifacts {
    async fn put(&self, run: &RunId, path: &str, bytes: Bytes) -> Result<()> {
        let file = self.file(run, path)?;
        let root = self.dir.clone();
        let message = format!("cannot store artifact `{path}` of run `{run}`");
        off_thread(move || {
            write(&root, &file, &bytes).map_err(|error| match error.kind() {
                io::ErrorKind::IsADirectory
                | io::ErrorKind::NotADirectory
                | io::ErrorKind::AlreadyExists => Error::invalid(message)
                    .with_source(error)
                    .with_note("a path cannot be both a file and a directory"),
                _ => file_error(message, error),
            })
        })
        .await
    }

    async fn get(&self, run: &RunId, path: &str) -> Result<Bytes> {
        let (file, run_dir) = (self.file(run, path)?, self.run_dir(run)?);
        let (run, path) = (run.clone(), path.to_owned());
        off_thread(move || match fs::read(&file) {
            Ok(bytes) => Ok(bytes.into()),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound
                        | io::ErrorKind::IsADirectory
                        | io::ErrorKind::NotADirectory
                ) =>
            {
                let known = paths(&run_dir)?;
                let error = Error::not_found(format!("run `{run}` has no artifact `{path}`"));
                Err(if known.is_empty() {
                    error.with_note("it has none at all")
                } else {
                    error
                        .with_note(format!("its artifacts: {}", known.join(", ")))
                        .with_candidates(&path, known.iter().map(String::as_str))
                })
            }
            Err(error) => {
                Err(file_error(format!("cannot read artifact `{path}` of run `{run}`"), error))
            }
        })
        .await
    }

    async fn list(&self, run: &RunId) -> Result<Vec<String>> {
        let run_dir = self.run_dir(run)?;
        off_thread(move || paths(&run_dir)).await
    }
}

fn write(root: &Path, file: &Path, bytes: &[u8]) -> io::Result<()> {
    let unfinished = root.join(UNFINISHED).join(Uuid::new_v4().simple().to_string());
    let written = write_aside(root, &unfinished, file, bytes);
    if written.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
    written
}

fn write_aside(root: &Path, unfinished: &Path, file: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut aside = File::create_new(unfinished)?;
    aside.write_all(bytes)?;
    aside.sync_all()?;
    drop(aside);
    let parent = file.parent().unwrap_or(root);
    make_dirs(root, parent)?;
    fs::rename(unfinished, file)?;
    sync_dir(parent)
}

/// Makes the directories from `root` down to `dir`, so that they survive a power cut.
fn make_dirs(root: &Path, dir: &Path) -> io::Result<()> {
    if dir == root || dir.is_dir() {
        return Ok(());
    }
    let parent = dir.parent().unwrap_or(root);
    make_dirs(root, parent)?;
    match fs::create_dir(dir) {
        Ok(()) => sync_dir(parent),
        // Another writer of the same run was faster; it may not have forced it to disk yet.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => {
            sync_dir(parent)
        }
        Err(error) => Err(error),
    }
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// The paths of the files below a directory, in order; none if it is not there.
fn paths(dir: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut open = vec![(dir.to_owned(), String::new())];
    while let Some((dir, prefix)) = open.pop() {
        let cannot = |error| file_error(format!("cannot list `{}`", dir.display()), error);
        let entries = match fs::read_dir(&dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries.map_err(cannot)?,
        };
        for entry in entries {
            let entry = entry.map_err(cannot)?;
            // Nothing of ours has a name that is not text.
            let Ok(name) = entry.file_name().into_string() else { continue };
            if entry.file_type().map_err(cannot)?.is_dir() {
                open.push((entry.path(), format!("{prefix}{name}/")));
            } else {
                found.push(format!("{prefix}{name}"));
            }
        }
    }
    found.sort();
    Ok(found)
}

fn file_error(message: String, error: io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::PermissionDenied => ErrorKind::Denied,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::LimitExceeded,
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, message).with_source(error)
}

async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Error::internal("a task with files was stopped").with_source(error)),
    }
}

#[cfg(test)]
mod tests;
