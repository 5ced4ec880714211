//! Writing a file so that it is either whole and lasting, or not there.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use icecore_core::{Error, Result};
use uuid::Uuid;

use crate::error::Context;

/// Runs blocking file calls where they hold up no async task.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
    message: impl FnOnce() -> String,
) -> Result<T> {
    match crate::blocking::blocking(work).await {
        Ok(result) => result.context(message),
        Err(error) => Err(error).context(message),
    }
}

/// Creates a directory and the ones above it, and makes them last.
pub(super) async fn create_directory(path: PathBuf) -> Result<()> {
    let shown = path.display().to_string();
    blocking(
        move || create_directory_blocking(&path),
        || format!("cannot create directory `{shown}`"),
    )
    .await
}

fn create_directory_blocking(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        create_directory_blocking(parent)?;
    }
    match fs::create_dir(path) {
        // Another writer was quicker.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {
            return Ok(());
        }
        created => created?,
    }
    sync_directory(path.parent())
}

/// Makes the entries of a directory last.
fn sync_directory(path: Option<&Path>) -> io::Result<()> {
    match path {
        Some(path) => File::open(path)?.sync_all(),
        None => Ok(()),
    }
}

/// A file that is not yet visible under its name.
#[derive(Debug)]
struct Staged {
    file: File,
    temporary: PathBuf,
    target: PathBuf,
    published: bool,
}

impl Staged {
    fn create(target: PathBuf) -> io::Result<Self> {
        let (Some(directory), Some(name)) = (target.parent(), target.file_name()) else {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        };
        create_directory_blocking(directory)?;
        let name = name.to_string_lossy();
        let temporary = directory.join(format!(".{name}.{}.tmp", Uuid::new_v4().simple()));
        let file = File::options().write(true).create_new(true).open(&temporary)?;
        Ok(Self { file, temporary, target, published: false })
    }

    fn publish(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.temporary, &self.target)?;
        self.published = true;
        sync_directory(self.target.parent())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.published {
            // Best effort: what remains after a crash has a name that nothing refers to.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// A file that is being written, piece by piece. Dropped before [`finish`](Self::finish), it
/// leaves nothing behind.
#[derive(Debug)]
pub(super) struct DurableFile {
    /// Absent while a write runs, after it failed, and after the end.
    staged: Option<Staged>,
    shown: String,
}

impl DurableFile {
    pub(super) async fn create(target: PathBuf) -> Result<Self> {
        let shown = target.display().to_string();
        let staged =
            blocking(move || Staged::create(target), || format!("cannot create `{shown}`")).await?;
        Ok(Self { staged: Some(staged), shown })
    }

    pub(super) async fn write(&mut self, bytes: Bytes) -> Result<()> {
        let mut staged = self.take()?;
        let write = move || staged.file.write_all(&bytes).map(|()| staged);
        self.staged = Some(blocking(write, || format!("cannot write `{}`", self.shown)).await?);
        Ok(())
    }

    /// Makes the file visible and lasting.
    pub(super) async fn finish(&mut self) -> Result<()> {
        let staged = self.take()?;
        blocking(move || staged.publish(), || format!("cannot write `{}`", self.shown)).await
    }

    fn take(&mut self) -> Result<Staged> {
        self.staged.take().ok_or_else(|| {
            Error::internal(format!("`{}` was written to after its end or a failure", self.shown))
        })
    }
}
